"""Functions of one variable that mathematics knows by name, beyond those that arithmetic needs.

Integers and booleans give float32, except where the result is an integer again. `g` is the cotangent of the output.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_int, check_tensor
from tinygrad_cnn.kernels.activation import gaussian as gaussian_kernel
from tinygrad_cnn.kernels.elementwise import apply, blockwise
from tinygrad_cnn.kernels.erf import erf as erf_kernel
from tinygrad_cnn.ops.dtypes import fractional
from tinygrad_cnn.ops.elementwise import zeros_like
from tinygrad_cnn.types import Array

# ------------------------------------------------------------------------------------- trigonometry


@primitive
def sin(input: Array) -> Array:
    """The sine of angles in radians."""
    return apply(np.sin, fractional(input))


@sin.vjp("input")
def _(g, input):
    return g * cos(input)


@primitive
def cos(input: Array) -> Array:
    """The cosine of angles in radians."""
    return apply(np.cos, fractional(input))


@cos.vjp("input")
def _(g, input):
    return -g * sin(input)


# ------------------------------------------------------------------------------------------ powers


@primitive
def square(input: Array) -> Array:
    """``input * input``; of booleans int64."""
    return apply(np.square, input.astype(np.int64) if input.dtype == np.bool_ else input)


@square.vjp("input")
def _(g, input):
    return g * (2 * input)


@primitive
def reciprocal(input: Array) -> Array:
    """``1 / input``."""
    return apply(np.reciprocal, fractional(input))


@reciprocal.vjp("input")
def _(g, output):
    return -g * output * output


@primitive
def rsqrt(input: Array) -> Array:
    """``1 / sqrt(input)``; its derivative is ``-output**3 / 2``."""
    return blockwise(_rsqrt, fractional(input))


def _rsqrt(x, out):
    yield np.sqrt, x, out
    yield np.reciprocal, out, out


@rsqrt.vjp("input")
def _(g, output):
    return g * (output * output * output * -0.5)


# ------------------------------------------------------------- exponential and logarithm near zero and one


@primitive
def expm1(input: Array) -> Array:
    """``exp(input) - 1``, exact for small `input` too."""
    return apply(np.expm1, fractional(input))


@expm1.vjp("input")
def _(g, output):
    return g * (output + 1)


@primitive
def log1p(input: Array) -> Array:
    """``log(1 + input)``, exact for small `input` too."""
    return apply(np.log1p, fractional(input))


@log1p.vjp("input")
def _(g, input):
    return g / (input + 1)


# ------------------------------------------------------------------------------------- the error function


@primitive
def erf(input: Array) -> Array:
    """The error function, ``2/√π`` times the integral of ``exp(-t**2)`` from 0 to `input`.

    Its derivative is ``2/√π exp(-input**2)``. The error is at most 2 units in the last place in double, 4 in single
    precision (`tinygrad_cnn.kernels.erf` says how).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.erf(tg.tensor([0.0, 0.5, -3.0]))
    tensor([ 0.       ,  0.5204998, -0.9999778])
    """
    return blockwise(erf_kernel, fractional(input))


@erf.vjp("input")
def _(g, input):
    return g * (2 / math.sqrt(math.pi) * gaussian(input))


@primitive
def gaussian(input: Array) -> Array:
    """``exp(-input**2)``."""
    return blockwise(gaussian_kernel, fractional(input))


@gaussian.vjp("input")
def _(g, input, output):
    return g * (-2 * input * output)


# ------------------------------------------------------------------------------------------- rounding


def _integral(operation: str, ufunc: np.ufunc, input: Array) -> Array:
    """A rounding of floats; integers are round already."""
    if input.dtype == np.bool_:
        raise TypeError(f"{operation}: input expects a tensor of numbers but has dtype bool")
    return apply(ufunc, input) if input.dtype.kind == "f" else input.copy()


@primitive
def floor(input: Array) -> Array:
    """The largest integer not above `input`; its derivative is 0."""
    return _integral("floor", np.floor, input)


@primitive
def ceil(input: Array) -> Array:
    """The smallest integer not below `input`; its derivative is 0."""
    return _integral("ceil", np.ceil, input)


@primitive
def _round(input: Array, decimals: int) -> Array:
    return np.round(input, decimals) if decimals else _integral("round", np.rint, input)


@floor.vjp("input")
def _(g):
    return zeros_like(g)


@ceil.vjp("input")
def _(g):
    return zeros_like(g)


@_round.vjp("input")
def _(g):
    return zeros_like(g)


def round(input: Array, *, decimals: int = 0) -> Array:
    """The nearest integer, or the nearest number with that many decimals; halves go to the even one.

    The derivative is 0.

    Parameters
    ----------
    input : tensor of any shape
    decimals : int
        Digits kept after the point; negative ones are before it.

    Raises
    ------
    TypeError
        If `input` is boolean, or if it is not floating and `decimals` is not 0.
    """
    check_tensor("round", "input", input)
    digits = check_int("round", "decimals", decimals)
    if digits and input.dtype.kind != "f":
        raise TypeError(f"round: input expects a floating dtype for decimals={digits} but has {input.dtype}")
    return _round(input, digits)
