"""Activation functions made of straight lines (`hardswish`: of a parabola between them), and their kinks.

`inplace`, where PyTorch has it, has no effect: the result is always new.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_float, check_floating, check_tensor
from tinygrad_cnn.kernels import activation as kernels
from tinygrad_cnn.kernels.elementwise import blockwise, limited
from tinygrad_cnn.kernels.elementwise import relu as relu_kernel
from tinygrad_cnn.kernels.elementwise import relu_grad as relu_grad_kernel
from tinygrad_cnn.ops.activation import smooth
from tinygrad_cnn.ops.elementwise import clamp, gt, where
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array


@primitive
def relu(input: Array) -> Array:
    """``max(input, 0)``; its derivative at 0 is 0."""
    if getattr(input, "dtype", np.bool_) == np.bool_:
        raise TypeError(f"relu: input expects a tensor of numbers but got {getattr(input, 'dtype', input)!r}")
    return relu_kernel(input)


@relu.vjp("input")
def _(g, output):
    return relu_grad(g, output)


@primitive(constants=("output",))
def relu_grad(g: Array, output: Array) -> Array:
    """`g` where `output`, the output of `relu`, is positive, else 0."""
    return relu_grad_kernel(g, output)


@relu_grad.vjp("g")
def _(g, output):
    return relu_grad(g, output)


def leaky_relu(input: Array, negative_slope: float = 0.01, inplace: bool = False) -> Array:
    """`input` where it is positive, else ``negative_slope * input``."""
    slope = check_float("leaky_relu", "negative_slope", negative_slope)
    return _leaky_relu(check_floating("leaky_relu", "input", input), slope)


@primitive
def _leaky_relu(input: Array, weight: Array) -> Array:
    slopes = np.asarray(weight, input.dtype)
    low, high = slopes.min(initial=np.inf), slopes.max(initial=0)
    if not (low > -np.inf and high < np.inf):  # times 0 these are NaN, where x is positive too
        return blockwise(kernels.leaky_grad, input, slopes, input)
    either = np.maximum if low > 0 and high <= 1 else np.minimum if low >= 1 else None
    return blockwise(kernels.leaky, slopes, input, either=either)


@_leaky_relu.vjp("input")
def _(g, input, weight):
    return _leaky_relu_grad(g, input, weight)


@_leaky_relu.vjp("weight")
def _(g, input):
    return g * clamp(input, None, 0)


@primitive(constants=("input",))
def _leaky_relu_grad(g: Array, input: Array, weight: Array) -> Array:
    return blockwise(kernels.leaky_grad, g, np.asarray(weight, input.dtype), input)


@_leaky_relu_grad.vjp("g")
def _(h, input, weight):
    return _leaky_relu_grad(h, input, weight)


@_leaky_relu_grad.vjp("weight")
def _(h, g, input):
    return where(gt(input, 0), 0, h * g)


def prelu(input: Array, weight: Array) -> Array:
    """`input` where it is positive, else ``weight * input``, with a weight that is learnt (arXiv:1502.01852).

    Parameters
    ----------
    input : floating tensor (N, C, *), or of any other shape
    weight : tensor () or (1,) or (C,), of the dtype of `input`
        One slope for all, or one for each channel, that is, for each index of dimension 1.

    Raises
    ------
    TypeError
        If `input` is not floating, or if the dtypes differ.
    ValueError
        If there is neither one weight nor one for each channel.
    """
    check_floating("prelu", "input", input)
    check_tensor("prelu", "weight", weight)
    if weight.dtype != input.dtype:
        raise TypeError(f"prelu: weight expects the dtype of input, {input.dtype}, but has {weight.dtype}")
    channels = input.shape[1] if input.ndim > 1 else 1
    if tuple(weight.shape) not in ((), (1,), (channels,)):
        raise ValueError(
            f"prelu: weight expects shape (1,) or ({channels},), one for each channel, but has {tuple(weight.shape)} "
            f"(input {tuple(input.shape)})"
        )
    one_each = weight.shape and weight.shape[0] == channels and input.ndim > 1
    return _leaky_relu(input, reshape(weight, (-1, *(1,) * (input.ndim - 2)) if one_each else ()))


def hardtanh(input: Array, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Array:
    """`input` limited to ``[min_val, max_val]``; its derivative at the limits, unlike that of `clamp`, is 0.

    Parameters
    ----------
    input : tensor of any shape
        Integers stay integers.
    min_val, max_val : float

    Raises
    ------
    TypeError
        If `input` is boolean, or unsigned and `min_val` negative.
    ValueError
        If `min_val` is greater than `max_val`.
    """
    check_tensor("hardtanh", "input", input)
    low, high = check_float("hardtanh", "min_val", min_val), check_float("hardtanh", "max_val", max_val)
    if low > high:
        raise ValueError(f"hardtanh: min_val expects at most max_val but they are {min_val} and {max_val}")
    kind = input.dtype.kind
    if kind == "b" or (kind == "u" and low < 0):
        raise TypeError(f"hardtanh: input expects a dtype that holds min_val={min_val} but has {input.dtype}")
    return _hardtanh(input, low, high) if kind == "f" else _hardtanh(input, math.trunc(low), math.trunc(high))


@primitive
def _hardtanh(input: Array, low: float, high: float) -> Array:
    return limited(input, low, high) if input.dtype.kind == "f" else np.clip(input, low, high)


@_hardtanh.vjp("input")
def _(g, input, low, high):
    return _within(g, input, low, high, 1.0)


@primitive(constants=("input",))
def _within(g: Array, input: Array, low: float, high: float, slope: float) -> Array:
    """``slope * g`` where ``low < input < high``, else 0: the gradient of a straight line between two levels."""
    return blockwise(kernels.within, g, input, low=low, high=high, slope=slope)


@_within.vjp("g")
def _(h, input, low, high, slope):
    return _within(h, input, low, high, slope)


def relu6(input: Array, inplace: bool = False) -> Array:
    """``min(max(input, 0), 6)``; its derivative at 0 and at 6 is 0."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input: Array, inplace: bool = False) -> Array:
    """A ramp from 0 at -3 to 1 at 3: ``min(max(input / 6 + 1/2, 0), 1)``."""
    return _hardsigmoid(check_floating("hardsigmoid", "input", input))


@primitive
def _hardsigmoid(input: Array) -> Array:
    return blockwise(kernels.hardsigmoid, input)


@_hardsigmoid.vjp("input")
def _(g, input):
    return _within(g, input, -3.0, 3.0, 1 / 6)


def hardswish(input: Array, inplace: bool = False) -> Array:
    """``input * min(max(input + 3, 0), 6) / 6`` (Howard et al. 2019, arXiv:1905.02244)."""
    return _hardswish(check_floating("hardswish", "input", input), {})


_hardswish, _hardswish_slope = smooth("_hardswish", kernels.hardswish, kernels.hardswish_slope)


@_hardswish_slope.vjp("input")
def _(g, input):
    return _within(g, input, -3.0, 3.0, 1 / 3)
