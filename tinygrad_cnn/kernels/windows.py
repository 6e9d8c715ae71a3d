"""Sliding windows for pooling: where their taps fall, and reductions over them.

A window is visited tap by tap: tap (i, j) of all windows at once is a strided view of the input, so every step is one
NumPy operation over a block of images that stays in cache. Views have any layout; results have the input's.

Nothing is padded: a tap is applied to those windows only for which it falls inside the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, ready
from tinygrad_cnn.kernels.shapes import as_slice, balanced, output_size
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = [
    "ALL",
    "Axis",
    "Cover",
    "Windows",
    "along",
    "axes",
    "check_shape",
    "image_blocks",
    "read",
    "reduce_seen",
    "reduce_windows",
]

Array = NDArray[Any]
Pair = tuple[int, int]

# All windows along a dimension.
ALL = slice(None)
# Elements of the input in a block of images.
_BLOCK = 1 << 20
_WORTH_SHARING = 1 << 16


@dataclass(frozen=True)
class Axis:
    """Evenly spaced windows along one dimension."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int

    @cached_property
    def taps(self) -> list[tuple[slice, slice]]:
        """For each tap: the windows in which it falls inside the input (`ALL` or some), and where it falls."""
        result = []
        for tap in range(self.kernel):
            offset = tap * self.dilation - self.padding
            first = max(0, -(offset // self.stride))
            last = min(self.count, (self.size - 1 - offset) // self.stride + 1)
            last = max(first, last)
            start = first * self.stride + offset
            stop = start + (last - first - 1) * self.stride + 1 if last > first else start
            windows = ALL if (first, last) == (0, self.count) else slice(first, last)
            result.append((windows, slice(start, stop, self.stride)))
        return result

    @cached_property
    def starts(self) -> Array:
        """Where each window has its first tap, which may be outside the input."""
        return np.arange(self.count) * self.stride - self.padding

    @cached_property
    def last(self) -> Array:
        """The last tap of each window."""
        return np.full(self.count, self.kernel - 1)

    @cached_property
    def empty(self) -> list[int]:
        """The windows that have no tap inside the input."""
        seen = [range(*some.indices(self.count)) for some, _ in self.taps]
        return sorted(set(range(self.count)).difference(*seen))

    @cached_property
    def whole(self) -> bool:
        """Whether there is a single window, of everything."""
        return self.count == self.dilation == 1 and self.padding == 0 and self.kernel == self.size

    @cached_property
    def disjoint(self) -> bool:
        """Whether no element is in two windows."""
        return self.stride > (self.kernel - 1) * self.dilation

    @cached_property
    def apart(self) -> bool:
        """Whether windows are disjoint, without gaps inside, and all inside the input."""
        inside = self.padding == 0 and (self.count - 1) * self.stride + self.kernel <= self.size
        return inside and self.disjoint and self.dilation == 1

    @cached_property
    def tiles(self) -> bool:
        """Whether every element is in exactly one window, and these have no gaps and no padding."""
        return self.padding == 0 and self.dilation == 1 and self.stride == self.kernel == self.size / self.count


@dataclass(frozen=True)
class Cover:
    """Windows from ``floor(i * size / count)`` to ``ceil((i + 1) * size / count)``: they cover a dimension."""

    size: int
    count: int
    stride: ClassVar[int] = 1
    dilation: ClassVar[int] = 1
    empty: ClassVar[list[int]] = []
    disjoint: ClassVar[bool] = False
    apart: ClassVar[bool] = False
    tiles: ClassVar[bool] = False

    @property
    def whole(self) -> bool:
        """Whether there is a single window, of everything."""
        return self.count == 1

    @cached_property
    def starts(self) -> Array:
        """Where each window begins."""
        return np.arange(self.count) * self.size // self.count

    @cached_property
    def last(self) -> Array:
        """The last tap of each window."""
        return -((np.arange(self.count) + 1) * self.size // -self.count) - self.starts - 1

    @cached_property
    def kernel(self) -> int:
        """The number of taps of the longest window."""
        return int(self.last.max(initial=0)) + 1

    @cached_property
    def taps(self) -> list[tuple[slice, slice | Array]]:
        """For each tap: the windows, and where it falls; a window with fewer taps repeats its last one."""
        starts, last = self.starts, self.last
        return [(ALL, as_slice(starts + np.minimum(tap, last))) for tap in range(self.kernel)]


Windows = Axis | Cover


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


def image_blocks(x: Array, worth_sharing: int = _WORTH_SHARING) -> list[slice]:
    """Cut the images of `x` into blocks of about `_BLOCK` elements; two as soon as a second thread pays."""
    return balanced(x.shape[0], max(-(-x.size // _BLOCK), min(2, x.size // worth_sharing)))


def along(x: Array, axis: int, part: Any) -> Array:
    """Return a part of `x` along an axis."""
    return x[(slice(None),) * axis + (part,)]


def read(x: Array, axis: int, place: slice | Array, name: str, calls: list[Call]) -> Array:
    """Return what `x` has at some places along an axis: a view, or scratch memory and in `calls` what fills it.

    For places that are not evenly spaced, `x` must be in row-major memory.
    """
    if isinstance(place, slice):
        return along(x, axis, place)
    copy = buffers.scratch(name, (*x.shape[:axis], len(place), *x.shape[axis + 1 :]), x.dtype)
    calls.append(partial(np.take, x, place, axis, copy, "clip"))  # without "clip" it goes through a buffer
    return copy


def reduce_seen(
    seen: list[tuple[slice, Array]], out: Array, axis: int, function: np.ufunc, start: Any, calls: list[Call]
) -> None:
    """Append what reduces the windows along `axis`, given some of the windows and what they see for each tap."""
    full = [values for some, values in seen if some is ALL]
    if len(full) > 1:
        calls.append(partial(function, full[0], full[1], out=out))
    else:
        calls.append(partial(np.copyto, out, full[0] if full else start))
    for values in full[2:]:
        calls.append(partial(function, out, values, out=out))
    for some, values in seen:
        if some is not ALL:
            target = along(out, axis, some)
            calls.append(partial(function, target, values, out=target))


def reduce_windows(
    x: Array,
    rows: Windows,
    columns: Windows,
    function: np.ufunc,
    start: Any,
    last: tuple[Any, ...] | None = None,
) -> Array:
    """Reduce each window by `function`, whose neutral element is `start`: (N, C, OH, OW).

    Then, if `last` is a function and its further arguments, apply that: ``(np.divide, 4)`` divides by 4.
    """
    y = empty_like(x, shape=(*x.shape[:2], rows.count, columns.count))
    order = memory_order(x)
    down, across = order.index(2), order.index(3)

    def plan(part: slice) -> list[Call]:
        calls: list[Call] = []
        source, target = x[part].transpose(order), y[part].transpose(order)
        lines = buffers.scratch("lines", (*source.shape[:down], rows.count, *source.shape[down + 1 :]), x.dtype)
        for values, windows, axis, out in ((source, rows, down, lines), (lines, columns, across, target)):
            seen = [
                (some, read(values, axis, place, f"tap {tap}", calls)) for tap, (some, place) in enumerate(windows.taps)
            ]
            reduce_seen(seen, out, axis, function, start, calls)
        if last is not None:
            calls.append(ready((last[0], y[part], *last[1:], y[part])))
        return calls

    parallel_calls(plan, image_blocks(x) if y.size else [])
    return y


def check_shape(name: str, argument: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless `array` has the shape."""
    if array.shape != shape:
        raise ValueError(f"{name}: {argument} expects shape {shape} but got {array.shape}")
