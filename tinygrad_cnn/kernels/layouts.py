"""Copies into another memory layout: row-major memory of a transposed matrix, or of a channels-last image.

NumPy copies in the order of the target's memory. What lies side by side there is then far apart in the source: each
element comes from a cache line of its own, which must stay in the cache until its neighbour is wanted. Lines that lie a
large power of two apart all belong in the same few places of the cache, so that as few as 50 drive each other out:
a transposed matrix of 1024x1024 takes NumPy 25 times as long as a plain copy. In strips of a few columns it takes 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, slices
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["contiguous", "copied", "copied_in_order", "copying", "joined", "reshaped", "strided"]

Array = NDArray[Any]

# Elements: below, a copy takes less time than a second thread takes to join. And those of a part.
_LARGE = 1 << 18
_PART = 1 << 19
# A usual first-level cache: 32 KB in lines of 64 bytes, where addresses 4 KB apart compete for a place.
_LINE, _LINES, _PERIOD = 64, 512, 4096
# Columns of a strip, at least, and elements: shorter calls of two threads would get in each other's way.
_STRIP, _LEAST = 64, 1 << 14
# Columns, so few that each is better copied on its own.
_FEW = 4


def contiguous(x: Array) -> Array:
    """Return `x` as a C-contiguous array: itself if it is one, else a copy."""
    return x if x.flags.c_contiguous else copied_in_order(x)


def copied_in_order(x: Array) -> Array:
    """Return a C-contiguous copy of `x`."""
    if x.nbytes < buffers.SMALLEST:
        return x.copy(order="C")
    return _copied_into(buffers.empty(x.shape, x.dtype), x)


def copied(x: Array, like: Array | None = None) -> Array:
    """Return a copy of `x`, a large one laid out like another array of that shape; default: like itself."""
    if x.nbytes < buffers.SMALLEST:
        return x.copy(order="K")
    return _copied_into(empty_like(x if like is None else like, x.dtype), x)


def _copied_into(out: Array, x: Array) -> Array:
    parts: list[Any] = slices(out, _PART) if out.size >= _LARGE else [...]
    parallel_calls(lambda part: copying(x[part], out[part]), parts)
    return out


def joined(arrays: Sequence[Array], axis: int) -> Array:
    """As `numpy.concatenate`, of arrays of one dtype; a large result is laid out like the first of them."""
    first = arrays[0]
    length = sum(x.shape[axis] for x in arrays)
    shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
    if math.prod(shape) * first.itemsize < buffers.SMALLEST:
        return np.concatenate(arrays, axis)
    out = empty_like(first, shape=shape)
    across = next((i for i in memory_order(out) if i != axis and shape[i] > 1), axis)
    if out.size < 2 * _PART or across == axis:
        return np.concatenate(arrays, axis, out=out)

    def plan(part: slice) -> list[Call]:
        index = (*(slice(None),) * across, part)
        return [partial(np.concatenate, [x[index] for x in arrays], axis, out=out[index])]

    parallel_calls(plan, balanced(shape[across], max(2, out.size // _PART)))
    return out


def reshaped(x: Array, shape: tuple[int, ...]) -> Array:
    """As ``x.reshape(shape)``: a view if that is possible."""
    if x.nbytes < buffers.SMALLEST or x.flags.c_contiguous:
        return x.reshape(shape)
    try:
        return x.reshape(shape, copy=False)
    except TypeError:  # NumPy 2.0 cannot be asked for a view
        return x.reshape(shape)
    except ValueError:
        return contiguous(x).reshape(shape)


def strided(x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """As `numpy.lib.stride_tricks.as_strided`, which takes several times as long, where memory has no gaps."""
    memory = x.transpose(memory_order(x))
    if memory.flags.c_contiguous:
        return np.ndarray(shape, x.dtype, memory, 0, strides)
    return as_strided(x, shape, strides)


def copying(x: Array, out: Array) -> list[Call]:
    """Return the calls that copy `x` into `out`, of the same shape, wherever the elements of both lie."""
    x, out = _merged(x, out)
    if not (out.ndim and out.size):
        return [partial(np.copyto, out, x)]
    columns, distance = out.shape[-1], abs(x.strides[-1])
    if columns <= _FEW and out.size > columns:
        width = 1
    elif distance >= _LINE and columns > _lines_kept(distance):
        width = max(_STRIP, _LEAST * columns // out.size)
    else:
        width = columns
    strips = [(..., slice(start, start + width)) for start in range(0, columns, width)]
    return [partial(np.copyto, out[strip], x[strip]) for strip in strips]


def _lines_kept(distance: int) -> int:
    """How many cache lines, so many bytes apart, stay in the first-level cache together."""
    return _LINES // max(1, math.gcd(distance, _PERIOD) // _LINE)


def _merged(x: Array, out: Array) -> tuple[Array, Array]:
    """Both arrays with their axes in the memory order of `out`, those made one that are one run in both."""
    order = memory_order(out)
    x, out = x.transpose(order), out.transpose(order)
    shape: list[int] = []
    steps: tuple[int, int] | None = None
    for n, *strides in zip(out.shape, x.strides, out.strides, strict=True):
        if n == 1:
            continue
        if steps == (strides[0] * n, strides[1] * n):
            shape[-1] *= n
        else:
            shape.append(n)
        steps = strides[0], strides[1]
    return x.reshape(shape), out.reshape(shape)
