"""Helpers for definitions in plain NumPy: by index, or row by row, as a textbook would write them."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["by_index", "normalized", "rowwise"]


def normalized(dim, ndim):
    """The dimensions that `dim` names, counted from the front."""
    if dim is None or dim == ():
        return tuple(range(ndim))
    given = dim if isinstance(dim, tuple) else (dim,)
    return tuple(sorted(d % ndim for d in given)) if ndim else ()


def by_index(shape, value, dtype):
    """The array of `shape` with ``value(i, j, ...)`` at ``[i, j, ...]``."""
    y = np.zeros(shape, dtype)
    for index in np.ndindex(*shape):
        y[index] = value(*index)
    return y


def rowwise(function, dtype=None):
    """A reduction from a function of a list of numbers."""

    def reduction(x, dim=None, keepdim=False, **parameters):
        dims = normalized(dim, x.ndim)
        rest = [d for d in range(x.ndim) if d not in dims]
        rows = x.transpose([*rest, *dims]).reshape(
            math.prod(x.shape[d] for d in rest), math.prod(x.shape[d] for d in dims)
        )
        values = np.array([function(list(row), **parameters) for row in rows], dtype or x.dtype)
        kept = [1 if d in dims else n for d, n in enumerate(x.shape)]
        return values.reshape(kept if keepdim else [x.shape[d] for d in rest])

    return reduction
