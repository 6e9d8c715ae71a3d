"""Losses between numbers and numbers: absolute differences, squared ones, and those in between."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Primitive, primitive
from tinygrad_cnn.errors import check_float, check_tensor
from tinygrad_cnn.kernels import regression_loss as kernels
from tinygrad_cnn.kernels.elementwise import blockwise, blockwise_sum
from tinygrad_cnn.ops.elementwise import abs, le, neg, where
from tinygrad_cnn.ops.loss import check_deprecated, check_reduction, in_one_pass, reduced
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.types import Array


def _of_difference(
    name: str, value: Callable[..., Any], slope: Callable[..., Any], constants: tuple[str, ...] = ()
) -> tuple[Primitive, ...]:
    """A loss that is a function of ``d = input - target``: three primitives, from the steps of the loss and its slope.

    They are the loss of each element; the sum of those, divided by a number; and ``g f'(d)``. The VJP of the last in
    `input` and `target` is for the caller to add, unless they are `constants` of it.
    """

    def losses(input: Array, target: Array, parameters: dict[str, float]) -> Array:
        return blockwise(value, target, input, **parameters)

    def total(input: Array, target: Array, parameters: dict[str, float], divisor: float) -> Array:
        return np.true_divide(blockwise_sum(value, target, input, **parameters), input.dtype.type(divisor))

    def gradient(g: Array, input: Array, target: Array, parameters: dict[str, float]) -> Array:
        return blockwise(slope, g, target, input, **parameters)

    losses.__name__, total.__name__, gradient.__name__ = name, f"{name}_total", f"{name}_slope"
    of_each, of_all, slopes = primitive(losses), primitive(total), primitive(gradient, constants=constants)

    @of_each.vjp("input", "target")
    def _(g, input, target, parameters, wanted):
        return _opposite(slopes(g, input, target, parameters), wanted)

    @of_all.vjp("input", "target")
    def _(g, input, target, parameters, divisor, wanted):
        return _opposite(slopes(g / divisor, input, target, parameters), wanted)

    @slopes.vjp("g")
    def _(h, input, target, parameters):
        return slopes(h, input, target, parameters)

    return of_each, of_all, slopes


def _opposite(slope, wanted):
    """The gradients of a function of ``input - target`` in the two."""
    return slope, neg(slope) if wanted[1] else None


_absolute, _absolute_total, _absolute_slope = _of_difference(
    "_absolute", kernels.absolute, kernels.absolute_slope, constants=("input", "target")
)
_squares, _squares_total, _squares_slope = _of_difference("_squares", kernels.squares, kernels.squares_slope)
_huber, _huber_total, _huber_slope = _of_difference("_huber", kernels.huber, kernels.huber_slope)


@_squares_slope.vjp("input", "target")
def _(h, g, wanted):
    return _opposite(h * g * 2, wanted)


@_huber_slope.vjp("input", "target")
def _(h, g, input, target, parameters, wanted):
    return _opposite(where(le(abs(input - target), parameters["delta"]), h * g, 0), wanted)


def _reduced(
    of_each: Primitive,
    of_all: Primitive,
    input: Array,
    target: Array,
    reduction: str,
    divisor: float = 1.0,
    **parameters: float,
) -> Array:
    """The losses divided by `divisor`: their mean, their sum, or each."""
    if not in_one_pass(input, target, reduction):
        losses = reduced(of_each(input, target, parameters), reduction)
        return losses if divisor == 1 else losses / divisor
    return of_all(input, target, parameters, divisor * math.prod(input.shape) if reduction == "mean" else divisor)


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
    if input.dtype == target.dtype and input.dtype.kind == "f":
        if weight is None:
            return _reduced(_squares, _squares_total, input, target, reduction)
        squares = _squares(input, target, {})
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
    if weight is None and input.dtype.kind == "f":
        return _reduced(_absolute, _absolute_total, input, target, reduction)
    losses = _absolute(input, target, {}) if input.dtype.kind == "f" else abs(input - target)
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
        return _reduced(_huber, _huber_total, input, target, reduction, delta=bound)
    return reduced(_huber(input, target, {"delta": bound}) * weight, reduction)


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
        return _reduced(_absolute, _absolute_total, input, target, reduction)
    return _reduced(_huber, _huber_total, input, target, reduction, divisor=bound, delta=bound)


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
