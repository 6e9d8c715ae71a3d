"""Matrix products in slices, each slice with one BLAS thread."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.blas import LOCKED, SMALL_WORK, parallel_products, product, single_threaded
from tinygrad_cnn.kernels.elementwise import slices
from tinygrad_cnn.kernels.geometry import shares_of
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["NARROW", "SMALL_PRODUCT", "matmul", "small_products"]

Array = NDArray[Any]

# Products of at most so many multiplications OpenBLAS computes without arranging the operands anew. With so few
# columns, that takes a third of its time.
SMALL_PRODUCT = 1_000_000
NARROW = 64
# Slices begin at multiples of this many rows or columns, which suits the register tiles of every BLAS.
_GRAIN = 16
# From so many times the longer side of the result on, a product is rather cut along the dimension that it sums over ...
_MANY_TERMS = 8
# ... and reading one number of an operand from outside the cache takes as long as so many multiplications.
_READ_WORK = 10
# Elements from which on a second thread helps with an outer product, and those of a part.
_LARGE, _PART = 1 << 18, 1 << 19


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the matrix product of `a` and `b`, as `numpy.matmul` does, using all threads.

    A large product of two matrices is cut along the longer side of the result, or along the dimension that it sums over
    if that is much longer; one of many matrices along the longest of the other dimensions. The slices depend on the
    shapes only, and BLAS computes each with one thread: the bits do not depend on the number of threads.

    Parameters
    ----------
    a : (..., M, K) array, or (K,)
    b : (..., K, N) array, or (K,)
    out : (..., M, N) array, optional
        Where to put the result; must not overlap with `a` and `b`.
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2] or a.dtype != b.dtype or a.dtype.kind != "f":
        return _at_once(a, b, out)
    m, k, n = *a.shape[-2:], b.shape[-1]
    if k == 1 and out is None:
        return _outer(a, b)
    if a.ndim == 2 and b.ndim == 2:
        return np.matmul(a, b, out=out) if m * n * k <= SMALL_WORK else _sliced(a, b, out)
    if b.ndim == 2 and out is None and a.flags.c_contiguous:  # one product instead of many
        return matmul(a.reshape(math.prod(a.shape[:-1]), k), b).reshape(*a.shape[:-1], n)
    return _batched(a, b, out)


def small_products(a: Array, b: Array, out: Array) -> list[Call]:
    """Return the calls that write ``a @ b``, cut into small products along the rows if the result is narrow.

    OpenBLAS computes those without arranging the operands anew, which takes a third to two thirds of the time.

    Parameters
    ----------
    a : (R, 1, M, K) array
    b : (S, K, N) array
    out : (R, S, M, N) array
    """
    m, k, n = *a.shape[2:], b.shape[2]
    rows = SMALL_PRODUCT // (k * n)
    if n >= NARROW or not 0 < rows < m:
        return [partial(np.matmul, a, b, out=out)]
    rows = m // -(-m // rows)  # alike, but for a few that are left
    whole = m // rows * rows
    pieces, targets = (x[:, :, :whole].reshape(*x.shape[:2], -1, rows, x.shape[3]) for x in (a, out))
    calls: list[Call] = [partial(np.matmul, pieces, b[:, None], out=targets)]
    if whole < m:
        calls.append(partial(np.matmul, a[:, :, whole:], b, out=out[:, :, whole:]))
    return calls


def _at_once(a: Array, b: Array, out: Array | None) -> Array:
    with single_threaded:
        return np.matmul(a, b, out=out)


def _outer(a: Array, b: Array) -> Array:
    """Products of columns and rows, ``(..., m, 1) @ (..., 1, n)``."""
    out = buffers.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)
    a, b = (x.reshape((1,) * (out.ndim - x.ndim) + x.shape) for x in (a, b))

    def plan(part: tuple[slice, ...]) -> list[Call]:
        column, row = (
            x[tuple(cut if n > 1 else slice(1) for cut, n in zip(part, x.shape, strict=False))] for x in (a, b)
        )
        if out.shape[-1] >= LONG_RUN:
            return [partial(np.multiply, column, row, out=out[part])]
        # For short rows this is twice as fast.
        return [partial(np.einsum, "...i,...j->...ij", column[..., 0], row[..., 0, :], out=out[part])]

    parts: list[tuple[slice, ...]] = slices(out, _PART) if out.size >= _LARGE else [()]
    with run_by_run():
        parallel_calls(plan, parts)
    return out


def _batched(a: Array, b: Array, out: Array | None) -> Array:
    """Products of stacks of matrices, cut along the longest dimension of the stack."""
    stack = a.shape[:-2] if a.shape[:-2] == b.shape[:-2] else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    m, k, n = *a.shape[-2:], b.shape[-1]
    if out is None:
        out = buffers.empty((*stack, m, n), a.dtype)
    work = out.size * k
    shares = shares_of(work)
    if shares == 1:
        return np.matmul(a, b, out=out) if work <= SMALL_WORK else _at_once(a, b, out)
    a, b = (np.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (a, b))
    longest = max(stack)
    before = (slice(None),) * stack.index(longest)

    def plan(part: slice) -> list[Call]:
        index = (*before, part)
        return [partial(np.matmul, a[index], b[index], out=out[index])]

    parallel_products(plan, balanced(longest, shares), work)
    return out


def _sliced(a: Array, b: Array, out: Array | None) -> Array:
    m, k, n = *a.shape, b.shape[1]
    if out is None:
        out = buffers.empty((m, n), a.dtype)
    longest = k if k >= _MANY_TERMS * max(m, n) and m * n > LOCKED else max(m, n)
    # No more slices than need be: BLAS arranges the whole other operand anew for each.
    count = min(shares_of(m * n * k + (a.size + b.size) * _READ_WORK), -(-longest // _GRAIN))
    ends = [round(longest * i / count / _GRAIN) * _GRAIN for i in range(count)] + [longest]
    parts = [slice(start, stop) for start, stop in pairwise(ends) if start < stop]
    if len(parts) == 1:
        return _at_once(a, b, out)
    if longest == k:
        return _sum_of_terms(a, b, out, parts)

    def plan(part: slice) -> list[Call]:
        if longest == m:
            return [product(a[part], b, out[part])]
        return [product(a, b[:, part], out[:, part])]

    parallel_products(plan, parts)
    return out


def _sum_of_terms(a: Array, b: Array, out: Array, parts: list[slice]) -> Array:
    """A product cut along the dimension that it sums over: each thread reads a part of both operands."""
    sums = buffers.scratch("sums", (len(parts), *out.shape), out.dtype)

    def plan(item: tuple[int, slice]) -> list[Call]:
        number, part = item
        return [partial(np.matmul, a[:, part], b[part], out=sums[number])]

    parallel_products(plan, list(enumerate(parts)))
    return np.add.reduce(sums, axis=0, out=out)
