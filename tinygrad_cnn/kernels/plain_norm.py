"""Normalisation of arrays so small that planning blocks of them would take longer: plain NumPy, in a single thread.

As nothing here is read from beyond the cache, the mean is subtracted before squares are added up.
"""

from __future__ import annotations

import functools
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import single_threaded
from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.small_arrays import Layout, layout_in, layout_of, total, total_of_products

__all__ = ["MOST", "crossed", "normalize_grad", "scale_shift", "scale_shift_grad", "standardize"]

Array = NDArray[Any]
Shape = tuple[int, ...]

# Elements of an array that two threads would not normalise sooner.
MOST = 1 << 18
_SMALL = 1 << 13


@functools.lru_cache(256)
def crossed(shape: Shape, statistic: Shape, weight: Shape) -> bool:
    """Whether there are statistics for each row and weights for each column, so that nothing repeats in both."""
    size, together = math.prod(shape), np.broadcast_shapes(statistic, weight)
    return math.prod(statistic) * math.prod(weight) == size == math.prod(together)


def scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    """Return ``x * scale + shift``."""
    y = np.multiply(x, scale, out=empty_like(x))
    return np.add(y, shift, out=y)


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `scale_shift` by `x`, by `scale` and by `shift`, which is of the shape of `scale`."""
    layout = layout_of(x, scale.shape)
    by_x = empty_like(x)
    g_, x_, scale_, out = map(layout.bring, (g, x, scale, by_x))
    with _hold(x_):
        by_shift = total(g_, scale_.shape)
        by_scale = total_of_products(g_, x_, scale_.shape)
    np.multiply(g_, scale_, out=out)
    return by_x, layout.restore(by_scale, scale.shape), layout.restore(by_shift, scale.shape)


def standardize(x: Array, statistic: Shape, eps: Any, weight: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` and the moments, of the shape `statistic`."""
    layout = _layout(x, statistic, weight.shape)
    x_, weight_, bias_ = map(layout.bring, (x, weight, bias))
    small, y = layout.merged(statistic), empty(x_.shape, x.dtype)
    with _hold(x_), _by_runs(x_):
        mean = total(x_, small)
        count = x.dtype.type(x.size // mean.size)
        mean = mean / count
        np.subtract(x_, mean, out=y)
        var = total_of_products(y, y, small) / count
        _multiply(y, 1 / np.sqrt(var + eps), weight_, y)
        np.add(y, bias_, out=y)
    return layout.restore(y, x.shape), layout.restore(mean, statistic), layout.restore(var, statistic)


def normalize_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array]:
    """As `tinygrad_cnn.kernels.normalize.normalize_grad`, for means that are not too large."""
    layout = _layout(x, rstd.shape, weight.shape)
    g_, x_, mean_, rstd_, weight_ = map(layout.bring, (g, x, mean, rstd, weight))
    sums = _crossed_sums if crossed(x.shape, rstd.shape, weight.shape) else _sums
    by_x = empty(x_.shape, x.dtype)
    with _hold(x_), _by_runs(x_):
        mean_h, mean_hx, by_weight, by_bias = sums(g_, x_, mean_, rstd_, weight_)
        slope = rstd_ * rstd_ * rstd_ * (mean_ * mean_h - mean_hx)
        offset = -mean_ * slope - rstd_ * mean_h
        line = np.multiply(x_, slope, out=scratch("line", x_.shape, x.dtype))
        np.add(line, offset, out=line)
        _multiply(g_, rstd_, weight_, by_x)
        np.add(by_x, line, out=by_x)
    return (
        layout.restore(by_x, x.shape),
        layout.restore(by_weight, weight.shape),
        layout.restore(by_bias, weight.shape),
    )


def _by_runs(x: Array) -> AbstractContextManager[None]:
    """A context in which NumPy is faster where numbers repeat along rows, or from row to row."""
    return run_by_run() if LONG_RUN <= x.shape[-1] < x.size else nullcontext()


def _hold(x: Array) -> AbstractContextManager[None]:
    """A context in which BLAS has one thread, as it has anyway for products with small arrays."""
    return single_threaded if x.size > _SMALL else nullcontext()


def _layout(x: Array, statistic: Shape, weight: Shape) -> Layout:
    """That of memory; but rows and columns, where statistics belong to the ones and weights to the others."""
    if not crossed(x.shape, statistic, weight):
        return layout_of(x, statistic, weight)
    return layout_in(_rows_first(tuple(memory_order(x)), statistic), x, statistic, weight)


@functools.lru_cache(256)
def _rows_first(order: Shape, statistic: Shape) -> Shape:
    return tuple(sorted(order, key=lambda axis: statistic[axis] == 1))


def _multiply(x: Array, rstd: Array, weight: Array, out: Array) -> None:
    """Write ``x * rstd * weight`` into `out`; the two small arrays are multiplied first if they are less than `x`."""
    if crossed(x.shape, rstd.shape, weight.shape):
        np.multiply(x, rstd, out=out)
        np.multiply(out, weight, out=out)
    else:
        np.multiply(x, rstd * weight, out=out)


def _sums(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array, Array]:
    """The means of ``h = g weight`` and of ``h x``, and the gradients by weight and bias."""
    fine = np.broadcast_shapes(rstd.shape, weight.shape)
    sum_g, sum_gx = total(g, fine), total_of_products(g, x, fine)
    count = g.dtype.type(g.size // rstd.size)
    mean_h, mean_hx = (total(sums * weight, rstd.shape) / count for sums in (sum_g, sum_gx))
    by_weight = total((sum_gx - mean * sum_g) * rstd, weight.shape)
    return mean_h, mean_hx, by_weight, total(sum_g, weight.shape)


def _crossed_sums(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array, Array]:
    """As `_sums`, for matrices with statistics for each row and weights for each column."""
    w, r, count = weight.reshape(-1), rstd.reshape(-1), g.dtype.type(weight.size)
    g, x = (z.reshape(r.size, w.size) for z in (g, x))
    product = np.multiply(g, x, out=scratch("line", x.shape, x.dtype))
    mean_h, mean_hx = ((z @ w).reshape(rstd.shape) / count for z in (g, product))
    by_weight = r @ product - (mean.reshape(-1) * r) @ g
    return mean_h, mean_hx, by_weight.reshape(weight.shape), total(g, (1, w.size)).reshape(weight.shape)
