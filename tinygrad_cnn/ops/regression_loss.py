"""Losses between numbers and numbers: absolute differences, squared ones, and those in between."""

from __future__ import annotations

import math

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_float, check_tensor
from tinygrad_cnn.kernels import regression_loss as kernels
from tinygrad_cnn.kernels.elementwise import blockwise
from tinygrad_cnn.ops.elementwise import abs, clamp, le, where
from tinygrad_cnn.ops.loss import check_deprecated, check_reduction, in_one_pass, reduced
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.types import Array


@primitive
def _absolute_difference(input: Array, target: Array) -> Array:
    if input.dtype.kind != "f":
        return np.absolute(input - target)
    return blockwise(kernels.difference, target, input)


@_absolute_difference.vjp("input")
def _(g, input, target):
    return _sign_slope(g, input, target)


@_absolute_difference.vjp("target")
def _(g, input, target):
    return _sign_slope(g, target, input)


@primitive(constants=("input", "target"))
def _sign_slope(g: Array, input: Array, target: Array) -> Array:
    """``g * sign(input - target)``."""
    return blockwise(kernels.sign_slope, g, target, input)


@_sign_slope.vjp("g")
def _(h, input, target):
    return _sign_slope(h, input, target)


@primitive
def _huber(input: Array, target: Array, delta: float) -> Array:
    """``d**2 / 2`` where ``d = |x - t|`` is at most `delta`, else ``delta * (d - delta / 2)``."""
    return blockwise(kernels.huber, target, input, delta=delta)


@_huber.vjp("input")
def _(g, input, target, delta):
    return _huber_slope(g, input, target, delta)


@_huber.vjp("target")
def _(g, input, target, delta):
    return _huber_slope(g, target, input, delta)


@primitive
def _total_huber(input: Array, target: Array, delta: float, divisor: float) -> Array:
    """The sum of `_huber`, divided."""
    return np.true_divide(kernels.sum_of_huber(input, target, delta), input.dtype.type(divisor))


@_total_huber.vjp("input")
def _(g, input, target, delta, divisor):
    return _huber_slope(g / divisor, input, target, delta)


@_total_huber.vjp("target")
def _(g, input, target, delta, divisor):
    return _huber_slope(g / divisor, target, input, delta)


@primitive
def _huber_slope(g: Array, input: Array, target: Array, delta: float) -> Array:
    """``g * clamp(input - target, -delta, delta)``."""
    return blockwise(kernels.huber_slope, g, target, input, delta=delta)


@_huber_slope.vjp("g")
def _(h, input, target, delta):
    return h * clamp(input - target, -delta, delta)


@_huber_slope.vjp("input")
def _(h, g, input, target, delta):
    return where(le(abs(input - target), delta), h * g, 0)


@_huber_slope.vjp("target")
def _(h, g, input, target, delta):
    return where(le(abs(input - target), delta), -h * g, 0)


def _reduced_huber(input: Array, target: Array, delta: float, reduction: str, divisor: float = 1.0) -> Array:
    """The losses of `_huber` divided by `divisor`: their mean, their sum, or each."""
    if not in_one_pass(input, target, reduction):
        losses = reduced(_huber(input, target, delta), reduction)
        return losses if divisor == 1 else losses / divisor
    return _total_huber(input, target, delta, divisor * math.prod(input.shape) if reduction == "mean" else divisor)


@primitive
def _total_squares(input: Array, target: Array, divisor: float) -> Array:
    """``sum((x - t)**2) / divisor``."""
    return np.true_divide(kernels.sum_of_squares(input, target), input.dtype.type(divisor))


@_total_squares.vjp("input")
def _(g, input, target, divisor):
    return _squares_slope(g / divisor, input, target)


@_total_squares.vjp("target")
def _(g, input, target, divisor):
    return _squares_slope(g / divisor, target, input)


@primitive
def _squares(input: Array, target: Array) -> Array:
    """``(x - t)**2``."""
    return blockwise(kernels.squares, target, input)


@_squares.vjp("input")
def _(g, input, target):
    return _squares_slope(g, input, target)


@_squares.vjp("target")
def _(g, input, target):
    return _squares_slope(g, target, input)


@primitive
def _squares_slope(g: Array, input: Array, target: Array) -> Array:
    """``2 g (input - target)``."""
    return blockwise(kernels.squares_slope, g, target, input)


@_squares_slope.vjp("g")
def _(h, input, target):
    return h * 2 * (input - target)


@_squares_slope.vjp("input")
def _(h, g):
    return h * g * 2


@_squares_slope.vjp("target")
def _(h, g):
    return h * g * -2


def mse_loss(
    input: Array,
    target: Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Array | None = None,
) -> Array:
    """The squared difference, elementwise, and its mean or sum.

    Parameters
    ----------
    input, target : tensor of one shape
        Shapes that broadcast are refused: they are rarely meant.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    reduction : "mean", "sum" or "none"
    weight : tensor of that shape, optional
        Factors of the squares; the mean divides by their sum.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    operation = "mse_loss"
    check_deprecated(operation, size_average, reduce)
    check_tensor(operation, "input", input)
    for name, x in (("target", target), ("weight", weight)):
        if x is None:
            continue
        check_tensor(operation, name, x)
        if tuple(input.shape) != tuple(x.shape):
            raise ValueError(
                f"{operation}: {name} expects the shape of input {tuple(input.shape)} but has {tuple(x.shape)}"
            )
    check_reduction(operation, reduction)
    if weight is None and in_one_pass(input, target, reduction):
        return _total_squares(input, target, float(math.prod(input.shape)) if reduction == "mean" else 1.0)
    if input.dtype == target.dtype and input.dtype.kind == "f":
        squares = _squares(input, target)
    else:
        difference = input - target
        squares = difference * difference
    if weight is None:
        return reduced(squares, reduction)
    total = reduced(squares * weight, "sum" if reduction == "mean" else reduction)
    return total / sum(weight) if reduction == "mean" else total


def l1_loss(
    input: Array,
    target: Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Array | None = None,
) -> Array:
    """The absolute difference, elementwise, and its mean or sum.

    Parameters
    ----------
    input, target : tensor of one shape
        Shapes that broadcast are refused: they are rarely meant.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    reduction : "mean", "sum" or "none"
    weight : tensor of that shape, optional
        Factors of the differences; the mean divides by their sum.

    Raises
    ------
    TypeError, ValueError
        If the dtypes are not floating, or the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.l1_loss(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 2.0])).item()
    1.0
    """
    operation = "l1_loss"
    check_deprecated(operation, size_average, reduce)
    check_alike(operation, input, reduction, "iuf", target=target, weight=weight)
    losses = _absolute_difference(input, target)
    if weight is None:
        return reduced(losses, reduction)
    total = reduced(losses * weight, "sum" if reduction == "mean" else reduction)
    return total / sum(weight) if reduction == "mean" else total


def huber_loss(
    input: Array, target: Array, reduction: str = "mean", delta: float = 1.0, weight: Array | None = None
) -> Array:
    """Half the squared difference d where it is at most `delta`, else linear: ``delta * (d - delta / 2)``.

    Parameters
    ----------
    input, target : tensor of one shape
        Shapes that broadcast are refused: they are rarely meant.
    reduction : "mean", "sum" or "none"
    delta : float
        Positive.
    weight : tensor of that shape, optional
        Factors of the losses; the mean divides by their number.

    Raises
    ------
    TypeError, ValueError
        If the dtypes are not floating, the shapes differ, or `delta` is not positive.

    References
    ----------
    Huber: Robust estimation of a location parameter, Annals of Mathematical Statistics 35 (1964).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.huber_loss(tg.tensor([1.0, 4.0]), tg.tensor([0.0, 0.0]), reduction="none", delta=2.0).tolist()
    [0.5, 6.0]
    """
    operation = "huber_loss"
    check_alike(operation, input, reduction, target=target, weight=weight)
    bound = check_float(operation, "delta", delta)
    if bound <= 0:
        raise ValueError(f"{operation}: delta expects a positive number but got {delta}")
    if weight is None:
        return _reduced_huber(input, target, bound, reduction)
    return reduced(_huber(input, target, bound) * weight, reduction)


def smooth_l1_loss(
    input: Array,
    target: Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Array:
    """The absolute difference d, but rounded off below `beta`: ``d**2 / (2 beta)`` there, else ``d - beta / 2``.

    Parameters
    ----------
    input, target : tensor of one shape
        Shapes that broadcast are refused: they are rarely meant.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    reduction : "mean", "sum" or "none"
    beta : float
        Not negative; with 0 it is `l1_loss`.

    Raises
    ------
    TypeError, ValueError
        If the dtypes are not floating, the shapes differ, or `beta` is negative.

    References
    ----------
    Girshick: Fast R-CNN, ICCV 2015, section 2.3.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.smooth_l1_loss(tg.tensor([1.0, 4.0]), tg.tensor([0.0, 0.0]), reduction="none", beta=2.0).tolist()
    [0.25, 3.0]
    """
    operation = "smooth_l1_loss"
    check_deprecated(operation, size_average, reduce)
    check_alike(operation, input, reduction, target=target)
    bound = check_float(operation, "beta", beta, 0)
    if bound == 0:
        return reduced(_absolute_difference(input, target), reduction)
    return _reduced_huber(input, target, bound, reduction, divisor=bound)


def check_alike(operation: str, input: Array, reduction: str, kinds: str = "f", **others: Array | None) -> None:
    """Raise unless all are tensors of one shape and one dtype of the given kinds, and the reduction is one."""
    check_reduction(operation, reduction)
    check_tensor(operation, "input", input)
    if input.dtype.kind not in kinds:
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    for name, x in others.items():
        if x is None:
            continue
        check_tensor(operation, name, x)
        if tuple(x.shape) != tuple(input.shape):
            raise ValueError(
                f"{operation}: {name} expects the shape of input {tuple(input.shape)} but has {tuple(x.shape)}"
            )
        if x.dtype != input.dtype:
            raise TypeError(f"{operation}: {name} expects the dtype of input, {input.dtype}, but has {x.dtype}")
