"""The gradient of maximum pooling where windows neither overlap nor leave the image: the usual 2 x 2.

Then it is faster to find the maxima once more, by comparing input and output, than to make and follow an index.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import BITS, empty_like, number, scratch_like
from tinygrad_cnn.kernels.layouts import strided
from tinygrad_cnn.kernels.threads import Call, parallel_calls
from tinygrad_cnn.kernels.windows import Axis, Windows, check_shape, image_blocks

__all__ = ["are_tiles", "max_pool2d_scatter_tiles"]

Array = NDArray[Any]

# Of a window.
_MOST_TAPS = 16


def are_tiles(dtype: np.dtype[Any], rows: Windows, columns: Windows) -> bool:
    """Whether `max_pool2d_scatter_tiles` can be used, and is fast."""
    return dtype.kind == "f" and rows.apart and columns.apart and rows.kernel * columns.kernel <= _MOST_TAPS


def max_pool2d_scatter_tiles(g: Array, x: Array, y: Array, rows: Axis, columns: Axis, rectified: bool = False) -> Array:
    """Return the gradient of `max_pool2d` by `x`: each number of `g` goes to the maximum of its window.

    If the maxima are `rectified`, only positive ones receive it.

    Every step is one NumPy call for all taps of a block of images.

    Parameters
    ----------
    g : (N, C, OH, OW) array
    x : (N, C, H, W) array
    y : (N, C, OH, OW) array
        The maxima, ``max_pool2d(x, ...)``.
    """
    name, shape = "max_pool2d_scatter_tiles", (*x.shape[:2], rows.count, columns.count)
    check_shape(name, "input", x, (*x.shape[:2], rows.size, columns.size))
    check_shape(name, "output", y, shape)
    check_shape(name, "gradient", g, shape)
    out = empty_like(x, g.dtype)
    (kh, kw), (sh, sw) = (rows.kernel, columns.kernel), (rows.stride, columns.stride)
    oh, ow = y.shape[2:]
    covered = rows.tiles and columns.tiles
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
        found = taps(target)
        values = _laid_out_like(maxima, g[part], calls).view(bits)
        if not covered:
            calls.append(partial(np.copyto, target, 0))
        hits = scratch_like("hits", maxima, kh * kw, bool)
        by_taps = (kh, kw, *maxima.shape)
        calls.append(partial(np.equal, places, maxima, out=hits.reshape(by_taps)))
        calls += _first_positive(hits, maxima) if rectified else _first(hits, maxima, places)
        calls += [
            partial(np.copyto, found, hits.view(np.int8).reshape(by_taps)),
            partial(np.multiply, values, found, out=found),
        ]
        return calls

    parallel_calls(plan, image_blocks(x))
    return out


def _first(hits: Array, maxima: Array, places: Array) -> list[Call]:
    """Return what leaves of the hits of each window the first one."""
    taken = scratch_like("taken", maxima, len(hits), bool)
    calls: list[Call] = []
    before = hits[0]
    for hit, so_far in zip(hits[1:], taken[1:], strict=True):
        calls.append(partial(np.logical_or, before, hit, so_far))
        before = so_far
    if len(hits) > 1:
        calls.append(partial(np.greater, hits[1], hits[0], hits[1]))  # hit and not taken before
        calls.append(partial(np.greater, hits[2:], taken[1:-1], hits[2:]))
    return [*calls, partial(_find_nans, places, hits, before)]


def _first_positive(hits: Array, maxima: Array) -> list[Call]:
    """Return what leaves of the hits of each window the first one, and none if the maximum is 0 or NaN."""
    taken = scratch_like("taken", maxima, len(hits), bool)  # before each tap
    return [
        partial(np.less_equal, maxima, number(0, maxima.dtype), taken[0]),
        *(partial(np.logical_or, taken[tap], hits[tap], taken[tap + 1]) for tap in range(len(hits) - 1)),
        partial(np.greater, hits, taken, hits),
    ]


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
