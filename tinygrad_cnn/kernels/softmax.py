"""Softmax over one dimension, and what is built on it: in blocks that hold that dimension whole, over all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_blocks
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.shapes import balanced

__all__ = ["exponentials", "log_softmax", "log_softmax_grad", "scaled", "softmax", "softmax_grad"]

Array = NDArray[Any]

_BLOCK = 1 << 16
# Below, BLAS uses one thread for a product with a vector anyway: nothing to hold.
_SMALL = 1 << 13


def _over_blocks(x: Array, dim: int, compute: Callable[[tuple[slice, ...]], None]) -> None:
    axis = next((axis for axis in range(x.ndim) if axis != dim and x.shape[axis] > 1), None)
    if axis is None:
        compute((slice(None),))
        return
    parts = balanced(x.shape[axis], -(-x.size // _BLOCK))
    blocks = [(*(slice(None),) * axis, part) for part in parts]
    parallel_blocks(compute, blocks, 0 if x.size < _SMALL else x.size << 10)


def _sum(x: Array, dim: int) -> Array:
    """The sum over `dim`, which is kept; over rows as a product with ones, which BLAS adds up five times as fast."""
    if x.ndim == 2 and dim == 1 and x.dtype.itemsize >= 4:
        return (x @ np.ones(x.shape[1], x.dtype))[:, None]
    return np.add.reduce(x, axis=dim, keepdims=True)


def _statistic(x: Array, dim: int) -> Array:
    return np.empty([1 if axis == dim else n for axis, n in enumerate(x.shape)], x.dtype)


def exponentials(x: Array, dim: int) -> tuple[Array, Array, Array]:
    """Return ``exp(x - peak)``, which cannot overflow, its sum over `dim`, and the peaks, the maxima over `dim`."""
    y, total, peak = empty_like(x), _statistic(x, dim), _statistic(x, dim)

    def compute(part: tuple[slice, ...]) -> None:
        np.maximum.reduce(x[part], axis=dim, keepdims=True, out=peak[part])
        np.subtract(x[part], peak[part], out=y[part])
        np.exp(y[part], out=y[part])
        total[part] = _sum(y[part], dim)

    _over_blocks(x, dim, compute)
    return y, total, peak


def scaled(x: Array, factors: Array, dim: int) -> Array:
    """Return ``x * factors``, which are the same all along `dim`."""
    y = empty_like(x)

    def multiply(part: tuple[slice, ...]) -> None:
        np.multiply(x[part], factors[part], out=y[part])

    _over_blocks(x, dim, multiply)
    return y


def softmax(x: Array, dim: int) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over `dim`."""
    y, total, _ = exponentials(x, dim)

    def divide(part: tuple[slice, ...]) -> None:
        np.divide(y[part], total[part], out=y[part])

    _over_blocks(x, dim, divide)
    return y


def softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """Return ``y (g - sum(g y))``: the gradient of `softmax` from its output."""
    out = empty_like(y)

    def compute(part: tuple[slice, ...]) -> None:
        np.multiply(g[part], y[part], out=out[part])
        total = _sum(out[part], dim)
        np.subtract(g[part], total, out=out[part])
        np.multiply(out[part], y[part], out=out[part])

    _over_blocks(y, dim, compute)
    return out


def log_softmax(x: Array, dim: int) -> Array:
    """Return ``x - log(sum(exp(x)))`` over `dim`."""
    y = empty_like(x)

    def compute(part: tuple[slice, ...]) -> None:
        np.subtract(x[part], np.maximum.reduce(x[part], axis=dim, keepdims=True), out=y[part])
        powers = np.exp(y[part], out=scratch("powers", y[part].shape, x.dtype))
        np.subtract(y[part], np.log(_sum(powers, dim)), out=y[part])

    _over_blocks(x, dim, compute)
    return y


def log_softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """Return ``g - exp(y) sum(g)``: the gradient of `log_softmax` from its output."""
    out = empty_like(y)

    def compute(part: tuple[slice, ...]) -> None:
        np.exp(y[part], out=out[part])
        np.multiply(out[part], _sum(g[part], dim), out=out[part])
        np.subtract(g[part], out[part], out=out[part])

    _over_blocks(y, dim, compute)
    return out
