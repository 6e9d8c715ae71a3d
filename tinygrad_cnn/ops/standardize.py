"""The primitives that batch, layer, group and instance normalisation share.

`_standardize` and its gradient are two faces of one form: the derivative of the standardised values in `x` is
symmetric, so the VJP of the gradient in its cotangent is the gradient itself, and its VJP in `x` needs nothing else.
"""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.kernels import normalize as kernels
from tinygrad_cnn.ops.elementwise import sqrt
from tinygrad_cnn.ops.reduction import mean as average
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array

__all__ = ["scale_shift", "standardize"]


@primitive
def scale_shift(input: Array, scale: Array, shift: Array) -> Array:
    """``x * scale + shift``, for a scale and a shift that repeat over most dimensions of `input`."""
    return kernels.scale_shift(input, scale, shift)


@scale_shift.vjp("input", "scale", "shift")
def _(g, input, scale):
    return _scale_shift_grad(g, input, scale)


@primitive
def _scale_shift_grad(g: Array, input: Array, scale: Array) -> tuple[Array, Array, Array]:
    """The gradients of `scale_shift` in `input`, `scale` and `shift`, from the cotangent `g`."""
    return kernels.scale_shift_grad(g, input, scale)


# The scalar to differentiate is <h, g scale> + <u, sum(g x)> + <v, sum(g)>.
@_scale_shift_grad.vjp("g")
def _(cotangents, input, scale):
    h, u, v = cotangents
    return h * scale + u * input + v


@_scale_shift_grad.vjp("input")
def _(cotangents, g):
    return cotangents[1] * g


@_scale_shift_grad.vjp("scale")
def _(cotangents, g):
    return cotangents[0] * g


# `mean` and `var` are those of `input` over the dimensions in which they have size 1. They are handed over because the
# caller may want them too; the derivatives in `input` are total ones, through both of them.
@primitive(constants=("mean", "var"))
def _standardize(
    input: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float, row: tuple[int, ...]
) -> Array:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, with weight and bias brought to the shape `row`."""
    return kernels.normalize(input, mean, _inverse_root(var, eps), weight.reshape(row), bias.reshape(row))


def _inverse_root(var: np.ndarray, eps: float) -> np.ndarray:
    return 1 / np.sqrt(var + var.dtype.type(eps))


@_standardize.vjp("input", "weight", "bias")
def _(g, input, weight, mean, var, eps, row):
    by_input, by_weight, by_bias = _standardize_grad(g, input, reshape(weight, row), mean, var, eps)
    return by_input, reshape(by_weight, weight.shape), reshape(by_bias, weight.shape)


@primitive(constants=("mean", "var"))
def _standardize_grad(
    g: Array, input: Array, weight: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients of `_standardize` in `input`, `weight` and `bias`, from the cotangent `g`."""
    return kernels.normalize_grad(g, input, mean, _inverse_root(var, eps), weight)


def _standardized(input, mean, var, eps):
    return _standardize(input, np.ones_like(mean), np.zeros_like(mean), mean, var, eps, mean.shape)


def _pulled_back(g, input, mean, var, eps):
    """``J g`` for the Jacobian J of the standardised values, which is symmetric."""
    return _standardize_grad(g, input, np.ones_like(mean), mean, var, eps)[0]


# The scalar to differentiate is <h, J (g weight)> + <u, sum(g z)> + <v, sum(g)>, with z the standardised values.
@_standardize_grad.vjp("g")
def _(cotangents, input, weight, mean, var, eps):
    h, u, v = cotangents
    return weight * _pulled_back(h, input, mean, var, eps) + u * _standardized(input, mean, var, eps) + v


@_standardize_grad.vjp("weight")
def _(cotangents, g, input, mean, var, eps):
    return g * _pulled_back(cotangents[0], input, mean, var, eps)


@_standardize_grad.vjp("input")
def _(cotangents, g, input, weight, mean, var, eps):
    h, u, _ = cotangents
    k = g * weight
    z = _standardized(input, mean, var, eps)
    dims = tuple(i for i, n in enumerate(mean.shape) if n == 1)
    hz, kz = average(h * z, dims, True), average(k * z, dims, True)
    # <h, J k> = n rstd (mean(h k) - mean(h) mean(k) - mean(h z) mean(k z)), and each factor depends on x.
    covariance = average(h * k, dims, True) - average(h, dims, True) * average(k, dims, True) - hz * kz
    centred = input - average(input, dims, True)
    rstd = 1 / sqrt(average(centred * centred, dims, True) + eps)
    along_h, along_k = (_pulled_back(c, input, mean, var, eps) for c in (h, k))
    return _pulled_back(g * u, input, mean, var, eps) - rstd * (rstd * covariance * z + kz * along_h + hz * along_k)


def standardize(
    input: Array, dims: tuple[int, ...], eps: float, weight: Array | None, bias: Array | None, row: tuple[int, ...]
) -> tuple[Array, np.ndarray, np.ndarray]:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, with the moments of `input` over `dims`, and these moments.

    Parameters
    ----------
    input : tensor
    dims : tuple of int
        At least one; all that have size 1 in the moments.
    eps : float
    weight, bias : tensor or None
        Of one shape.
    row : tuple of int
        What that is brought to: as many dimensions as `input` has, with size 1 where they repeat.

    Returns
    -------
    tensor, and the mean and the biased variance as arrays with the dimensions kept
    """
    mean, var = kernels.moments(input.data if isinstance(input, Variable) else input, dims)
    if weight is None and bias is None:
        row = (1,) * input.ndim
    if weight is None:  # of the shape of the bias, as their gradients are found together
        weight = np.ones(row if bias is None else tuple(bias.shape), input.dtype)
    if bias is None:
        bias = np.zeros(tuple(weight.shape), input.dtype)
    return _standardize(input, weight, bias, mean, var, eps, row), mean, var
