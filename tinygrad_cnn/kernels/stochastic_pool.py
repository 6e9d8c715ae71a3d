"""A random element of each window, drawn with probabilities in proportion to the elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like, scratch_like
from tinygrad_cnn.kernels.threads import parallel
from tinygrad_cnn.kernels.windows import axes, check_shape, image_blocks, reduce_windows

__all__ = ["stochastic_positions"]

Array = NDArray[Any]
Pair = tuple[int, int]


def stochastic_positions(x: Array, draws: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Array:
    """Return where in its (H, W) plane each window's element stands, ``h * W + w`` as int64, (N, C, OH, OW).

    The element is the one at which the running sum of the window, tap by tap, exceeds ``draw * (sum of the window)``.
    A window that holds NaN gives a NaN; one without a positive element gives any of its elements.

    Parameters
    ----------
    x : (N, C, H, W) array, not negative
    draws : (N, C, OH, OW) array, from 0 to 1 without 1
    """
    name = "stochastic_positions"
    rows, columns = axes(name, x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    total = reduce_windows(x, rows, columns, np.add, 0)
    check_shape(name, "draws", draws, total.shape)
    result = empty_like(total, np.dtype(np.int64))
    plane = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    inside = np.ix_(_first(rows), _first(columns))

    def compute(part: slice) -> None:
        image, target = x[part], result[part]
        target[...] = plane[inside]
        threshold = total[part]
        spoilt = np.isnan(threshold)
        np.multiply(threshold, draws[part], out=threshold)
        before = scratch_like("before", threshold, 1)[0]
        before[...] = 0
        for down in rows.taps:
            for across in columns.taps:
                windows, places = (..., down[0], across[0]), (..., down[1], across[1])
                value = image[places]
                # The last such tap stays: its running sum is the first to exceed the threshold.
                drawn = (before[windows] <= threshold[windows]) & (value > 0)
                drawn |= spoilt[windows] & np.isnan(value)
                np.copyto(target[windows], plane[places], where=drawn)
                np.add(before[windows], value, out=before[windows])

    parallel(compute, image_blocks(x))
    return result


def _first(windows: Any) -> Array:
    """The first position of each window that is inside the image."""
    return np.clip(np.arange(windows.count) * windows.stride - windows.padding, 0, windows.size - 1)
