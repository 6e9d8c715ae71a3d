"""Matrix products in slices, each slice with one BLAS thread."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.blas import SMALL_WORK, parallel_products, single_threaded
from tinygrad_cnn.kernels.geometry import shares_of
from tinygrad_cnn.kernels.threads import Call

__all__ = ["matmul"]

Array = NDArray[Any]

# Slices begin at multiples of this many rows or columns, which suits the register tiles of every BLAS.
_GRAIN = 16


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the matrix product of `a` and `b`, as `numpy.matmul` does, using all threads.

    A large product of two matrices is cut along the longer side of the result into slices that depend on the shapes
    only; BLAS computes each with one thread. So the bits do not depend on the number of threads.

    Parameters
    ----------
    a : (..., M, K) array, or (K,)
    b : (..., K, N) array, or (K,)
    out : (..., M, N) array, optional
        Where to put the result; must not overlap with `a` and `b`.
    """
    if a.ndim == 2 and b.ndim == 2:
        m, k = a.shape
        n = b.shape[1]
        if m * n * k <= SMALL_WORK:
            return np.matmul(a, b, out=out)
        if b.shape[0] == k and a.dtype == b.dtype and a.dtype.kind == "f":
            return _sliced(a, b, out)
    elif a.size <= 64 and b.size <= 64:
        return np.matmul(a, b, out=out)
    with single_threaded:
        return np.matmul(a, b, out=out)


def _sliced(a: Array, b: Array, out: Array | None) -> Array:
    m, n = a.shape[0], b.shape[1]
    if out is None:
        out = buffers.empty((m, n), a.dtype)
    by_rows = m >= n
    longer = max(m, n)
    # No more slices than need be: BLAS arranges the whole other operand anew for each.
    count = min(shares_of(m * n * a.shape[1]), -(-longer // _GRAIN))
    ends = [round(longer * i / count / _GRAIN) * _GRAIN for i in range(count)] + [longer]

    def plan(part: slice) -> list[Call]:
        if by_rows:
            return [partial(np.matmul, a[part], b, out=out[part])]
        return [partial(np.matmul, a, b[:, part], out=out[:, part])]

    parallel_products(plan, [slice(start, stop) for start, stop in pairwise(ends) if start < stop])
    return out
