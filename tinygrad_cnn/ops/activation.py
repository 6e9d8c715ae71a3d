"""Smooth activation functions: value, gradient, and the derivative of that, one after the other.

If a call is recorded, the kernel computes value and derivative in one go through memory, and the gradient is `g` times
the derivative that was kept. For the derivatives of the gradient, that is a constant: the formula of the second
derivative is written out, from the input, and all higher ones follow from it. But for `sigmoid` these functions take
floating tensors alone.
`inplace`, where PyTorch has it, has no effect: the result is always new.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Residuals, primitive
from tinygrad_cnn.errors import check_float, check_floating
from tinygrad_cnn.kernels import activation as kernels
from tinygrad_cnn.kernels.elementwise import apply, blockwise, blockwise_pair
from tinygrad_cnn.ops.dtypes import fractional
from tinygrad_cnn.ops.elementwise import clamp, exp, gt, tanh, where
from tinygrad_cnn.ops.functions import gaussian
from tinygrad_cnn.types import Array


def with_slope(
    value: Callable[..., Any], both: Callable[..., Any], input: Array, recorded: bool, **parameters: float
) -> Array | Residuals:
    """What the steps of `value` write; if it is recorded, those of `both`, which also write the residual ``slope``."""
    if not recorded:
        return blockwise(value, input, **parameters)
    output, slope = blockwise_pair(both, input, **parameters)
    return Residuals(output, slope=slope)


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
    return _logsigmoid(check_floating("logsigmoid", "input", input))


@primitive
def _logsigmoid(input: Array, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.log_sigmoid, kernels.log_sigmoid_slope, input, recorded)


@_logsigmoid.vjp("input")
def _(g, input, slope):
    return _logsigmoid_grad(g, input, slope)


@primitive(constants=("slope",))
def _logsigmoid_grad(g: Array, input: Array, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_logsigmoid_grad.vjp("g")
def _(h, input, slope):
    return _logsigmoid_grad(h, input, slope)


@_logsigmoid_grad.vjp("input")
def _(h, g, input):
    s = sigmoid(input)
    return -h * g * (s * (1 - s))


def silu(input: Array, inplace: bool = False) -> Array:
    """``input * sigmoid(input)``, also called swish (Elfwing et al. 2017, arXiv:1702.03118)."""
    return _silu(check_floating("silu", "input", input))


@primitive
def _silu(input: Array, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.silu, kernels.silu_slope, input, recorded)


@_silu.vjp("input")
def _(g, input, slope):
    return _silu_grad(g, input, slope)


@primitive(constants=("slope",))
def _silu_grad(g: Array, input: Array, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_silu_grad.vjp("g")
def _(h, input, slope):
    return _silu_grad(h, input, slope)


@_silu_grad.vjp("input")
def _(h, g, input):
    s = sigmoid(input)
    return h * g * (s * (1 - s) * (2 + input * (1 - 2 * s)))


def mish(input: Array, inplace: bool = False) -> Array:
    """``input * tanh(log(1 + exp(input)))`` (Misra 2019, arXiv:1908.08681)."""
    return _mish(check_floating("mish", "input", input))


@primitive
def _mish(input: Array, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.mish, kernels.mish_slope, input, recorded)


@_mish.vjp("input")
def _(g, input, slope):
    return _mish_grad(g, input, slope)


@primitive(constants=("slope",))
def _mish_grad(g: Array, input: Array, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_mish_grad.vjp("g")
def _(h, input, slope):
    return _mish_grad(h, input, slope)


@_mish_grad.vjp("input")
def _(h, g, input):
    s, t = sigmoid(input), tanh(-_logsigmoid(-input))
    return h * g * ((1 - t * t) * s * (2 + input * (1 - s - 2 * t * s)))


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
    return _gelu(input) if approximate == "none" else _gelu_tanh(input)


@primitive
def _gelu(input: Array, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.gelu, kernels.gelu_slope, input, recorded)


@_gelu.vjp("input")
def _(g, input, slope):
    return _gelu_grad(g, input, slope)


@primitive(constants=("slope",))
def _gelu_grad(g: Array, input: Array, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_gelu_grad.vjp("g")
def _(h, input, slope):
    return _gelu_grad(h, input, slope)


@_gelu_grad.vjp("input")
def _(h, g, input):
    x = clamp(input, -40, 40)  # beyond, the density is 0; squares stay finite
    return h * g * (gaussian(x * math.sqrt(0.5)) / math.sqrt(2 * math.pi) * (2 - x * x))


@primitive
def _gelu_tanh(input: Array, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.gelu_tanh, kernels.gelu_tanh_slope, input, recorded)


@_gelu_tanh.vjp("input")
def _(g, input, slope):
    return _gelu_tanh_grad(g, input, slope)


@primitive(constants=("slope",))
def _gelu_tanh_grad(g: Array, input: Array, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_gelu_tanh_grad.vjp("g")
def _(h, input, slope):
    return _gelu_tanh_grad(h, input, slope)


@_gelu_tanh_grad.vjp("input")
def _(h, g, input):
    x = clamp(input, -10, 10)  # beyond, 1 - t² is 0; cubes stay finite
    t = tanh(x * (kernels.GELU_A + kernels.GELU_B * (x * x)))
    slope = kernels.GELU_A + 3 * kernels.GELU_B * (x * x)
    return h * g * ((1 - t * t) * (slope + 3 * kernels.GELU_B * (x * x) - x * t * (slope * slope)))


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
    return _softplus(input, check_float("softplus", "beta", beta), check_float("softplus", "threshold", threshold))


@primitive
def _softplus(input: Array, beta: float, threshold: float, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.softplus, kernels.softplus_slope, input, recorded, beta=beta, threshold=threshold)


@_softplus.vjp("input")
def _(g, input, beta, threshold, slope):
    return _softplus_grad(g, input, beta, threshold, slope)


@primitive(constants=("slope",))
def _softplus_grad(g: Array, input: Array, beta: float, threshold: float, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_softplus_grad.vjp("g")
def _(h, input, beta, threshold, slope):
    return _softplus_grad(h, input, beta, threshold, slope)


@_softplus_grad.vjp("input")
def _(h, g, input, beta, threshold):
    scaled = input * beta
    s = sigmoid(scaled)
    return where(gt(scaled, threshold), 0, h * g * (s * (1 - s) * beta))


def elu(input: Array, alpha: float = 1.0, inplace: bool = False) -> Array:
    """`input` where it is positive, else ``alpha * (exp(input) - 1)`` (Clevert et al., arXiv:1511.07289)."""
    return _elu(check_floating("elu", "input", input), check_float("elu", "alpha", alpha), 1.0)


#: Klambauer et al. 2017, arXiv:1706.02515: with these, mean 0 and variance 1 are a fixed point.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(input: Array, inplace: bool = False) -> Array:
    """``scale * elu(input, alpha)`` with the two constants of self-normalising networks (arXiv:1706.02515)."""
    return _elu(check_floating("selu", "input", input), _SELU_ALPHA, _SELU_SCALE)


@primitive
def _elu(input: Array, alpha: float, scale: float, *, recorded: bool) -> Array | Residuals:
    return with_slope(kernels.elu, kernels.elu_slope, input, recorded, alpha=alpha, scale=scale)


@_elu.vjp("input")
def _(g, input, alpha, scale, slope):
    return _elu_grad(g, input, alpha, scale, slope)


@primitive(constants=("slope",))
def _elu_grad(g: Array, input: Array, alpha: float, scale: float, slope: Array) -> Array:
    return apply(np.multiply, g, slope)


@_elu_grad.vjp("g")
def _(h, input, alpha, scale, slope):
    return _elu_grad(h, input, alpha, scale, slope)


@_elu_grad.vjp("input")
def _(h, g, input, alpha, scale):
    return where(gt(input, 0), 0, h * g * (alpha * scale * exp(clamp(input, None, 0))))
