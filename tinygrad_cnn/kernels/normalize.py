"""Normalisation: the moments over some axes, what they make of an array, and the gradient of that.

Where each image has statistics of its own, a block of images is read from memory once: it is added up, and what comes
of that is applied while the block is still in the cache. Statistics of a whole batch take two rounds. Small arrays are
the affair of `plain_norm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import layer_norm, plain_norm
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.plain_norm import crossed
from tinygrad_cnn.kernels.small_arrays import Layout, Sums, at, layout_of, summing, summing_products, total
from tinygrad_cnn.kernels.threads import Call

__all__ = ["moments", "normalize", "normalize_grad", "scale_shift", "scale_shift_grad", "standardize"]

Array = NDArray[Any]
Shape = tuple[int, ...]
Block = tuple[int, slice]

# Elements from which on reading them once saves more than threads lose that compute statistics at the same time.
_ONCE = 1 << 19


def _far(mean: Array, var: Array) -> bool:
    """Whether the mean of the squares less the square of the mean cost digits, or was infinity less infinity."""
    return not (mean * mean <= 16 * var).all()


def _shape_of_moments(x: Array, axes: Shape) -> Shape:
    return tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))


def moments(x: Array, axes: Shape) -> tuple[Array, Array]:
    """Return the mean and the biased variance of `x` over `axes`, which are kept with size 1.

    The variance is the mean of the squares less the square of the mean; if that is the larger one somewhere, which
    would cost digits, the mean is subtracted first.
    """
    shape = _shape_of_moments(x, axes)
    if not x.size:
        return np.full(shape, np.nan, x.dtype), np.full(shape, np.nan, x.dtype)
    layout = layout_of(x, shape)
    x_, small, count = layout.bring(x), layout.merged(shape), x.dtype.type(x.size // math.prod(shape))
    sums, squares = Sums(layout, small, x.dtype), Sums(layout, small, x.dtype)

    def add_up(block: Block) -> list[Call]:
        values = x_[block[1]]
        return [*summing(values, sums.place(*block)), *summing_products(values, values, squares.place(*block))]

    layout.over_blocks(add_up)
    mean = sums.together() / count
    var = squares.together() / count - mean * mean
    mean, var = layout.restore(mean, shape), layout.restore(var, shape)
    if not _far(mean, var):
        return mean, var
    centred = x - mean
    return mean, _mean_of_squares(centred, shape, layout, count)


def _mean_of_squares(x: Array, shape: Shape, layout: Layout, count: Any) -> Array:
    x_, squares = layout.bring(x), Sums(layout, layout.merged(shape), x.dtype)

    def add_up(block: Block) -> list[Call]:
        return summing_products(x_[block[1]], x_[block[1]], squares.place(*block))

    layout.over_blocks(add_up)
    return layout.restore(squares.together() / count, shape)


def scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    """Return ``x * scale + shift``, for small `scale` and `shift` that repeat alike."""
    if x.size <= plain_norm.MOST // 2 or scale.shape == x.shape:  # it is less work than the others
        return plain_norm.scale_shift(x, scale, shift)
    y = empty_like(x)
    layout = layout_of(x, scale.shape)
    x_, y_ = layout.bring(x), layout.bring(y)
    scales, shifts = layout.spread(layout.bring(scale)), layout.spread(layout.bring(shift))

    def plan(block: Block) -> list[Call]:
        part = block[1]
        out = y_[part]
        return [*scales(np.multiply, x_[part], part, out), *shifts(np.add, out, part, out)]

    layout.over_blocks(plan)
    return y


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `scale_shift` by `x`, by `scale` and by `shift`."""
    if not x.size:
        return np.zeros_like(x), np.zeros_like(scale), np.zeros_like(scale)
    if x.size <= plain_norm.MOST:
        return plain_norm.scale_shift_grad(g, x, scale)
    layout = layout_of(x, scale.shape)
    by_x = empty_like(x)
    g_, x_, scale_, out = map(layout.bring, (g, x, scale, by_x))
    scales = layout.spread(scale_)
    by_scale, by_shift = (Sums(layout, scale_.shape, x.dtype) for _ in range(2))

    def plan(block: Block) -> list[Call]:
        part = block[1]
        return [
            *summing(g_[part], by_shift.place(*block)),
            *summing_products(g_[part], x_[part], by_scale.place(*block)),
            *scales(np.multiply, g_[part], part, out[part]),
        ]

    layout.over_blocks(plan)
    return by_x, layout.restore(by_scale.together(), scale.shape), layout.restore(by_shift.together(), scale.shape)


def standardize(x: Array, axes: Shape, eps: float, weight: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, and the moments of `x` over `axes`."""
    shape = _shape_of_moments(x, axes)
    if not x.size:
        return np.empty_like(x), *moments(x, axes)
    epsilon = x.dtype.type(eps)
    if x.size <= plain_norm.MOST:
        return plain_norm.standardize(x, shape, epsilon, weight, bias)
    if crossed(x.shape, shape, weight.shape):
        return layer_norm.standardize(x, shape, epsilon, weight, bias)
    if x.size >= _ONCE and _apart(layout_of(x, shape, weight.shape), shape):
        y, mean, var = _standardize_apart(x, shape, epsilon, weight, bias)
        if not _far(mean, var):
            return y, mean, var
    mean, var = moments(x, axes)
    return normalize(x, mean, 1 / np.sqrt(var + epsilon), weight, bias), mean, var


def _apart(layout: Layout, statistic: Shape) -> bool:
    """Whether blocks have statistics of their own."""
    return layout.merged(statistic)[0] == layout.shape[0]


def _standardize_apart(x: Array, shape: Shape, eps: Any, weight: Array, bias: Array) -> tuple[Array, Array, Array]:
    """`standardize` for blocks that have statistics of their own, each read once; for means that are not too large."""
    layout = layout_of(x, shape, weight.shape)
    y = empty_like(x)
    x_, y_, weight_, bias_ = map(layout.bring, (x, y, weight, np.broadcast_to(bias, weight.shape)))
    small, fine = layout.merged(shape), layout.merged(np.broadcast_shapes(shape, weight.shape))
    count = x.dtype.type(x.size // math.prod(shape))
    mean, var = np.empty((2, *small), x.dtype)
    sums, squares, scale, shift = np.empty((4, *fine), x.dtype)
    scales, shifts = layout.spread(scale), layout.spread(shift)

    def plan(block: Block) -> list[Call]:
        part = block[1]
        values, out = x_[part], y_[part]

        def finish() -> None:
            m, v = mean[part], var[part]
            np.divide(total(sums[part], m.shape), count, out=m)
            np.divide(total(squares[part], v.shape), count, out=v)
            np.subtract(v, m * m, out=v)
            # Below 0 it is, if at all, by rounding, and will be computed again.
            r = np.multiply(1 / np.sqrt(np.maximum(v, 0) + eps), at(weight_, part), out=scale[part])
            np.subtract(at(bias_, part), m * r, out=shift[part])

        return [
            *summing(values, sums[part]),
            *summing_products(values, values, squares[part]),
            finish,
            *scales(np.multiply, values, part, out),
            *shifts(np.add, out, part, out),
        ]

    layout.over_blocks(plan)
    return y, layout.restore(mean, shape), layout.restore(var, shape)


def normalize(x: Array, mean: Array, rstd: Array, weight: Array, bias: Array) -> Array:
    """Return ``(x - mean) * rstd * weight + bias``, for small arrays but for `x`."""
    if not x.size:
        return np.empty_like(x)
    x, mean = _centred(x, mean, rstd)
    if crossed(x.shape, rstd.shape, weight.shape):
        return layer_norm.normalize(x, mean, rstd, weight, bias)
    scale = rstd * weight
    return scale_shift(x, scale, bias - mean * scale)


def _centred(x: Array, mean: Array, rstd: Array) -> tuple[Array, Array]:
    """`x` and its mean; less the mean where that is so large that ``x rstd - mean rstd`` would lose digits."""
    far = (np.absolute(mean * rstd) > 16).any()  # also if the statistics of others are NaN
    return (x - mean, mean - mean) if far else (x, mean)


def normalize_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `normalize` by `x`, by `weight` and by `bias`, where mean and rstd come from `x`.

    With ``h = g weight`` and ``z = (x - mean) rstd`` the first is ``rstd (h - mean(h) - z mean(h z))``: Ioffe &
    Szegedy (2015), section 3, with the sums gathered. It is evaluated as ``g (rstd weight) + x slope + offset``.
    """
    if not x.size:
        return np.zeros_like(x), np.zeros_like(weight), np.zeros_like(weight)
    x, mean = _centred(x, mean, rstd)
    if x.size <= plain_norm.MOST:
        return plain_norm.normalize_grad(g, x, mean, rstd, weight)
    if crossed(x.shape, rstd.shape, weight.shape):
        return layer_norm.normalize_grad(g, x, mean, rstd, weight)
    layout = layout_of(x, rstd.shape, weight.shape)
    by_x = empty_like(x)
    g_, x_, mean_, rstd_, weight_, out = map(layout.bring, (g, x, mean, rstd, weight, by_x))
    scale = rstd_ * weight_
    count = x.dtype.type(x.size // rstd.size)
    sums, products = Sums(layout, scale.shape, x.dtype), Sums(layout, scale.shape, x.dtype)
    # Along rows the fewest numbers, that runs be long; otherwise they must not repeat within a few elements.
    slope, offset = np.empty((2, *(rstd_.shape if scale.shape[-1] == 1 else scale.shape)), x.dtype)

    def add_up(block: Block) -> list[Call]:
        g_block, x_block = g_[block[1]], x_[block[1]]
        return [*summing(g_block, sums.place(*block)), *summing_products(g_block, x_block, products.place(*block))]

    def conclude(part: slice, sum_g: Array, sum_gx: Array) -> None:
        m, r, w = at(mean_, part), at(rstd_, part), at(weight_, part)
        mean_h, mean_hx = (total(s * w, r.shape) / count for s in (sum_g, sum_gx))
        rise = r * r * r * (m * mean_h - mean_hx)
        slope[part] = rise
        offset[part] = -m * rise - r * mean_h

    if _apart(layout, rstd.shape):
        sum_g, sum_gx = sums.parts, products.parts
        apply = _line(layout, g_, scale, x_, slope, offset, out)

        def all_at_once(block: Block) -> list[Call]:
            part = block[1]
            return [*add_up(block), partial(conclude, part, sum_g[part], sum_gx[part]), *apply(block)]

        layout.over_blocks(all_at_once)
    else:
        layout.over_blocks(add_up)
        sum_g, sum_gx = sums.together(), products.together()
        conclude(slice(None), sum_g, sum_gx)
        layout.over_blocks(_line(layout, g_, scale, x_, slope, offset, out))
    sum_gz = (sum_gx - mean_ * sum_g) * rstd_
    by_weight, by_bias = (layout.restore(total(s, weight_.shape), weight.shape) for s in (sum_gz, sum_g))
    return by_x, by_weight, by_bias


def _line(
    layout: Layout, g: Array, scale: Array, x: Array, slope: Array, offset: Array, out: Array
) -> Callable[[Block], list[Call]]:
    """How to compute ``g * scale + x * slope + offset``; what is a block's own may have its values later."""
    scales, slopes, offsets = map(layout.spread, (scale, slope, offset))

    def plan(block: Block) -> list[Call]:
        part = block[1]
        line, target = scratch("line", out[part].shape, out.dtype), out[part]
        return [
            *slopes(np.multiply, x[part], part, line),
            *offsets(np.add, line, part, line),
            *scales(np.multiply, g[part], part, target),
            partial(np.add, target, line, out=target),
        ]

    return plan
