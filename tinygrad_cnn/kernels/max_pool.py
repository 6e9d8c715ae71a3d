"""Maximum pooling, and the adjoint pair that its derivatives are made of: scatter to the maxima, gather from them.

The forward pass takes the maximum over the rows of each window, then over its columns. If derivatives will follow it
also finds, by comparing on the way, which element of its window each maximum is. That takes a byte, from which an index
into memory is soon made. Elements compete for it with points, which are

    kh * kw for the first of a window, one less for each one after it in reading order, 0 where it isn't the maximum
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.elementwise import number
from tinygrad_cnn.kernels.layouts import contiguous
from tinygrad_cnn.kernels.positions import Planes, is_channels_last
from tinygrad_cnn.kernels.reduction import reduce, reducing
from tinygrad_cnn.kernels.threads import Call, parallel_calls
from tinygrad_cnn.kernels.windows import (
    Cover,
    Windows,
    along,
    check_shape,
    image_blocks,
    read,
    reduce_seen,
    reduce_windows,
)

__all__ = ["max_pool2d", "max_pool2d_gather", "max_pool2d_positions", "max_pool2d_scatter", "max_pool2d_winners"]

Array = NDArray[Any]
# Elements of the input, below which so many short calls of two threads would only get in each other's way.
_WORTH_SHARING = 1 << 18
# Some of the windows along an axis, and what a tap of theirs sees.
Seen = tuple[slice, Array]


def max_pool2d(x: Array, rows: Windows, columns: Windows, rectified: bool = False) -> Array:
    """Return the maximum of each window: (N, C, H, W) -> (N, C, OH, OW). NaN counts as larger than everything.

    If they are to be `rectified`, negative maxima become 0.
    """
    if rectified:
        return reduce_windows(x, rows, columns, np.maximum, lowest(x.dtype), (np.maximum, 0.0))
    if x.size and rows.whole and columns.whole:
        return reduce(np.maximum, x, (2, 3))
    return reduce_windows(x, rows, columns, np.maximum, lowest(x.dtype))


def lowest(dtype: np.dtype[Any]) -> Any:
    """Return the neutral element of the maximum."""
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


# ------------------------------------------------------------------------------------------ winners


def max_pool2d_winners(x: Array, rows: Windows, columns: Windows) -> tuple[Array, Array]:
    """Return the maximum of each window, and the points of the element that it is: (N, C, OH, OW) both.

    Of equal elements the first wins, of several NaN the last, as in PyTorch. An empty window has 0 points.
    """
    check_shape("max_pool2d_winners", "input", x, (*x.shape[:2], rows.size, columns.size))
    planes = Planes(x.shape, is_channels_last(x))
    shape = (*x.shape[:2], rows.count, columns.count)
    kind = np.min_scalar_type(rows.kernel * columns.kernel)
    y, winners = planes.empty(shape, x.dtype), planes.empty(shape, kind)
    memory, y_memory, winners_memory = (planes.in_memory(each) for each in (x, y, winners))
    memory = contiguous(memory)

    compete = _of_planes if rows.whole and columns.whole else _of_windows

    def plan(part: slice) -> list[Call]:
        source, best, winner = memory[part], y_memory[part], winners_memory[part]
        calls = compete(source, best, winner, rows, columns, planes.axes)
        if x.dtype.kind == "f":
            calls.append(partial(_find_nans, source, best, winner, rows, columns, planes.axes))
        return calls

    parallel_calls(plan, image_blocks(x, _WORTH_SHARING) if y.size else [])
    return y, winners


def _of_planes(
    x: Array, best: Array, winner: Array, rows: Windows, columns: Windows, axes: tuple[int, int]
) -> list[Call]:
    """Return what writes the maximum of each plane, and its points, where a plane is a single window."""
    taps = rows.kernel * columns.kernel
    points = buffers.scratch("points", x.shape[1:], winner.dtype)  # written out, so that it is a factor of long runs
    given = np.arange(taps, 0, -1).reshape([x.shape[axis] if axis in axes else 1 for axis in (1, 2, 3)])
    hit, score = buffers.scratch("hit", x.shape, bool), buffers.scratch("score", x.shape, winner.dtype)
    return [
        *reducing(np.maximum, x, axes, best),
        partial(np.equal, x, best, out=hit),
        partial(np.copyto, points, given, casting="unsafe"),
        partial(np.multiply, hit.view(np.uint8), points, out=score),
        *reducing(np.maximum, score, axes, winner),
    ]


def _of_windows(
    x: Array, best: Array, winner: Array, rows: Windows, columns: Windows, axes: tuple[int, int]
) -> list[Call]:
    """Return what writes the maximum of each window, and its points."""
    calls: list[Call] = []
    (down, across), kind = axes, winner.dtype
    lines_shape = (*x.shape[:down], rows.count, *x.shape[down + 1 :])
    lines = buffers.scratch("lines", lines_shape, x.dtype)
    line_points = buffers.scratch("points of lines", lines_shape, kind)
    taps = _seen(x, rows, down, "row", calls)
    reduce_seen(taps, lines, down, np.maximum, lowest(x.dtype), calls)
    points = [number((rows.kernel - i) * columns.kernel, kind) for i in range(len(taps))]
    # Where no row before the last one has the maximum, that one does: it need not be looked at.
    _compete(taps[:-1], points[:-1], lines, line_points, points[-1], down, calls)
    taps = _seen(lines, columns, across, "column", calls)
    reduce_seen(taps, best, across, np.maximum, lowest(x.dtype), calls)
    points = []
    for j, (_, given) in enumerate(_seen(line_points, columns, across, "points", calls)):
        points.append(buffers.scratch(f"score {j}", given.shape, kind) if j else given)
        if j:
            calls.append(partial(np.subtract, given, number(j, kind), out=points[j]))
    _compete(taps, points, best, winner, number(0, kind), across, calls)
    calls.extend(partial(np.copyto, along(winner, down, slice(row, row + 1)), 0) for row in rows.empty)
    return calls


def _seen(x: Array, windows: Windows, axis: int, name: str, calls: list[Call]) -> list[Seen]:
    """Return what each tap of the windows sees.

    With a stride s that is every s-th element. Of the last two axes these are a long way apart; as several calls will
    read them, they are first copied to where they are neighbours.
    """
    step = windows.stride
    if isinstance(windows, Cover) or step == 1 or axis < x.ndim - 2:
        return [(some, read(x, axis, place, f"{name} {i}", calls)) for i, (some, place) in enumerate(windows.taps)]
    phases = []
    for start in range(step):
        phase = along(x, axis, slice(start, None, step))
        phases.append(buffers.scratch(f"{name} {start}", phase.shape, x.dtype))
        calls.append(partial(np.copyto, phases[start], phase))
    seen = []
    for some, place in windows.taps:
        first, start = divmod(place.start, step)
        count = len(range(*some.indices(windows.count)))
        seen.append((some, along(phases[start], axis, slice(first, first + count))))
    return seen


def _compete(
    seen: list[Seen], points: list[Array], y: Array, best: Array, least: Array, axis: int, calls: list[Call]
) -> None:
    """Append what writes into `best` the most points that what is seen has where it is the maximum `y`, or `least`."""
    hit, score = buffers.scratch("hit", y.shape, bool), buffers.scratch("score", y.shape, best.dtype)
    calls.append(partial(np.copyto, best, least))
    for (some, values), given in zip(seen, points, strict=True):
        maxima, most, hits, scores = (along(each, axis, some) for each in (y, best, hit, score))
        calls += [
            partial(np.equal, values, maxima, out=hits),
            partial(np.multiply, hits.view(np.uint8), given, out=scores),
            partial(np.maximum, most, scores, out=most),
        ]


def _find_nans(x: Array, y: Array, winners: Array, rows: Windows, columns: Windows, axes: tuple[int, int]) -> None:
    """Where the maximum is NaN, let the last NaN win."""
    if not np.isnan(y.max()):
        return
    down, across = axes
    spoilt = np.isnan(x)
    for i, (above, row) in enumerate(rows.taps):
        for j, (left, column) in enumerate(columns.taps):
            # A window that has fewer taps than others repeats its last one.
            tap = _outer(
                np.minimum(i, rows.last)[above] * columns.kernel, np.minimum(j, columns.last)[left], x.ndim, axes
            )
            here = along(along(spoilt, down, row), across, column)
            target = along(along(winners, down, above), across, left)
            np.copyto(target, rows.kernel * columns.kernel - tap, where=here, casting="unsafe")


# ------------------------------------------------------------------------------ where winners stand


def _outer(of_rows: Array, of_columns: Array, ndim: int, axes: tuple[int, int]) -> Array:
    """The sums of a number for each row and one for each column, along these axes of an array."""
    shape = [1] * ndim
    shape[axes[0]], shape[axes[1]] = len(of_rows), len(of_columns)
    return np.asarray(np.add.outer(of_rows, of_columns)).reshape(shape)


class _Places:
    """From the points of winners to where they stand, in units of `step`."""

    def __init__(self, planes: Planes, rows: Windows, columns: Windows, step: int, base: Any) -> None:
        taps = rows.kernel * columns.kernel
        i, j = np.divmod(taps - np.arange(taps + 1), columns.kernel)
        width = columns.size
        # For each number of points, how far from the start of the window; none for an empty one.
        self.offsets = (i * rows.dilation * width + j * columns.dilation) * step
        self.offsets[0] = 0
        starts = [each.starts.copy() for each in (rows, columns)]
        for each, start in zip((rows, columns), starts, strict=True):
            start[each.empty] = 0
        self.first = _outer(starts[0] * (width * step), starts[1] * step, 4, planes.axes) + base

    def find(self, winners: Array, out: Array) -> list[Call]:
        """Return what writes the places of winners, both with their axes in the order of memory."""
        wide = buffers.scratch("wide", winners.shape, np.intp)
        return [
            partial(np.copyto, wide, winners),  # `take` would do so in fresh memory
            partial(np.take, self.offsets, wide, out=out, mode="clip"),
            partial(np.add, out, self.first, out=out),
        ]


def max_pool2d_positions(winners: Array, rows: Windows, columns: Windows) -> Array:
    """Return where in its (H, W) plane each winner stands: ``h * W + w`` as int64, 0 for an empty window."""
    planes = _planes(winners, rows, columns)
    result = planes.empty(winners.shape, np.int64)
    places = _Places(planes, rows, columns, 1, 0)
    source, target = planes.in_memory(winners), planes.in_memory(result)
    parallel_calls(lambda part: places.find(source[part], target[part]), image_blocks(result, _WORTH_SHARING))
    return result


def _planes(winners: Array, rows: Windows, columns: Windows) -> Planes:
    check_shape("max_pool2d", "winners", winners, (*winners.shape[:2], rows.count, columns.count))
    return Planes((*winners.shape[:2], rows.size, columns.size), is_channels_last(winners))


def max_pool2d_scatter(g: Array, winners: Array, rows: Windows, columns: Windows) -> Array:
    """Return the gradient of `max_pool2d` by its input: each number of `g` goes to the winner of its window.

    Parameters
    ----------
    g : (N, C, OH, OW) array
    winners : (N, C, OH, OW) array
        From `max_pool2d_winners`.
    """
    check_shape("max_pool2d_scatter", "gradient", g, winners.shape)
    planes = _planes(winners, rows, columns)
    places = _Places(planes, rows, columns, planes.step, planes.base)
    values, source = contiguous(planes.in_memory(g)), planes.in_memory(winners)
    result = planes.empty(planes.shape, g.dtype)
    target = planes.flat(result)
    some_empty = len(rows.empty) or len(columns.empty)

    def plan(part: slice) -> list[Call]:
        memory, given = target[part].reshape(-1), values[part]
        index = buffers.scratch("index", given.shape, np.intp)
        calls: list[Call] = [
            partial(memory.fill, 0),
            *places.find(source[part], index),
            partial(np.add, index, planes.images(len(index)), out=index),
        ]
        if some_empty:
            given = np.where(source[part], given, 0)
        if rows.disjoint and columns.disjoint and not some_empty:
            return [*calls, partial(memory.__setitem__, index, given)]
        # This keeps the interpreter lock, but it is faster than comparing for each tap.
        return [*calls, partial(np.add.at, memory, index.reshape(-1), given.reshape(-1))]

    parallel_calls(plan, image_blocks(result, _WORTH_SHARING) if g.size else [])
    if not g.size:
        result[...] = 0
    return result


def max_pool2d_gather(v: Array, winners: Array, rows: Windows, columns: Windows) -> Array:
    """Return what `v` has where the winner of each window stands: the adjoint of `max_pool2d_scatter`.

    Parameters
    ----------
    v : (N, C, H, W) array
    winners : (N, C, OH, OW) array
        From `max_pool2d_winners`.
    """
    planes = _planes(winners, rows, columns)
    check_shape("max_pool2d_gather", "values", v, planes.shape)
    places = _Places(planes, rows, columns, planes.step, planes.base)
    memory, source = planes.flat(v), planes.in_memory(winners)
    result = planes.empty(winners.shape, v.dtype)
    target = planes.in_memory(result)

    def plan(part: slice) -> list[Call]:
        index = buffers.scratch("index", target[part].shape, np.intp)
        return [
            *places.find(source[part], index),
            partial(np.add, index, planes.images(len(index)), out=index),
            partial(np.take, memory[part], index, out=target[part], mode="clip"),
            partial(np.copyto, target[part], 0, where=source[part] == 0),
        ]

    parallel_calls(plan, image_blocks(v, _WORTH_SHARING) if result.size else [])
    return result
