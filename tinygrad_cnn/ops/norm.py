"""Normalisation and dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.autograd import Variable
from tinygrad_cnn.errors import check_float, check_int, check_size, check_tensor
from tinygrad_cnn.ops.elementwise import sqrt, where
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.ops.standardize import scale_shift, standardize
from tinygrad_cnn.types import Array


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
    operation = "batch_norm"
    _check_input(operation, input, 2, "(N, C) or (N, C, *)")
    _check_eps(operation, eps, positive=training)
    check_float(operation, "momentum", momentum)
    channels = input.shape[1]
    _check_small(
        operation, input, (channels,), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    row = (1, channels) + (1,) * (input.ndim - 2)
    if not training:
        return _with_running(operation, input, running_mean, running_var, weight, bias, row, eps)
    dims = (0, *range(2, input.ndim))
    count = math.prod(input.shape[d] for d in dims)
    if count == 1:
        raise ValueError(
            f"batch_norm: input expects more than 1 value per channel in training but has {tuple(input.shape)}"
        )
    y, mean, var = standardize(input, dims, eps, weight, bias, row)
    if count:
        _update_running(running_mean, mean, momentum)
        _update_running(running_var, var * var.dtype.type(count / (count - 1)), momentum)
    return y


def instance_norm(
    input: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    """Normalise each channel of each image over its positions, then scale and shift it (Ulyanov et al. 2016).

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with statistics of each channel of each image (the biased
    variance), or with the running ones.

    Parameters
    ----------
    input : tensor (N, C, *)
    running_mean, running_var : tensor (C,) or None
        Updated in place if the statistics of the input are used: ``(1 - momentum) * running + momentum * own``, with
        the mean over the batch of the means and of the unbiased variances.
    weight, bias : tensor (C,), optional
    use_input_stats : bool
    momentum : float
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not fit, if there are neither statistics of the input nor running ones, or just one position.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.instance_norm(tg.tensor([[[1.0, 3.0], [5.0, 5.0]]]), eps=1e-8).tolist()
    [[[-1.0, 1.0], [0.0, 0.0]]]
    """
    operation = "instance_norm"
    _check_input(operation, input, 2, "(N, C, *)")
    _check_eps(operation, eps, positive=use_input_stats)
    check_float(operation, "momentum", momentum)
    channels = input.shape[1]
    _check_small(
        operation, input, (channels,), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{operation}: running_mean and running_var must be given together")
    row = (1, channels) + (1,) * (input.ndim - 2)
    if not use_input_stats:
        return _with_running(operation, input, running_mean, running_var, weight, bias, row, eps)
    dims = tuple(range(2, input.ndim))
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ValueError(
            f"instance_norm: input expects more than 1 position in each channel but has {tuple(input.shape)}"
        )
    y, mean, var = standardize(input, dims, eps, weight, bias, row)
    if math.prod(input.shape):
        _update_running(running_mean, np.mean(mean, axis=0), momentum)
        _update_running(running_var, np.mean(var, axis=0) * var.dtype.type(count / (count - 1)), momentum)
    return y


def layer_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """Normalise each sample over its last dimensions, then scale and shift each element (Ba, Kiros & Hinton 2016).

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the biased variance.

    Parameters
    ----------
    input : tensor (*, normalized_shape)
    normalized_shape : sequence of int
        The sizes of the dimensions over which the statistics are taken.
    weight, bias : tensor (normalized_shape), optional
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.layer_norm(tg.tensor([[1.0, 3.0], [5.0, 9.0]]), (2,), eps=1e-8).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    operation = "layer_norm"
    if not isinstance(normalized_shape, (tuple, list)):
        raise TypeError(f"{operation}: normalized_shape expects a sequence of ints but got {normalized_shape!r}")
    shape = check_size(operation, normalized_shape, argument="normalized_shape")
    if not shape:
        raise ValueError(f"{operation}: normalized_shape expects at least one size but got {normalized_shape!r}")
    _check_input(operation, input, len(shape), f"(*, {', '.join(map(str, shape))})")
    if tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(
            f"{operation}: input expects {shape} as its last dimensions (normalized_shape) but has {tuple(input.shape)}"
        )
    _check_small(operation, input, shape, weight=weight, bias=bias)
    first = input.ndim - len(shape)
    row = (1,) * first + shape
    dims = tuple(range(first, input.ndim))
    return standardize(input, dims, check_float(operation, "eps", eps), weight, bias, row)[0]


def group_norm(
    input: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    """Normalise groups of channels of each image over their positions, then scale and shift each channel.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the biased variance (Wu & He 2018).

    Parameters
    ----------
    input : tensor (N, C, *)
    num_groups : int
        Must divide C.
    weight, bias : tensor (C,), optional
    eps : float
        Added to the variance.

    Raises
    ------
    ValueError
        If the shapes do not fit, or there is just one value in all.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.group_norm(tg.tensor([[1.0, 3.0, 5.0, 9.0]]), 2, eps=1e-8).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    operation = "group_norm"
    _check_input(operation, input, 2, "(N, C, *)")
    groups = check_int(operation, "num_groups", num_groups, minimum=1)
    batch, channels, *rest = input.shape
    if channels % groups:
        raise ValueError(f"{operation}: num_groups expects a divisor of {channels} channels but got {groups}")
    _check_small(operation, input, (channels,), weight=weight, bias=bias)
    positions = math.prod(rest)
    if batch * channels // groups * positions == 1:
        raise ValueError(f"{operation}: input expects more than 1 value in a group but has {tuple(input.shape)}")
    split = (groups, channels // groups)
    row = (1, *split, 1)
    epsilon = check_float(operation, "eps", eps)
    return standardize(input, (2, 3), epsilon, weight, bias, row, (batch, *split, positions))[0]


def _check_input(operation: str, input: Array, least: int, form: str) -> None:
    check_tensor(operation, "input", input)
    if input.ndim < least:
        raise ValueError(f"{operation}: input expects {form} but has shape {tuple(input.shape)}")
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")


def _check_eps(operation: str, eps: float, positive: bool) -> None:
    number = check_float(operation, "eps", eps)
    if number < 0 or (positive and number == 0):
        raise ValueError(f"{operation}: eps expects a positive number but got {eps}")


def _check_small(operation: str, input: Array, shape: tuple[int, ...], **named: Array | None) -> None:
    """Raise unless statistics, weight and bias have a shape, and the dtype of `input`."""
    for name, x in named.items():
        if x is None:
            continue
        check_tensor(operation, name, x)
        if tuple(x.shape) != shape:
            raise ValueError(
                f"{operation}: {name} expects shape {shape} but has {tuple(x.shape)} (input {tuple(input.shape)})"
            )
        if x.dtype != input.dtype:
            raise TypeError(f"{operation}: {name} expects the dtype of input, {input.dtype}, but has {x.dtype}")


def _with_running(operation, input, running_mean, running_var, weight, bias, row, eps):
    """Batch normalisation in evaluation: a scale and a shift for each channel."""
    if running_mean is None or running_var is None:
        raise ValueError(f"{operation}: running_mean and running_var must be given where the input's are not used")
    scale = 1 / sqrt(running_var + eps) if weight is None else weight / sqrt(running_var + eps)
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    return scale_shift(input, reshape(scale, row), reshape(shift, row))


def _update_running(running: Array | None, statistic: np.ndarray, momentum: float) -> None:
    """``(1 - momentum) * running + momentum * statistic``, in place."""
    if running is None:
        return
    target = running.data if isinstance(running, Variable) else running
    target *= target.dtype.type(1 - momentum)
    target += target.dtype.type(momentum) * statistic.reshape(target.shape)
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
