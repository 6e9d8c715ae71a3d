"""Products, cumulative sums and norms over a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.reduction import reduce, sum_of_powers

__all__ = ["cumulative_sum", "norm", "product"]

Array = NDArray[Any]

_LARGE = 1 << 17
# From so many elements on an operation on them costs more than its call.
_LONG = 256


def product(x: Array, axis: int) -> Array:
    """Return the product along `axis`, which is kept with size one."""
    if x.dtype.kind != "f":
        return np.multiply.reduce(x, axis=axis, keepdims=True, dtype=x.dtype)
    return reduce(np.multiply, x, (axis,))


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
