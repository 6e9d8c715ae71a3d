"""Products, cumulative sums and norms over a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import parallel

__all__ = ["cumulative_sum", "norm", "product"]

Array = NDArray[Any]

# Fewer elements are multiplied one after the other.
_SHORT = 16
# Elements of a block of rows that stays in cache, and from how many on threads pay.
_BLOCK = 1 << 16
_LARGE = 1 << 18


def product(x: Array, axis: int) -> Array:
    """Return the product along `axis`, which is kept with size one.

    Halves are multiplied with each other until little is left: each step is one long operation, where
    ``multiply.reduce`` waits for every product before it begins the next.
    """
    before = (slice(None),) * axis
    while (n := x.shape[axis]) > _SHORT:
        half = n // 2
        halves = x[(*before, slice(half))] * x[(*before, slice(half, 2 * half))]
        if n % 2:
            halves[(*before, slice(1))] *= x[(*before, slice(n - 1, n))]
        x = halves
    return np.multiply.reduce(x, axis=axis, keepdims=True, dtype=x.dtype)


def cumulative_sum(x: Array, axis: int) -> Array:
    """Return the sums of all elements up to each one along `axis`."""
    if x.size < _LARGE:
        return np.cumsum(x, axis=axis, dtype=x.dtype)
    # Sums wait for each other along `axis`, so threads share another dimension, the longest.
    other = max((n, i) for i, n in enumerate(x.shape) if i != axis)[1] if x.ndim > 1 else axis
    if other == axis:
        return np.cumsum(x, axis=axis, dtype=x.dtype)
    out = empty_like(x)
    before = (slice(None),) * other

    def compute(part: slice) -> None:
        np.cumsum(x[(*before, part)], axis=axis, out=out[(*before, part)])

    parallel(compute, balanced(x.shape[other], -(-x.size // _BLOCK)))
    return out


def norm(x: Array, p: float, axes: tuple[int, ...]) -> Array:
    """Return ``sum(abs(x) ** p) ** (1 / p)`` over `axes`, kept with size one; for 0 the count of non-zeros."""
    if p == 2:
        return np.sqrt(np.sum(x * x, axis=axes, keepdims=True))
    if p == 0:
        return np.sum(x != 0, axis=axes, keepdims=True, dtype=x.dtype)
    if p == 1:
        return np.sum(np.absolute(x), axis=axes, keepdims=True)
    return np.sum(np.absolute(x) ** p, axis=axes, keepdims=True) ** (1 / p)
