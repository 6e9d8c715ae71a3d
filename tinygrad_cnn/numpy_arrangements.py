"""NumPy's functions for products, order, pieces and places in terms of this library's operations.

The second half of `numpy_functions`, which says how they are to be read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.errors import check_dim, check_dims, check_int
from tinygrad_cnn.ops import accumulate, einsum, elementwise, ordering, parts, tiling
from tinygrad_cnn.ops.dtypes import DEFAULT, as_dtype
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array

__all__ = ["ARRANGEMENTS", "REFUSED"]

REFUSED: Any = object()


def _flat(a: Array) -> Array:
    return reshape(a, (math.prod(a.shape),))


# --------------------------------------------------------------------------- products, sums so far, norms


def _prod(
    a: Array,
    axis: Any = None,
    dtype: Any = None,
    out: Any = REFUSED,
    keepdims: bool = False,
    initial: Any = REFUSED,
    where: Any = REFUSED,
) -> Array:
    chosen = None if dtype is None else as_dtype(dtype)
    if axis is None and not keepdims:
        return accumulate.prod(a, dtype=chosen)
    for dim in reversed(check_dims("prod", axis, a.ndim, "axis")):
        a = accumulate.prod(a, dim, bool(keepdims), dtype=chosen)
    return a


def _cumsum(a: Array, axis: int | None = None, dtype: Any = None, out: Any = REFUSED) -> Array:
    chosen = None if dtype is None else as_dtype(dtype)
    return accumulate.cumsum(_flat(a), 0, dtype=chosen) if axis is None else accumulate.cumsum(a, axis, dtype=chosen)


def _count_nonzero(a: Array, axis: Any = None, *, keepdims: bool = False) -> Array:
    if isinstance(axis, tuple) and not axis:  # over no axes, where PyTorch counts all
        return elementwise.cast(elementwise.ne(a, 0), np.dtype(np.int64))
    count = accumulate.count_nonzero(a, axis)
    if not keepdims:
        return count
    dims = check_dims("count_nonzero", axis, a.ndim, "axis")
    return reshape(count, tuple(1 if i in dims else n for i, n in enumerate(a.shape)))


def _norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    if ord not in (None, "fro") and (isinstance(axis, (tuple, list)) or (axis is None and x.ndim != 1)):
        raise TypeError(f"numpy.linalg.norm: argument 'ord' expects None for matrices of tensors but got {ord!r}")
    a = x if x.dtype.kind == "f" else elementwise.cast(x, DEFAULT)
    return accumulate.norm(a, 2 if ord is None else ord, axis, bool(keepdims))


def _outer(a: Array, b: Array, out: Any = REFUSED) -> Array:
    return einsum.outer(_flat(a), _flat(b))


def _einsum(*operands: Any, out: Any = REFUSED, optimize: Any = False) -> Array:
    return einsum.einsum(*operands)


# ------------------------------------------------------------------------------------- order, pieces, places


def _sort(a: Array, axis: int | None = -1, kind: Any = None, order: Any = REFUSED, *, stable: Any = None) -> Array:
    return ordering.sort(_flat(a), 0).values if axis is None else ordering.sort(a, axis).values


def _argsort(a: Array, axis: int | None = -1, kind: Any = None, order: Any = REFUSED, *, stable: Any = None) -> Array:
    return ordering.argsort(_flat(a), 0) if axis is None else ordering.argsort(a, axis)


def _split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    dim = check_dim("split", axis, ary.ndim, "axis")
    if isinstance(indices_or_sections, (int, np.integer)) and ary.shape[dim] % max(int(indices_or_sections), 1):
        raise ValueError(
            f"split: indices_or_sections expects a divisor of {ary.shape[dim]} but is {indices_or_sections}"
        )
    return _array_split(ary, indices_or_sections, dim)


def _array_split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    dim = check_dim("array_split", axis, ary.ndim, "axis")
    n = ary.shape[dim]
    if not isinstance(indices_or_sections, (int, np.integer)):
        places = [0, *map(int, indices_or_sections), n]
        bounds = [slice(a, b).indices(n)[:2] for a, b in itertools.pairwise(places)]
        return [parts.narrow(ary, dim, a, max(b - a, 0)) for a, b in bounds]
    count = check_int("array_split", "indices_or_sections", indices_or_sections, 1)
    size, more = divmod(n, count)  # the first ones are larger by one
    return list(parts.split(ary, [size + (k < more) for k in range(count)], dim))


def _tile(A: Array, reps: Any) -> Array:
    return tiling.tile(A, tuple(reps) if isinstance(reps, (tuple, list)) else reps)


def _roll(a: Array, shift: Any, axis: Any = None) -> Array:
    if axis is None:
        return tiling.roll(a, shift)
    shifts, axes = np.broadcast_arrays(shift, axis)
    return tiling.roll(a, shifts.reshape(-1).tolist(), axes.reshape(-1).tolist())


def _tril(m: Array, k: int = 0) -> Array:
    return parts.tril(m, k)


def _triu(m: Array, k: int = 0) -> Array:
    return parts.triu(m, k)


ARRANGEMENTS: dict[Any, Callable[..., Any]] = {
    np.prod: _prod,
    np.cumsum: _cumsum,
    np.count_nonzero: _count_nonzero,
    np.linalg.norm: _norm,
    np.outer: _outer,
    np.einsum: _einsum,
    np.sort: _sort,
    np.argsort: _argsort,
    np.split: _split,
    np.array_split: _array_split,
    np.tile: _tile,
    np.roll: _roll,
    np.tril: _tril,
    np.triu: _triu,
}
