"""The gradient of a convolution by its input, which is the transposed convolution.

A 1 × 1 kernel with stride 1 needs one product, and so does a kernel of the input's size. Otherwise there are two ways.

With stride 1 the gradient's rows are padded to the pitch of the padded input, with kw - 1 zeros between them. Then kw
neighbours in a row are neighbours in memory, and a flat view of the buffer, cut into pieces of kw · o numbers from
offset r · o, is a legal matrix whose rows are the patches of the positions r, r + kw, r + 2 kw ... So kw products,
without any patch matrix, have already summed over kw and o; kh shifted additions remain. With few channels the terms
of these lie one after the other, so that whole rows are added instead of a pixel's few numbers.

In general each output position spreads its patch: one product gives the patches of all positions, and
kh · kw strided additions bring them home. With several groups and stride 1 these additions take longer than patches of
the gradient do; that is a convolution, and up to `conv2d_input_grad`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.gemm import matmul, small_products
from tinygrad_cnn.kernels.geometry import Block, Geometry
from tinygrad_cnn.kernels.layouts import strided
from tinygrad_cnn.kernels.patches import channels_last, channels_last_block
from tinygrad_cnn.kernels.threads import Call

__all__ = ["input_grad"]

Array = NDArray[Any]

# Numbers of a pixel: fewer are added row by row.
_FEW_CHANNELS = 16


def input_grad(g: Array, w: Array, s: Geometry, out: Array) -> None:
    """Write the gradient of shape (N, C, H, W) into `out`, whose memory is channels last."""
    unpadded = s.groups == 1 and s.padding == ((0, 0), (0, 0))
    if unpadded and s.pointwise:
        _by_positions(g, w, s, channels_last(out))
    elif unpadded and (s.kh, s.kw) == (s.h, s.w):
        _by_images(g, w, s, channels_last(out))
    elif s.stride == (1, 1) and s.dilation == (1, 1) and s.groups == 1:
        _by_rows(g, w, s, channels_last(out))
    else:
        _by_patches(g, w, s, channels_last(out))


def _by_positions(g: Array, w: Array, s: Geometry, out: Array) -> None:
    matrix = np.ascontiguousarray(w.reshape(s.o, s.c), out.dtype)

    def plan(block: Block) -> list[Call]:
        calls: list[Call] = []
        rows = channels_last_block(g, block, "gradient", calls).reshape(-1, s.o)
        calls.append(partial(np.matmul, rows, matrix, out=out[block.images, block.rows].reshape(-1, s.c)))
        return calls

    parallel_products(plan, s.blocks((s.c + s.o) * out.dtype.itemsize))


def _by_images(g: Array, w: Array, s: Geometry, out: Array) -> None:
    """The output is 1 × 1, and the convolution a product of whole images."""
    matrix = np.ascontiguousarray(w.transpose(0, 2, 3, 1), out.dtype).reshape(s.o, -1)
    matmul(np.ascontiguousarray(g.reshape(s.n, s.o), out.dtype), matrix, out=out.reshape(s.n, -1))


def _by_rows(g: Array, w: Array, s: Geometry, out: Array) -> None:
    pitch = s.ow + s.kw - 1
    (top, _), (left, _) = s.padding
    # One product for all kernel rows, (kw · o, kh · c); with few channels one for each, (kh, kw · o, c).
    rows_apart = s.c < _FEW_CHANNELS
    order = (2, 3, 0, 1) if rows_apart else (3, 0, 2, 1)
    # The taps of a row in reverse: position q sees g[q - kw + 1] ... g[q].
    matrix = np.ascontiguousarray(w[:, :, :, ::-1].transpose(order), out.dtype)
    matrix = matrix.reshape((s.kh, -1, s.c) if rows_apart else (1, -1, s.kh * s.c))

    def plan(block: Block) -> list[Call]:
        calls: list[Call] = []
        first, last = block.rows.start, block.rows.stop  # rows of x
        low, high = max(first + top - s.kh + 1, 0), min(last + top, s.oh)  # rows of g that reach them
        part = out[block.images, first:last]
        if low >= high:
            return [partial(np.copyto, part, 0)]
        rows = _with_pitch(channels_last(g[block.images, :, low:high]), s.kw, out.dtype, calls)
        n, height = part.shape[0], high - low
        positions = n * height * pitch
        count = -(-positions // s.kw)
        sums = scratch("sums", (len(matrix), count * s.kw, matrix.shape[2]), out.dtype)
        step = s.o * out.itemsize
        views = strided(rows, (s.kw, 1, count, s.kw * s.o), (step, 0, s.kw * step, out.itemsize))  # from each r · o
        targets = sums.reshape(len(matrix), count, s.kw, -1).transpose(2, 0, 1, 3)
        calls += small_products(views, matrix, targets)
        terms = sums[:, :positions].reshape(len(matrix), n, height, pitch, -1, s.c)[:, :, :, left : left + s.w]
        taps = terms[..., 0, :] if rows_apart else terms[0].transpose(3, 0, 1, 2, 4)
        # x row h gets tap i of the gradient's row h + top - i
        calls += _sum_of_rows(taps, low - top - first, part)
        return calls

    blocks = s.input_blocks(s.kh * s.c * out.dtype.itemsize + s.o * out.dtype.itemsize)
    parallel_products(plan, blocks)


def _with_pitch(g: Array, kw: int, dtype: Any, calls: list[Call]) -> Array:
    """Return (n, rows, ow, o) flat, with kw - 1 zero positions before each row and after the last."""
    n, rows, ow, o = g.shape
    pitch = ow + kw - 1
    body = n * rows * pitch * o
    # up to kw - 1 positions are read beyond the end, and a last piece may be incomplete
    flat = scratch("rows", (body + 2 * kw * o,), dtype)
    frame = flat[:body].reshape(n, rows, pitch, o)
    gap, inside = frame[:, :, : kw - 1], frame[:, :, kw - 1 :]
    calls += [partial(np.copyto, gap, 0), partial(np.copyto, inside, g), partial(np.copyto, flat[body:], 0)]
    return flat


def _sum_of_rows(taps: Array, shift: int, out: Array) -> list[Call]:
    """Return what lets ``out[:, r]`` be the sum of ``taps[i, :, r - shift - i]`` over i."""
    calls: list[Call] = []
    for target, sources in _additions(out.shape[1], taps.shape[2], shift, len(taps)):
        place = out[:, target]
        values = [place if tap is None else taps[tap, :, rows] for tap, rows in sources]
        if len(values) == 2:
            calls.append(partial(np.add, *values, out=place))
        else:
            calls.append(partial(np.copyto, place, values[0] if values else 0))
    return calls


@lru_cache(maxsize=512)
def _additions(height: int, length: int, shift: int, taps: int) -> list[tuple[slice, list[tuple[int | None, slice]]]]:
    """For some rows of an image of `height` rows, one after the other: up to two terms that are added up there.

    A term is rows of a tap, which has `length` of them, or, as None, what the image has there already.
    """
    lows = [max(shift + tap, 0) for tap in range(taps)]
    highs = [min(shift + tap + length, height) for tap in range(taps)]
    first, *others = (tap for tap in range(taps) if lows[tap] < highs[tap])

    def rows_of(tap: int, low: int, high: int) -> tuple[int | None, slice]:
        return tap, slice(low - shift - tap, high - shift - tap)

    low, high = lows[first], highs[first]
    second = others[0] if others else first
    start, stop = (lows[second], highs[second]) if others else (high, high)
    # Where the first two meet, one addition writes what a copy and an addition would write twice.
    steps: list[tuple[slice, list[tuple[int | None, slice]]]] = [
        (slice(0, low), []),
        (slice(stop, height), []),
        (slice(low, start), [rows_of(first, low, start)]),
        (slice(high, stop), [rows_of(second, high, stop)]),
        (slice(start, high), [rows_of(first, start, high), rows_of(second, start, high)]),
    ]
    for tap in others[1:]:
        rows = slice(lows[tap], highs[tap])
        steps.append((rows, [(None, rows), rows_of(tap, lows[tap], highs[tap])]))
    return [(rows, terms) for rows, terms in steps if rows.start < rows.stop]


def _by_patches(g: Array, w: Array, s: Geometry, out: Array) -> None:
    depth = s.c // s.groups
    (top, _), (left, _) = s.padding
    (sh, sw), (dh, dw) = s.stride, s.dilation
    height, width = s.padded_size
    matrix = w.reshape(s.groups, -1, depth, s.kh, s.kw).transpose(0, 1, 3, 4, 2)
    matrix = np.ascontiguousarray(matrix, out.dtype).reshape(s.groups, -1, s.patch_size)

    def plan(block: Block) -> list[Call]:
        calls: list[Call] = []
        rows = channels_last_block(g, block, "gradient", calls).reshape(-1, s.groups, s.o // s.groups)
        spread = scratch("patches", (s.groups, len(rows), s.patch_size), out.dtype)
        calls.append(partial(np.matmul, rows.transpose(1, 0, 2), matrix, out=spread))
        part = out[block.images]
        n = len(part)
        taps = spread.reshape(s.groups, n, s.oh, s.ow, s.kh, s.kw, depth).transpose(1, 2, 3, 4, 5, 0, 6)
        total = scratch("padded", (n, height, width, s.groups, depth), out.dtype)
        calls.append(partial(np.copyto, total, 0))
        for i in range(s.kh):
            for j in range(s.kw):
                y, x = i * dh, j * dw
                place = total[:, y : y + sh * s.oh : sh, x : x + sw * s.ow : sw]
                calls.append(partial(np.add, place, taps[:, :, :, i, j], out=place))
        inside = total.reshape(n, height, width, s.c)[:, top : top + s.h, left : left + s.w]
        calls.append(partial(np.copyto, part, inside))
        return calls

    parallel_products(plan, s.blocks(s.patch_size * s.groups * out.dtype.itemsize, whole_images=True))
