"""Reading and writing at given positions of (H, W) planes: what pooling that picks its elements is made of.

A position is ``h * W + w``, one array of them for each image and channel. In memory such an element lies at
``position * step + base``, with step 1 in channels-first and C in channels-last memory; so one flat index serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.layouts import contiguous
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["Planes", "add", "is_channels_last", "put", "take", "take_last"]

Array = NDArray[Any]

# Positions in a block of images, and from which number on a second thread pays: each takes some nanoseconds.
_BLOCK = 1 << 18
_WORTH_SHARING = 1 << 14


def is_channels_last(x: Array) -> bool:
    """Whether (N, C, ...) is a view of contiguous (N, ..., C) memory."""
    return not x.flags.c_contiguous and x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous


class Planes:
    """Where the planes of (N, C, H, W) arrays lie, in one of the two layouts."""

    def __init__(self, shape: tuple[int, ...], channels_last: bool) -> None:
        self.shape, self.channels_last = shape, channels_last
        channels, plane = shape[1], shape[2] * shape[3]
        self.step = channels if channels_last else 1
        self.base = np.arange(channels) if channels_last else np.arange(channels)[:, None, None] * plane
        self.image = channels * plane

    @property
    def axes(self) -> tuple[int, int]:
        """The axes of rows and of columns, in the order of memory."""
        return (1, 2) if self.channels_last else (2, 3)

    def in_memory(self, x: Array) -> Array:
        """View (N, C, H, W) with its axes in the order of memory."""
        return x.transpose(0, 2, 3, 1) if self.channels_last else x

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an uninitialised (N, C, H, W) array in this layout."""
        n, c, h, w = shape
        return buffers.empty_channels_last((n, c, h, w), dtype) if self.channels_last else buffers.empty(shape, dtype)

    def flat(self, x: Array) -> Array:
        """Return (N, H · W · C) or (N, C · H · W), the memory of each image; a view if `x` has this layout."""
        return contiguous(self.in_memory(x)).reshape(x.shape[0], self.image)

    def index(self, positions: Array, calls: list[Call]) -> Array:
        """Return the flat index of positions, axes in the order of memory, into the memory of as many images.

        It is in scratch memory, and to be written by `calls`.
        """
        index = buffers.scratch("index", positions.shape, np.intp)
        # Written out for an image, so that it is added in one long run.
        base = buffers.scratch("base", positions.shape[1:], np.intp)
        calls += [
            partial(np.copyto, base, self.base),
            partial(np.multiply, positions, self.step, out=index),
            partial(np.add, index, base, out=index),
            partial(np.add, index, self.images(len(positions)), out=index),
        ]
        return index

    def images(self, count: int) -> Array:
        """Return where the memory of each of so many images begins: (count, 1, 1, 1)."""
        return (np.arange(count) * self.image).reshape(count, 1, 1, 1)

    def each(self, positions: Array, follow: Callable[[slice, Array], list[Call]]) -> None:
        """Do what ``follow(images, index)`` says for blocks of images, given the index into the memory of the block."""
        where = self.in_memory(positions)

        def plan(part: slice) -> list[Call]:
            calls: list[Call] = []
            index = self.index(where[part], calls)
            return [*calls, *follow(part, index)]

        count = max(-(-positions.size // _BLOCK), min(2, positions.size // _WORTH_SHARING))
        parallel_calls(plan, balanced(self.shape[0], count))


def take(x: Array, positions: Array) -> Array:
    """Return what (N, C, H, W) has at the positions (N, C, OH, OW)."""
    planes = Planes(x.shape, is_channels_last(x))
    source, result = planes.flat(x), planes.empty(positions.shape, x.dtype)
    target = planes.in_memory(result)

    def follow(part: slice, index: Array) -> list[Call]:
        # Without "clip" it goes through a buffer.
        return [partial(np.take, source[part], index, out=target[part], mode="clip")]

    planes.each(positions, follow)
    return result


def add(values: Array, positions: Array, size: tuple[int, int]) -> Array:
    """Return zeros (N, C, *size) with (N, C, OH, OW) added at the positions: the adjoint of `take`."""
    planes = Planes((*values.shape[:2], *size), is_channels_last(values))
    source, result = planes.in_memory(values), planes.empty(planes.shape, values.dtype)
    target = planes.flat(result)

    def follow(part: slice, index: Array) -> list[Call]:
        memory = target[part].reshape(-1)
        return [
            partial(memory.fill, 0),
            partial(np.add.at, memory, index.reshape(-1), source[part].reshape(-1)),
        ]

    planes.each(positions, follow)
    return result


def put(values: Array, positions: Array, size: tuple[int, int]) -> Array:
    """Return zeros (N, C, *size) with (N, C, OH, OW) at the positions; where one is repeated, the last value."""
    planes = Planes((*values.shape[:2], *size), is_channels_last(values))
    source, result = planes.in_memory(values), planes.empty(planes.shape, values.dtype)
    target = planes.flat(result)

    def follow(part: slice, index: Array) -> list[Call]:
        memory = target[part].reshape(-1)
        return [partial(memory.fill, 0), partial(memory.__setitem__, index, source[part])]

    planes.each(positions, follow)
    return result


def take_last(x: Array, positions: Array) -> Array:
    """As `take`, but where a position is repeated, 0 for all of them but the last: the adjoint of `put`."""
    planes = Planes(x.shape, is_channels_last(x))
    source, result = planes.flat(x), planes.empty(positions.shape, x.dtype)
    target = planes.in_memory(result)

    def follow(part: slice, index: Array) -> list[Call]:
        order = np.arange(index.size, dtype=np.int32).reshape(index.shape)
        last = buffers.scratch("last", (source[part].size,), np.int32)
        found, repeated = (
            buffers.scratch("found", index.shape, np.int32),
            buffers.scratch("repeated", index.shape, bool),
        )
        return [
            partial(np.take, source[part], index, out=target[part], mode="clip"),
            partial(last.__setitem__, index, order),
            partial(np.take, last, index, out=found, mode="clip"),
            partial(np.not_equal, found, order, out=repeated),
            partial(np.copyto, target[part], 0, where=repeated),
        ]

    planes.each(positions, follow)
    return result
