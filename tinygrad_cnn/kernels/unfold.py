"""Patches of an image as columns, and its adjoint, which adds columns up to an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.threads import Call, parallel_calls
from tinygrad_cnn.kernels.windows import Axis, axes, check_shape, image_blocks

__all__ = ["fold", "unfold"]

Array = NDArray[Any]
Pair = tuple[int, int]
Place = tuple[slice, slice, slice, slice]

_ALL = slice(None)


def _taps(rows: Axis, columns: Axis) -> Iterator[tuple[int, int, Place, Place]]:
    """For each tap (i, j): the windows in which it falls inside the image, and where it falls."""
    for (i, down), (j, across) in itertools.product(enumerate(rows.taps), enumerate(columns.taps)):
        yield i, j, (_ALL, _ALL, down[0], across[0]), (_ALL, _ALL, down[1], across[1])


def unfold(x: Array, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Array:
    """Return the windows of (N, C, H, W) as columns: (N, C · kh · kw, OH · OW); outside of the image is 0."""
    rows, columns = axes("unfold", x.shape, kernel, stride, padding, dilation, False)
    n, c = x.shape[:2]
    result = buffers.empty((n, c, *kernel, rows.count, columns.count), x.dtype)

    def plan(part: slice) -> list[Call]:
        calls: list[Call] = []
        for i, j, windows, places in _taps(rows, columns):
            target, source = result[part, :, i, j], x[part][places]
            if source.shape != target.shape:
                calls.append(partial(np.copyto, target, target.dtype.type(0)))
            calls.append(partial(np.copyto, target[windows], source))
        return calls

    parallel_calls(plan, image_blocks(result))
    return result.reshape(n, c * kernel[0] * kernel[1], rows.count * columns.count)


def fold(g: Array, size: Pair, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Array:
    """Return the sum of columns (N, C · kh · kw, OH · OW) laid back to where `unfold` takes them from."""
    n, c = g.shape[0], g.shape[1] // (kernel[0] * kernel[1])
    rows, columns = axes("fold", (n, c, *size), kernel, stride, padding, dilation, False)
    check_shape("fold", "columns", g, (n, c * kernel[0] * kernel[1], rows.count * columns.count))
    source = g.reshape(n, c, *kernel, rows.count, columns.count)
    result = buffers.empty((n, c, *size), g.dtype)

    def plan(part: slice) -> list[Call]:
        target = result[part]
        calls: list[Call] = [partial(np.copyto, target, target.dtype.type(0))]
        for i, j, windows, places in _taps(rows, columns):
            place = target[places]
            calls.append(partial(np.add, place, source[part, :, i, j][windows], out=place))
        return calls

    parallel_calls(plan, image_blocks(source))
    return result
