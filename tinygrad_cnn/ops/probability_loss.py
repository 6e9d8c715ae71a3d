"""Losses between probabilities: binary cross-entropy and the Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_tensor
from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.ops.activation import sigmoid
from tinygrad_cnn.ops.elementwise import clamp, exp, log
from tinygrad_cnn.ops.loss import check_deprecated, reduced
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.ops.regression_loss import check_alike
from tinygrad_cnn.types import Array

# The least logarithm of a probability: a loss of 100 for certainty that was wrong, as in PyTorch.
_LEAST = -100


@primitive
def _binary_cross_entropy(input: Array, target: Array) -> Array:
    with np.errstate(divide="ignore"):
        no = np.maximum(np.log1p(-input), _LEAST)
        yes = np.maximum(np.log(input), _LEAST)
    return (target - 1) * no - target * yes


@_binary_cross_entropy.vjp("input")
def _(g, input, target):
    return g * (input - target) / clamp(input * (1 - input), 1e-12)


@_binary_cross_entropy.vjp("target")
def _(g, input):
    return g * (log(1 - input) - log(input))


@primitive
def _softplus_of_minus(input: Array) -> Array:
    """``log(1 + exp(-x))``, without overflow."""
    y = np.absolute(input, out=empty_like(input))
    np.log1p(np.exp(np.negative(y, out=y), out=y), out=y)
    return np.subtract(y, np.minimum(input, 0), out=y)


@_softplus_of_minus.vjp("input")
def _(g, input):
    return -g * sigmoid(-input)


@primitive
def _logits_loss(input: Array, target: Array, factor: Array) -> Array:
    """``(1 - t) x + (1 + (f - 1) t) log(1 + exp(-x))``, for a factor f of the positive targets."""
    softplus = _softplus_of_minus(input)
    if factor is not None:
        softplus *= (factor - 1) * target + 1
    softplus += (1 - target) * input
    return softplus


@_logits_loss.vjp("input")
def _(g, input, target, factor):
    if factor is None:
        return g * (sigmoid(input) - target)
    return g * (1 - target - ((factor - 1) * target + 1) * sigmoid(-input))


@_logits_loss.vjp("target")
def _(g, input, factor):
    return -g * input if factor is None else g * ((factor - 1) * _softplus_of_minus(input) - input)


@_logits_loss.vjp("factor")
def _(g, input, target):
    return g * target * _softplus_of_minus(input)


def binary_cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Array:
    """``-(t log(x) + (1 - t) log(1 - x))``, elementwise, and its mean or sum.

    Logarithms below -100 count as -100, and in the derivative ``(x - t) / (x (1 - x))`` the divisor is at least 1e-12.
    `binary_cross_entropy_with_logits` is the stable way from logits.

    Parameters
    ----------
    input : tensor
        Probabilities, within [0, 1].
    target : tensor of that shape
        Probabilities too, mostly 0 or 1.
    weight : tensor, optional
        Factors of the losses; broadcasts.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    TypeError, ValueError
        If the dtypes are not floating, the shapes differ, or a probability lies outside [0, 1].

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> loss = F.binary_cross_entropy(tg.tensor([0.5, 0.9]), tg.tensor([0.0, 1.0]))
    >>> f"{loss.item():.4f}"
    '0.3993'
    """
    operation = "binary_cross_entropy"
    check_deprecated(operation, size_average, reduce)
    check_alike(operation, input, reduction, target=target)
    for name, x in (("input", input), ("target", target)):
        values = x.data if isinstance(x, Variable) else x
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"{operation}: {name} expects probabilities within [0, 1]")
    losses = _binary_cross_entropy(input, target)
    _check_factor(operation, input, "weight", weight)
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Array:
    """The binary cross-entropy of ``sigmoid(x)``, in one stable step.

    ``(1 - t) x + (1 + (p - 1) t) log(1 + exp(-x))`` with `pos_weight` p, elementwise, and its mean or sum. Without p
    the derivative is ``sigmoid(x) - t``.

    Parameters
    ----------
    input : tensor
        Logits.
    target : tensor of that shape
        Probabilities, mostly 0 or 1.
    weight : tensor, optional
        Factors of the losses; broadcasts.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    reduction : "mean", "sum" or "none"
    pos_weight : tensor, optional
        Factors of the positive part, ``-t log(sigmoid(x))``; broadcasts.

    Raises
    ------
    TypeError, ValueError
        If the dtypes are not floating, or the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.binary_cross_entropy_with_logits(tg.tensor([1000.0]), tg.tensor([0.0])).item()
    1000.0
    """
    operation = "binary_cross_entropy_with_logits"
    check_deprecated(operation, size_average, reduce)
    check_alike(operation, input, reduction, target=target)
    _check_factor(operation, input, "weight", weight)
    _check_factor(operation, input, "pos_weight", pos_weight)
    losses = _logits_loss(input, target, pos_weight)
    return reduced(losses if weight is None else losses * weight, reduction)


@primitive
def _entropy_terms(input: Array) -> Array:
    """``t log(t)``, and 0 at 0."""
    return input * np.log(input, out=np.zeros_like(input), where=input != 0)


@_entropy_terms.vjp("input")
def _(g, input):
    return g * (log(input) + 1)


def kl_div(
    input: Array,
    target: Array,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Array:
    """The Kullback-Leibler divergence ``t (log(t) - x)`` of targets t from log-probabilities x, and its mean or sum.

    Parameters
    ----------
    input : tensor
        Log-probabilities.
    target : tensor of that shape
        Probabilities; where they are 0 the divergence is 0.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    reduction : "batchmean", "mean", "sum" or "none"
        "batchmean" divides the sum by the size of the first dimension: the divergence as it is defined.
    log_target : bool
        Whether `target` are log-probabilities too: ``exp(t) (t - x)``.

    Raises
    ------
    TypeError, ValueError
        If the dtypes are not floating, or the shapes differ.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> p = tg.tensor([[0.5, 0.5]])
    >>> F.kl_div(p.log(), p, reduction="batchmean").item()
    0.0
    """
    operation = "kl_div"
    check_deprecated(operation, size_average, reduce)
    by_batch = reduction == "batchmean"
    check_alike(operation, input, "sum" if by_batch else reduction, target=target)
    losses = exp(target) * (target - input) if log_target else _entropy_terms(target) - target * input
    if not by_batch:
        return reduced(losses, reduction)
    return sum(losses) / input.shape[0] if input.ndim else losses


def _check_factor(operation: str, input: Array, name: str, factor: Any) -> None:
    """Raise unless `factor` is None, or of the dtype of `input` and broadcasts to its shape."""
    if factor is None:
        return
    check_tensor(operation, name, factor)
    if factor.dtype != input.dtype:
        raise TypeError(f"{operation}: {name} expects the dtype of input, {input.dtype}, but has {factor.dtype}")
    shape = tuple(input.shape)
    try:
        fits = np.broadcast_shapes(shape, tuple(factor.shape)) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{operation}: {name} expects to broadcast to input {shape} but has {tuple(factor.shape)}")
