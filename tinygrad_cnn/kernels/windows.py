"""Sliding windows for pooling: where their taps fall, and reductions over them.

A window is visited tap by tap: tap (i, j) of all windows at once is a strided view of the input, so every step is one
NumPy operation over a block of images that stays in cache. Views have any layout; results have the input's.

Nothing is padded: a tap is applied to those windows only for which it falls inside the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like, scratch_like
from tinygrad_cnn.kernels.shapes import balanced, output_size
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["Axis", "axes", "check_shape", "image_blocks", "reduce_windows"]

Array = NDArray[Any]
Pair = tuple[int, int]

# Elements of the input in a block of images.
_BLOCK = 1 << 20
_WORTH_SHARING = 1 << 16


@dataclass(frozen=True, slots=True)
class Axis:
    """The windows along one dimension."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int

    @lru_cache(maxsize=512)  # noqa: B019  of an object that is a few numbers
    def taps(self) -> list[tuple[slice, slice]]:
        """For each tap: the windows in which it falls inside the input, and where it falls."""
        result = []
        for tap in range(self.kernel):
            offset = tap * self.dilation - self.padding
            first = max(0, -(offset // self.stride))
            last = min(self.count, (self.size - 1 - offset) // self.stride + 1)
            last = max(first, last)
            start = first * self.stride + offset
            stop = start + (last - first - 1) * self.stride + 1 if last > first else start
            result.append((slice(first, last), slice(start, stop, self.stride)))
        return result

    @property
    def disjoint(self) -> bool:
        """Whether no element is in two windows."""
        return self.stride > (self.kernel - 1) * self.dilation

    @property
    def tiles(self) -> bool:
        """Whether every element is in exactly one window, and these have no gaps and no padding."""
        return self.padding == 0 and self.dilation == 1 and self.stride == self.kernel == self.size / self.count


@lru_cache(maxsize=512)
def axes(
    name: str, shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Axis, Axis]:
    """Return the windows along height and width; what does not fit raises `ValueError` in the name of `name`."""
    if len(shape) != 4:
        raise ValueError(f"{name}: input expects 4 dimensions but got shape {shape}")
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: kernel, stride and dilation expect positive and padding non-negative integers but got "
            f"kernel {kernel}, stride {stride}, dilation {dilation}, padding {padding}"
        )
    found = []
    for size, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation, strict=True):
        count = output_size(size, k, s, (p, p), d, ceil_mode)
        if count < 1:
            raise ValueError(
                f"{name}: kernel expects a size up to that of the padded input but got kernel {kernel}, "
                f"input {shape}, padding {padding}, dilation {dilation}"
            )
        found.append(Axis(size, k, s, p, d, count))
    return found[0], found[1]


def image_blocks(x: Array) -> list[slice]:
    """Cut the images of `x` into blocks of about `_BLOCK` elements; two as soon as a second thread pays."""
    return balanced(x.shape[0], max(-(-x.size // _BLOCK), min(2, x.size // _WORTH_SHARING)))


def _along(x: Array, out: Array, windows: Axis, axis: int, function: np.ufunc, start: Any, calls: list[Call]) -> None:
    """Append what reduces the windows along `axis` (2 or 3) by `function`, which has the neutral element `start`."""

    def at(array: Array, part: slice) -> Array:
        return array[:, :, part] if axis == 2 else array[:, :, :, part]

    taps = windows.taps()
    full = [place for part, place in taps if part == slice(0, windows.count)]
    rest = [(part, place) for part, place in taps if part != slice(0, windows.count)]
    if len(full) > 1:
        calls.append(partial(function, at(x, full[0]), at(x, full[1]), out=out))
    else:
        calls.append(partial(np.copyto, out, at(x, full[0]) if full else start))
    calls.extend(partial(function, out, at(x, place), out=out) for place in full[2:])
    calls.extend(partial(function, at(out, part), at(x, place), out=at(out, part)) for part, place in rest)


def reduce_windows(x: Array, rows: Axis, columns: Axis, function: np.ufunc, start: Any, divisor: Any = None) -> Array:
    """Reduce each window by `function`, whose neutral element is `start`, and divide: (N, C, OH, OW)."""
    y = empty_like(x, shape=(*x.shape[:2], rows.count, columns.count))

    def plan(part: slice) -> list[Call]:
        calls: list[Call] = []
        source, target = x[part], y[part]
        lines = scratch_like("lines", source, 1, shape=(*source.shape[:2], rows.count, columns.size))[0]
        _along(source, lines, rows, 2, function, start, calls)
        _along(lines, target, columns, 3, function, start, calls)
        if divisor is not None:
            calls.append(partial(np.divide, target, divisor, out=target))
        return calls

    parallel_calls(plan, image_blocks(x))
    return y


def check_shape(name: str, argument: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless `array` has the shape."""
    if array.shape != shape:
        raise ValueError(f"{name}: {argument} expects shape {shape} but got {array.shape}")
