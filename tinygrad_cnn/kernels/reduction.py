"""Reductions of large arrays, in parts that share the threads.

An array is cut along its slowest axis in memory. If that axis stays, every part has its own place in the result; if it
is reduced, the results of the parts are reduced in their turn. Where the cuts are depends on the shape alone.

NumPy reduces long rows quickly, and whole rows over each other. Between the two, where rows are short, it calls a loop
for every few elements; `_along` finds it something longer to do.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.blas import dot_products, ones, parallel_products, product, single_threaded
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, repeats_in_runs, scratch_like, slices
from tinygrad_cnn.kernels.runs import run_by_run
from tinygrad_cnn.kernels.threads import Call

__all__ = [
    "by_columns",
    "log_sum_exp",
    "need_no_shift",
    "peaks_of_rows",
    "reduce",
    "reducing",
    "sum_of_powers",
    "variation",
]

Array = NDArray[Any]
Axes = tuple[int, ...]
Part = tuple[Any, ...]

# Elements: below, NumPy's own reduction is over before `_along` has made up its mind; one of long rows even longer.
_MIDDLE, _PLAIN = 1 << 13, 1 << 15
# Below, a reduction takes less time than a second thread takes to join.
_LARGE = 1 << 19
# Elements of a part: one for each of two threads, as long as that is possible. Those that end a call at the same time
# fight for the interpreter lock, which costs as much as reading a megabyte.
_BLOCK = 1 << 20
# If there are further steps.
_STEPS_LARGE = 1 << 18
_STEPS_BLOCK = 1 << 19

# Terms that BLAS adds up at once: it adds them in a few interleaved sums, which are less exact than NumPy's pairs.
_MOST_TERMS = 1 << 10
# Elements of matrices: a product of smaller ones is over before BLAS has begun.
_LEAST_PRODUCT = 256
# Elements of runs of memory that are reduced as fast as longer ones, and how many of them are better reduced one after
# the other than by halves.
_LONG = 512
_FOLD = 8
# Elements of rows that are rather made columns; longer rows of factors, which NumPy does not vectorise, are folded
# until they are so short. And how many elements are made columns at a time.
_FEW, _FEW_FACTORS = 48, 128
# Bytes of the largest elements that NumPy copies one by one.
_TOGETHER = 16
# Runs so few are reduced sooner than it is planned how to do it better.
_FEW_RUNS = 1 << 10
_COLUMNS_BLOCK = 1 << 18
# Elements of rows from which on NumPy finds an extreme as fast as where it is.
_MANY = 1 << 12


def _is_fast(x: Array) -> bool:
    return x.dtype in (np.float32, np.float64)


# ------------------------------------------------------------------------------------------- whole arrays


def reduce(ufunc: np.ufunc, x: Array, axes: Axes, keepdims: bool = True) -> Array:
    """As ``ufunc.reduce(x, axis=axes, keepdims=keepdims)``; halves are added up in single, and rounded once."""
    if ufunc is np.add and x.dtype.char == "e":
        return reduce(ufunc, x.astype(np.float32), axes, keepdims).astype(x.dtype)
    if x.size < _MIDDLE or not axes or not _is_fast(x) or (x.size < _PLAIN and _has_long_rows(x)):
        return np.asarray(ufunc.reduce(x, axis=axes, keepdims=keepdims))
    result = _in_parts(ufunc, x, axes, _parts(x, _LARGE, _BLOCK), lambda part, out: reducing(ufunc, x[part], axes, out))
    return result if keepdims else np.squeeze(result, axes)


def _has_long_rows(x: Array) -> bool:
    return bool(x.flags.c_contiguous) and x.shape[-1] >= _FEW


def _parts(x: Array, large: int, block: int) -> list[Part]:
    return slices(x, block) if x.size >= large and _is_fast(x) else []


def _in_parts(
    ufunc: np.ufunc, x: Array, axes: Axes, parts: list[Part], plan: Callable[[Part, Array], list[Call]]
) -> Array:
    """Let ``plan(part, out)`` reduce parts of `x`, and return all results, reduced by `ufunc` where they must be.

    Without parts it reduces the whole.
    """
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    if not parts:
        out = empty_like(x, shape=shape)
        with single_threaded if ufunc is np.add else nullcontext():
            for call in plan((...,), out):
                call()
        return out
    if len(parts[0]) - 1 not in axes:
        out = empty_like(x, shape=shape)
        parallel_products(lambda part: plan(part, out[part]), parts)
        return out
    results = scratch_like("results", x, len(parts), shape=shape)
    parallel_products(lambda item: plan(item[1], results[item[0]]), list(enumerate(parts)))
    return np.asarray(ufunc.reduce(results, axis=0))


# ------------------------------------------------------------------------------------------- a part


@functools.lru_cache(1024)
def _stages(shape: tuple[int, ...], order: tuple[int, ...], axes: Axes) -> list[tuple[int, int, int]]:
    """Return how to reduce row-major memory of axes in that order: ``(outer, n, inner) -> (outer, inner)``, in turn."""
    sizes = [(shape[axis], axis in axes) for axis in order if shape[axis] != 1]
    stages: list[tuple[int, int, int]] = []
    while any(reduced for _, reduced in sizes):  # over the fastest first, which leaves the least for the others
        stop = max(i for i, (_, reduced) in enumerate(sizes) if reduced) + 1
        start = max((i + 1 for i, (_, reduced) in enumerate(sizes[:stop]) if not reduced), default=0)
        outer, n, inner = (
            math.prod(size for size, _ in part) for part in (sizes[:start], sizes[start:stop], sizes[stop:])
        )
        stages.append((outer, n, inner))
        sizes = sizes[:start] + sizes[stop:]
    return stages


def reducing(ufunc: np.ufunc, x: Array, axes: Axes, out: Array) -> list[Call]:
    """Return the calls that reduce `x` over `axes` into `out`, where these have size one."""
    if x.size < _MIDDLE:
        return [partial(ufunc.reduce, x, axis=axes, keepdims=True, out=out)]
    runs = _in_stages(x, axes, out)
    if runs is None:
        return [partial(ufunc.reduce, x, axis=axes, keepdims=True, out=out)]
    return [call for source, target in runs for call in _along(ufunc, source, target)]


def _in_stages(x: Array, axes: Axes, out: Array) -> list[tuple[Array, Array]] | None:
    """Return what is reduced into what, one after the other, or None if there are gaps in the arrays."""
    order = memory_order(x)
    memory, target = x.transpose(order), out.transpose(order)
    stages = _stages(x.shape, tuple(order), axes)
    if not stages or not x.size or not _is_fast(x) or not (memory.flags.c_contiguous and target.flags.c_contiguous):
        return None
    runs = []
    for left, (outer, n, inner) in zip(range(len(stages))[::-1], stages, strict=True):
        place = buffers.scratch(f"reduced {left}", (outer, inner), x.dtype) if left else target.reshape(outer, inner)
        runs.append((memory.reshape(outer, n, inner), place))
        memory = place
    return runs


def _along(ufunc: np.ufunc, x: Array, out: Array, level: int = 0) -> list[Call]:
    """Return the calls that reduce ``(outer, n, inner) -> (outer, inner)``, both without gaps."""
    outer, n, inner = x.shape
    if ufunc is np.add and inner == 1:
        return _sums_of_rows(x[..., 0], out[:, 0])
    if ufunc is np.add and n <= _MOST_TERMS and inner >= _LEAST_PRODUCT // n:
        return [product(ones(n, x.dtype), x, out)]
    few = _FEW_FACTORS if ufunc is np.multiply else _FEW
    if inner == 1 and few < n < _MANY and ufunc is not np.multiply:
        return peaks_of_rows(ufunc, x[..., 0], out[:, 0])
    plainly = inner == 1 and n >= _MANY and ufunc is not np.multiply
    if plainly or inner >= _LONG or n < 4 or outer * n <= _FEW_RUNS:
        return [partial(ufunc.reduce, x, axis=1, out=out)]
    if inner == 1 and n <= few:
        return by_columns(ufunc, x[..., 0], out[:, 0])
    # Runs side by side make a longer one, and these are reduced first: two halves, or many of some length. What is
    # left at the end goes into the first of them.
    long = few if inner == 1 else _LONG
    runs = n // 2 if n * inner <= _FOLD * long else max(1, long // inner)
    folded = buffers.scratch(f"folded {level}", (outer, runs * inner), x.dtype)
    flat = x.reshape(outer, n * inner)
    whole = flat[:, : n // runs * runs * inner].reshape(outer, n // runs, runs * inner)
    if n // runs == 2:
        calls: list[Call] = [partial(ufunc, whole[:, 0], whole[:, 1], out=folded)]
    elif ufunc is np.add:
        calls = _sums_of_columns(whole, folded)
    else:
        calls = [partial(ufunc.reduce, whole, axis=1, out=folded)]
    if n % runs:
        first = folded[:, : n % runs * inner]
        calls.append(partial(ufunc, first, flat[:, -first.shape[1] :], out=first))
    return calls + _along(ufunc, folded.reshape(outer, runs, inner), out, level + 1)


def _sums_of_columns(x: Array, out: Array) -> list[Call]:
    """Return the calls that add up columns, ``(outer, n, width) -> (outer, width)``, as `_sums_of_rows`."""
    outer, n, width = x.shape
    terms = ones(min(n, _MOST_TERMS), x.dtype)
    if n <= _MOST_TERMS:
        return [product(terms, x, out)]
    pieces, rest = divmod(n, _MOST_TERMS)
    parts = buffers.scratch("sums", (outer, pieces + 1, width), x.dtype)
    whole = x[:, : n - rest].reshape(outer, pieces, -1, width)
    return [
        partial(np.matmul, terms, whole, out=parts[:, :pieces]),
        partial(np.matmul, terms[:rest], x[:, n - rest :], out=parts[:, pieces]),
        partial(np.add.reduce, parts, axis=1, out=out),
    ]


def _sums_of_rows(x: Array, out: Array, squares: bool = False) -> list[Call]:
    """Return the calls that add up rows, or their squares, ``(m, n) -> (m,)``: in pieces, then those of the pieces."""

    def sums(piece: Array, target: Array) -> Call:
        if squares:
            return dot_products(piece, piece, target)
        return product(piece, ones(piece.shape[-1], x.dtype), target)

    m, n = x.shape
    if n <= _MOST_TERMS:
        return [sums(x, out)]
    pieces, rest = divmod(n, _MOST_TERMS)
    parts = buffers.scratch("sums", (m, pieces + 1), x.dtype)
    return [
        sums(x[:, : n - rest].reshape(m, pieces, -1), parts[:, :pieces]),
        sums(x[:, n - rest :], parts[:, pieces]),
        partial(np.add.reduce, parts, axis=1, out=out),
    ]


def peaks_of_rows(ufunc: np.ufunc, x: Array, out: Array) -> list[Call]:
    """Return the calls that find the largest or smallest elements of rows, ``(m, n) -> (m,)``.

    NumPy finds where they are faster than what they are.
    """
    m, n = x.shape
    find = np.argmax if ufunc is np.maximum else np.argmin
    places = buffers.scratch("places", (m,), np.intp)
    return [
        partial(find, x, 1, out=places),
        partial(np.add, places, np.arange(0, m * n, n), out=places),
        partial(np.take, x.reshape(-1), places, out=out, mode="clip"),
    ]


def by_columns(ufunc: np.ufunc, x: Array, out: Array) -> list[Call]:
    """Return the calls that reduce short rows, ``(m, n) -> (m,)``, which are turned into long columns first.

    Several neighbours go into one column together, which takes as long to copy as one alone.
    """
    calls: list[Call] = []
    m, n = x.shape
    together = _TOGETHER // x.itemsize
    if n < _TOGETHER or n % together or x.strides[1] != x.itemsize:
        together = 1
    left = buffers.scratch("left", (m, together), x.dtype) if together > 1 else out.reshape(m, 1)
    step = max(1, _COLUMNS_BLOCK // n)
    for start in range(0, m, step):
        rows = x[start : start + step].reshape(-1, n // together, together).swapaxes(0, 1)
        columns = buffers.scratch("columns", rows.shape, x.dtype)
        source, target = (rows, columns) if together == 1 else (rows.view(np.complex128), columns.view(np.complex128))
        calls.append(partial(np.copyto, target, source))
        calls.append(partial(ufunc.reduce, columns, axis=0, out=left[start : start + step]))
    if together > 1:
        calls.append(partial(ufunc, left[:, 0], left[:, 1], out=out))
    return calls + [partial(ufunc, out, left[:, i], out=out) for i in range(2, together)]


# ------------------------------------------------------------------------------------- sums of functions


def _sum_of(
    x: Array, axes: Axes, calls: Callable[[Part, Array, Array], list[Call]], small: Array | None = None
) -> Array:
    """The sum over `axes`, kept with size one, of a function of the elements, which may depend on a small array.

    ``calls(part, terms, out)`` says how to compute that of a part, with room for as many terms.
    """
    if x.size < _MIDDLE:
        out = np.empty([1 if axis in axes else n for axis, n in enumerate(x.shape)], x.dtype)
        for call in calls((...,), np.empty_like(x), out):
            call()
        return out

    def plan(part: Part, out: Array) -> list[Call]:
        return calls(part, scratch_like("terms", x[part], 1)[0, ...], out)

    with run_by_run() if small is not None and repeats_in_runs(small, x) else nullcontext():
        return _in_parts(np.add, x, axes, _parts(x, _STEPS_LARGE, _STEPS_BLOCK), plan)


def _along_part(part: Part, x: Array) -> Array:
    """A part of an array whose axes may have size one."""
    return x[tuple(cut if n != 1 else slice(None) for cut, n in zip(part, x.shape, strict=False))]


def _sum_of_squares(x: Array, axes: Axes, terms: Array, out: Array) -> list[Call]:
    """Return the calls that add up squares over `axes` into `out`; `terms` may be `x`."""
    stages = _in_stages(x, axes, out) if x.size >= _MIDDLE else None
    if stages is None or stages[0][0].shape[2] != 1 or stages[0][0].shape[1] < _FEW:
        return [partial(np.square, x, out=terms), *reducing(np.add, terms, axes, out)]
    (rows, sums), *others = stages
    calls = _sums_of_rows(rows[..., 0], sums[:, 0], squares=True)
    return calls + [call for source, target in others for call in _along(np.add, source, target)]


def variation(x: Array, mean: Array, axes: Axes) -> Array:
    """Return ``sum((x - mean)²)`` over `axes`, kept with size one; so has `mean` them."""

    def calls(part: Part, terms: Array, out: Array) -> list[Call]:
        difference = partial(np.subtract, x[part], _along_part(part, mean), out=terms)
        return [difference, *_sum_of_squares(terms, axes, terms, out)]

    return _sum_of(x, axes, calls, mean)


def sum_of_powers(x: Array, p: float, axes: Axes) -> Array:
    """Return ``sum(abs(x) ** p)`` over `axes`, kept with size one."""

    def calls(part: Part, terms: Array, out: Array) -> list[Call]:
        if p == 2:
            return _sum_of_squares(x[part], axes, terms, out)
        sizes = [partial(np.absolute, x[part], out=terms)]
        powers = [] if p == 1 else [partial(np.power, terms, p, out=terms)]
        return [*sizes, *powers, *reducing(np.add, terms, axes, out)]

    return _sum_of(x, axes, calls)


def need_no_shift(sums: Array) -> bool:
    """Whether no sum of powers is near overflow, and what underflow took from one is less than 2**-116 of it.

    So it is with most scores; then there is no need to find the maxima and to subtract them, which takes longer than
    the powers. Half precision soon comes to its ends.
    """
    if sums.dtype.itemsize < 4:
        return False
    least, most = np.minimum.reduce(sums, axis=None, initial=1), np.maximum.reduce(sums, axis=None, initial=1)
    return bool(least >= 2.0**-10 and most <= 2.0**60)


def log_sum_exp(x: Array, axes: Axes) -> Array:
    """Return ``log(sum(exp(x)))`` over `axes`, kept with size one."""

    def powers(part: Part, terms: Array, out: Array) -> list[Call]:
        return [partial(np.exp, x[part], out=terms), *reducing(np.add, terms, axes, out)]

    with np.errstate(over="ignore"):
        total = _sum_of(x, axes, powers)
    if need_no_shift(total):
        return np.asarray(np.log(total))
    peak = reduce(np.maximum, x, axes)
    peak = np.where(np.isfinite(peak), peak, x.dtype.type(0))

    def shifted_powers(part: Part, terms: Array, out: Array) -> list[Call]:
        differences = partial(np.subtract, x[part], _along_part(part, peak), out=terms)
        return [differences, partial(np.exp, terms, out=terms), *reducing(np.add, terms, axes, out)]

    total = _sum_of(x, axes, shifted_powers, peak)
    with np.errstate(divide="ignore"):  # of nothing but -inf the result is -inf
        return np.asarray(np.log(total) + peak)
