"""Depthwise convolution: every group has one input channel (and o / c output channels).

There is nothing to multiply as matrices. Each tap of the kernel is a shifted product, added up in blocks that stay in
cache. With stride 1 a tap covers whole rows of memory, w · c numbers long.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.geometry import Block, Geometry
from tinygrad_cnn.kernels.patches import channels_last, padded
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["forward", "input_grad", "weight_grad"]

Array = NDArray[Any]


def _position_bytes(s: Geometry, dtype: np.dtype[Any]) -> int:
    return 4 * s.o * dtype.itemsize


def _taps(w: Array, s: Geometry) -> Array:
    """(o, 1, kh, kw) -> (kh, kw, c, o / c)"""
    return np.ascontiguousarray(w.reshape(s.c, -1, s.kh, s.kw).transpose(2, 3, 0, 1))


def _window(x: Array, s: Geometry, i: int, j: int, rows: int) -> Array:
    """Return what tap (i, j) sees of a padded block (n, h, w, c): (n, rows, ow, c), a view."""
    (sh, sw), (dh, dw) = s.stride, s.dilation
    top, left = i * dh, j * dw
    return x[:, top : top + sh * (rows - 1) + 1 : sh, left : left + sw * (s.ow - 1) + 1 : sw]


def forward(x: Array, w: Array, s: Geometry, out: Array) -> None:
    """Write the convolution of shape (N, O, OH, OW) into `out`, whose memory is channels last."""
    multiplier = s.o // s.c
    taps = _taps(w, s)
    y = channels_last(out)

    def plan(block: Block) -> list[Call]:
        calls: list[Call] = []
        part = y[block.images, block.rows]
        n, rows = part.shape[:2]
        total = part.reshape(n, rows, s.ow, s.c, multiplier)
        source = padded(x, s, block, calls, planes=False)[..., None]
        term = scratch("term", total.shape, out.dtype)
        for i in range(s.kh):
            for j in range(s.kw):
                target = term if i or j else total
                calls.append(partial(np.multiply, _window(source, s, i, j, rows), taps[i, j], out=target))
                if target is term:
                    calls.append(partial(np.add, total, term, out=total))
        return calls

    parallel_calls(plan, s.blocks(_position_bytes(s, out.dtype)))


def input_grad(g: Array, w: Array, s: Geometry, out: Array) -> None:
    """Write the gradient of shape (N, C, H, W) into `out`, whose memory is channels last."""
    multiplier = s.o // s.c
    taps = _taps(w, s)
    (top, _), (left, _) = s.padding
    height, width = s.padded_size
    x = channels_last(out)

    def plan(block: Block) -> list[Call]:
        source = channels_last(g[block.images]).reshape(-1, s.oh, s.ow, s.c, multiplier)
        n = len(source)
        total = scratch("padded", (n, height, width, s.c), out.dtype)
        calls: list[Call] = [partial(np.copyto, total, 0)]
        term = scratch("term", (n, s.oh, s.ow, s.c), out.dtype)
        for i in range(s.kh):
            for j in range(s.kw):
                place = _window(total, s, i, j, s.oh)
                for m in range(multiplier):
                    calls.append(partial(np.multiply, source[..., m], taps[i, j, :, m], out=term))
                    calls.append(partial(np.add, place, term, out=place))
        calls.append(partial(np.copyto, x[block.images], total[:, top : top + s.h, left : left + s.w]))
        return calls

    parallel_calls(plan, s.blocks(_position_bytes(s, out.dtype), whole_images=True))


def weight_grad(g: Array, x: Array, s: Geometry, dtype: np.dtype[Any]) -> Array:
    """Return the gradient of shape (O, 1, kh, kw)."""
    multiplier = s.o // s.c
    blocks = s.blocks(_position_bytes(s, dtype))
    sums = empty((len(blocks), s.kh, s.kw, s.o), dtype)

    def plan(number: int) -> list[Call]:
        calls: list[Call] = []
        block = blocks[number]
        rows = channels_last(g[block.images, :, block.rows])
        height = rows.shape[1]
        source = padded(x, s, block, calls, planes=False)[..., None]
        rows = rows.reshape(*rows.shape[:3], s.c, multiplier)
        term = scratch("term", rows.shape, dtype)
        for i in range(s.kh):
            for j in range(s.kw):
                calls.append(partial(np.multiply, _window(source, s, i, j, height), rows, out=term))
                calls.append(partial(np.add.reduce, term.reshape(-1, s.o), axis=0, out=sums[number, i, j]))
        return calls

    parallel_calls(plan, list(range(len(blocks))))
    return np.ascontiguousarray(sums.sum(axis=0, dtype=dtype).transpose(2, 0, 1)).reshape(s.weight_shape)
