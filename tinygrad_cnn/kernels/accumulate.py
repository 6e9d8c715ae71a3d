"""Products, cumulative sums and norms over a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.reduction import sum_of_powers
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import parallel

__all__ = ["cumulative_sum", "norm", "product"]

Array = NDArray[Any]

# Fewer elements are multiplied one after the other.
_SHORT = 16
# Elements of a block, and from how many on threads pay.
_BLOCK = 1 << 18
_LARGE = 1 << 18


def _in_blocks(function: Callable[[Array, Array], object], x: Array, axis: int, out: Array) -> Array:
    """Call ``function(x, out)``, which works along `axis`: for large arrays in blocks of the longest other dimension.

    Threads share the blocks.
    """
    others = [(n, i) for i, n in enumerate(x.shape) if i != axis]
    if x.size < _LARGE or not others:
        function(x, out)
        return out
    length, other = max(others)
    before = (slice(None),) * other

    def compute(part: slice) -> None:
        function(x[(*before, part)], out[(*before, part)])

    parallel(compute, balanced(length, -(-x.size // _BLOCK)))
    return out


def product(x: Array, axis: int) -> Array:
    """Return the product along `axis`, which is kept with size one.

    Halves are multiplied with each other until little is left: each step is one long operation, where
    ``multiply.reduce`` waits for every product before it begins the next.
    """
    before = (slice(None),) * axis

    def multiply(x: Array, out: Array) -> None:
        halves = None
        while (n := x.shape[axis]) > _SHORT:
            half = n // 2
            if halves is None:
                halves = empty_like(x, shape=(*x.shape[:axis], half, *x.shape[axis + 1 :]))
            halves = halves[(*before, slice(half))]
            np.multiply(x[(*before, slice(half))], x[(*before, slice(half, 2 * half))], out=halves)
            if n % 2:
                halves[(*before, slice(1))] *= x[(*before, slice(n - 1, n))]
            x = halves
        if not 1 < n < x.size // n:
            np.multiply.reduce(x, axis=axis, keepdims=True, out=out)
            return
        # A few factors for many products: `reduce` would start anew for each of these.
        np.multiply(x[(*before, slice(1))], x[(*before, slice(1, 2))], out=out)
        for i in range(2, n):
            out *= x[(*before, slice(i, i + 1))]

    return _in_blocks(multiply, x, axis, np.empty((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype))


def cumulative_sum(x: Array, axis: int) -> Array:
    """Return the sums of all elements up to each one along `axis`."""
    return _in_blocks(lambda x, out: np.cumsum(x, axis=axis, out=out), x, axis, empty_like(x))


def norm(x: Array, p: float, axes: tuple[int, ...]) -> Array:
    """Return ``sum(abs(x) ** p) ** (1 / p)`` over `axes`, kept with size one; for 0 the count of non-zeros."""
    if p == 0:
        return np.sum(x != 0, axis=axes, keepdims=True, dtype=x.dtype)
    total = sum_of_powers(x, p, axes)
    return np.sqrt(total) if p == 2 else total if p == 1 else total ** (1 / p)
