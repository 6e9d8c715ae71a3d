"""Images of another size: along each axis a linear map that reads a few neighbours, and its transpose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.layouts import contiguous
from tinygrad_cnn.kernels.positions import is_channels_last
from tinygrad_cnn.kernels.shapes import as_slice, balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["Taps", "apply_maps"]

Array = NDArray[Any]

# Elements of the output in a block.
_BLOCK = 1 << 17


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
        self._factors: dict[Any, list[Array | None]] = {}

    @cached_property
    def places(self) -> list[slice | Array]:
        """The indices of each tap; a slice, which reads without a copy, if they are evenly spaced."""
        return [as_slice(row) for row in self.indices]

    def factors(self, dtype: Any) -> list[Array | None]:
        """The weights of each tap as (outputs, 1) in `dtype`, None for all ones."""
        if dtype not in self._factors:
            self._factors[dtype] = [None if (w == 1).all() else w.astype(dtype)[:, None] for w in self.weights]
        return self._factors[dtype]

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
        # Where an element goes to fewer outputs than another, its last one is read again, with weight 0.
        indices, weights = np.zeros(shape, np.intp), np.zeros(shape)
        indices[rank, element] = output
        weights[rank, element] = weight
        indices = np.maximum.accumulate(indices, axis=0)
        result = Taps(outputs, indices, weights)
        result.__dict__["transposed"] = self
        return result


def _read(x: Array, place: slice | Array, out: Array, calls: list[Call]) -> Array:
    """Return ``x[:, place]``: a view, or `out` with the call that fills it."""
    if isinstance(place, slice):
        return x[:, place]
    calls.append(partial(np.take, x, place, 1, out, "clip"))  # without "clip" it goes through a buffer
    return out


def _along(x: Array, taps: Taps, y: Array, calls: list[Call]) -> None:
    """Append what applies the map along the middle axis: (a, size, b) -> (a, outputs, b)."""
    for m, (place, factor) in enumerate(zip(taps.places, taps.factors(x.dtype), strict=True)):
        if m == 0:
            values = _read(x, place, y, calls)
            if factor is not None:
                calls.append(partial(np.multiply, values, factor, out=y))
            elif values is not y:
                calls.append(partial(np.copyto, y, values))
            continue
        term = buffers.scratch("term", y.shape, y.dtype)
        values = _read(x, place, term, calls)
        if factor is not None:
            calls.append(partial(np.multiply, values, factor, out=term))
            values = term
        calls.append(partial(np.add, y, values, out=y))


def apply_maps(x: Array, maps: Sequence[Taps]) -> Array:
    """Apply one map along each axis behind the first two: (N, C, H, W, ...) -> (N, C, OH, OW, ...)."""
    last = is_channels_last(x)
    shape = (*x.shape[:2], *(taps.indices.shape[1] for taps in maps))
    source = np.moveaxis(x, 1, -1) if last else contiguous(x).reshape(-1, *x.shape[2:])
    result = buffers.empty((shape[0], *shape[2:], shape[1]) if last else (shape[0] * shape[1], *shape[2:]), x.dtype)
    # The axis that shrinks most goes first: the others then have less to do.
    order = sorted(range(len(maps)), key=lambda axis: maps[axis].indices.shape[1] / maps[axis].size)

    def plan(part: slice) -> list[Call]:
        calls: list[Call] = []
        values = source[part]
        for axis in order:
            before, after = values.shape[: axis + 1], values.shape[axis + 2 :]
            size = (*before, maps[axis].indices.shape[1], *after)
            target = result[part] if axis == order[-1] else buffers.scratch(f"axis {axis}", size, x.dtype)
            a, b = int(np.prod(before)), int(np.prod(after))
            _along(values.reshape(a, -1, b), maps[axis], target.reshape(a, -1, b), calls)
            values = target
        return calls

    blocks = balanced(source.shape[0], -(-max(result.size, source.size) // _BLOCK)) if result.size else []
    parallel_calls(plan, blocks)
    return np.moveaxis(result, -1, 1) if last else result.reshape(shape)
