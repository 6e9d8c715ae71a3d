"""Picking and adding along a dimension, at positions that an array of indices tells.

Both go through row-major memory: NumPy takes from a vector, and adds to one, ten times as fast as at an index for each
dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like, scratch_like, slices
from tinygrad_cnn.kernels.layouts import contiguous
from tinygrad_cnn.kernels.runs import run_by_run
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["add_at", "gather"]

Array = NDArray[Any]
Part = tuple[Any, ...]

# Elements: up to so many NumPy picks, and adds, as fast with an index for each dimension.
_FEW_PICKED, _FEW_ADDED = 1 << 13, 1 << 11
# From here on a second thread pays; and those of a block, whose positions stay in the cache.
_LARGE, _BLOCK = 1 << 17, 1 << 16


def gather(x: Array, dim: int, index: Array) -> Array:
    """Return the elements ``x[i, ..., index[i, ..., k], ..., k]``, laid out like the index."""
    if not index.size:
        return empty_like(index, x.dtype)
    if index.size <= _FEW_PICKED:
        return np.asarray(x[_places(index, dim)])
    flat = contiguous(x).reshape(-1)
    out = empty_like(index, x.dtype)
    positions = _Positions(index, dim, x.shape)

    def plan(part: Part) -> list[Call]:
        calls, places = positions.of(part)
        # Every index is in range, so "clip" changes none: it spares NumPy a second copy of the output.
        return [*calls, partial(np.take, flat, places, out=out[part], mode="clip")]

    _over_blocks(plan, index, index.size >= _LARGE)
    return out


def add_at(whole: Array, dim: int, index: Array, src: Array) -> None:
    """Add `src` to `whole`, which is in row-major memory, where `gather` would read it."""
    if index.size <= _FEW_ADDED:
        if index.size:
            np.add.at(whole, _places(index, dim), src)
        return
    flat, index = whole.reshape(-1), contiguous(index)
    positions = _Positions(index, dim, whole.shape)

    def plan(part: Part) -> list[Call]:
        calls, places = positions.of(part)
        return [*calls, partial(np.add.at, flat, places.reshape(-1), src[part].reshape(-1))]

    _over_blocks(plan, index, False)  # `add.at` keeps the interpreter lock: nothing to share


def _over_blocks(plan: Callable[[Part], list[Call]], index: Array, in_threads: bool) -> None:
    blocks: list[Part] = [*slices(index, _BLOCK)]
    with run_by_run():
        if in_threads:
            parallel_calls(plan, blocks)
            return
        for block in blocks:
            for call in plan(block):
                call()


def _places(index: Array, dim: int) -> tuple[Array, ...]:
    """An index for each dimension."""
    places = [np.arange(n).reshape((-1,) + (1,) * (index.ndim - 1 - i)) for i, n in enumerate(index.shape)]
    places[dim] = index
    return tuple(places)


class _Positions:
    """Where in row-major memory of some shape the elements lie that an index along `dim` tells."""

    def __init__(self, index: Array, dim: int, shape: tuple[int, ...]) -> None:
        self.index = index
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        self.step = steps[dim]
        places = zip(range(index.ndim), _places(index, dim), steps, strict=True)
        self.others = np.broadcast_to(sum(place * step for i, place, step in places if i != dim), index.shape)

    def of(self, part: Part) -> tuple[list[Call], Array]:
        """The calls that find those of a part, and where they write them to."""
        index = self.index[part]
        if index.ndim == 1:
            return [], index
        places = scratch_like("places", index, 1, np.int64)[0, ...]
        add = partial(np.add, index if self.step == 1 else places, self.others[part], out=places)
        return [add] if self.step == 1 else [partial(np.multiply, index, self.step, out=places), add], places
