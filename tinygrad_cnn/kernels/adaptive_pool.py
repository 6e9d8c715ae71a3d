"""Where the maxima of a grid of windows stand that covers the image, whatever its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.interpolate import as_slice
from tinygrad_cnn.kernels.positions import Planes, is_channels_last
from tinygrad_cnn.kernels.threads import parallel
from tinygrad_cnn.kernels.windows import image_blocks

__all__ = ["adaptive_max_positions"]

Array = NDArray[Any]


def _taps(outputs: int, size: int) -> list[Array]:
    """The windows of rows ``floor(i*size/outputs)`` to ``ceil((i+1)*size/outputs)``, tap by tap.

    A window that has fewer taps than another repeats its last one.
    """
    i = np.arange(outputs)
    start, stop = i * size // outputs, -((i + 1) * size // -outputs)
    return [np.minimum(start + tap, stop - 1) for tap in range(int((stop - start).max(initial=1)))]


def _at(x: Array, tap: Array, axis: int) -> Array:
    """What `x` has at a tap of all windows along an axis; a view if they are evenly spaced."""
    place = as_slice(tap)
    return x[(slice(None),) * axis + (place,)] if isinstance(place, slice) else np.take(x, place, axis)


def _maxima(x: Array, taps: list[Array], axis: int) -> Array:
    """The maxima of the windows along an axis; NaN counts as larger than everything."""
    best: Array = np.array(_at(x, taps[0], axis))
    for tap in taps[1:]:
        np.maximum(best, _at(x, tap, axis), out=best)
    return best


def _find(best: Array, taps: list[Array], value_at: Callable[[Array], Array]) -> Array:
    """At which of the taps the value is `best`: the first of equal ones, or the last NaN, as in PyTorch."""
    found = np.empty(best.shape, np.int64)
    found[...] = taps[-1]
    for tap in reversed(taps[:-1]):
        np.copyto(found, tap, where=value_at(tap) == best)
    if best.dtype.kind == "f" and np.isnan(best).any():
        for tap in taps:
            np.copyto(found, tap, where=np.isnan(value_at(tap)))
    return found


def adaptive_max_positions(x: Array, size: tuple[int, int]) -> Array:
    """Return where in its (H, W) plane each of the windows has its maximum: ``h * W + w`` as int64, (N, C, *size)."""
    planes = Planes(x.shape, is_channels_last(x))
    flat = planes.flat(x)
    memory = flat.reshape(planes.in_memory(x).shape)
    result = planes.empty((*x.shape[:2], *size), np.int64)
    target = planes.in_memory(result)
    down, across = (1, 2) if planes.channels_last else (2, 3)
    rows, columns = _taps(size[0], x.shape[2]), _taps(size[1], x.shape[3])

    def along(tap: Array, axis: int) -> Array:
        return tap.reshape([-1 if k == axis else 1 for k in range(4)])

    def compute(part: slice) -> None:
        # The maxima of the rows of the windows, then the row that has the largest, then its column.
        lines = _maxima(memory[part], columns, across)
        best = _maxima(lines, rows, down)
        row = _find(best, [along(tap, down) for tap in rows], lambda tap: np.take(lines, tap.reshape(-1), down))
        row *= x.shape[3]
        source = flat[part].reshape(-1)
        column = _find(best, [along(tap, across) for tap in columns], lambda tap: source[planes.index(row + tap)])
        np.add(row, column, out=target[part])

    parallel(compute, image_blocks(x) if result.size else [])
    return result
