"""Picking along a dimension, and adding there, at positions that an array of indices tells.

Both go through row-major memory: NumPy takes from a vector, and adds to one, ten times as fast as at an index for each
dimension. Where the elements lie there is computed once, for the value and for its derivatives.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.elementwise import empty_like, slices
from tinygrad_cnn.kernels.layouts import contiguous
from tinygrad_cnn.kernels.runs import run_by_run
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["add_at", "add_at_index", "places", "take", "zeros"]

Array = NDArray[Any]
Part = tuple[Any, ...]

# Elements from which on a second thread pays.
_LARGE = 1 << 17


def places(index: Array, dim: int, shape: tuple[int, ...]) -> Array | None:
    """Return where ``x[i, ..., index[i, ..., k], ..., k]`` lie in row-major memory of a shape, laid out like the index.

    None if an index is out of range.
    """
    out = empty_like(index, np.int64)
    if not index.size:
        return out
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    starts = np.zeros((1,) * index.ndim, np.int64)
    for axis, n in enumerate(index.shape):
        if axis != dim:
            starts = starts + (np.arange(n) * steps[axis]).reshape((-1,) + (1,) * (index.ndim - 1 - axis))
    each = np.broadcast_to(starts, index.shape)
    unsigned = index.view(f"u{index.itemsize}")  # where negative numbers are the largest
    parts: list[Part] = [*slices(out)] if out.size >= _LARGE else [(...,)]
    largest = np.empty(len(parts), unsigned.dtype)

    def plan(item: tuple[int, Part]) -> list[Call]:
        number, part = item
        greatest = partial(np.maximum.reduce, unsigned[part], axis=None, out=largest[number, ...])
        if steps[dim] == 1:
            return [greatest, partial(np.add, index[part], each[part], out=out[part])]
        return [
            greatest,
            partial(np.multiply, index[part], steps[dim], out=out[part]),
            partial(np.add, out[part], each[part], out=out[part]),
        ]

    with run_by_run() if len(parts) > 1 else nullcontext():
        parallel_calls(plan, list(enumerate(parts)))
    return out if largest.max() < shape[dim] else None


def take(x: Array, places: Array) -> Array:
    """Return the elements at places in row-major memory, laid out like these."""
    out = empty_like(places, x.dtype)
    flat = contiguous(x).reshape(-1)
    # Every place is in range, so "clip" changes none: it spares NumPy a second copy of the output.
    parts: list[Part] = [*slices(out)] if out.size >= _LARGE else [(...,)]
    parallel_calls(lambda part: [partial(np.take, flat, places[part], out=out[part], mode="clip")], parts)
    return out


def add_at(whole: Array, places: Array, src: Array) -> None:
    """Add `src` to `whole`, which is in row-major memory, where `take` would read it."""
    add_at_index(whole.reshape(-1), places.reshape(-1), src.reshape(-1))


def add_at_index(whole: Array, index: Any, src: Array) -> None:
    """As ``np.add.at(whole, index, src)``; halves are added up in single, and rounded once."""
    if whole.dtype != np.float16:
        np.add.at(whole, index, src)
        return
    wide = whole.astype(np.float32)
    np.add.at(wide, index, src)
    np.copyto(whole, wide, casting="same_kind")


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array of zeros in memory that was used before: what is added here and there is slow in fresh one."""
    out = buffers.empty(shape, dtype)
    out.fill(0)
    return out
