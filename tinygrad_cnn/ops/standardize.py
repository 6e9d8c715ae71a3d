"""The primitives that batch, layer, group and instance normalisation share.

`_standardize` and its gradient are two faces of one form: the derivative of the standardised values in `x` is
symmetric, so the VJP of the gradient in its cotangent is the gradient itself, and its VJP in `x` needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.kernels import normalize as kernels
from tinygrad_cnn.ops.elementwise import cast, sqrt
from tinygrad_cnn.ops.reduction import mean as average
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


@dataclass(slots=True)
class _Moments:
    """The mean and the biased variance of an input over `dims`, which are kept with size 1, once they are known."""

    dims: tuple[int, ...]
    mean: Any = None
    var: Any = None


# The moments are found together with the value, which reads the input once, and are handed over because the caller
# may want them too; the derivatives in `input` are total ones, through both of them.
@primitive
def _standardize(
    input: Array,
    weight: Array,
    bias: Array,
    moments: _Moments,
    eps: float,
    split: tuple[int, ...],
    row: tuple[int, ...],
) -> Array:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, with x in the shape `split`, weight and bias in `row`."""
    x, w, b = input.reshape(split), weight.reshape(row), bias.reshape(row)
    if moments.mean is None:
        y, moments.mean, moments.var = kernels.standardize(x, moments.dims, eps, w, b)
    else:
        y = kernels.normalize(x, moments.mean, _inverse_root(moments.var, eps), w, b)
    return y.reshape(input.shape)


def _inverse_root(var: np.ndarray, eps: float) -> np.ndarray:
    return 1 / np.sqrt(var + var.dtype.type(eps))


@_standardize.vjp("input", "weight", "bias")
def _(g, input, weight, moments, eps, split, row):
    # The method of that name is, on arrays, no operation of the library, which would take longer than small sums.
    by_input, by_weight, by_bias = _standardize_grad(
        g.reshape(split), input.reshape(split), weight.reshape(row), moments.mean, moments.var, eps
    )
    return by_input.reshape(input.shape), by_weight.reshape(weight.shape), by_bias.reshape(weight.shape)


@primitive(constants=("mean", "var"))
def _standardize_grad(
    g: Array, input: Array, weight: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients of `_standardize` in `input`, `weight` and `bias`, from the cotangent `g`."""
    return kernels.normalize_grad(g, input, mean, _inverse_root(var, eps), weight)


def _standardized(input, mean, var, eps):
    moments = _Moments((), mean, var)
    return _standardize(input, np.ones_like(mean), np.zeros_like(mean), moments, eps, input.shape, mean.shape)


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
    input: Array,
    dims: tuple[int, ...],
    eps: float,
    weight: Array | None,
    bias: Array | None,
    row: tuple[int, ...],
    split: tuple[int, ...] | None = None,
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
        What that is brought to: as many dimensions as `split` has, with size 1 where they repeat.
    split : tuple of int, optional
        What `input` is brought to meanwhile; `dims` are its dimensions. Default: the shape of `input`.

    Returns
    -------
    tensor, and the mean and the biased variance as arrays with the dimensions kept
    """
    if input.dtype == np.float16:  # in single precision, where sums do not overflow, and rounded once
        half, single = input.dtype, np.dtype(np.float32)
        weight, bias = (None if x is None else cast(x, single) for x in (weight, bias))
        y, mean, var = standardize(cast(input, single), dims, eps, weight, bias, row, split)
        return cast(y, half), mean.astype(half), var.astype(half)
    shape = tuple(input.shape) if split is None else split
    if weight is None and bias is None:
        row = (1,) * len(shape)
    if weight is None:  # of the shape of the bias, as their gradients are found together
        weight = np.ones(row if bias is None else tuple(bias.shape), input.dtype)
    if bias is None:
        bias = np.zeros(tuple(weight.shape), input.dtype)
    moments = _Moments(dims)
    y = _standardize(input, weight, bias, moments, eps, shape, row)
    return y, moments.mean, moments.var
