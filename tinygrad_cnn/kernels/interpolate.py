"""Images of another size: along each axis a linear map that reads a few neighbours, and its transpose.

`np.einsum` weights the neighbours and adds them up in one pass. Its innermost loop must be long. Where whole rows of an
image lie behind each element of the axis, it is, and the neighbours are read in place. Else they are gathered first, so
that each tap of all outputs is one run of memory, with weights written out for it. Halves and doubles, and what else is
the mean of tiles or its transpose, are left to average pooling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.avg_pool import avg_pool2d, avg_pool2d_grad
from tinygrad_cnn.kernels.gemm import matmul
from tinygrad_cnn.kernels.layouts import contiguous, copied
from tinygrad_cnn.kernels.positions import is_channels_last
from tinygrad_cnn.kernels.runs import LONG_RUN
from tinygrad_cnn.kernels.shapes import as_slice, balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["Taps", "apply_maps", "multiply_by_maps"]

Array = NDArray[Any]

# Elements of the larger image in a block; two blocks if there are so many.
_BLOCK = 1 << 20
_WORTH_SHARING = 1 << 17
# Bytes of written-out weights that a map keeps for the next time. Maps are kept themselves, some dozens.
_MOST_KEPT = 1 << 22
# Of the outputs of a run.
_LONGEST_STEP = 8


@dataclass(frozen=True, eq=False)
class Run:
    """Evenly spaced outputs that read evenly spaced windows, from ``first, first + shift ...`` on.

    The weights are (outputs, length of a window).
    """

    outputs: slice
    first: int
    shift: int
    weights: Array

    def apply(self, x: Array, y: Array) -> Call:
        """Return what writes these outputs of y (a, outputs, b)."""
        target = y[:, self.outputs]
        a_step, step, b_step = x.strides
        shape = (*target.shape[:2], self.weights.shape[1], target.shape[2])
        windows = as_strided(x[:, self.first :], shape, (a_step, self.shift * step, step, b_step))
        return partial(np.einsum, "aomb,om->aob", windows, self.weights.astype(x.dtype), out=target)


class Taps:
    """A linear map along one axis, ``y[o] = sum over m of weights[m, o] * x[indices[m, o]]``.

    Attributes
    ----------
    size : int
        Of the axis before; after, it is ``indices.shape[1]``.
    indices : (M, outputs) array of int
    weights : (M, outputs) array of float64
    """

    def __init__(self, size: int, indices: Array, weights: Array) -> None:
        self.size, self.indices, self.weights = size, indices, weights
        self._written: tuple[Any, Array] | None = None

    @classmethod
    def of_windows(cls, size: int, indices: Array, weights: Array, count: Array) -> Taps:
        """The map whose output o has the first ``count[o]`` of the taps.

        In place of the others it reads its last one again, each time for a share of its weight: 0 would make of
        infinity NaN.
        """
        tap, last = np.arange(len(indices))[:, None], np.maximum(count - 1, 0)
        read = np.minimum(tap, last)
        shares = np.where(tap < last, 1, len(indices) - last)
        return cls(size, np.take_along_axis(indices, read, 0), np.take_along_axis(weights, read, 0) / shares)

    @cached_property
    def places(self) -> list[slice | Array]:
        """The indices of each tap; a slice, which reads without a copy, if they are evenly spaced."""
        return [as_slice(row) for row in self.indices]

    @cached_property
    def blind(self) -> Array:
        """The outputs that are 0 whatever they read, which infinity and NaN times 0 are not."""
        return np.flatnonzero(~self.weights.any(axis=0))

    @cached_property
    def sums(self) -> bool:
        """Whether all weights are 1."""
        return bool((self.weights == 1).all())

    @property
    def selects_evenly(self) -> bool:
        """Whether outputs are evenly spaced elements."""
        return len(self.indices) == 1 and self.sums and isinstance(self.places[0], slice)

    @cached_property
    def tiles(self) -> tuple[int, int] | None:
        """How many elements an output sums up that no other one reads, and by what it divides them, if all do alike."""
        taps, outputs = self.indices.shape
        divisor = 1 if self.sums else taps
        tiled = np.arange(taps)[:, None] + np.arange(outputs) * taps
        alike = self.size == tiled.size and np.array_equal(self.indices, tiled) and (self.weights == 1 / divisor).all()
        return (taps, divisor) if alike else None

    @cached_property
    def matrix(self) -> Array:
        """The map as a matrix (outputs, size)."""
        matrix = np.zeros((self.indices.shape[1], self.size))
        taps, outputs = np.nonzero(self.weights)
        np.add.at(matrix, (outputs, self.indices[taps, outputs]), self.weights[taps, outputs])
        return matrix

    @cached_property
    def runs(self) -> list[Run]:
        """The outputs in a few runs, or in as many as there are outputs at the worst."""
        first = self.indices.min(axis=0)
        length = self.indices.max(axis=0) - first + 1
        weights = np.zeros((len(first), int(length.max(initial=1))))
        # An element that is read twice has both weights.
        np.add.at(weights, (np.arange(len(first)), self.indices - first), self.weights)
        parts = min((_evenly_spaced(first, length, step) for step in range(1, _LONGEST_STEP + 1)), key=len)
        return [
            Run(part, int(first[part.start]), _shift(first[part]), weights[part, : length[part.start]])
            for part in parts
        ]

    def written_out(self, length: int, dtype: Any) -> Array:
        """The weights for runs of `length` numbers: (M, outputs * length)."""
        written = self._written  # read once: another thread may replace it
        if written is not None and written[0] == (length, dtype):
            return written[1]
        weights = np.repeat(self.weights.astype(dtype), length, axis=1)
        if weights.nbytes <= _MOST_KEPT:
            self._written = (length, dtype), weights
        return weights

    @cached_property
    def transposed(self) -> Taps:
        """The transpose of the map: as many taps as the outputs that one element goes to."""
        taps, outputs = self.indices.shape
        used = np.flatnonzero(self.weights.T)  # by output, then by tap
        output, weight = used // taps, self.weights.T.reshape(-1)[used]
        element = self.indices.T.reshape(-1)[used]
        order = np.argsort(element, kind="stable")
        output, weight, element = output[order], weight[order], element[order]
        count = np.bincount(element, minlength=self.size)
        rank = np.arange(element.size) - (np.cumsum(count) - count)[element]
        shape = (max(1, int(count.max(initial=0))), self.size)
        indices, weights = np.zeros(shape, np.intp), np.zeros(shape)
        indices[rank, element] = output
        weights[rank, element] = weight
        result = Taps.of_windows(outputs, indices, weights, count)
        result.__dict__["transposed"] = self
        return result


def _evenly_spaced(first: Array, length: Array, step: int) -> list[slice]:
    """Cut every `step`-th window, from the first, the second ... on, into parts of one length that go up evenly."""
    parts = []
    for phase in range(min(step, len(first))):
        shifts = np.diff(first[phase::step])
        alike = np.diff(length[phase::step]) == 0
        start, count = 0, len(shifts) + 1
        while start < count:
            same = alike[start:] & (shifts[start:] == shifts[start]) if start < count - 1 else np.array([])
            stop = start + 1 + (len(same) if same.all() else int(same.argmin()))
            parts.append(slice(phase + start * step, phase + (stop - 1) * step + 1, step))
            start = stop
    return parts


def _shift(places: Array) -> int:
    return int(places[1] - places[0]) if len(places) > 1 else 0


def _along(x: Array, taps: Taps, y: Array, calls: list[Call]) -> None:
    """Append what applies the map along the middle axis: (a, size, b) -> (a, outputs, b)."""
    count, (a, outputs, b) = len(taps.indices), y.shape
    if count == 1 and taps.sums:
        place = taps.places[0]
        if isinstance(place, slice):
            calls.append(partial(np.copyto, y, x[:, place]))
        else:
            calls.append(partial(np.take, x, place, 1, y, "clip"))  # without "clip" it goes through a buffer
    elif b >= LONG_RUN and len(taps.runs) <= outputs // 4:
        calls.extend(run.apply(x, y) for run in taps.runs)
    else:
        values = buffers.scratch("neighbours", (a, count * outputs, b), x.dtype)
        calls.append(partial(np.take, x, taps.indices.reshape(-1), 1, values, "clip"))
        weights = taps.written_out(b, x.dtype)
        calls.append(partial(np.einsum, "amq,mq->aq", values.reshape(a, count, -1), weights, out=y.reshape(a, -1)))
    if taps.blind.size:
        calls.append(partial(y.__setitem__, (slice(None), taps.blind), 0))


def _tiles(maps: Sequence[Taps]) -> tuple[Any, ...] | None:
    """Return what average pooling needs to know behind its input if that is what the maps do."""
    tiles = [taps.tiles for taps in maps if taps.tiles]
    if len(tiles) < len(maps):
        return None
    kernel = tuple(size for size, _ in tiles)
    return kernel, kernel, (0, 0), False, True, math.prod(divisor for _, divisor in tiles)


def apply_maps(x: Array, maps: Sequence[Taps]) -> Array:
    """Apply one map along each axis behind the first two: (N, C, H, W, ...) -> (N, C, OH, OW, ...)."""
    if all(taps.selects_evenly for taps in maps):
        places = (taps.places[0] for taps in maps)
        return copied(x[:, :, *places])
    if len(maps) == 2 and x.dtype.kind == "f":
        if tiles := _tiles(maps):
            try:
                with np.errstate(over="raise"):  # of the sum of a tile
                    return avg_pool2d(x, *tiles)
            except FloatingPointError:
                pass  # weighted before they are added up, as below, these numbers do not overflow
        if tiles := _tiles([taps.transposed for taps in maps]):
            return avg_pool2d_grad(x, (*x.shape[:2], *(taps.indices.shape[1] for taps in maps)), *tiles)
    last = is_channels_last(x)
    shape = (*x.shape[:2], *(taps.indices.shape[1] for taps in maps))
    source = np.moveaxis(x, 1, -1) if last else contiguous(x).reshape(-1, *x.shape[2:])
    result = buffers.empty((shape[0], *shape[2:], shape[1]) if last else (shape[0] * shape[1], *shape[2:]), x.dtype)
    # The axis that shrinks most goes first: the others then have less to do. Of those that grow, the last one does:
    # what it reads is the shortest.
    growth = [taps.indices.shape[1] / taps.size for taps in maps]
    order = sorted(range(len(maps)), key=lambda axis: (min(growth[axis], 1), -axis if growth[axis] > 1 else axis))

    def plan(part: slice) -> list[Call]:
        calls: list[Call] = []
        values = source[part]
        for axis in order:
            before, after = values.shape[: axis + 1], values.shape[axis + 2 :]
            size = (*before, maps[axis].indices.shape[1], *after)
            target = result[part] if axis == order[-1] else buffers.scratch(f"axis {axis}", size, x.dtype)
            a, b = math.prod(before), math.prod(after)
            _along(values.reshape(a, -1, b), maps[axis], target.reshape(a, -1, b), calls)
            values = target
        return calls

    size = max(result.size, source.size)
    count = max(-(-size // _BLOCK), min(2, size // _WORTH_SHARING))
    blocks = balanced(source.shape[0], count) if result.size else []
    parallel_calls(plan, blocks)
    return np.moveaxis(result, -1, 1) if last else result.reshape(shape)


def multiply_by_maps(x: Array, maps: tuple[Taps, Taps]) -> Array:
    """As `apply_maps`, of (..., H, W), as products with matrices: faster where outputs read various windows.

    Their zeros make NaN of infinity, and NaN of everything beside NaN, wherever it stands; then pixel by pixel.
    """
    down, across = (taps.matrix.astype(x.dtype) for taps in maps)
    with np.errstate(invalid="ignore"):
        y = matmul(matmul(down, x), across.T)
    if np.isfinite(min(x, y, key=np.size)).all():
        return y
    return apply_maps(x.reshape(-1, *x.shape[-3:]), maps).reshape(y.shape)
