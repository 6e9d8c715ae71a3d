"""Normalisation and dropout."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_float, check_tensor
from tinygrad_cnn.ops.elementwise import sqrt, where
from tinygrad_cnn.ops.reduction import mean
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array


@primitive
def _standardize(input: Array, mean: Array, var: Array, eps: float) -> Array:
    """``(x - mean) / sqrt(var + eps)``, mean and variance given."""
    return (input - mean) / np.sqrt(var + eps)


@_standardize.vjp("input")
def _(g, var, eps):
    return g / sqrt(var + eps)


@_standardize.vjp("mean")
def _(g, var, eps):
    return -g / sqrt(var + eps)


@_standardize.vjp("var")
def _(g, output, var, eps):
    return g * output / (-2 * (var + eps))


@primitive
def _whiten(input: Array, dims: tuple[int, ...], eps: float) -> Array:
    """``(x - mean) / sqrt(var + eps)`` with the mean and the biased variance of `input` over `dims`."""
    centred = input - np.mean(input, axis=dims, keepdims=True)
    variance = np.mean(centred * centred, axis=dims, keepdims=True)
    centred /= np.sqrt(variance + input.dtype.type(eps))
    return centred


@_whiten.vjp("input")
def _(g, input, output, dims, eps):
    # Ioffe & Szegedy (2015), section 3, with the sums gathered: the gradient loses its mean and its component
    # along the output, as neither moves the output.
    inner = g - mean(g, dims, True) - output * mean(g * output, dims, True)
    return inner / sqrt(_variance(input, dims) + eps)


def _variance(x, dims):
    centred = x - mean(x, dims, True)
    return mean(centred * centred, dims, True)


def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """Normalise each channel over the batch and all positions, then scale and shift it (Ioffe & Szegedy 2015).

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the statistics of the batch in training (the biased
    variance), else with the running ones.

    Parameters
    ----------
    input : tensor (N, C) or (N, C, *)
    running_mean, running_var : tensor (C,) or None
        Updated in place in training: ``(1 - momentum) * running + momentum * batch``, with the unbiased variance.
    weight, bias : tensor (C,), optional
    training : bool
    momentum : float
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not fit, if there are no running statistics in evaluation, or just one value per channel in
        training.
    """
    check_tensor("batch_norm", "input", input)
    if input.ndim < 2:
        raise ValueError(f"batch_norm: input expects (N, C) or (N, C, *) but has shape {tuple(input.shape)}")
    if input.dtype.kind != "f":
        raise TypeError(f"batch_norm: input expects a floating dtype but has {input.dtype}")
    channels = input.shape[1]
    if check_float("batch_norm", "eps", eps) <= 0:
        raise ValueError(f"batch_norm: eps expects a positive number but got {eps}")
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, x in named.items():
        if x is not None and tuple(x.shape) != (channels,):
            raise ValueError(
                f"batch_norm: {name} expects shape ({channels},) but has {tuple(x.shape)} (input {tuple(input.shape)})"
            )
        if x is not None and x.dtype != input.dtype:
            raise TypeError(f"batch_norm: {name} expects the dtype of input, {input.dtype}, but has {x.dtype}")
    dims = (0, *range(2, input.ndim))
    row = (1, channels) + (1,) * (input.ndim - 2)
    if training:
        count = int(np.prod([input.shape[d] for d in dims]))
        if count == 1:
            raise ValueError(
                f"batch_norm: input expects more than 1 value per channel in training but has {tuple(input.shape)}"
            )
        if count:
            _update_running(input, dims, count, running_mean, running_var, momentum)
        y = _whiten(input, dims, eps)
    else:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var must be given in evaluation")
        y = _standardize(input, reshape(running_mean, row), reshape(running_var, row), eps)
    if weight is not None:
        y = y * reshape(weight, row)
    return y if bias is None else y + reshape(bias, row)


def _update_running(input, dims, count, running_mean, running_var, momentum) -> None:
    x = input.data if isinstance(input, Variable) else input
    for running, statistic in ((running_mean, np.mean), (running_var, np.var)):
        if running is None:
            continue
        batch = statistic(x, axis=dims)
        if statistic is np.var:
            batch = batch * x.dtype.type(count / (count - 1))
        target = running.data if isinstance(running, Variable) else running
        target *= target.dtype.type(1 - momentum)
        target += momentum * batch
        if isinstance(running, Variable):
            running.bump_version()


def dropout(input: Array, p: float = 0.5, training: bool = True, inplace: bool = False) -> Array:
    """Zero each element with probability `p` and scale the others by ``1 / (1 - p)``, in training alone.

    Parameters
    ----------
    input : tensor of any shape
    p : float
    training : bool
    inplace : bool
        Has no effect: the result is always new.

    Raises
    ------
    ValueError
        If `p` is not within [0, 1].

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout, JMLR 15 (2014).
    """
    check_tensor("dropout", "input", input)
    return _drop("dropout", input, p, training, tuple(input.shape))


def dropout2d(input: Array, p: float = 0.5, training: bool = True, inplace: bool = False) -> Array:
    """Zero whole channels with probability `p` and scale the others by ``1 / (1 - p)``, in training alone.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (N, C, ...)
    p, training, inplace
        As for `dropout`.

    Raises
    ------
    ValueError
        If `p` is not within [0, 1], or `input` has less than two dimensions.

    References
    ----------
    Tompson et al.: Efficient object localization using convolutional networks, CVPR 2015.
    """
    check_tensor("dropout2d", "input", input)
    if input.ndim < 2:
        raise ValueError(f"dropout2d: input expects (N, C, *) but has shape {tuple(input.shape)}")
    return _drop("dropout2d", input, p, training, (*input.shape[:2], *(1,) * (input.ndim - 2)))


def _drop(operation: str, input: Array, p: float, training: bool, shape: tuple[int, ...]) -> Array:
    probability = check_float(operation, "p", p, 0, 1)
    if not training or probability == 0:
        return input
    if probability == 1:
        return where(np.zeros(input.shape, np.bool_), input, 0)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    draws = random.generator().random(shape, dtype=np.float32)
    kept = draws >= np.float32(probability)
    return input * np.multiply(kept, 1 / (1 - probability), dtype=input.dtype)
