"""Elementwise operations over large arrays: in blocks that stay in cache, in threads, into reused memory.

An operation on a small array is a plain NumPy call. A large one is cut into blocks along its slowest axis in memory.
Layouts are kept: the result of channels-last arrays is channels last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import parallel

__all__ = ["BITS", "apply", "contiguous", "empty_like", "relu", "relu_grad", "scratch_like", "select", "slices"]

Array = NDArray[Any]

# Elements: below, an operation takes less time than a second thread takes to join.
_LARGE = 1 << 19
_BLOCK = 1 << 18
# Below, the plainest NumPy call is the fastest.
_MIDDLE = 1 << 11

BITS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def _memory_order(x: Array) -> list[int]:
    """Return the axes of `x` from the slowest to the fastest in memory."""
    if x.flags.c_contiguous:
        return list(range(x.ndim))
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def empty_like(x: Array, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
    """Return an uninitialised array with the order of axes of `x`, in reused memory; shape and dtype default to its."""
    dtype = x.dtype if dtype is None else dtype
    shape = x.shape if shape is None else shape
    if x.flags.c_contiguous:
        return buffers.empty(shape, dtype)
    order = _memory_order(x)
    memory = buffers.empty(tuple(shape[axis] for axis in order), dtype)
    return memory.transpose([order.index(axis) for axis in range(x.ndim)])


def scratch_like(name: str, x: Array, count: int, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
    """Return scratch memory for `count` arrays with the order of axes of `x`: (count, *shape)."""
    dtype = x.dtype if dtype is None else dtype
    shape = x.shape if shape is None else shape
    order = _memory_order(x)
    memory = buffers.scratch(name, (count, *(shape[axis] for axis in order)), dtype)
    return memory.transpose([0, *(order.index(axis) + 1 for axis in range(x.ndim))])


def slices(x: Array) -> list[tuple[slice, ...]]:
    """Cut `x` along its slowest long axis into blocks of about `_BLOCK` elements: a list of indices."""
    order = _memory_order(x)
    axis = order[0]
    if x.shape[axis] == 1:
        axis = next((candidate for candidate in order if x.shape[candidate] > 1), axis)
    before = (slice(None),) * axis
    return [(*before, part) for part in balanced(x.shape[axis], -(-x.size // _BLOCK))]


def apply(function: np.ufunc, *arrays: Array) -> Array:
    """Return ``function(*arrays)``; if the arrays are large and of one shape, cut into blocks over all threads."""
    first = arrays[0]
    if first.size < _LARGE or any(array.shape != first.shape for array in arrays):
        return function(*arrays)
    dtype = function.resolve_dtypes((*(array.dtype for array in arrays), None))[-1]
    out = empty_like(first, dtype)

    def compute(part: tuple[slice, ...]) -> None:
        function(*(array[part] for array in arrays), out=out[part])

    parallel(compute, slices(first))
    return out


def _rectify(x: Array, out: Array) -> None:
    # `clip` is twice as fast as `maximum` on large arrays, and keeps NaN as well.
    if x.dtype.kind == "f":
        np.clip(x, 0, np.inf, out=out)
    else:
        np.maximum(x, 0, out=out)


def relu(x: Array) -> Array:
    """Return ``max(x, 0)``, elementwise; NaN stays NaN."""
    if x.size < _MIDDLE:
        return np.maximum(x, 0)
    out = empty_like(x)
    if x.size < _LARGE:
        _rectify(x, out)
    else:
        parallel(lambda part: _rectify(x[part], out[part]), slices(x))
    return out


def relu_grad(g: Array, y: Array) -> Array:
    """Return `g` where ``y > 0`` and 0 elsewhere: the gradient of `relu` from its output.

    The selection is exact: where ``y <= 0`` the result is 0 even if `g` is infinite or NaN.
    """
    if g.size < _MIDDLE or g.shape != y.shape:
        return np.where(y > 0, g, g.dtype.type(0))
    out = empty_like(y, g.dtype)
    if g.size < _LARGE:
        select(np.greater(y, 0), g, out)
    else:
        parallel(lambda part: select(np.greater(y[part], 0), g[part], out[part]), slices(y))
    return out


def select(keep: Array, values: Array, out: Array) -> None:
    """Write `values` where `keep` is true, and 0 elsewhere, into `out`; `keep` is overwritten.

    The booleans are widened to all ones or all zeros, and ``bitwise_and`` selects: three times as fast as `where` and
    masked assignment. Beside `out`, which may be any view, the arrays are best laid out alike and without gaps.
    """
    bits = BITS.get(out.dtype.itemsize)
    if bits is None or values.dtype != out.dtype:
        out[...] = np.where(keep, values, 0)
        return
    signed = keep.view(np.int8)
    np.negative(signed, out=signed)
    target = out.view(bits)
    same_layout = keep.strides == tuple(stride // out.itemsize for stride in out.strides)
    pattern = target if same_layout else scratch_like("pattern", keep, 1, bits)[0]
    np.copyto(pattern, signed)
    np.bitwise_and(values.view(bits), pattern, out=target)


def contiguous(x: Array) -> Array:
    """Return `x` as a C-contiguous array: itself if it is one, else a copy."""
    if x.flags.c_contiguous:
        return x
    if x.size < _LARGE:
        return np.ascontiguousarray(x)
    out = buffers.empty(x.shape, x.dtype)
    parallel(lambda part: np.copyto(out[part], x[part]), slices(out))
    return out
