"""Products, cumulative sums and norms over a dimension."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like, scratch_like
from tinygrad_cnn.kernels.reduction import sum_of_powers
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["cumulative_sum", "norm", "product"]

Array = NDArray[Any]

# Fewer elements are multiplied one after the other.
_SHORT = 16
# Elements of a block, which stays in the cache, and from how many on threads pay.
_BLOCK = 1 << 17
_LARGE = 1 << 17
# From so many elements on an operation on them costs more than its call.
_LONG = 256


def _in_blocks(plan: Callable[[Array, Array], list[Call]], x: Array, axis: int, out: Array) -> Array:
    """Do what ``plan(x, out)`` says, along `axis`: for large arrays in blocks of the longest other dimension.

    Threads share the blocks.
    """
    others = [(n, i) for i, n in enumerate(x.shape) if i != axis]
    if x.size < _LARGE or not others:
        for call in plan(x, out):
            call()
        return out
    length, other = max(others)
    before = (slice(None),) * other
    blocks = [(*before, part) for part in balanced(length, max(2, -(-x.size // _BLOCK)))]
    parallel_calls(lambda block: plan(x[block], out[block]), blocks)
    return out


def product(x: Array, axis: int) -> Array:
    """Return the product along `axis`, which is kept with size one.

    Halves are multiplied with each other until little is left: each step is one long operation, where
    ``multiply.reduce`` waits for every product before it begins the next.
    """
    before = (slice(None),) * axis

    def part(x: Array, start: int, stop: int) -> Array:
        return x[(*before, slice(start, stop))]

    def plan(x: Array, out: Array) -> list[Call]:
        calls: list[Call] = []
        halves = None
        while (n := x.shape[axis]) > _SHORT:
            half = n // 2
            if halves is None:
                halves = scratch_like("halves", x, 1, shape=(*x.shape[:axis], half, *x.shape[axis + 1 :]))[0]
            halves = part(halves, 0, half)
            calls.append(partial(np.multiply, part(x, 0, half), part(x, half, 2 * half), out=halves))
            if n % 2:
                calls.append(partial(np.multiply, part(halves, 0, 1), part(x, n - 1, n), out=part(halves, 0, 1)))
            x = halves
        if halves is not None or not 1 < n < x.size // n:
            return [*calls, partial(np.multiply.reduce, x, axis=axis, keepdims=True, out=out)]
        # A few factors for many products: `reduce` would start anew for each of these.
        calls.append(partial(np.multiply, part(x, 0, 1), part(x, 1, 2), out=out))
        return calls + [partial(np.multiply, out, part(x, i, i + 1), out=out) for i in range(2, n)]

    return _in_blocks(plan, x, axis, np.empty((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype))


def cumulative_sum(x: Array, axis: int) -> Array:
    """Return the sums of all elements up to each one along `axis`."""
    out = empty_like(x)
    if x.size < _LARGE or abs(x.strides[axis]) < x.itemsize * _LONG:
        return np.add.accumulate(x, axis, out=out)
    # `accumulate` would go along the axis, far from element to element; this adds whole slices.
    terms, sums = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    sums[:1] = terms[:1]
    for before, term, after in zip(sums, terms[1:], sums[1:], strict=False):
        np.add(before, term, out=after)
    return out


def norm(x: Array, p: float, axes: tuple[int, ...]) -> Array:
    """Return ``sum(abs(x) ** p) ** (1 / p)`` over `axes`, kept with size one; for 0 the count of non-zeros."""
    if p == 0:
        return np.sum(x != 0, axis=axes, keepdims=True, dtype=x.dtype)
    total = sum_of_powers(x, p, axes)
    return np.sqrt(total) if p == 2 else total if p == 1 else total ** (1 / p)
