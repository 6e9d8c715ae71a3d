"""Softmax in its forms, and the losses built on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_dim, check_float, check_int, check_tensor
from tinygrad_cnn.ops.dtypes import as_dtype
from tinygrad_cnn.ops.elementwise import cast, exp
from tinygrad_cnn.ops.indexing import gather
from tinygrad_cnn.ops.reduction import mean, sum
from tinygrad_cnn.ops.shape import reshape, squeeze, unsqueeze
from tinygrad_cnn.types import Array, DTypeLike

# ------------------------------------------------------------------------------------------- softmax


def _shifted(x, dim):
    """`x` less its maximum over `dim`, so that exp cannot overflow."""
    return x - np.max(x, axis=dim, keepdims=True, initial=-np.inf) if x.size else x


@primitive
def _softmax(input: Array, dim: int) -> Array:
    y = np.exp(_shifted(input, dim))
    y /= np.sum(y, axis=dim, keepdims=True)
    return y


@_softmax.vjp("input")
def _(g, output, dim):
    inner = g * output
    return inner - output * sum(inner, dim, True)


@primitive
def _log_softmax(input: Array, dim: int) -> Array:
    if not input.size:
        return input.copy()
    y = _shifted(input, dim)
    return y - np.log(np.sum(np.exp(y), axis=dim, keepdims=True))


@_log_softmax.vjp("input")
def _(g, output, dim):
    return g - exp(output) * sum(g, dim, True)


def _along(operation: str, input: Array, dim: Any, dtype: DTypeLike | None) -> tuple[Array, int]:
    """The operand in a floating dtype, and its dimension: by default that of the classes."""
    check_tensor(operation, "input", input)
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    axis = check_dim(operation, dim, input.ndim)
    x = input if dtype is None else cast(input, as_dtype(dtype))
    if x.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {x.dtype}")
    return x, axis


def softmax(input: Array, dim: int | None, dtype: DTypeLike | None = None) -> Array:
    """``exp(x) / sum(exp(x))`` over `dim`, shifted so that nothing overflows.

    Parameters
    ----------
    input : tensor of any shape
    dim : int, or None
        None stands for 1, but for 0 with 0-d, 1-d and 3-d tensors (as PyTorch guesses).
    dtype : dtype, optional
        Convert to this first.

    Raises
    ------
    TypeError
        If the dtype is not floating.
    IndexError
        If there is no such dimension.
    """
    x, axis = _along("softmax", input, dim, dtype)
    return reshape(_softmax(reshape(x, (1,)), 0), ()) if x.ndim == 0 else _softmax(x, axis)


def log_softmax(input: Array, dim: int | None, dtype: DTypeLike | None = None) -> Array:
    """``x - log(sum(exp(x)))`` over `dim`, shifted so that nothing overflows and no small probability is lost.

    Parameters and errors as `softmax`.
    """
    x, axis = _along("log_softmax", input, dim, dtype)
    return reshape(_log_softmax(reshape(x, (1,)), 0), ()) if x.ndim == 0 else _log_softmax(x, axis)


# ------------------------------------------------------------------------------- arguments of losses


def check_reduction(operation: str, reduction: Any) -> None:
    """Raise ValueError unless `reduction` is one of "none", "mean", "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{operation}: reduction expects 'none', 'mean' or 'sum' but got {reduction!r}")


def _classes(operation: str, input: Array, target: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray]:
    """The class of each sample (0 for ignored ones), and which samples count, both of the shape of `target`."""
    check_int(operation, "ignore_index", ignore_index)
    classes = target.data if isinstance(target, Variable) else np.asarray(target)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{operation}: target expects integer class indices but has dtype {classes.dtype}")
    shape = tuple(input.shape)
    expected = () if len(shape) == 1 else (shape[0], *shape[2:])
    if classes.shape != expected:
        raise ValueError(f"{operation}: target expects shape {expected} but has {classes.shape} (input {shape})")
    counted = classes != ignore_index
    count = shape[0] if len(shape) == 1 else shape[1]
    wrong = counted & ((classes < 0) | (classes >= count))
    if wrong.any():
        raise IndexError(f"{operation}: target expects 0 <= class < {count} but holds {classes[wrong][0]}")
    return np.where(counted, classes, 0), counted


def _class_weights(operation: str, input: Array, weight: Any) -> np.ndarray | None:
    if weight is None:
        return None
    if isinstance(weight, Variable) and weight._requires_grad:
        raise NotImplementedError(f"{operation}: weight requires a gradient, but the loss is not differentiable there")
    weights = weight.data if isinstance(weight, Variable) else np.asarray(weight)
    classes = input.shape[0] if input.ndim == 1 else input.shape[1]
    if weights.shape != (classes,):
        raise ValueError(f"{operation}: weight expects shape ({classes},), one for each class, but has {weights.shape}")
    if weights.dtype != input.dtype:
        raise TypeError(f"{operation}: weight expects the dtype of input, {input.dtype}, but has {weights.dtype}")
    return weights


def _check_logits(operation: str, input: Any) -> None:
    check_tensor(operation, "input", input)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    if input.ndim == 0:
        raise ValueError(f"{operation}: input expects (C,), (N, C) or (N, C, *) but is 0-d")


# ------------------------------------------------------------------------------------------ the losses


def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Array:
    """The negative log-likelihood of the target classes, given log-probabilities.

    ``-weight[t] * input[n, t]`` for each sample; the mean divides by the sum of the weights that were used.

    Parameters
    ----------
    input : tensor (N, C), (N, C, *) or (C,)
        Log-probabilities.
    target : integer tensor (N,), (N, *) or ()
        Class indices.
    weight : tensor (C,), optional
        One for each class. Default: 1.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    ignore_index : int
        Samples of this class count for nothing.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    TypeError, ValueError
        If a dtype or a shape does not fit.
    IndexError
        If a class is out of range.
    """
    operation = "nll_loss"
    _check_deprecated(operation, size_average, reduce)
    _check_logits(operation, input)
    check_reduction(operation, reduction)
    classes, counted = _classes(operation, input, target, ignore_index)
    weights = _class_weights(operation, input, weight)
    used = counted.astype(input.dtype) if weights is None else np.where(counted, weights[classes], 0)
    dim = 0 if input.ndim == 1 else 1
    chosen = squeeze(gather(input, dim, np.expand_dims(classes, dim).astype(np.int64)), dim)
    # Selected before it is scaled: a class of weight 0 and probability 0 contributes 0 * -inf otherwise.
    losses = chosen * -used
    if reduction == "none":
        return losses
    total = sum(losses)
    return total if reduction == "sum" else total / np.sum(used).item()


@primitive
def _cross_entropy(input: Array, target: Array) -> Array:
    """``-sum(target * log_softmax(input))`` over dimension 1, where 0 * log(0) is 0."""
    return -np.sum(_masked_product(target, _log_softmax(input, 1)), axis=1)


def _masked_product(weights: np.ndarray, logarithms: np.ndarray) -> np.ndarray:
    return np.multiply(weights, logarithms, out=np.zeros_like(logarithms), where=weights != 0)


@_cross_entropy.vjp("input")
def _(g, input, target):
    return unsqueeze(g, 1) * (_softmax(input, 1) * sum(target, 1, True) - target)


@_cross_entropy.vjp("target")
def _(g, input):
    return -unsqueeze(g, 1) * _log_softmax(input, 1)


def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """The cross-entropy between the softmax of logits and target classes or probabilities, in one stable step.

    For each sample ``-sum(q[c] * log_softmax(input)[c])`` over the classes c. For a class index t, ``q`` is
    ``weight[t] * (1 - s)`` at t, plus ``weight[c] * s / C`` everywhere, with s the label smoothing; for
    probabilities p it is ``weight * ((1 - s) * p + s / C)``. The gradient is ``sum(q) * softmax(input) - q``.

    Parameters
    ----------
    input : tensor (N, C), (N, C, *) or (C,)
        Logits.
    target : tensor
        Class indices, an integer tensor (N,), (N, *) or (); or probabilities, of the shape and dtype of `input`.
    weight : tensor (C,), optional
        One for each class. Default: 1.
    size_average, reduce : None
        Deprecated in PyTorch; accepted as None alone.
    ignore_index : int
        Samples of this class count for nothing (class indices only).
    reduction : "mean", "sum" or "none"
        The mean divides by the sum of the weights of the target classes, for probabilities by the number of samples.
    label_smoothing : float
        Within [0, 1].

    Returns
    -------
    tensor
        0-d, or with ``reduction="none"`` of shape (N,), (N, *) or ().

    Raises
    ------
    TypeError, ValueError
        If a dtype, a shape or a parameter does not fit.
    IndexError
        If a class is out of range.
    """
    operation = "cross_entropy"
    _check_deprecated(operation, size_average, reduce)
    _check_logits(operation, input)
    check_reduction(operation, reduction)
    smoothing = check_float(operation, "label_smoothing", label_smoothing, 0, 1)
    weights = _class_weights(operation, input, weight)
    if hasattr(target, "dtype") and target.dtype.kind == "f":
        expected, divisor = _mixed_target(operation, input, target, weights, smoothing)
    else:
        expected, divisor = _class_target(operation, input, target, ignore_index, weights, smoothing)
    if input.ndim == 1:
        losses = squeeze(_cross_entropy(unsqueeze(input, 0), unsqueeze(expected, 0)), 0)
    else:
        losses = _cross_entropy(input, expected)
    if reduction == "none":
        return losses
    total = sum(losses)
    return total if reduction == "sum" else total / divisor


def _class_target(
    operation: str,
    input: Array,
    target: Any,
    ignore_index: int,
    weights: np.ndarray | None,
    smoothing: float,
) -> tuple[np.ndarray, float]:
    """Class indices as a distribution for each sample, weighted; and what the mean divides by."""
    classes, counted = _classes(operation, input, target, ignore_index)
    dim = 0 if input.ndim == 1 else 1
    count = input.shape[dim]
    column = np.ones(count, input.dtype) if weights is None else weights
    row = column.reshape((-1,) + (1,) * (input.ndim - dim - 1))
    used = np.where(counted, column[classes], input.dtype.type(0))
    distribution = np.zeros(input.shape, input.dtype)
    peak = used * input.dtype.type(1 - smoothing)
    np.put_along_axis(distribution, np.expand_dims(classes, dim), np.expand_dims(peak, dim), axis=dim)
    if smoothing:
        distribution += np.where(np.expand_dims(counted, dim), row * input.dtype.type(smoothing / count), 0)
    return distribution, np.sum(used).item()


def _mixed_target(
    operation: str, input: Array, target: Array, weights: np.ndarray | None, smoothing: float
) -> tuple[Array, float]:
    """Probabilities, smoothed and weighted; and what the mean divides by."""
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(
            f"{operation}: target expects probabilities of the shape of input {tuple(input.shape)}, or integer class "
            f"indices, but has shape {tuple(target.shape)}"
        )
    if target.dtype != input.dtype:
        raise TypeError(f"{operation}: target expects the dtype of input, {input.dtype}, but has {target.dtype}")
    dim = 0 if input.ndim == 1 else 1
    count = input.shape[dim]
    expected = target * (1 - smoothing) + smoothing / count if smoothing else target
    if weights is not None:
        expected = expected * weights.reshape((-1,) + (1,) * (input.ndim - dim - 1))
    samples = 1
    for i, n in enumerate(input.shape):
        samples *= 1 if i == dim else n
    return expected, float(samples)


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
    _check_deprecated(operation, size_average, reduce)
    check_tensor(operation, "input", input)
    for name, x in (("target", target), ("weight", weight)):
        if x is not None and tuple(input.shape) != tuple(x.shape):
            raise ValueError(
                f"{operation}: {name} expects the shape of input {tuple(input.shape)} but has {tuple(x.shape)}"
            )
    check_reduction(operation, reduction)
    difference = input - target
    squares = difference * difference
    if weight is None:
        return _reduced(squares, reduction)
    total = _reduced(squares * weight, "sum" if reduction == "mean" else reduction)
    return total / sum(weight) if reduction == "mean" else total


def _reduced(losses: Array, reduction: str) -> Array:
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


def _check_deprecated(operation: str, size_average: Any, reduce: Any) -> None:
    if size_average is not None or reduce is not None:
        raise ValueError(f"{operation}: size_average and reduce expect None; use reduction='none', 'mean' or 'sum'")
