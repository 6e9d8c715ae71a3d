"""Normalisation with statistics for each row and weights for each column, as layer normalisation has them.

A block of rows is read from memory once. Sums, with weights or without, are products of a matrix and a vector, which
BLAS computes several times as fast as NumPy adds up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import dot_products, parallel_products, product
from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.elementwise import memory_order
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = ["normalize", "normalize_grad", "standardize"]

Array = NDArray[Any]

# Elements of a block: the fewer blocks, the less Python; larger ones would leave the second-level cache.
_BLOCK = 1 << 18


class _Rows:
    """How an array is a matrix: the axes that have statistics of their own first, each kind in memory order."""

    def __init__(self, x: Array, statistic: tuple[int, ...]) -> None:
        self.order = sorted(memory_order(x), key=lambda axis: statistic[axis] == 1)
        self.shape = tuple(x.shape[axis] for axis in self.order)
        self.count = math.prod(statistic)
        self.size = x.size
        self.blocks = balanced(self.count, max(2, -(-x.size // _BLOCK)))

    def matrix(self, x: Array) -> Array:
        """A large array."""
        return x.transpose(self.order).reshape(self.count, -1)

    def vector(self, x: Array) -> Array:
        """Statistics, or weights."""
        return x.transpose(self.order).reshape(-1)

    def restore(self, x: Array, shape: tuple[int, ...]) -> Array:
        """The opposite of `matrix` and `vector`."""
        inverse = [self.order.index(axis) for axis in range(len(self.order))]
        return x.reshape([shape[axis] for axis in self.order]).transpose(inverse)

    def over_blocks(self, plan: Callable[[tuple[int, slice]], Iterable[Call]]) -> None:
        """Do what ``plan((index, part))`` says for each block, in threads."""
        with run_by_run() if self.size >= LONG_RUN * self.count else nullcontext():
            parallel_products(plan, list(enumerate(self.blocks)))


def _columns(first: Array, second: Array | float) -> Array:
    """Two vectors, or a vector and a number, as the columns of a matrix."""
    return np.ascontiguousarray(_pair(first, second).T)


def _pair(first: Array, second: Array | float) -> Array:
    """Two vectors, or a vector and a number, as the rows of a matrix."""
    rows = np.empty((2, first.size), first.dtype)
    rows[0] = first
    rows[1] = second
    return rows


def standardize(
    x: Array, statistic: tuple[int, ...], eps: Any, weight: Array, bias: Array
) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` and the moments."""
    rows = _Rows(x, statistic)
    x_, w, b = rows.matrix(x), rows.vector(weight), rows.vector(bias)
    y = empty(x_.shape, x.dtype)
    mean, var, rstd = np.empty((3, rows.count), x.dtype)
    ones, count = np.ones(w.size, x.dtype), x.dtype.type(w.size)

    def plan(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        out, m, v, r = y[part], mean[part], var[part], rstd[part]
        return [
            product(x_[part], ones, m),
            partial(np.divide, m, count, out=m),
            *_row_by_row(np.subtract, x_[part], m, out),
            dot_products(out, out, v),
            partial(np.divide, v, count, out=v),
            partial(np.add, v, eps, out=r),
            partial(np.sqrt, r, out=r),
            partial(np.reciprocal, r, out=r),
            *_scaled(out, r, w, b),
        ]

    rows.over_blocks(plan)
    return rows.restore(y, x.shape), rows.restore(mean, statistic), rows.restore(var, statistic)


def normalize(x: Array, mean: Array, rstd: Array, weight: Array, bias: Array) -> Array:
    """Return ``(x - mean) * rstd * weight + bias``."""
    rows = _Rows(x, rstd.shape)
    x_ = rows.matrix(x)
    m, r, w, b = map(rows.vector, (mean, rstd, weight, bias))
    y = empty(x_.shape, x.dtype)

    def plan(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        return [*_row_by_row(np.subtract, x_[part], m[part], y[part]), *_scaled(y[part], r[part], w, b)]

    rows.over_blocks(plan)
    return rows.restore(y, x.shape)


def _scaled(y: Array, rstd: Array, weight: Array, bias: Array) -> list[Call]:
    """The calls for ``y * rstd * weight + bias``, in place."""
    return [
        partial(np.multiply, y, rstd[:, None], out=y),
        partial(np.multiply, y, weight, out=y),
        partial(np.add, y, bias, out=y),
    ]


def normalize_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `normalize` by `x`, by `weight` and by `bias`, where mean and rstd come from `x`.

    By `x` it is ``g (rstd ⊗ weight) + x slope + offset``, as in `tinygrad_cnn.kernels.normalize`.
    """
    rows = _Rows(x, rstd.shape)
    g_, x_ = rows.matrix(g), rows.matrix(x)
    m, r, w = map(rows.vector, (mean, rstd, weight))
    number = x.dtype.type(w.size)
    # For each row the sums of g weight and of g weight x; for each column those of g, g mean rstd, and g x rstd.
    sum_h, sum_hx, slope, offset = np.empty((4, rows.count), x.dtype)
    columns = np.empty((len(rows.blocks), 3, w.size), x.dtype)
    statistics = _pair(m * r, 1)
    weights, scales = _pair(w, 0), _columns(r, 0)
    by_x = empty(x_.shape, x.dtype)

    def plan(block: tuple[int, slice]) -> list[Call]:
        index, part = block
        out = by_x[part]
        spare = scratch("scaled", out.shape, x.dtype)

        def conclude() -> None:
            mean_h, mean_hx = sum_h[part] / number, sum_hx[part] / number
            np.multiply(r[part] ** 3, m[part] * mean_h - mean_hx, out=slope[part])
            np.subtract(-m[part] * slope[part], r[part] * mean_h, out=offset[part])

        return [
            product(g_[part], w, sum_h[part]),
            product(statistics[:, part], g_[part], columns[index, :2]),
            partial(np.multiply, g_[part], x_[part], out=spare),
            product(spare, w, sum_hx[part]),
            product(r[part], spare, columns[index, 2]),
            conclude,
            *_row_by_row(np.multiply, x_[part], slope[part], out),
            partial(np.add, out, offset[part, None], out=out),
            partial(np.matmul, scales[part], weights, out=spare),
            partial(np.multiply, spare, g_[part], out=spare),
            partial(np.add, out, spare, out=out),
        ]

    rows.over_blocks(plan)
    by_mean, by_bias, by_product = np.add.reduce(columns, axis=0)
    return (
        rows.restore(by_x, x.shape),
        rows.restore(by_product - by_mean, weight.shape),
        rows.restore(by_bias, weight.shape),
    )


def _row_by_row(ufunc: np.ufunc, x: Array, numbers: Array, out: Array) -> list[Call]:
    """The calls for ``ufunc(x, numbers)`` with one number a row, into other memory than `x`.

    Where runs are short, NumPy copies the numbers, and that copy is faster on its own.
    """
    if x.shape[1] >= LONG_RUN:
        return [partial(ufunc, x, numbers[:, None], out=out)]
    return [partial(np.copyto, out, numbers[:, None]), partial(ufunc, x, out, out=out)]
