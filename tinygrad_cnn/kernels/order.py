"""The positions of elements in order.

NumPy sorts 64-bit integers with vector instructions, several times as fast as it finds positions. So where elements
have 32 bits or fewer, each becomes the upper half of an integer that sorts like it, and its position the lower half:
sorting them sorts the positions, and keeps those of equal elements in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.elementwise import slices
from tinygrad_cnn.kernels.layouts import copying
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["first_extreme", "order", "top"]

Array = NDArray[Any]

# Elements: below, NumPy's own way is faster; and those of a block, whose integers stay in the cache.
_LARGE = 1 << 10
_BLOCK = 1 << 16
# Elements: below, one thread finds an extreme as fast as two; and those of a part.
_MUCH, _PART = 1 << 18, 1 << 19
# Rows so short are sorted faster than divided into the elements that are wanted and the rest.
_FEW = 64
# So few are inserted one by one, which is fast enough below so many elements.
_VERY_FEW, _LARGER = 16, 1 << 13

_HALF = 32
_LOWER = np.int64((1 << _HALF) - 1)
_ALL_BUT_SIGN = np.int32(0x7FFFFFFF)


def first_extreme(find: Callable[..., Any], x: Array, axis: int) -> Array:
    """As ``find(x, axis, keepdims=True)``, where `find` is `numpy.argmax` or `numpy.argmin`."""
    if x.size < _MUCH or x.ndim == 1:
        return np.asarray(find(x, axis, keepdims=True))
    rows = np.moveaxis(x, axis, -1)
    out = np.empty(rows.shape[:-1], np.int64)

    def plan(part: tuple[slice, ...]) -> list[Call]:
        lines, calls = rows[part], []
        if lines.strides[-1] != lines.itemsize:  # NumPy would copy them so, too, but not in strips
            lines = buffers.scratch("lines", lines.shape, x.dtype)
            calls = copying(rows[part], lines)
        return [*calls, partial(find, lines, -1, out=out[part])]

    parallel_calls(plan, slices(out, max(1, _PART * out.size // x.size)))
    return np.expand_dims(out, axis)


def order(x: Array, axis: int, descending: bool) -> Array:
    """Return the positions (int64) of the elements along `axis` in order.

    Equal elements keep their order, and NaN counts as the largest.
    """
    return top(x, x.shape[axis], axis, descending)


def top(x: Array, k: int, axis: int, largest: bool) -> Array:
    """Return the positions (int64) of the `k` largest or smallest elements along `axis`, the most extreme first."""
    rows = np.moveaxis(x, axis, -1)
    n = rows.shape[-1]
    out = np.moveaxis(np.empty((*x.shape[:axis], k, *x.shape[axis + 1 :]), np.int64), axis, -1)
    packed = x.size >= (_LARGE if n > _VERY_FEW else _LARGER) and x.dtype.itemsize < 8 and (k == n or n <= _FEW)

    def plan(part: tuple[Any, ...]) -> list[Call]:
        if k == 1 and largest:  # NaN is the largest for NumPy, too
            return [partial(np.argmax, rows[part], axis=-1, keepdims=True, out=out[part])]
        if packed:
            return _packed(rows[part], k, largest, out[part])
        return [partial(_plain, rows[part], k, largest, out[part])]

    if out.size and x.size < _LARGER:
        for call in plan((...,)):
            call()
    elif out.size:
        parallel_calls(plan, _blocks(rows.shape[:-1], x.size))
    return np.moveaxis(out, -1, axis)


def _blocks(others: tuple[int, ...], size: int) -> list[tuple[Any, ...]]:
    """Cut rows into blocks along the longest of the other dimensions."""
    if not others:
        return [(...,)]
    longest = others.index(max(others))
    return [((slice(None),) * longest + (piece,)) for piece in balanced(others[longest], -(-size // _BLOCK))]


def _packed(x: Array, k: int, descending: bool, out: Array) -> list[Call]:
    """Return the calls that write the positions of the first `k` of each row (..., n), by way of integers."""
    n = x.shape[-1]
    keys = buffers.scratch("keys", x.shape, np.int64)
    calls: list[Call] = []
    if x.dtype.kind == "f":
        x, calls = _sortable(x)
    calls.append(partial(np.copyto, keys, x))
    if descending:
        calls.append(partial(np.invert, keys, out=keys))
    calls.append(partial(np.left_shift, keys, _HALF, out=keys))
    calls.append(partial(np.bitwise_or, keys, np.arange(n), out=keys))
    calls.append(partial(keys.sort, axis=-1))
    return [*calls, partial(np.bitwise_and, keys[..., :k], _LOWER, out=out)]


def _sortable(x: Array) -> tuple[Array, list[Call]]:
    """Return 32-bit integers that sort like floats, and the calls that write them."""
    values = buffers.scratch("sortable", x.shape, np.float32)
    unordered = buffers.scratch("unordered", x.shape, np.bool_)
    signs = buffers.scratch("signs", x.shape, np.int32)
    bits = values.view(np.int32)
    return bits, [
        partial(np.add, x, np.float32(0), out=values),  # of -0 this makes 0
        partial(np.isnan, values, out=unordered),
        partial(np.copyto, values, np.float32(np.nan), where=unordered),
        # A float is a sign and a size: negative ones sort the other way round until the bits of their size are turned.
        partial(np.right_shift, bits, 31, out=signs),
        partial(np.bitwise_and, signs, _ALL_BUT_SIGN, out=signs),
        partial(np.bitwise_xor, bits, signs, out=bits),
    ]


def _plain(x: Array, k: int, descending: bool, out: Array) -> None:
    """Write the positions of the first `k` of each row (..., n)."""
    n = x.shape[-1]
    if k == n or n <= _FEW:
        out[...] = _plain_order(x, descending)[..., :k]
        return
    split = n - k if descending else k
    found = np.argpartition(x, split if descending else split - 1, axis=-1)
    found = np.sort(found[..., split:] if descending else found[..., :split], axis=-1)  # equal ones in their order
    out[...] = np.take_along_axis(found, _plain_order(np.take_along_axis(x, found, -1), descending), -1)


def _plain_order(x: Array, descending: bool) -> Array:
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    # The opposite of an ascending order would reverse equal elements: so they are reversed before.
    backwards = np.argsort(x[..., ::-1], axis=-1, kind="stable")
    return x.shape[-1] - 1 - backwards[..., ::-1]
