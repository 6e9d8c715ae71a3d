"""Softmax over one dimension, its logarithm, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.lines import Part, lines_of, peaks, sums, sums_of_products, with_each
from tinygrad_cnn.kernels.reduction import need_no_shift
from tinygrad_cnn.kernels.threads import Call

__all__ = ["exponentials", "log_softmax", "log_softmax_grad", "shifted_exponentials", "softmax", "softmax_grad"]

Array = NDArray[Any]

# What else is to be found of exponents: given these, returns calls.
Moments = Callable[[Array], list[Call]]


def _nothing(exponents: Array) -> list[Call]:
    return []


def shifted_exponentials(x: Array, powers: Array, peak: Array, total: Array, and_of: Moments = _nothing) -> list[Call]:
    """The calls that write the maxima of `x` along lines, ``exp(x - peak)``, and its sum; `powers` may not be `x`."""
    return [
        *peaks(x, peak),
        *with_each(np.subtract, x, peak, powers),
        *and_of(powers),
        partial(np.exp, powers, out=powers),
        sums(powers, total),
    ]


def exponentials(x: Array, powers: Array, peak: Array, total: Array, and_of: Moments = _nothing) -> list[Call]:
    """As `shifted_exponentials`, with the peak 0 where no power overflows or gets lost without.

    The sums tell in the end whether a shift was needed: then all is computed again. Meanwhile NumPy's warning of an
    overflow has to be ignored.
    """

    def shift_if_needed() -> None:
        if need_no_shift(total):
            peak.fill(0)
        else:
            for call in shifted_exponentials(x, powers, peak, total, and_of):
                call()

    return [*and_of(x), partial(np.exp, x, out=powers), sums(powers, total), shift_if_needed]


def softmax(x: Array, dim: int) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over `dim`."""
    lines = lines_of(x, dim)
    y = empty_like(x)
    x_, y_ = lines.bring(x), lines.bring(y)
    peak, total = lines.statistic(x.dtype), lines.statistic(x.dtype)

    def plan(part: Part) -> list[Call]:
        out = y_[part]
        return [
            *exponentials(x_[part], out, peak[part], total[part]),
            partial(np.reciprocal, total[part], out=total[part]),
            *with_each(np.multiply, out, total[part], out),
        ]

    with np.errstate(over="ignore"):
        lines.over_blocks(plan)
    return y


def softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """Return ``y (g - sum(g y))``: the gradient of `softmax` from its output."""
    lines = lines_of(y, dim)
    by_x = empty_like(y)
    g_, y_, by_x_ = map(lines.bring, (g, y, by_x))
    total = lines.statistic(y.dtype)

    def plan(part: Part) -> list[Call]:
        out = by_x_[part]
        return [
            *sums_of_products(g_[part], y_[part], total[part], out),
            *with_each(np.subtract, g_[part], total[part], out),
            partial(np.multiply, out, y_[part], out=out),
        ]

    lines.over_blocks(plan)
    return by_x


def log_softmax(x: Array, dim: int) -> Array:
    """Return ``x - log(sum(exp(x)))`` over `dim`."""
    lines = lines_of(x, dim)
    y = empty_like(x)
    x_, y_ = lines.bring(x), lines.bring(y)
    peak, total = lines.statistic(x.dtype), lines.statistic(x.dtype)

    # With the peaks subtracted first: a logarithm near 0 keeps its digits.
    def plan(part: Part) -> list[Call]:
        out = y_[part]
        powers = scratch("powers", out.shape, x.dtype)
        return [
            *peaks(x_[part], peak[part]),
            *with_each(np.subtract, x_[part], peak[part], out),
            partial(np.exp, out, out=powers),
            sums(powers, total[part]),
            partial(np.log, total[part], out=total[part]),
            *with_each(np.subtract, out, total[part], out),
        ]

    lines.over_blocks(plan)
    return y


def log_softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """Return ``g - exp(y) sum(g)``: the gradient of `log_softmax` from its output."""
    lines = lines_of(y, dim)
    by_x = empty_like(y)
    g_, y_, by_x_ = map(lines.bring, (g, y, by_x))
    total = lines.statistic(y.dtype)

    def plan(part: Part) -> list[Call]:
        out = by_x_[part]
        return [
            partial(np.exp, y_[part], out=out),
            sums(g_[part], total[part]),
            *with_each(np.multiply, out, total[part], out),
            partial(np.subtract, g_[part], out, out=out),
        ]

    lines.over_blocks(plan)
    return by_x
