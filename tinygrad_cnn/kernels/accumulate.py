"""Products, cumulative sums and norms over a dimension."""

from __future__ import annotations

import functools
import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order
from tinygrad_cnn.kernels.reduction import reduce, sum_of_powers
from tinygrad_cnn.kernels.runs import run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = ["cumulative_sum", "norm", "product"]

Array = NDArray[Any]

# Elements: below, NumPy's own sums are over soon enough; from here on a second thread helps; and those of a part.
_LARGE, _THREADS, _PART = 1 << 15, 1 << 17, 1 << 19
# Terms that one product adds up: of long rows, and of lines that are not cut.
_TERMS, _SHORT = 32, 48
# Neighbours in memory, so many that it pays to go from line to line; and elements of a slice that are worth a call.
_LEAST_RUN, _LONG = 8, 1 << 8


def product(x: Array, axis: int) -> Array:
    """Return the product along `axis`, which is kept with size one."""
    if x.dtype.kind != "f":
        return np.multiply.reduce(x, axis=axis, keepdims=True, dtype=x.dtype)
    return reduce(np.multiply, x, (axis,))


def cumulative_sum(x: Array, axis: int, from_end: bool = False) -> Array:
    """Return the sums of all elements up to each one along `axis`, or with `from_end` of those from each one on."""
    out = empty_like(x)
    order = memory_order(x)
    place = order.index(axis)
    sizes = [x.shape[i] for i in order]
    shape = (math.prod(sizes[:place]), sizes[place], math.prod(sizes[place + 1 :]))
    if x.size < _LARGE or x.dtype not in (np.float32, np.float64):
        _plainly(x, out, axis, from_end)
        return out
    terms, sums = x.transpose(order).reshape(shape), out.transpose(order).reshape(shape)
    if shape[2] == 1 or (shape[1] <= _SHORT and shape[2] >= _LEAST_RUN):
        _by_products(terms, sums, from_end)
    elif shape[0] * shape[2] >= _LONG and shape[2] >= _LEAST_RUN:
        _by_slices(terms, sums, from_end)
    else:
        _plainly(terms, sums, 1, from_end)
    return out


def _plainly(x: Array, out: Array, axis: int, from_end: bool) -> None:
    if from_end:
        x, out = np.flip(x, axis), np.flip(out, axis)
    np.add.accumulate(x, axis, out=out)


def _by_slices(x: Array, out: Array, from_end: bool) -> None:
    """Add up along the middle axis, whole slices at a time: NumPy would go from element to element, far apart."""
    if from_end:
        x, out = x[:, ::-1], out[:, ::-1]
    out[:, 0] = x[:, 0]
    for i in range(1, x.shape[1]):
        np.add(out[:, i - 1], x[:, i], out=out[:, i])


def _by_products(x: Array, out: Array, from_end: bool) -> None:
    """Add up along the middle axis by products with a triangle of ones.

    Each addition of a plain sum waits for the one before. A product keeps many of them going, although it multiplies
    as many zeros. It is no good where elements are infinite or NaN, which times 0 are NaN everywhere: then the last sum
    is not finite, and these lines are added up plainly.
    """
    parts = balanced(len(x), max(2, x.size // _PART)) if x.size >= _THREADS else [slice(None)]
    plan = _lines if x.shape[2] > 1 or x.shape[1] <= _SHORT else _rows
    with np.errstate(invalid="ignore", over="ignore"), run_by_run():
        parallel_products(lambda part: plan(x[part], out[part], from_end), parts)
    finite = np.isfinite(out[:, 0 if from_end else -1]).all(-1)
    if not finite.all():
        redone = np.empty_like(x[~finite])
        _plainly(x[~finite], redone, 1, from_end)
        out[~finite] = redone


@functools.lru_cache(64)
def _triangle(n: int, dtype: np.dtype[Any], from_end: bool) -> Array:
    """The matrix that a row is multiplied with."""
    ones = np.ones((n, n), dtype)
    return np.tril(ones) if from_end else np.triu(ones)


def _lines(x: Array, out: Array, from_end: bool) -> list[Call]:
    """Return the calls that add up ``(outer, n, inner)`` along `n`, which is small."""
    triangle = _triangle(x.shape[1], x.dtype, from_end)
    if x.shape[2] == 1:
        return [partial(np.matmul, x[..., 0], triangle, out=out[..., 0])]
    return [partial(np.matmul, triangle.T, x, out=out)]


def _rows(x: Array, out: Array, from_end: bool) -> list[Call]:
    """Return the calls that add up rows ``(m, n, 1)``, block by block, and then the sums of the blocks before.

    The elements that make no block are added up plainly at the end.
    """
    m, n = x.shape[:2]
    count, rest = divmod(n, _TERMS)
    whole, left = (slice(rest, None), slice(0, rest)) if from_end else (slice(0, n - rest), slice(n - rest, None))
    # From here on the order is the one in which they are added up, but within the blocks.
    direction, last = (-1, 0) if from_end else (1, -1)
    blocks = out[:, whole].reshape(m, count, _TERMS)
    before = scratch("before", (m, count), x.dtype)
    later = blocks[:, ::direction][:, 1:]
    calls: list[Call] = [
        partial(np.matmul, x[:, whole].reshape(blocks.shape), _triangle(_TERMS, x.dtype, from_end), out=blocks),
        partial(np.add.accumulate, blocks[:, ::direction, last], 1, out=before),
        partial(np.add, later, before[:, :-1, None], out=later),
    ]
    if rest:
        terms, sums = x[:, left, 0][:, ::direction], out[:, left, 0][:, ::direction]
        calls += [
            partial(np.copyto, sums, terms),
            partial(np.add, sums[:, 0], before[:, -1], out=sums[:, 0]),
            partial(np.add.accumulate, sums, 1, out=sums),
        ]
    return calls


def norm(x: Array, p: float, axes: tuple[int, ...]) -> Array:
    """Return ``sum(abs(x) ** p) ** (1 / p)`` over `axes`, kept with size one; for 0 the count of non-zeros."""
    if p == 0:
        return np.sum(x != 0, axis=axes, keepdims=True, dtype=x.dtype)
    total = sum_of_powers(x, p, axes)
    return np.sqrt(total) if p == 2 else total if p == 1 else total ** (1 / p)
