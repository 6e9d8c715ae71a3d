"""Reductions of large arrays, in parts that share the threads.

An array is cut along its slowest axis in memory. If that axis stays, every part has its own place in the result; if it
is reduced, the results of the parts are reduced in their turn. Where the cuts are depends on the shape alone.

NumPy reduces long rows quickly, and whole rows over each other. Between the two, where rows are short, it calls a loop
for every few elements; `_along` finds it something longer to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, scratch_like, slices
from tinygrad_cnn.kernels.threads import Call

__all__ = ["log_sum_exp", "reduce", "reducing", "sum_of_powers", "variation"]

Array = NDArray[Any]
Axes = tuple[int, ...]
Part = tuple[Any, ...]

# Elements: below, NumPy's own reduction is over before `_along` has made up its mind.
_MIDDLE = 1 << 13
# Below, a reduction takes less time than a second thread takes to join.
_LARGE = 1 << 19
# Elements of a part: one for each of two threads, as long as that is possible. Those that end a call at the same time
# fight for the interpreter lock, which costs as much as reading a megabyte.
_BLOCK = 1 << 20
# If there are further steps, whose results are to stay in the cache.
_STEPS_LARGE = 1 << 17
_STEPS_BLOCK = 1 << 17

# Terms that BLAS adds up at once: it adds them in a few interleaved sums, which are less exact than NumPy's pairs.
_MOST_TERMS = 1 << 10
# Elements of matrices: a product of smaller ones is over before BLAS has begun.
_LEAST_PRODUCT = 256
# Elements of runs of memory that are reduced as fast as longer ones, and how many of them are better reduced one after
# the other than by halves.
_LONG = 512
_FOLD = 8
# Elements of rows that are rather made columns; of products, which NumPy does not vectorise along a row, only when they
# have been halved so often. And how many elements are made columns at a time.
_FEW, _SHORT = 128, 32
_COLUMNS_BLOCK = 1 << 17


def _is_fast(x: Array) -> bool:
    return x.dtype in (np.float32, np.float64)


# ------------------------------------------------------------------------------------------- whole arrays


def reduce(ufunc: np.ufunc, x: Array, axes: Axes, keepdims: bool = True) -> Array:
    """As ``ufunc.reduce(x, axis=axes, keepdims=keepdims)``."""
    if x.size < _MIDDLE or not axes or not _is_fast(x):
        return np.asarray(ufunc.reduce(x, axis=axes, keepdims=keepdims))
    result = _in_parts(ufunc, x, axes, _parts(x, _LARGE, _BLOCK), lambda part, out: reducing(ufunc, x[part], axes, out))
    return result if keepdims else np.squeeze(result, axes)


def _parts(x: Array, large: int, block: int) -> list[Part]:
    return slices(x, block) if x.size >= large and _is_fast(x) else []


def _in_parts(
    ufunc: np.ufunc, x: Array, axes: Axes, parts: list[Part], plan: Callable[[Part, Array], list[Call]]
) -> Array:
    """Let ``plan(part, out)`` reduce parts of `x`, and return all results, reduced by `ufunc` where they must be.

    Without parts it reduces the whole.
    """
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    if not parts or len(parts[0]) - 1 not in axes:
        out = empty_like(x, shape=shape)
        parallel_products(lambda part: plan(part, out[part]), parts or [(...,)])
        return out
    results = scratch_like("results", x, len(parts), shape=shape)
    parallel_products(lambda item: plan(item[1], results[item[0]]), list(enumerate(parts)))
    return np.asarray(ufunc.reduce(results, axis=0))


# ------------------------------------------------------------------------------------------- a part


def reducing(ufunc: np.ufunc, x: Array, axes: Axes, out: Array) -> list[Call]:
    """Return the calls that reduce `x` over `axes` into `out`, where these have size one."""
    order = memory_order(x)
    memory, target = x.transpose(order), out.transpose(order)
    sizes = [(x.shape[axis], axis in axes) for axis in order if x.shape[axis] != 1]
    left = sum(reduced for _, reduced in sizes)
    if not left or not x.size or not _is_fast(x) or not (memory.flags.c_contiguous and target.flags.c_contiguous):
        return [partial(ufunc.reduce, x, axis=axes, keepdims=True, out=out)]
    calls: list[Call] = []
    while left:  # over the fastest first, which leaves the least for the others
        stop = max(i for i, (_, reduced) in enumerate(sizes) if reduced) + 1
        start = max((i + 1 for i, (_, reduced) in enumerate(sizes[:stop]) if not reduced), default=0)
        outer, n, inner = (
            math.prod(size for size, _ in part) for part in (sizes[:start], sizes[start:stop], sizes[stop:])
        )
        left -= stop - start
        place = buffers.scratch(f"reduced {left}", (outer, inner), x.dtype) if left else target.reshape(outer, inner)
        calls += _along(ufunc, memory.reshape(outer, n, inner), place)
        memory, sizes = place, sizes[:start] + sizes[stop:]
    return calls


def _along(ufunc: np.ufunc, x: Array, out: Array, level: int = 0) -> list[Call]:
    """Return the calls that reduce ``(outer, n, inner) -> (outer, inner)``, both without gaps."""
    outer, n, inner = x.shape
    if ufunc is np.add and inner == 1:
        return _sums_of_rows(x[..., 0], out[:, 0])
    if ufunc is np.add and n <= _MOST_TERMS and _LEAST_PRODUCT // n <= inner < _LONG:
        return [partial(np.matmul, np.ones(n, x.dtype), x, out=out)]
    if inner >= _LONG or n < 4 or (inner == 1 and n >= _FEW and ufunc is not np.multiply):
        return [partial(ufunc.reduce, x, axis=1, out=out)]
    if inner == 1 and (n < _SHORT or ufunc is not np.multiply):
        return _by_columns(ufunc, x[..., 0], out[:, 0])
    # Runs side by side make a longer one, and these are reduced first: two halves, or many of some length. What is
    # left at the end goes into the first of them.
    runs = n // 2 if n * inner <= _FOLD * _LONG else max(1, _LONG // inner)
    folded = buffers.scratch(f"folded {level}", (outer, runs, inner), x.dtype)
    if n // runs == 2:
        calls = [partial(ufunc, x[:, :runs], x[:, runs : 2 * runs], out=folded)]
    else:
        whole = x[:, : n // runs * runs].reshape(outer, -1, runs, inner)
        calls = [partial(ufunc.reduce, whole, axis=1, out=folded)]
    if n % runs:
        first = folded[:, : n % runs]
        calls.append(partial(ufunc, first, x[:, n - n % runs :], out=first))
    return calls + _along(ufunc, folded, out, level + 1)


def _sums_of_rows(x: Array, out: Array) -> list[Call]:
    """Return the calls that add up rows, ``(m, n) -> (m,)``: products of pieces of them with ones, and their sums."""
    m, n = x.shape
    ones = np.ones(min(n, _MOST_TERMS), x.dtype)
    if n <= _MOST_TERMS:
        return [partial(np.matmul, x, ones, out=out)]
    pieces, rest = divmod(n, _MOST_TERMS)
    sums = buffers.scratch("sums", (m, pieces + 1), x.dtype)
    whole = x[:, : n - rest].reshape(m, pieces, -1)
    return [
        partial(np.matmul, whole, ones, out=sums[:, :pieces]),
        partial(np.matmul, x[:, n - rest :], ones[:rest], out=sums[:, pieces]),
        partial(np.add.reduce, sums, axis=1, out=out),
    ]


def _by_columns(ufunc: np.ufunc, x: Array, out: Array) -> list[Call]:
    """Return the calls that reduce short rows, (m, n) -> (m,), which are turned into long columns first."""
    calls: list[Call] = []
    step = max(1, _COLUMNS_BLOCK // x.shape[1])
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        columns = buffers.scratch("columns", rows.shape[::-1], x.dtype)
        calls.append(partial(np.copyto, columns, rows.T))
        calls.append(partial(ufunc.reduce, columns, axis=0, out=out[start : start + step]))
    return calls


# ------------------------------------------------------------------------------------- sums of functions


def _sum_of(x: Array, axes: Axes, steps: Callable[[Array, Part, Array], list[Call]]) -> Array:
    """The sum over `axes`, kept with size one, of what ``steps(x[part], part, out)`` write into `out`."""

    def plan(part: Part, out: Array) -> list[Call]:
        terms = scratch_like("terms", x[part], 1)[0, ...]
        return [*steps(x[part], part, terms), *reducing(np.add, terms, axes, out)]

    return _in_parts(np.add, x, axes, _parts(x, _STEPS_LARGE, _STEPS_BLOCK), plan)


def _along_part(part: Part, x: Array) -> Array:
    """A part of an array whose axes may have size one."""
    return x[tuple(cut if n != 1 else slice(None) for cut, n in zip(part, x.shape, strict=False))]


def variation(x: Array, mean: Array, axes: Axes) -> Array:
    """Return ``sum((x - mean)²)`` over `axes`, kept with size one; so has `mean` them."""

    def steps(x: Array, part: Part, out: Array) -> list[Call]:
        return [partial(np.subtract, x, _along_part(part, mean), out=out), partial(np.square, out, out=out)]

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
        return [partial(np.subtract, x, _along_part(part, peak), out=out), partial(np.exp, out, out=out)]

    total = _sum_of(x, axes, steps)
    with np.errstate(divide="ignore"):  # of nothing but -inf the result is -inf
        return np.asarray(np.log(total) + peak)
