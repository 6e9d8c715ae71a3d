"""Smooth activation functions: value, gradient, and the derivative of that, one after the other.

If a call is recorded, the kernel computes value and derivative in one go through memory, and the gradient is `g` times
the derivative that was kept. That is a function of the input again: its own derivative, the second one, is written out,
and all higher ones follow from it. But for `sigmoid` these functions take floating tensors alone.
`inplace`, where PyTorch has it, has no effect: the result is always new.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cnn.autograd import Primitive, Residuals, primitive
from tinygrad_cnn.errors import check_float, check_floating
from tinygrad_cnn.kernels import activation as kernels
from tinygrad_cnn.kernels.elementwise import blockwise, blockwise_pair
from tinygrad_cnn.ops.dtypes import fractional
from tinygrad_cnn.ops.elementwise import clamp, exp, gt, mul, tanh, where
from tinygrad_cnn.ops.functions import gaussian
from tinygrad_cnn.types import Array


def smooth(name: str, value: Callable[..., Any], both: Callable[..., Any]) -> tuple[Primitive, Primitive]:
    """An activation function and its derivative: two primitives of an input and the parameters of the steps.

    The steps of `value` compute the function alone; those of `both`, for calls that are recorded, its derivative too.
    The second primitive is given that: it merely says of what it is a function. Its own VJP is for the caller to add.
    """

    def function(input: Array, parameters: dict[str, float], *, recorded: bool) -> Array | Residuals:
        if not recorded:
            return blockwise(value, input, **parameters)
        output, slope = blockwise_pair(both, input, **parameters)
        return Residuals(output, known=slope)

    def derivative(known: Array, input: Array, parameters: dict[str, float]) -> Array:
        return known

    function.__name__, derivative.__name__ = name, f"{name}_slope"
    activation, slope = primitive(function), primitive(derivative, constants=("known",))

    @activation.vjp("input")
    def _(g, known, input, parameters):
        return mul(g, slope(known, input, parameters))

    return activation, slope


# -------------------------------------------------------------------------------- sigmoid, SiLU and Mish


@primitive
def sigmoid(input: Array) -> Array:
    """The logistic function ``1 / (1 + exp(-input))``."""
    return blockwise(kernels.sigmoid, fractional(input))


@sigmoid.vjp("input")
def _(g, output):
    return _sigmoid_grad(g, output)


@primitive
def _sigmoid_grad(g: Array, output: Array) -> Array:
    return blockwise(kernels.sigmoid_grad, g, output)


@_sigmoid_grad.vjp("g")
def _(h, output):
    return _sigmoid_grad(h, output)


@_sigmoid_grad.vjp("output")
def _(h, g, output):
    return h * g * (1 - 2 * output)


def logsigmoid(input: Array) -> Array:
    """``log(sigmoid(input))``, without overflow; its derivative is ``sigmoid(-input)``."""
    return _logsigmoid(check_floating("logsigmoid", "input", input), {})


_logsigmoid, _logsigmoid_slope = smooth("_logsigmoid", kernels.log_sigmoid, kernels.log_sigmoid_slope)


@_logsigmoid_slope.vjp("input")
def _(g, input):
    s = sigmoid(input)
    return -g * (s * (1 - s))


def silu(input: Array, inplace: bool = False) -> Array:
    """``input * sigmoid(input)``, also called swish (Elfwing et al. 2017, arXiv:1702.03118)."""
    return _silu(check_floating("silu", "input", input), {})


_silu, _silu_slope = smooth("_silu", kernels.silu, kernels.silu_slope)


@_silu_slope.vjp("input")
def _(g, input):
    s = sigmoid(input)
    return g * (s * (1 - s) * (2 + input * (1 - 2 * s)))


def mish(input: Array, inplace: bool = False) -> Array:
    """``input * tanh(log(1 + exp(input)))`` (Misra 2019, arXiv:1908.08681)."""
    return _mish(check_floating("mish", "input", input), {})


_mish, _mish_slope = smooth("_mish", kernels.mish, kernels.mish_slope)


@_mish_slope.vjp("input")
def _(g, input):
    s, t = sigmoid(input), tanh(-logsigmoid(-input))
    return g * ((1 - t * t) * s * (2 + input * (1 - s - 2 * t * s)))


# ------------------------------------------------------------------------------------------------ GELU


def gelu(input: Array, approximate: str = "none") -> Array:
    """``input`` times the distribution function of the normal distribution (Hendrycks & Gimpel, arXiv:1606.08415).

    Parameters
    ----------
    input : floating tensor of any shape
    approximate : "none" or "tanh"
        Whether to put ``(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`` in the place of the distribution function.

    Raises
    ------
    TypeError
        If `input` is not floating.
    ValueError
        If `approximate` is neither.
    """
    check_floating("gelu", "input", input)
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate expects 'none' or 'tanh' but got {approximate!r}")
    return _gelu(input, {}) if approximate == "none" else _gelu_tanh(input, {})


_gelu, _gelu_slope = smooth("_gelu", kernels.gelu, kernels.gelu_slope)


@_gelu_slope.vjp("input")
def _(g, input):
    x = clamp(input, -40, 40)  # beyond, the density is 0; squares stay finite
    return g * (gaussian(x * math.sqrt(0.5)) / math.sqrt(2 * math.pi) * (2 - x * x))


_gelu_tanh, _gelu_tanh_slope = smooth("_gelu_tanh", kernels.gelu_tanh, kernels.gelu_tanh_slope)


@_gelu_tanh_slope.vjp("input")
def _(g, input):
    x = clamp(input, -10, 10)  # beyond, 1 - t² is 0; cubes stay finite
    t = tanh(x * (kernels.GELU_A + kernels.GELU_B * (x * x)))
    slope = kernels.GELU_A + 3 * kernels.GELU_B * (x * x)
    return g * ((1 - t * t) * (slope + 3 * kernels.GELU_B * (x * x) - x * t * (slope * slope)))


# -------------------------------------------------------------------------- softplus and exponential units


def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """``log(1 + exp(beta * input)) / beta``, a smooth `relu`; its derivative is ``sigmoid(beta * input)``.

    Parameters
    ----------
    input : floating tensor of any shape
    beta : float
        The larger, the nearer to `relu`.
    threshold : float
        Where ``beta * input`` exceeds it, `input` itself, with the derivative 1.

    Raises
    ------
    TypeError
        If `input` is not floating, or a parameter is not a number.
    """
    check_floating("softplus", "input", input)
    parameters = {"beta": beta, "threshold": threshold}
    return _softplus(input, {name: check_float("softplus", name, value) for name, value in parameters.items()})


_softplus, _softplus_slope = smooth("_softplus", kernels.softplus, kernels.softplus_slope)


@_softplus_slope.vjp("input")
def _(g, input, parameters):
    scaled = input * parameters["beta"]
    s = sigmoid(scaled)
    return where(gt(scaled, parameters["threshold"]), 0, g * (s * (1 - s) * parameters["beta"]))


def elu(input: Array, alpha: float = 1.0, inplace: bool = False) -> Array:
    """`input` where it is positive, else ``alpha * (exp(input) - 1)`` (Clevert et al., arXiv:1511.07289)."""
    return _elu(check_floating("elu", "input", input), {"alpha": check_float("elu", "alpha", alpha), "scale": 1.0})


#: Klambauer et al. 2017, arXiv:1706.02515: with these, mean 0 and variance 1 are a fixed point.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(input: Array, inplace: bool = False) -> Array:
    """``scale * elu(input, alpha)`` with the two constants of self-normalising networks (arXiv:1706.02515)."""
    return _elu(check_floating("selu", "input", input), {"alpha": _SELU_ALPHA, "scale": _SELU_SCALE})


_elu, _elu_slope = smooth("_elu", kernels.elu, kernels.elu_slope)


@_elu_slope.vjp("input")
def _(g, input, parameters):
    return where(gt(input, 0), 0, g * (parameters["alpha"] * parameters["scale"] * exp(clamp(input, None, 0))))
