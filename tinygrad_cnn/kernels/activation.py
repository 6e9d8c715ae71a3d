"""Activation functions and their gradients, block by block, for `kernels.elementwise.blockwise`.

``f(x, out)`` writes the value into `out`; ``f_grad(g, x, out)`` writes ``g * f'(x)``. All of them work in place where
they can, since what they cost is how often memory is gone through. They stay finite for any finite `x`, however large.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import choose, scratch_like, select
from tinygrad_cnn.kernels.erf import erf

__all__ = [
    "elu",
    "elu_grad",
    "gaussian",
    "gelu",
    "gelu_grad",
    "gelu_tanh",
    "gelu_tanh_grad",
    "hardsigmoid",
    "hardswish",
    "hardswish_grad",
    "leaky",
    "leaky_grad",
    "log_sigmoid",
    "mish",
    "mish_grad",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "softplus",
    "softplus_grad",
    "within",
]

Array = NDArray[Any]


def _scratch(out: Array) -> Array:
    """Memory for one more step, laid out like `out`."""
    return scratch_like("activation", out, 1)[0]


def sigmoid(x: Array, out: Array) -> None:
    """``1 / (1 + exp(-x))``; where exp overflows this is 0."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    np.reciprocal(out, out=out)


def sigmoid_grad(g: Array, y: Array, out: Array) -> None:
    """``g y (1 - y)``, from the output of `sigmoid`."""
    np.subtract(1, y, out=out)
    out *= y
    out *= g


def silu(x: Array, out: Array) -> None:
    """``x sigmoid(x)``."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    np.divide(x, out, out=out)


def silu_grad(g: Array, x: Array, out: Array) -> None:
    """``g s (1 + x (1 - s))`` with ``s = sigmoid(x)``."""
    s = _scratch(out)
    sigmoid(x, s)
    np.subtract(1, s, out=out)
    out *= x
    out += 1
    out *= s
    out *= g


def gaussian(x: Array, out: Array) -> None:
    """``exp(-x²)``."""
    np.multiply(x, x, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)


def _normal_distribution(x: Array, out: Array) -> None:
    np.multiply(x, math.sqrt(0.5), out=out)
    erf(out, out)
    out += 1
    out *= 0.5


def gelu(x: Array, out: Array) -> None:
    """``x Φ(x)``, with the distribution function of the normal distribution."""
    _normal_distribution(x, out)
    out *= x


def gelu_grad(g: Array, x: Array, out: Array) -> None:
    """``g (Φ(x) + x φ(x))``."""
    _normal_distribution(x, out)
    density = np.multiply(x, x, out=_scratch(out))
    density *= -0.5
    np.exp(density, out=density)
    density *= x
    density *= 1 / math.sqrt(2 * math.pi)
    out += density
    out *= g


#: ``gelu_tanh`` is ``x (1 + tanh(a x + b x³)) / 2``.
GELU_A = math.sqrt(2 / math.pi)
GELU_B = GELU_A * 0.044715


def _gelu_tangent(x: Array, out: Array) -> None:
    np.multiply(x, x, out=out)
    out *= GELU_B
    out += GELU_A
    out *= x
    np.tanh(out, out=out)


def gelu_tanh(x: Array, out: Array) -> None:
    """``x (1 + tanh(a x + b x³)) / 2``."""
    _gelu_tangent(x, out)
    out += 1
    out *= x
    out *= 0.5


def gelu_tanh_grad(g: Array, x: Array, out: Array) -> None:
    """``g (1 + t + x (1 - t²) (a + 3 b x²)) / 2``, with t the hyperbolic tangent."""
    near = np.clip(x, -10, 10)  # beyond, 1 - t² is 0; the powers of x stay finite
    _gelu_tangent(near, out)
    slope = near * near
    slope *= 3 * GELU_B
    slope += GELU_A
    slope *= near
    slope *= 1 - out * out
    out += 1
    out += slope
    out *= g
    out *= 0.5


def mish(x: Array, out: Array) -> None:
    """``x tanh(softplus(x))``: with ``e = exp(x)`` and ``n = e (e + 2)`` it is ``x n / (n + 2)``."""
    np.minimum(x, 25, out=out)  # from here on the tangent is 1
    np.exp(out, out=out)
    out *= out + 2
    out /= out + 2
    out *= x


def mish_grad(g: Array, x: Array, out: Array) -> None:
    """``g (n + 4 x e (e + 1) / (n + 2)) / (n + 2)``."""
    near = np.minimum(x, 25)
    e = np.exp(near)
    n = e * (e + 2)
    e *= e + 1
    e *= near
    e *= 4
    e /= n + 2
    np.add(n, e, out=out)
    out /= n + 2
    out *= g


def softplus(x: Array, out: Array, *, beta: float, threshold: float) -> None:
    """``log(1 + exp(beta x)) / beta``, or `x` where ``beta x > threshold``."""
    scaled = np.multiply(x, beta, out=_scratch(out))
    np.absolute(scaled, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    out += np.maximum(scaled, 0)
    out /= beta
    beyond = scaled > threshold
    if beyond.any():
        choose(beyond, x, out, out)


def softplus_grad(g: Array, x: Array, out: Array, *, beta: float, threshold: float) -> None:
    """``g sigmoid(beta x)``, or `g` where ``beta x > threshold``."""
    scaled = np.multiply(x, beta, out=_scratch(out))
    sigmoid(scaled, out)
    beyond = scaled > threshold
    if beyond.any():
        choose(beyond, 1, out, out)
    out *= g


def elu(x: Array, out: Array, *, alpha: float, scale: float) -> None:
    """``scale x`` where ``x > 0``, else ``scale alpha (exp(x) - 1)``."""
    np.minimum(x, 0, out=out)
    np.expm1(out, out=out)
    out *= alpha
    out += np.maximum(x, 0)
    out *= scale


def elu_grad(g: Array, x: Array, out: Array, *, alpha: float, scale: float) -> None:
    """``g scale`` where ``x > 0``, else ``g scale alpha exp(x)``."""
    np.minimum(x, 0, out=out)
    np.exp(out, out=out)
    if alpha != 1:
        out *= alpha
        choose(x > 0, 1, out, out)
    out *= scale
    out *= g


def log_sigmoid(x: Array, out: Array) -> None:
    """``min(x, 0) - log(1 + exp(-|x|))``."""
    np.absolute(x, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    np.subtract(np.minimum(x, 0), out, out=out)


def leaky(weight: Array, x: Array, out: Array) -> None:
    """``x`` where it is positive, else ``weight * x``."""
    if weight.ndim == 0 and 0 <= weight <= 1:
        np.multiply(x, weight, out=out)
        np.maximum(x, out, out=out)
        return
    negative = np.minimum(x, 0, out=_scratch(out))
    negative *= weight
    np.maximum(x, 0, out=out)
    out += negative


def leaky_grad(g: Array, weight: Array, x: Array, out: Array) -> None:
    """`g` where `x` is positive, else ``weight * g``."""
    choose(np.greater(x, 0), 1, weight, out)
    out *= g


def within(g: Array, x: Array, out: Array, *, low: float, high: float, slope: float) -> None:
    """``slope g`` where ``low < x < high``, else 0."""
    inside = x > low
    inside &= x < high
    if slope == 1:
        select(inside, g, out)
    else:
        select(inside, np.multiply(g, slope, out=_scratch(out)), out)


def hardsigmoid(x: Array, out: Array) -> None:
    """A ramp from 0 at -3 to 1 at 3."""
    np.multiply(x, 1 / 6, out=out)
    out += 0.5
    np.clip(out, 0, 1, out=out)


def hardswish(x: Array, out: Array) -> None:
    """``x`` times a ramp from 0 at -3 to 1 at 3."""
    hardsigmoid(x, out)
    out *= x


def hardswish_grad(g: Array, x: Array, out: Array) -> None:
    """``g`` times the ramp, and between -3 and 3 ``g x / 6`` more, which is the slope of the ramp times `x`."""
    sixth, more = scratch_like("activation", out, 2)
    np.multiply(x, 1 / 6, out=sixth)
    np.add(sixth, 0.5, out=out)
    np.clip(out, 0, 1, out=out)
    on_the_ramp = out > 0
    on_the_ramp &= out < 1
    select(on_the_ramp, sixth, more)
    out += more
    out *= g
