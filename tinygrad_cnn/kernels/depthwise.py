"""Depthwise convolution: every group has one input channel (and o / c output channels).

There is nothing to multiply as matrices. `np.einsum` multiplies and adds in one pass, row by row of memory: a row of
outputs stays in the first-level cache while all taps of the kernel are added to it. Its innermost loop should be long,
so the kernel is written out over a row's columns, and with stride 1 a tap covers a whole row, ow · o numbers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.geometry import Block, Geometry
from tinygrad_cnn.kernels.layouts import strided
from tinygrad_cnn.kernels.patches import channels_last, channels_last_block, padded
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["forward", "input_grad", "weight_grad"]

Array = NDArray[Any]


def forward(x: Array, w: Array, bias: Array | None, s: Geometry, out: Array) -> None:
    """Write the convolution of shape (N, O, OH, OW) into `out`, whose memory is channels last."""
    taps = _written_out(_taps(w, s), s.ow, s.stride[1])
    row = None if bias is None else np.tile(bias, s.ow)
    y = channels_last(out)

    def plan(block: Block) -> list[Call]:
        calls: list[Call] = []
        part = y[block.images, block.rows]
        source = _repeated(padded(x, s, block, calls, planes=False), s, "wide", calls)
        target = _in_runs(part, s.stride[1])
        windows = _windows(source, s, (part.shape[1], s.ow), s.stride)
        calls.append(partial(np.einsum, "nrijwc,ijwc->nrwc", windows, taps, out=target))
        if row is not None:
            lines = part.reshape(-1, row.size)
            calls.append(partial(np.add, lines, row, out=lines))
        return calls

    parallel_calls(plan, s.blocks(_position_bytes(s, out.dtype)))


def input_grad(g: Array, w: Array, s: Geometry, out: Array) -> None:
    """Write the gradient of shape (N, C, H, W) into `out`, whose memory is channels last.

    It is a convolution of `g`, with zeros between its elements if it was strided, and the kernel turned by 180 degrees.
    """
    taps = _written_out(_taps(w, s)[::-1, ::-1], s.w, 1)
    x = channels_last(out)
    multiplier = s.o // s.c
    sizes = [n + (k - 1) * d for n, k, d in zip((s.h, s.w), (s.kh, s.kw), s.dilation, strict=True)]
    befores = [(k - 1) * d - pads[0] for k, d, pads in zip((s.kh, s.kw), s.dilation, s.padding, strict=True)]
    places = [
        _spread(count, step, before, size)
        for count, step, before, size in zip((s.oh, s.ow), s.stride, befores, sizes, strict=True)
    ]
    taken, inside = zip(*places, strict=True)

    def plan(block: Block) -> list[Call]:
        part = x[block.images]
        source = scratch("padded", (len(part), *sizes, s.o), out.dtype)
        total = part if multiplier == 1 else scratch("total", (*part.shape[:3], s.o), out.dtype)
        windows = _windows(source, s, (s.h, s.w), (1, 1))
        calls: list[Call] = [
            partial(np.copyto, source, 0),
            partial(np.copyto, source[:, *inside], channels_last(g[block.images])[:, *taken]),
            partial(np.einsum, "nrijwc,ijwc->nrwc", windows, taps, out=_in_runs(total, 1)),
        ]
        if multiplier > 1:
            calls.append(partial(np.add.reduce, total.reshape(*part.shape, multiplier), axis=4, out=part))
        return calls

    parallel_calls(plan, s.blocks(_position_bytes(s, out.dtype), whole_images=True))


def weight_grad(g: Array, x: Array, s: Geometry, dtype: np.dtype[Any]) -> Array:
    """Return the gradient of shape (O, 1, kh, kw)."""
    blocks = s.blocks(_position_bytes(s, dtype))
    # One sum for each number of a run; those of a channel are added up at the end.
    runs = _in_runs(np.empty((1, 1, s.ow, s.o)), s.stride[1]).shape[3] // s.o
    sums = empty((len(blocks), s.kh, s.kw, runs, s.o), dtype)

    def plan(number: int) -> list[Call]:
        calls: list[Call] = []
        block = blocks[number]
        rows = channels_last_block(g, block, "gradient", calls)
        source = _repeated(padded(x, s, block, calls, planes=False), s, "wide", calls)
        windows = _windows(source, s, (rows.shape[1], s.ow), s.stride)
        total = sums[number].reshape(s.kh, s.kw, runs * s.o)
        calls.append(partial(np.einsum, "nrijwc,nrwc->ijc", windows, _in_runs(rows, s.stride[1]), out=total))
        return calls

    parallel_calls(plan, list(range(len(blocks))))
    return np.ascontiguousarray(sums.sum(axis=(0, 3), dtype=dtype).transpose(2, 0, 1)).reshape(s.weight_shape)


def _position_bytes(s: Geometry, dtype: np.dtype[Any]) -> int:
    sh, sw = s.stride
    return 2 * (s.o + s.c * sh * sw) * dtype.itemsize


def _taps(w: Array, s: Geometry) -> Array:
    """(o, 1, kh, kw) -> (kh, kw, o)"""
    return w.reshape(s.o, s.kh, s.kw).transpose(1, 2, 0)


def _in_runs(x: Array, step: int) -> Array:
    """View contiguous (n, h, w, o) as (n, h, 1, w · o), or as it is where the columns of a tap are `step` apart."""
    return x.reshape(*x.shape[:2], 1, -1) if step == 1 else x


def _written_out(taps: Array, columns: int, step: int) -> Array:
    """(kh, kw, o) -> (kh, kw, columns, o), in the runs of `_in_runs`."""
    return _in_runs(np.tile(taps[:, :, None], (1, 1, columns, 1)), step)


def _windows(x: Array, s: Geometry, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Return what each tap sees of contiguous (n, h, w, o): (n, rows, kh, kw, columns, o), in runs; a view."""
    n_step, h_step, w_step, o_step = x.strides
    (rows, columns), (sh, sw), (dh, dw) = size, stride, s.dilation
    columns, run = (1, columns * s.o) if sw == 1 else (columns, s.o)
    shape = (len(x), rows, s.kh, s.kw, columns, run)
    return strided(x, shape, (n_step, sh * h_step, dh * h_step, dw * w_step, sw * w_step, o_step))


def _repeated(x: Array, s: Geometry, name: str, calls: list[Call]) -> Array:
    """Return (n, h, w, c) as contiguous (n, h, w, o), each channel once for each of its outputs."""
    if s.o == s.c and x.flags.c_contiguous:
        return x
    copy = scratch(name, (*x.shape, s.o // s.c), x.dtype)
    calls.append(partial(np.copyto, copy, x[..., None]))
    return copy.reshape(*x.shape[:3], s.o)


def _spread(count: int, step: int, before: int, size: int) -> tuple[slice, slice]:
    """Of `count` things that go to places `before`, `before + step` ...: which of them lie in `size`, and where."""
    first = max(0, -(before // step))
    last = max(first, min(count, (size - 1 - before) // step + 1))
    start = first * step + before
    return slice(first, last), slice(start, start + (last - first - 1) * step + 1 if last > first else start, step)
