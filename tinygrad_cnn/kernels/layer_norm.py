"""Normalisation with statistics for each row and weights for each column, as layer normalisation has them.

What repeats along rows and what repeats along columns meet in products of thin matrices, and sums with weights are
products of a matrix and a vector: BLAS computes them several times as fast as NumPy broadcasts and adds up. (Two
columns and two rows are faster than a single one.)
"""

from __future__ import annotations

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

__all__ = ["normalize", "normalize_grad"]

Array = NDArray[Any]

# Elements of a block: the fewer blocks, the less Python; larger ones would leave the second-level cache.
_BLOCK = 1 << 18
# Below, BLAS uses one thread for a product with a vector anyway: nothing to hold.
_SMALL = 1 << 13


class _Rows:
    """How an array is a matrix: the axes that have statistics of their own first, each kind in memory order."""

    def __init__(self, x: Array, statistic: Array) -> None:
        self.order = sorted(memory_order(x), key=lambda axis: statistic.shape[axis] == 1)
        self.shape = tuple(x.shape[axis] for axis in self.order)
        self.count = statistic.size
        self.size = x.size
        self.blocks = balanced(self.count, -(-x.size // _BLOCK))
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


def normalize(x: Array, mean: Array, rstd: Array, weight: Array, bias: Array) -> Array:
    """Return ``(x - mean) * rstd * weight + bias``, as ``x (rstd ⊗ weight) + (1 ⊗ bias - mean rstd ⊗ weight)``."""
    rows = _Rows(x, rstd)
    x_, r, w = rows.matrix(x), rows.vector(rstd), rows.vector(weight)
    b = rows.vector(np.broadcast_to(bias, weight.shape))
    scales, shifts = _columns(r, 0), _columns(-rows.vector(mean) * r, 1)
    weights, affine = _pair(w, 0), _pair(w, b)
    y = empty(x_.shape, x.dtype)

    def plan(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        scaled = scratch("scaled", y[part].shape, x.dtype)
        return [
            partial(np.matmul, scales[part], weights, out=scaled),
            partial(np.multiply, scaled, x_[part], out=scaled),
            partial(np.matmul, shifts[part], affine, out=y[part]),
            partial(np.add, y[part], scaled, out=y[part]),
        ]

    rows.over_blocks(plan)
    return rows.restore(y, x.shape)


def normalize_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `normalize` by `x`, by `weight` and by `bias`, where mean and rstd come from `x`.

    By `x` it is ``g (rstd ⊗ weight) + x slope + offset``, as in `tinygrad_cnn.kernels.normalize`.
    """
    rows = _Rows(x, rstd)
    g_, x_ = rows.matrix(g), rows.matrix(x)
    m, r, w = map(rows.vector, (mean, rstd, weight))
    number = x.dtype.type(w.size)
    # For each row the sums of g weight and of g weight x; for each column those of g, g mean rstd, and g x rstd.
    sum_h, sum_hx = np.empty((2, rows.count), x.dtype)
    columns = np.empty((len(rows.blocks), 3, w.size), x.dtype)
    statistics = _pair(m * r, 1)

    def add_up(block: tuple[int, slice]) -> list[Call]:
        index, part = block
        gx = scratch("scaled", x_[part].shape, x.dtype)
        return [
            partial(np.matmul, g_[part], w, out=sum_h[part]),
            partial(np.matmul, statistics[:, part], g_[part], out=columns[index, :2]),
            partial(np.multiply, g_[part], x_[part], out=gx),
            partial(np.matmul, gx, w, out=sum_hx[part]),
            partial(np.matmul, r[part], gx, out=columns[index, 2]),
        ]

    rows.over_blocks(add_up)
    mean_h, mean_hx = sum_h / number, sum_hx / number
    slope = -r * r * r * (mean_hx - m * mean_h)
    offset = -m * slope - r * mean_h
    weights, scales = _pair(w, 0), _columns(r, 0)
    by_x = empty(x_.shape, x.dtype)

    def apply(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        out = by_x[part]
        spare = scratch("scaled", out.shape, x.dtype)
        rise, start = slope[part, None], offset[part, None]
        if w.size >= LONG_RUN:
            line = [partial(np.multiply, x_[part], rise, out=out), partial(np.add, out, start, out=out)]
        else:
            line = [
                partial(np.copyto, out, rise),
                partial(np.multiply, out, x_[part], out=out),
                partial(np.copyto, spare, start),
                partial(np.add, out, spare, out=out),
            ]
        return [
            *line,
            partial(np.matmul, scales[part], weights, out=spare),
            partial(np.multiply, spare, g_[part], out=spare),
            partial(np.add, out, spare, out=out),
        ]

    rows.over_blocks(apply)
    by_mean, by_bias, by_product = np.add.reduce(columns, axis=0)
    return (
        rows.restore(by_x, x.shape),
        rows.restore(by_product - by_mean, weight.shape),
        rows.restore(by_bias, weight.shape),
    )
