"""Maximum pooling, and the adjoint pair that its derivatives are made of: scatter to the maxima, gather from them.

No indices are kept: the maxima are found again by comparing, tap by tap, the input with the output.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import BITS, empty_like, scratch_like, select
from tinygrad_cnn.kernels.layouts import strided
from tinygrad_cnn.kernels.threads import Call, parallel, parallel_calls
from tinygrad_cnn.kernels.windows import Axis, axes, check_shape, image_blocks, reduce_windows

__all__ = ["max_pool2d", "max_pool2d_gather", "max_pool2d_indices", "max_pool2d_scatter"]

Array = NDArray[Any]
Pair = tuple[int, int]


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Array:
    """Return the maximum of each window: (N, C, H, W) -> (N, C, OH, OW). NaN counts as larger than everything.

    Raises
    ------
    ValueError
        If the windows do not fit.
    """
    rows, columns = axes("max_pool2d", x.shape, kernel, stride, padding, dilation, ceil_mode)
    return reduce_windows(x, rows, columns, np.maximum, _lowest(x.dtype))


def _hits(x: Array, y: Array, rows: Axis, columns: Axis) -> list[tuple[tuple[Any, ...], tuple[Any, ...], Array]]:
    """For each tap: the windows it falls into, where it falls, and in which of these it is the maximum.

    Exactly one tap of a window is: the first that equals the maximum, or the last NaN, as in PyTorch.
    """
    whole = slice(None)
    taken = scratch_like("taken", y, 1, bool)[0]
    taken[...] = False
    found = []
    for i, down in enumerate(rows.taps()):
        for j, across in enumerate(columns.taps()):
            windows, places = (whole, whole, down[0], across[0]), (whole, whole, down[1], across[1])
            seen = taken[windows]
            hit = scratch_like(f"hit {i} {j}", seen, 1, bool)[0]
            np.equal(x[places], y[windows], out=hit)
            np.greater(hit, seen, out=hit)  # hit and not seen
            np.logical_or(seen, hit, out=seen)
            found.append((windows, places, hit))
    if x.dtype.kind == "f" and not taken.all():
        for windows, places, hit in reversed(found):
            seen = taken[windows]
            late = np.isnan(x[places]) & ~seen
            seen |= late
            hit |= late
    return found


def max_pool2d_indices(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Array:
    """Return where in its (H, W) plane each window has its maximum: ``h * W + w`` as int64, (N, C, OH, OW)."""
    rows, columns = axes("max_pool2d_indices", x.shape, kernel, stride, padding, dilation, ceil_mode)
    y = max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    result = empty_like(y, np.dtype(np.int64))
    height, width = x.shape[2:]
    plane = np.arange(height * width).reshape(height, width)

    def compute(part: slice) -> None:
        target = result[part]
        target[...] = 0
        for windows, places, hit in _hits(x[part], y[part], rows, columns):
            target[windows] += plane[places[2:]] * hit

    parallel(compute, image_blocks(x))
    return result


def max_pool2d_scatter(
    g: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Return the gradient of `max_pool2d` by `x`: each number of `g` goes to the maximum of its window.

    Parameters
    ----------
    g : (N, C, OH, OW) array
    x : (N, C, H, W) array
    y : (N, C, OH, OW) array
        The maxima, ``max_pool2d(x, ...)``.
    """
    name = "max_pool2d_scatter"
    rows, columns = axes(name, x.shape, kernel, stride, padding, dilation, ceil_mode)
    shape = (*x.shape[:2], rows.count, columns.count)
    check_shape(name, "gradient", g, shape)
    check_shape(name, "output", y, shape)
    result = empty_like(x, g.dtype)
    disjoint = rows.disjoint and columns.disjoint
    covered = disjoint and _covers(rows) and _covers(columns)
    if disjoint and _whole(rows) and _whole(columns) and x.dtype == g.dtype and x.dtype.kind == "f":
        _scatter_tiles(g, x, y, result, kernel, stride)
        return result

    def compute(part: slice) -> None:
        copies: list[Call] = []
        source, target = _laid_out_like(y[part], g[part], copies), result[part]
        for copy in copies:
            copy()
        if not covered:
            target[...] = 0
        for windows, places, hit in _hits(x[part], y[part], rows, columns):
            values, place = source[windows], target[places]
            if disjoint:
                select(hit, values, place)
            else:
                term = scratch_like("term", values, 1)[0]
                select(hit, values, term)
                np.add(place, term, out=place)

    parallel(compute, image_blocks(x))
    return result


def _whole(windows: Axis) -> bool:
    """Whether windows are without gaps inside and all inside the input."""
    return (
        windows.dilation == 1
        and windows.padding == 0
        and (windows.count - 1) * windows.stride + windows.kernel <= windows.size
    )


def _scatter_tiles(g: Array, x: Array, y: Array, out: Array, kernel: Pair, stride: Pair) -> None:
    """Write ``max_pool2d_scatter(g, x, y, ...)`` into `out` for disjoint windows inside the input.

    Every step is one NumPy call for all taps of a block of images.
    """
    (kh, kw), (sh, sw) = kernel, stride
    oh, ow = y.shape[2:]
    covered = kernel == stride and x.shape[2:] == (oh * kh, ow * kw)
    bits = BITS[out.dtype.itemsize]

    def taps(images: Array) -> Array:
        """(n, c, h, w) -> (kh, kw, n, c, oh, ow), a view"""
        n, c = images.shape[:2]
        n_step, c_step, h_step, w_step = images.strides
        steps = (h_step, w_step, n_step, c_step, sh * h_step, sw * w_step)
        return strided(images, (kh, kw, n, c, oh, ow), steps)

    def plan(part: slice) -> list[Call]:
        calls: list[Call] = []
        maxima, places, target = y[part], taps(x[part]), out[part].view(bits)
        values = _laid_out_like(maxima, g[part], calls).view(bits)
        if not covered:
            calls.append(partial(np.copyto, target, 0))
        hits = scratch_like("hits", maxima, kh * kw, bool)
        taken = scratch_like("taken", maxima, kh * kw, bool)
        by_taps = (kh, kw, *maxima.shape)
        calls.append(partial(np.equal, places, maxima, out=hits.reshape(by_taps)))
        before = hits[0]
        for hit, so_far in zip(hits[1:], taken[1:], strict=True):
            calls.append(partial(np.logical_or, before, hit, out=so_far))
            before = so_far
        if kh * kw > 1:
            calls.append(partial(np.greater, hits[1], hits[0], out=hits[1]))  # hit and not taken before
            calls.append(partial(np.greater, hits[2:], taken[1:-1], out=hits[2:]))
        calls += [
            partial(_find_nans, places, hits, before),
            partial(np.copyto, taps(target), hits.view(np.int8).reshape(by_taps)),
            partial(np.multiply, values, taps(target), out=taps(target)),
        ]
        return calls

    parallel_calls(plan, image_blocks(x))


def _find_nans(places: Array, hits: Array, taken: Array) -> None:
    """Where no tap equals the maximum, let the last NaN be the hit."""
    if taken.all():
        return
    kh, kw = places.shape[:2]
    for tap in reversed(range(kh * kw)):
        late = np.isnan(places[divmod(tap, kw)]) & ~taken
        taken |= late
        hits[tap] |= late


def _laid_out_like(y: Array, g: Array, calls: list[Call]) -> Array:
    """Return `g`, or an array in scratch memory with the order of axes of `y`, and append to `calls` what copies it."""
    if g.strides == y.strides:
        return g
    copy: Array = scratch_like("values", y, 1, g.dtype)[0]
    calls.append(partial(np.copyto, copy, g))
    return copy


def _covers(windows: Axis) -> bool:
    """Whether disjoint windows reach every element."""
    first, last = -windows.padding, (windows.count - 1) * windows.stride + windows.kernel - windows.padding
    return windows.dilation == 1 and windows.stride == windows.kernel and first <= 0 and last >= windows.size


def max_pool2d_gather(
    v: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Return what `v` has where `x` has the maximum of each window: the adjoint of `max_pool2d_scatter`.

    Parameters
    ----------
    v, x : (N, C, H, W) array
    y : (N, C, OH, OW) array
        The maxima, ``max_pool2d(x, ...)``.
    """
    name = "max_pool2d_gather"
    rows, columns = axes(name, x.shape, kernel, stride, padding, dilation, ceil_mode)
    check_shape(name, "values", v, x.shape)
    check_shape(name, "output", y, (*x.shape[:2], rows.count, columns.count))
    result = empty_like(y, v.dtype)

    def compute(part: slice) -> None:
        source, target = v[part], result[part]
        target[...] = 0
        for windows, places, hit in _hits(x[part], y[part], rows, columns):
            np.copyto(target[windows], source[places], where=hit)

    parallel(compute, image_blocks(x))
    return result
