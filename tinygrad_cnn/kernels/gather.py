"""Picking and adding along a dimension, at positions that an array of indices tells.

Both go through row-major memory: NumPy takes from a vector, and adds to one, ten times as fast as at an index for each
dimension.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like, scratch_like, slices
from tinygrad_cnn.kernels.runs import run_by_run
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["add_at", "gather"]

Array = NDArray[Any]
Part = tuple[Any, ...]

# Elements: below, a second thread does not pay. And those of a block.
_LARGE = 1 << 18
_BLOCK = 1 << 18


def gather(x: Array, dim: int, index: Array) -> Array:
    """Return the elements ``x[i, ..., index[i, ..., k], ..., k]``, laid out like the index."""
    flat = x.reshape(-1)
    out = empty_like(index, x.dtype)

    def plan(part: Part) -> list[Call]:
        positions = scratch_like("positions", index[part], 1, np.int64)[0, ...]
        # Every index is in range, so "clip" changes none: it spares NumPy a second copy of the output.
        take = partial(np.take, flat, positions, out=out[part], mode="clip")
        return [*_positions(index, dim, x.shape, part, positions), take]

    if index.size:
        parts: list[Part] = [*slices(index, _BLOCK)] if index.size >= _LARGE else [(...,)]
        with run_by_run():
            parallel_calls(plan, parts)
    return out


def add_at(whole: Array, dim: int, index: Array, src: Array) -> None:
    """Add `src` to `whole`, which is in row-major memory, where `gather` would read it."""
    if not index.size:
        return
    positions = index
    if whole.ndim > 1:
        positions = empty_like(index, np.dtype(np.int64))
        with run_by_run():
            for call in _positions(index, dim, whole.shape, (...,), positions):
                call()
    # This keeps the interpreter lock: nothing to share.
    np.add.at(whole.reshape(-1), positions.reshape(-1), src.reshape(-1))


def _positions(index: Array, dim: int, shape: tuple[int, ...], part: Part, out: Array) -> list[Call]:
    """Return the calls that write where in the memory of an array of `shape` a part of the elements lie."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    mesh = np.ogrid[tuple(slice(n) for n in index.shape)]
    others = sum(axis * step for i, (axis, step) in enumerate(zip(mesh, steps, strict=True)) if i != dim)
    rest = others if part[0] is ... else np.broadcast_to(others, index.shape)[part]
    if steps[dim] == 1:
        return [partial(np.add, index[part], rest, out=out)]
    return [partial(np.multiply, index[part], steps[dim], out=out), partial(np.add, out, rest, out=out)]
