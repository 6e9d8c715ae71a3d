"""Activation functions and their gradients, step by step, for `kernels.elementwise.blockwise`.

The steps of ``f(x, out)`` write the value into `out`, those of ``f_grad(g, x, out)`` write ``g * f'(x)``, those of
``f_slope(x, out, slope)`` write the value and ``f'(x)``, while what both need is in the cache: each is a function, its
arguments, and where its result goes. What they cost is how often memory is gone through: so they work in place where
they can, in scratch memory best, which is still in the cache from the last block. `clip` takes half as long as
`minimum` and `maximum` with a number. The results stay finite for any finite `x`, however large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import Step, choice, scratch_like, selection
from tinygrad_cnn.kernels.erf import erf, polynomial

__all__ = [
    "elu",
    "elu_slope",
    "gaussian",
    "gelu",
    "gelu_slope",
    "gelu_tanh",
    "gelu_tanh_slope",
    "hardsigmoid",
    "hardswish",
    "hardswish_slope",
    "leaky",
    "leaky_grad",
    "log_sigmoid",
    "log_sigmoid_slope",
    "mish",
    "mish_slope",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_slope",
    "softplus",
    "softplus_slope",
    "tanh_grad",
    "within",
]

Array = NDArray[Any]
Steps = Iterator[Step]


def _scratch(out: Array, count: int = 1) -> Array:
    """Memory for more steps, laid out like `out`."""
    return scratch_like("activation", out, count)


def _mask(out: Array) -> Array:
    return scratch_like("activation mask", out, 1, np.bool_)[0]


def sigmoid(x: Array, out: Array) -> Steps:
    """``1 / (1 + exp(-x))``; where exp overflows this is 0."""
    (denominator,) = _scratch(out)
    yield np.negative, x, denominator
    yield from _one_plus_exp(denominator)
    yield np.divide, 1, denominator, out


def _one_plus_exp(x: Array) -> Steps:
    """``1 + exp(x)``, in place."""
    yield np.exp, x, x
    yield np.add, x, 1, x


def sigmoid_grad(g: Array, y: Array, out: Array) -> Steps:
    """``g y (1 - y)``, from the output of `sigmoid`."""
    yield np.subtract, 1, y, out
    yield np.multiply, out, y, out
    yield np.multiply, out, g, out


def tanh_grad(g: Array, y: Array, out: Array) -> Steps:
    """``g (1 - y^2)``"""
    yield np.multiply, y, y, out
    yield np.subtract, 1, out, out
    yield np.multiply, g, out, out


def silu(x: Array, out: Array) -> Steps:
    """``x sigmoid(x)``."""
    (denominator,) = _scratch(out)
    yield np.negative, x, denominator
    yield from _one_plus_exp(denominator)
    yield np.divide, x, denominator, out


def silu_slope(x: Array, out: Array, slope: Array) -> Steps:
    """``s + y (1 - s)`` with ``s = sigmoid(x)`` and ``y = x s``."""
    (rest,) = _scratch(out)
    yield np.negative, x, rest
    yield from _one_plus_exp(rest)
    yield np.divide, 1, rest, slope
    yield np.divide, x, rest, out
    yield np.subtract, 1, slope, rest
    yield np.multiply, rest, out, rest
    yield np.add, slope, rest, slope


def gaussian(x: Array, out: Array) -> Steps:
    """``exp(-x²)``."""
    yield np.square, x, out
    yield np.negative, out, out
    yield np.exp, out, out


# log2(1 / Φ(x) - 1) / x in x², from the highest power down: fitted by Lawson's algorithm so that the largest error of
# x Φ(x) is the smallest, 7e-8 before rounding.
_ODDS = tuple(
    -coefficient / math.log(2)
    for coefficient in (
        3.611231407376997e-09,
        -2.668927548070736e-07,
        7.938217873364538e-06,
        -0.00011048030923499072,
        -6.626001345869445e-05,
        0.07266856706303791,
        1.595768432220569,
    )
)


def _inverse_odds(x: Array, squares: Array, out: Array) -> Steps:
    """``1 / Φ(x)``, in single precision as ``1 + 2**(x q(x²))``; writes the squares, too."""
    yield np.square, x, squares
    yield from polynomial(_ODDS, squares, out)
    yield np.multiply, out, x, out
    yield np.exp2, out, out
    yield np.add, out, 1, out


def _distribution(x: Array, out: Array) -> Steps:
    """``Φ(x)``, in double precision."""
    yield np.multiply, x, math.sqrt(0.5), out
    yield from erf(out, out)
    yield np.add, out, 1, out
    yield np.multiply, out, 0.5, out


def gelu(x: Array, out: Array) -> Steps:
    """``x Φ(x)``, with the distribution function of the normal distribution.

    In single precision ``x / (1 + 2**(x q(x²)))``: no branches, and right for negative `x` to many digits, too.
    """
    if out.dtype == np.float32:
        (squares,) = _scratch(out)
        yield from _inverse_odds(x, squares, out)
        yield np.divide, x, out, out
    else:
        yield from _distribution(x, out)
        yield np.multiply, out, x, out


def gelu_slope(x: Array, out: Array, slope: Array) -> Steps:
    """``Φ(x) + x φ(x)``, with the density ``φ(x) = exp(-x² / 2) / √(2π)``."""
    (density,) = _scratch(out)
    if out.dtype == np.float32:
        yield from _inverse_odds(x, density, out)
        yield np.divide, 1, out, slope
        yield np.divide, x, out, out
    else:
        yield from _distribution(x, slope)
        yield np.multiply, slope, x, out
        yield np.square, x, density
    yield np.multiply, density, -0.5 / math.log(2), density
    yield np.exp2, density, density  # half as long as exp
    yield np.multiply, density, x, density
    yield np.multiply, density, 1 / math.sqrt(2 * math.pi), density
    yield np.add, slope, density, slope


#: ``gelu_tanh`` is ``x (1 + tanh(a x + b x³)) / 2``.
GELU_A = math.sqrt(2 / math.pi)
GELU_B = GELU_A * 0.044715


def _gelu_tangent(x: Array, out: Array) -> Steps:
    yield np.square, x, out
    yield np.multiply, out, GELU_B, out
    yield np.add, out, GELU_A, out
    yield np.multiply, out, x, out
    yield np.tanh, out, out


def gelu_tanh(x: Array, out: Array) -> Steps:
    """``x (1 + tanh(a x + b x³)) / 2``."""
    yield from _gelu_tangent(x, out)
    yield np.add, out, 1, out
    yield np.multiply, out, 0.5, out  # before x comes in, which could overflow
    yield np.multiply, out, x, out


def gelu_tanh_slope(x: Array, out: Array, slope: Array) -> Steps:
    """``(1 + t + x (1 - t²) (a + 3 b x²)) / 2``, with t the hyperbolic tangent."""
    near, tangent, rest = _scratch(out, 3)
    yield np.clip, x, -10, 10, near  # beyond, 1 - t² is 0; the powers of x stay finite
    yield from _gelu_tangent(x, tangent)
    yield np.square, near, slope
    yield np.multiply, slope, 3 * GELU_B, slope
    yield np.add, slope, GELU_A, slope
    yield np.multiply, slope, near, slope
    yield np.square, tangent, rest
    yield np.subtract, 1, rest, rest
    yield np.multiply, slope, rest, slope
    yield np.add, tangent, 1, tangent
    yield np.add, slope, tangent, slope
    yield np.multiply, slope, 0.5, slope
    yield np.multiply, tangent, 0.5, out
    yield np.multiply, out, x, out


def mish(x: Array, out: Array) -> Steps:
    """``x tanh(softplus(x))``: with ``e = exp(x)`` and ``n = e (e + 2)`` it is ``x n / (n + 2)``."""
    (more,) = _scratch(out)
    yield np.clip, x, -np.inf, 25, out  # from here on the tangent is 1
    yield np.exp, out, out
    yield np.add, out, 2, more
    yield np.multiply, out, more, out
    yield np.add, out, 2, more
    yield np.divide, out, more, out
    yield np.multiply, out, x, out


def mish_slope(x: Array, out: Array, slope: Array) -> Steps:
    """``(n + 4 x e (e + 1) / (n + 2)) / (n + 2)``."""
    near, e, n = _scratch(out, 3)
    yield np.clip, x, -np.inf, 25, near
    yield np.exp, near, e
    yield np.add, e, 2, n
    yield np.multiply, n, e, n
    yield np.add, e, 1, slope
    yield np.multiply, slope, e, slope
    yield np.multiply, slope, near, slope
    yield np.multiply, slope, 4, slope
    yield np.add, n, 2, e
    yield np.divide, slope, e, slope
    yield np.add, slope, n, slope
    yield np.divide, slope, e, slope
    yield np.divide, n, e, out
    yield np.multiply, out, x, out


def softplus(x: Array, out: Array, *, beta: float, threshold: float) -> Steps:
    """``log(1 + exp(beta x)) / beta``, or `x` where ``beta x > threshold``."""
    scaled, rest = _scratch(out, 2)
    if beta != 1:
        yield np.multiply, x, beta, scaled
        yield np.absolute, scaled, out
    else:
        scaled = x
        yield np.absolute, x, out
    yield np.negative, out, out
    yield np.exp, out, out
    yield np.log1p, out, out
    yield np.clip, scaled, 0, np.inf, rest
    yield np.add, out, rest, out
    if beta != 1:
        yield np.divide, out, beta, out
    if not _is_far(out, beta, threshold):
        beyond = _mask(out)
        yield np.greater, scaled, threshold, beyond
        yield partial(np.copyto, out, x, where=beyond)


def _is_far(out: Array, beta: float, threshold: float) -> bool:
    """Whether beyond the threshold `softplus` is rounded to `x`, and its derivative to 1, in any case."""
    return beta == 1 and out.dtype == np.float32 and threshold >= 17


def softplus_slope(x: Array, out: Array, slope: Array, *, beta: float, threshold: float) -> Steps:
    """``sigmoid(beta x)``, or 1 where ``beta x > threshold``."""
    yield from softplus(x, out, beta=beta, threshold=threshold)
    yield np.multiply, x, -beta, slope
    if not _is_far(out, beta, threshold):
        beyond = _mask(out)
        yield np.less, slope, -threshold, beyond
    yield from _one_plus_exp(slope)
    yield np.divide, 1, slope, slope
    if not _is_far(out, beta, threshold):
        yield partial(np.copyto, slope, 1, where=beyond)


def elu(x: Array, out: Array, *, alpha: float, scale: float) -> Steps:
    """``scale x`` where ``x > 0``, else ``scale alpha (exp(x) - 1)``."""
    (positive,) = _scratch(out)
    yield np.clip, x, -np.inf, 0, out
    yield np.expm1, out, out
    if alpha != 1:
        yield np.multiply, out, alpha, out
    yield np.clip, x, 0, np.inf, positive
    yield np.add, out, positive, out
    if scale != 1:
        yield np.multiply, out, scale, out


def elu_slope(x: Array, out: Array, slope: Array, *, alpha: float, scale: float) -> Steps:
    """``scale`` where ``x > 0``, else ``scale alpha exp(x)``."""
    positive, more = _mask(out), _scratch(out)[0]
    yield np.clip, x, -np.inf, 0, slope
    yield np.exp, slope, slope
    if alpha * scale != 1:
        yield np.multiply, slope, alpha * scale, slope
    if alpha != 1:  # where x > 0, that is scale alpha
        yield np.greater, x, 0, positive
        yield partial(np.copyto, more, positive)
        yield np.multiply, more, scale - alpha * scale, more
        yield np.add, slope, more, slope
    yield from elu(x, out, alpha=alpha, scale=scale)


def log_sigmoid(x: Array, out: Array) -> Steps:
    """``min(x, 0) - log(1 + exp(-|x|))``."""
    (negative,) = _scratch(out)
    yield np.absolute, x, out
    yield np.negative, out, out
    yield np.exp, out, out
    yield np.log1p, out, out
    yield np.clip, x, -np.inf, 0, negative
    yield np.subtract, negative, out, out


def log_sigmoid_slope(x: Array, out: Array, slope: Array) -> Steps:
    """``1 / (1 + exp(x))``."""
    yield from log_sigmoid(x, out)
    yield np.positive, x, slope
    yield from _one_plus_exp(slope)
    yield np.divide, 1, slope, slope


def leaky(weight: Array, x: Array, out: Array, *, either: np.ufunc | None) -> Steps:
    """``x`` where it is positive, else ``weight * x``.

    `either` is `maximum` where every weight is above 0 and at most 1, `minimum` where every weight is at least 1,
    and else None. All are finite.
    """
    if either is not None:
        yield np.multiply, x, weight, out
        yield either, x, out, out
        return
    (negative,) = _scratch(out)
    yield np.clip, x, -np.inf, 0, negative
    yield np.multiply, negative, weight, negative
    yield np.clip, x, 0, np.inf, out
    yield np.add, out, negative, out


def leaky_grad(g: Array, weight: Array, x: Array, out: Array) -> Steps:
    """`g` where `x` is positive, else ``weight * g``."""
    positive = _mask(out)
    yield np.greater, x, 0, positive
    yield from choice(positive, 1, weight, out)
    yield np.multiply, out, g, out


def within(g: Array, x: Array, out: Array, *, low: float, high: float, slope: float) -> Steps:
    """``slope g`` where ``low < x < high``, else 0."""
    inside, below = scratch_like("activation mask", out, 2, np.bool_)
    yield np.greater, x, low, inside
    yield np.less, x, high, below
    yield np.logical_and, inside, below, inside
    if slope != 1:
        (scaled,) = _scratch(out)
        yield np.multiply, g, slope, scaled
        g = scaled
    yield from selection(inside, g, out)


def hardsigmoid(x: Array, out: Array) -> Steps:
    """A ramp from 0 at -3 to 1 at 3."""
    yield np.multiply, x, 1 / 6, out
    yield np.add, out, 0.5, out
    yield np.clip, out, 0, 1, out


def hardswish(x: Array, out: Array) -> Steps:
    """``x`` times a ramp from 0 at -3 to 1 at 3."""
    yield from hardsigmoid(x, out)
    yield np.multiply, out, x, out


def hardswish_slope(x: Array, out: Array, slope: Array) -> Steps:
    """0 up to -3, 1 from 3 on, ``x / 3 + 1 / 2`` in between.

    With c the limited ``x / 6`` that is the ramp ``c + 1/2`` and, where ``|2 c| < 1``, c more: ``c - trunc(2 c) / 2``,
    which takes no mask.
    """
    yield np.multiply, x, 1 / 6, out
    yield np.clip, out, -0.5, 0.5, out
    yield np.add, out, out, slope
    yield np.trunc, slope, slope
    yield np.multiply, slope, 0.5, slope
    yield np.subtract, out, slope, slope
    yield np.add, out, 0.5, out
    yield np.add, slope, out, slope
    yield np.multiply, out, x, out
