"""Normalisation with statistics for each row and weights for each column, as layer normalisation has them.

What repeats along rows and what repeats along columns meet in products of thin matrices, and sums with weights are
products of a matrix and a vector: BLAS computes them several times as fast as NumPy broadcasts and adds up. (Two
columns and two rows are faster than a single one.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_blocks
from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.elementwise import memory_order
from tinygrad_cnn.kernels.shapes import balanced

__all__ = ["normalize", "normalize_grad"]

Array = NDArray[Any]

# Elements of a block: the fewer blocks, the less Python; larger ones would leave the second-level cache.
_BLOCK = 1 << 17
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

    def over_blocks(self, function: Any) -> None:
        parallel_blocks(lambda index: function(index, self.blocks[index]), [*range(len(self.blocks))], self.work)


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

    def compute(index: int, part: slice) -> None:
        scaled = np.matmul(scales[part], weights, out=scratch("scaled", y[part].shape, x.dtype))
        np.multiply(scaled, x_[part], out=scaled)
        np.matmul(shifts[part], affine, out=y[part])
        np.add(y[part], scaled, out=y[part])

    rows.over_blocks(compute)
    return rows.restore(y, x.shape)


def normalize_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `normalize` by `x`, by `weight` and by `bias`, where mean and rstd come from `x`.

    By `x` it is ``g (rstd ⊗ weight) + x slope + offset``, as in `tinygrad_cnn.kernels.normalize`.
    """
    rows = _Rows(x, rstd)
    g_, x_ = rows.matrix(g), rows.matrix(x)
    m, r, w = map(rows.vector, (mean, rstd, weight))
    weights, scales = _pair(w, 0), _columns(r, 0)
    number = x.dtype.type(w.size)
    by_x = empty(x_.shape, x.dtype)
    by_weight, by_bias = np.empty((2, len(rows.blocks), w.size), x.dtype)

    def compute(index: int, part: slice) -> None:
        block, g_block, m_block, r_block = x_[part], g_[part], m[part], r[part]
        spare = scratch("scaled", block.shape, x.dtype)
        gx = np.multiply(g_block, block, out=spare)
        by_weight[index] = r_block @ gx - (m_block * r_block) @ g_block
        by_bias[index] = np.ones_like(r_block) @ g_block
        mean_h, mean_hx = g_block @ w / number, gx @ w / number
        slope = -r_block * r_block * r_block * (mean_hx - m_block * mean_h)
        offset = -m_block * slope - r_block * mean_h
        out = by_x[part]
        np.copyto(out, slope[:, None])
        np.multiply(out, block, out=out)
        np.copyto(spare, offset[:, None])
        np.add(out, spare, out=out)
        np.matmul(scales[part], weights, out=spare)
        np.multiply(spare, g_block, out=spare)
        np.add(out, spare, out=out)

    rows.over_blocks(compute)
    return (
        rows.restore(by_x, x.shape),
        rows.restore(np.add.reduce(by_weight, axis=0), weight.shape),
        rows.restore(np.add.reduce(by_bias, axis=0), weight.shape),
    )
