"""Padded inputs and patch matrices: how a convolution becomes a matrix product.

Both live in scratch memory. The functions here return them unfilled, and append to `calls` what fills them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.gemm import NARROW, SMALL_PRODUCT
from tinygrad_cnn.kernels.geometry import Block, Geometry
from tinygrad_cnn.kernels.layouts import strided
from tinygrad_cnn.kernels.threads import Call

__all__ = ["channels_last", "channels_last_block", "few_channels", "padded", "patches"]

Array = NDArray[Any]

# Runs of fewer elements than this are not worth copying one by one; see `patches`.
_SHORTEST_RUN = 16


def channels_last(x: Array) -> Array:
    """Return (N, C, H, W) as (N, H, W, C), a view."""
    return x.transpose(0, 2, 3, 1)


def few_channels(s: Geometry) -> bool:
    """Whether the runs of a channels-last patch would be too short, and `patches` goes by planes instead."""
    return s.kw * s.c // s.groups < _SHORTEST_RUN


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
    above = min(max(-first, 0), last - first)
    height = inside.shape[2]
    source = inside.transpose(1, 0, 2, 3) if planes else channels_last(inside)
    if left == right == 0 and height == last - first and source.strides[3] == x.itemsize:
        return source
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

    With `ones`, which is for few channels only, each patch ends with a 1, for a bias.
    """
    planes = few_channels(s)
    source = padded(x, s, block, calls, planes=planes)
    n = block.images.stop - block.images.start
    rows = block.rows.stop - block.rows.start
    positions = n * rows * s.ow
    depth, columns = s.c // s.groups, s.o // s.groups
    (sh, sw), (dh, dw) = s.stride, s.dilation
    if planes:
        c_step, n_step, h_step, w_step = source.strides
        size = s.patch_size + ones
        matrix = scratch("patches", (s.groups, size, positions), x.dtype)
        if ones:
            calls.append(partial(np.copyto, matrix[:, -1], 1))
        shape = (s.groups, s.kh, s.kw, depth, n, rows, s.ow)
        steps = (c_step * depth, dh * h_step, dw * w_step, c_step, n_step, sh * h_step, sw * w_step)
        taps = matrix[:, : s.patch_size].reshape(shape)
        calls.append(partial(np.copyto, taps, strided(source, shape, steps)))
        pieces = n * _pieces(rows * s.ow, rows * s.ow * size * columns)
        return matrix.reshape(s.groups, size, pieces, -1).transpose(2, 0, 3, 1)
    pieces = _pieces(positions, positions * s.patch_size * columns) if columns < NARROW else 1
    if s.kh == s.kw == sh == sw == s.groups == 1 and source.flags.c_contiguous:
        return source.reshape(pieces, 1, -1, s.c)
    n_step, h_step, w_step, c_step = source.strides
    matrix = scratch("patches", (s.groups, positions, s.patch_size), x.dtype)
    shape = (s.groups, n, rows, s.ow, s.kh, s.kw, depth)
    steps = (c_step * depth, n_step, sh * h_step, sw * w_step, dh * h_step, dw * w_step, c_step)
    calls.append(partial(np.copyto, matrix.reshape(shape), strided(source, shape, steps)))
    return matrix.reshape(s.groups, pieces, -1, s.patch_size).transpose(1, 0, 2, 3)


def _pieces(positions: int, work: int) -> int:
    """Into how many equal pieces to cut so many positions, so that products of `work` numbers in all become small."""
    least = -(-work // SMALL_PRODUCT)
    return next((pieces for pieces in range(least, 2 * least + 1) if positions % pieces == 0), 1)
