"""Reductions of large arrays, in parts that share the threads.

An array is cut along its slowest axis in memory. If that axis stays, every part has its own place in the result; if it
is reduced, the results of the parts are reduced in their turn. Where the cuts are depends on the shape alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.elementwise import empty_like, scratch_like, slices
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["log_sum_exp", "reduce", "sum_of_powers", "variation"]

Array = NDArray[Any]
Axes = tuple[int, ...]
Part = tuple[slice, ...]

# Elements: below, a reduction takes less time than a second thread takes to join.
_LARGE = 1 << 18
# Elements of a part.
_BLOCK = 1 << 18
# Of a part whose sum is a product, and the size from which that is faster.
_SUM_BLOCK = 1 << 19
_WORTH_A_PRODUCT = 1 << 10
# If there are further steps, whose results are to stay in the cache.
_STEPS_BLOCK = 1 << 17


def _is_large(x: Array) -> bool:
    return x.size >= _LARGE and x.dtype in (np.float32, np.float64)


def _in_parts(ufunc: np.ufunc, x: Array, axes: Axes, block: int, plan: Callable[[Part, Array], list[Call]]) -> Array:
    """Let ``plan(part, out)`` reduce parts of `x`, and return all results, reduced by `ufunc` where they must be."""
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    parts = slices(x, block)
    cut = len(parts[0]) - 1
    if cut not in axes:
        out = empty_like(x, shape=shape)
        parallel_calls(lambda part: plan(part, out[part]), parts)
        return out
    results = np.empty((len(parts), *shape), x.dtype)
    parallel_calls(lambda item: plan(item[1], results[item[0]]), list(enumerate(parts)))
    return np.asarray(ufunc.reduce(results, axis=0))


def reduce(ufunc: np.ufunc, x: Array, axes: Axes, keepdims: bool = True) -> Array:
    """As ``ufunc.reduce(x, axis=axes, keepdims=keepdims)``."""
    if ufunc is np.add and _of_channels(x, axes):
        sums = _channel_sums(x)
        return sums.reshape(1, -1, 1, 1) if keepdims else sums
    if not _is_large(x) or not axes:
        return np.asarray(ufunc.reduce(x, axis=axes, keepdims=keepdims))

    def plan(part: Part, out: Array) -> list[Call]:
        return [partial(ufunc.reduce, x[part], axis=axes, keepdims=True, out=out)]

    result = _in_parts(ufunc, x, axes, _BLOCK, plan)
    return result if keepdims else np.squeeze(result, axes)


def _of_channels(x: Array, axes: Axes) -> bool:
    """Whether the sums wanted are those of channels that are last in memory."""
    if x.ndim != 4 or axes != (0, 2, 3) or x.dtype not in (np.float32, np.float64) or x.size < _WORTH_A_PRODUCT:
        return False
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def _channel_sums(x: Array) -> Array:
    """The sums over images and positions, (N, C, H, W) -> (C,), by products of a row of ones with rows of pixels."""
    width, channels = x.shape[3], x.shape[1]
    lines = x.transpose(0, 2, 3, 1).reshape(-1, width * channels)
    step = max(1, _SUM_BLOCK // (width * channels))
    parts = [lines[start : start + step] for start in range(0, len(lines), step)]
    sums = np.empty((len(parts), 1, width * channels), x.dtype)
    ones = np.ones((1, step), x.dtype)

    def plan(number: int) -> list[Call]:
        part = parts[number]
        return [partial(np.matmul, ones[:, : len(part)], part, out=sums[number])]

    parallel_products(plan, list(range(len(parts))))
    return np.asarray(sums.sum(axis=0).reshape(width, channels).sum(axis=0))


def _sum_of(x: Array, axes: Axes, steps: Callable[[Array, Part, Array], list[Call]]) -> Array:
    """The sum over `axes`, kept with size one, of what ``steps(x[part], part, out)`` write into `out`."""

    def plan(part: Part, out: Array) -> list[Call]:
        terms = scratch_like("terms", x[part], 1)[0, ...]
        return [*steps(x[part], part, terms), partial(np.add.reduce, terms, axis=axes, keepdims=True, out=out)]

    if not _is_large(x) or not axes:
        out = np.empty(tuple(1 if axis in axes else n for axis, n in enumerate(x.shape)), x.dtype)
        for call in plan((), out):
            call()
        return out
    return _in_parts(np.add, x, axes, _STEPS_BLOCK, plan)


def _along(part: Part, x: Array) -> Array:
    """A part of an array whose axes may have size one."""
    return x[tuple(cut if n != 1 else slice(None) for cut, n in zip(part, x.shape, strict=False))]


def variation(x: Array, mean: Array, axes: Axes) -> Array:
    """Return ``sum((x - mean)²)`` over `axes`, kept with size one; so has `mean` them."""

    def steps(x: Array, part: Part, out: Array) -> list[Call]:
        return [partial(np.subtract, x, _along(part, mean), out=out), partial(np.square, out, out=out)]

    return _sum_of(x, axes, steps)


def sum_of_powers(x: Array, p: float, axes: Axes) -> Array:
    """Return ``sum(abs(x) ** p)`` over `axes`, kept with size one."""

    def steps(x: Array, part: Part, out: Array) -> list[Call]:
        if p == 2:
            return [partial(np.square, x, out=out)]
        size = partial(np.absolute, x, out=out)
        return [size] if p == 1 else [size, partial(np.power, out, p, out=out)]

    return _sum_of(x, axes, steps)


def log_sum_exp(x: Array, axes: Axes) -> Array:
    """Return ``log(sum(exp(x)))`` over `axes`, kept with size one."""
    peak = reduce(np.maximum, x, axes)
    peak = np.where(np.isfinite(peak), peak, x.dtype.type(0))

    def steps(x: Array, part: Part, out: Array) -> list[Call]:
        return [partial(np.subtract, x, _along(part, peak), out=out), partial(np.exp, out, out=out)]

    total = _sum_of(x, axes, steps)
    with np.errstate(divide="ignore"):  # of nothing but -inf the result is -inf
        return np.asarray(np.log(total) + peak)
