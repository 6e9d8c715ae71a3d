"""Average pooling and its adjoint."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, scratch_like
from tinygrad_cnn.kernels.threads import Call, parallel_calls
from tinygrad_cnn.kernels.windows import Axis, axes, check_shape, image_blocks, reduce_windows

__all__ = ["avg_pool2d", "avg_pool2d_grad"]

Array = NDArray[Any]
Pair = tuple[int, int]

# Channels: up to so many are so few neighbours in memory that whole rows are put together faster.
_FEW_CHANNELS = 8


def _divisor(
    rows: Axis, columns: Axis, count_include_pad: bool, divisor_override: int | None, dtype: Any
) -> Array | None:
    """Return what each window's sum is divided by, broadcastable to (OH, OW), or None for 1."""
    if divisor_override is not None:
        if divisor_override == 0:
            raise ValueError("avg_pool2d: divisor_override expects an integer other than 0 but got 0")
        return None if divisor_override == 1 else np.asarray(divisor_override, dtype)
    sizes = []
    for axis in (rows, columns):
        start = np.arange(axis.count) * axis.stride - axis.padding
        stop = np.minimum(start + axis.kernel, axis.size + axis.padding)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, axis.size)
        sizes.append(stop - start)
    divisor = np.multiply.outer(*sizes).astype(dtype)
    return divisor.reshape(-1)[0] if (divisor == divisor.flat[0]).all() else divisor


def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """Return the mean of each window: (N, C, H, W) -> (N, C, OH, OW). Integers become float32.

    The sum is divided by `divisor_override` or else by the number of elements in the window, those in the padding
    included if `count_include_pad`; what `ceil_mode` adds beyond the padding never counts.
    """
    if x.dtype.kind != "f":
        x = x.astype(np.float32)
    rows, columns = axes("avg_pool2d", x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    wide = x.astype(np.float32) if x.dtype == np.float16 else x  # where sums do not overflow
    divisor = _divisor(rows, columns, count_include_pad, divisor_override, wide.dtype)
    last = None if divisor is None else (np.divide, divisor)
    return reduce_windows(wide, rows, columns, np.add, 0, last).astype(x.dtype, copy=False)


def avg_pool2d_grad(
    g: Array,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """Return the gradient of `avg_pool2d` by its input: (N, C, OH, OW) -> (N, C, H, W)."""
    name = "avg_pool2d_grad"
    rows, columns = axes(name, input_shape, kernel, stride, padding, (1, 1), ceil_mode)
    check_shape(name, "gradient", g, (*input_shape[:2], rows.count, columns.count))
    divisor = _divisor(rows, columns, count_include_pad, divisor_override, g.dtype)
    result = empty_like(g, shape=tuple(input_shape))
    tiled = rows.tiles and columns.tiles
    order = memory_order(result)
    narrow = order == (0, 1, 2, 3) or (order == (0, 2, 3, 1) and g.shape[1] <= _FEW_CHANNELS)

    def plan(part: slice) -> list[Call]:
        target = result[part]
        calls: list[Call] = []
        share = g[part]
        if divisor is not None:
            share = scratch_like("share", g[part], 1)[0]
            calls.append(partial(np.divide, g[part], divisor, out=share))
        if tiled and narrow:
            calls.extend(_tile_rows(share, target, order, rows.kernel, columns.kernel))
            return calls
        if tiled:
            tiles = target.reshape(*target.shape[:2], rows.count, rows.kernel, columns.count, columns.kernel)
            calls.append(partial(np.copyto, tiles, share[:, :, :, None, :, None]))
            return calls
        lines = scratch_like("lines", share, 1, shape=(*share.shape[:3], columns.size))[0]
        calls.append(partial(np.copyto, lines, 0))
        for windows, places in columns.taps:
            place = lines[:, :, :, places]
            calls.append(partial(np.add, place, share[:, :, :, windows], out=place))
        calls.append(partial(np.copyto, target, 0))
        for windows, places in rows.taps:
            place = target[:, :, places]
            calls.append(partial(np.add, place, lines[:, :, windows], out=place))
        return calls

    parallel_calls(plan, image_blocks(result))
    return result


def _tile_rows(x: Array, out: Array, order: tuple[int, ...], height: int, width: int) -> list[Call]:
    """Return the calls that repeat each element of `x` in tiles of so many rows and columns of `out`.

    For tiles whose rows have few neighbours in memory: `take` puts whole rows of `out` together, which are then copied.
    """
    inner = x.shape[1] if order[-1] == 1 else 1
    row = x.shape[3] * inner
    source = x.transpose(order).reshape(-1, row)
    index = np.arange(row).reshape(-1, inner).repeat(width, axis=0).reshape(-1)
    lines = scratch("lines", (len(source), row * width), x.dtype)
    tiles = out.transpose(order).reshape(len(source), height, row * width)
    return [partial(np.take, source, index, 1, lines, "clip"), partial(np.copyto, tiles, lines[:, None])]
