"""Padded inputs and patch matrices: how a convolution becomes a matrix product.

Both live in scratch memory. The functions here return them unfilled, and append to `calls` what fills them.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.gemm import NARROW, SMALL_PRODUCT
from tinygrad_cnn.kernels.geometry import Block, Geometry
from tinygrad_cnn.kernels.layouts import strided
from tinygrad_cnn.kernels.threads import Call

__all__ = ["channels_last", "channels_last_block", "padded", "patches"]

Array = NDArray[Any]

# Of a group: fewer are worth setting apart from those of the other groups.
_FEW_CHANNELS = 16


def channels_last(x: Array) -> Array:
    """Return (N, C, H, W) as (N, H, W, C), a view."""
    return x.transpose(0, 2, 3, 1)


def channels_last_block(g: Array, block: Block, name: str, calls: list[Call]) -> Array:
    """Return a block of an (N, O, OH, OW) array as contiguous (n, rows, OW, O): a view where that is possible."""
    part = channels_last(g[block.images, :, block.rows])
    if part.flags.c_contiguous:
        return part
    copy = scratch(name, part.shape, part.dtype)
    calls.append(partial(np.copyto, copy, part))
    return copy


def padded(x: Array, s: Geometry, block: Block, calls: list[Call], *, planes: bool) -> Array:
    """Return the part of the padded input that a block of the output sees.

    It is (n, rows, w, c), or (c, n, rows, w) if `planes`, with a contiguous last axis, and never to be written to:
    where that is possible it is a view of `x`.
    """
    (top, _), (left, right) = s.padding
    first = block.rows.start * s.stride[0] - top
    last = (block.rows.stop - 1) * s.stride[0] + (s.kh - 1) * s.dilation[0] + 1 - top
    inside = x[block.images, :, max(first, 0) : max(min(last, s.h), 0)]
    source = inside.transpose(1, 0, 2, 3) if planes else channels_last(inside)
    height = inside.shape[2]
    if left == right == 0 and height == last - first and source.strides[3] == x.itemsize:
        return source
    above = min(max(-first, 0), last - first)
    shape = list(source.shape)
    down, across = (2, 3) if planes else (1, 2)
    shape[down] = last - first
    shape[across] = s.padded_size[1]
    result = scratch("padded", tuple(shape), x.dtype)
    framed = result if planes else result.transpose(3, 0, 1, 2)
    middle = framed[:, :, above : above + height]
    margins = (framed[:, :, :above], framed[:, :, above + height :], middle[..., :left], middle[..., left + s.w :])
    calls.extend(partial(np.copyto, margin, 0) for margin in margins if margin.size)
    calls.append(partial(np.copyto, middle[..., left : left + s.w], inside.transpose(1, 0, 2, 3)))
    return result


def patches(x: Array, s: Geometry, block: Block, calls: list[Call], *, ones: bool = False) -> Array:
    """Return the patch matrices of a block, (pieces, groups, positions / pieces, kh · kw · c / groups).

    A position's patch is made of kh runs, each kw · c long and contiguous in channels-last memory. With few channels
    such runs are short; then the transposed matrix is written instead, whose rows are whole shifted planes, and each
    image is a piece of its own, at least. There are more pieces if that makes the products small ones.

    With `ones` each patch ends with a 1, for a bias; not if the geometry is `pointwise`.
    """
    source = padded(x, s, block, calls, planes=s.few_channels)
    n, rows = block.images.stop - block.images.start, block.rows.stop - block.rows.start
    taps = source if s.few_channels else _by_groups(source, s, calls)
    shape, steps, size, pieces = _arrangement(s, n, rows, taps.strides, ones)
    if s.pointwise and not s.few_channels and source.flags.c_contiguous:
        return source.reshape(pieces, 1, -1, s.c)
    positions = n * rows * s.ow
    if s.few_channels:
        matrix = scratch("patches", (s.groups, size, positions), x.dtype)
        numbers, last = matrix[:, : s.patch_size], matrix[:, -1]
        result = matrix.reshape(s.groups, size, pieces, -1).transpose(2, 0, 3, 1)
    else:
        matrix = scratch("patches", (s.groups, positions, size), x.dtype)
        numbers, last = matrix[:, :, : s.patch_size], matrix[:, :, -1]
        result = matrix.reshape(s.groups, pieces, -1, size).transpose(1, 0, 2, 3)
    calls.append(partial(np.copyto, numbers.reshape(shape), strided(taps, shape, steps)))
    if ones:
        calls.append(partial(np.copyto, last, 1))
    return result


def _by_groups(x: Array, s: Geometry, calls: list[Call]) -> Array:
    """Return (n, h, w, c) as (groups, n, h, w, c / groups).

    Several groups of few channels are set apart in memory: then the taps of a row are one run again.
    """
    if s.groups == 1:
        return x[None]
    depth = s.c // s.groups
    groups = x.reshape(*x.shape[:3], s.groups, depth).transpose(3, 0, 1, 2, 4)
    if depth >= _FEW_CHANNELS or s.kw == 1 or s.dilation[1] > 1:
        return groups
    apart = scratch("groups", groups.shape, x.dtype)
    calls.append(partial(np.copyto, apart, groups))
    return apart


class _Arrangement(NamedTuple):
    """How patch matrices are copied from the padded input of a block, and cut into pieces."""

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    size: int
    pieces: int


@lru_cache(maxsize=512)
def _arrangement(s: Geometry, n: int, rows: int, strides: tuple[int, ...], ones: bool) -> _Arrangement:
    """The arrangement for `n` images and so many rows of the output, from a padded input with these strides."""
    (sh, sw), (dh, dw) = s.stride, s.dilation
    depth, size, columns = s.c // s.groups, s.patch_size + ones, s.o // s.groups
    if s.few_channels:
        c_step, n_step, h_step, w_step = strides
        shape = (s.groups, s.kh, s.kw, depth, n, rows, s.ow)
        steps = (c_step * depth, dh * h_step, dw * w_step, c_step, n_step, sh * h_step, sw * w_step)
        return _Arrangement(shape, steps, size, n * _pieces(rows * s.ow, size * columns))
    group_step, n_step, h_step, w_step, c_step = strides
    shape = (s.groups, n, rows, s.ow, s.kh, s.kw, depth)
    steps = (group_step, n_step, sh * h_step, sw * w_step, dh * h_step, dw * w_step, c_step)
    return _Arrangement(shape, steps, size, _pieces(n * rows * s.ow, size * columns) if columns < NARROW else 1)


def _pieces(positions: int, work: int) -> int:
    """Into how many equal pieces to cut so many positions, so that products become small, with `work` for each."""
    least = -(-positions * work // SMALL_PRODUCT)
    return next((pieces for pieces in range(least, 2 * least + 1) if positions % pieces == 0), 1)
