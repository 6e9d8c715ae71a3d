"""Normalisation with statistics for each row and weights for each column, as layer normalisation has them.

What repeats along rows and what repeats along columns meet in products of thin matrices, and sums with weights are
products of a matrix and a vector: BLAS computes them several times as fast as NumPy broadcasts and adds up. (Two
columns and two rows are faster than a single one.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.elementwise import memory_order
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = ["normalize", "normalize_grad", "standardize"]

Array = NDArray[Any]

# Elements of a block: the fewer blocks, the less Python; larger ones would leave the second-level cache.
_BLOCK = 1 << 18
# Below, BLAS uses one thread for a product with a vector anyway: nothing to hold.
_SMALL = 1 << 13
# From here on a second thread helps.
_THREADS = 1 << 16


class _Rows:
    """How an array is a matrix: the axes that have statistics of their own first, each kind in memory order."""

    def __init__(self, x: Array, statistic: tuple[int, ...]) -> None:
        self.order = sorted(memory_order(x), key=lambda axis: statistic[axis] == 1)
        self.shape = tuple(x.shape[axis] for axis in self.order)
        self.count = math.prod(statistic)
        self.size = x.size
        least = 1 if x.size < _THREADS else 2
        self.blocks = balanced(self.count, max(least, -(-x.size // _BLOCK)))
        self.work = 0 if x.size < _SMALL else x.size << 10

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
        with run_by_run():
            parallel_products(plan, list(enumerate(self.blocks)), self.work)


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
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` and the moments, for means that are not too large."""
    rows = _Rows(x, statistic)
    x_ = rows.matrix(x)
    mean, var = np.empty((2, rows.count), x.dtype)
    ones, count = np.ones(x_.shape[1], x.dtype), x.dtype.type(x_.shape[1])
    line = _Line(rows, weight, bias)

    def plan(block: tuple[int, slice]) -> list[Call]:
        part = block[1]

        def finish() -> None:
            m, v = np.divide(mean[part], count, out=mean[part]), np.divide(var[part], count, out=var[part])
            np.subtract(v, m * m, out=v)
            # Below 0 it is, if at all, by rounding, and will be computed again.
            line.set(part, m, 1 / np.sqrt(np.maximum(v, 0) + eps))

        return [
            partial(np.matmul, x_[part], ones, out=mean[part]),
            partial(np.vecdot, x_[part], x_[part], out=var[part]),
            finish,
            *line.apply(part, x_[part]),
        ]

    rows.over_blocks(plan)
    return rows.restore(line.y, x.shape), rows.restore(mean, statistic), rows.restore(var, statistic)


def normalize(x: Array, mean: Array, rstd: Array, weight: Array, bias: Array) -> Array:
    """Return ``(x - mean) * rstd * weight + bias``."""
    rows = _Rows(x, rstd.shape)
    x_ = rows.matrix(x)
    line = _Line(rows, weight, bias)
    line.set(slice(None), rows.vector(mean), rows.vector(rstd))
    rows.over_blocks(lambda block: line.apply(block[1], x_[block[1]]))
    return rows.restore(line.y, x.shape)


class _Line:
    """``x (rstd ⊗ weight) + (1 ⊗ bias - mean rstd ⊗ weight)``, written into `y`."""

    def __init__(self, rows: _Rows, weight: Array, bias: Array) -> None:
        w, b = rows.vector(weight), rows.vector(np.broadcast_to(bias, weight.shape))
        self.y = empty((rows.count, w.size), w.dtype)
        self.scales, self.shifts = np.zeros((2, rows.count, 2), w.dtype)
        self.shifts[:, 1] = 1
        self.weights, self.affine = _pair(w, 0), _pair(w, b)

    def set(self, part: slice, mean: Array, rstd: Array) -> None:
        """The moments of some rows."""
        self.scales[part, 0] = rstd
        np.multiply(-mean, rstd, out=self.shifts[part, 0])

    def apply(self, part: slice, x: Array) -> list[Call]:
        """The calls for some rows, which look at their moments when they run."""
        y = self.y[part]
        scaled = scratch("scaled", y.shape, y.dtype)
        return [
            partial(np.matmul, self.scales[part], self.weights, out=scaled),
            partial(np.multiply, scaled, x, out=scaled),
            partial(np.matmul, self.shifts[part], self.affine, out=y),
            partial(np.add, y, scaled, out=y),
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
            partial(np.matmul, g_[part], w, out=sum_h[part]),
            partial(np.matmul, statistics[:, part], g_[part], out=columns[index, :2]),
            partial(np.multiply, g_[part], x_[part], out=spare),
            partial(np.matmul, spare, w, out=sum_hx[part]),
            partial(np.matmul, r[part], spare, out=columns[index, 2]),
            conclude,
            *_row_by_row(np.multiply, x_[part], slope[part, None], out),
            *_row_by_row(np.add, out, offset[part, None], out),
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
    """The calls for ``ufunc(x, numbers)`` with one number a row; a copy is faster than many short runs."""
    if x.shape[1] >= LONG_RUN:
        return [partial(ufunc, x, numbers, out=out)]
    repeated = scratch("repeated", x.shape, x.dtype)
    return [partial(np.copyto, repeated, numbers), partial(ufunc, x, repeated, out=out)]
