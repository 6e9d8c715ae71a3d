"""Softmax in its forms, and the losses built on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Residuals, Variable, primitive
from tinygrad_cnn.errors import check_dim, check_float, check_int, check_tensor
from tinygrad_cnn.kernels import softmax as kernels
from tinygrad_cnn.ops.dtypes import as_dtype
from tinygrad_cnn.ops.elementwise import cast, exp
from tinygrad_cnn.ops.indexing import gather
from tinygrad_cnn.ops.reduction import mean, sum
from tinygrad_cnn.ops.shape import reshape, squeeze, unsqueeze
from tinygrad_cnn.types import Array, DTypeLike

# ------------------------------------------------------------------------------------------- softmax


@primitive
def _softmax(input: Array, dim: int) -> Array:
    return kernels.softmax(input, dim) if input.size else input.copy()


@_softmax.vjp("input")
def _(g, output, dim):
    return _softmax_grad(g, output, dim)


@primitive
def _softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """``y (g - sum(g y))``."""
    return kernels.softmax_grad(g, y, dim)


@_softmax_grad.vjp("g")
def _(h, y, dim):
    return _softmax_grad(h, y, dim)


@_softmax_grad.vjp("y")
def _(h, g, y, dim):
    return h * (g - sum(g * y, dim, True)) - g * sum(h * y, dim, True)


@primitive
def _log_softmax(input: Array, dim: int) -> Array:
    return kernels.log_softmax(input, dim) if input.size else input.copy()


@_log_softmax.vjp("input")
def _(g, output, dim):
    return _log_softmax_grad(g, output, dim)


@primitive
def _log_softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """``g - exp(y) sum(g)``."""
    return kernels.log_softmax_grad(g, y, dim)


@_log_softmax_grad.vjp("g")
def _(h, y, dim):
    return h - sum(h * exp(y), dim, True)


@_log_softmax_grad.vjp("y")
def _(h, g, y, dim):
    return -h * exp(y) * sum(g, dim, True)


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


def _classes(operation: str, input: Array, target: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The class of each sample (0 for ignored ones), and which samples count (None: all), of the shape of `target`."""
    check_int(operation, "ignore_index", ignore_index)
    classes = target.data if isinstance(target, Variable) else np.asarray(target)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{operation}: target expects integer class indices but has dtype {classes.dtype}")
    shape = tuple(input.shape)
    expected = () if len(shape) == 1 else (shape[0], *shape[2:])
    if classes.shape != expected:
        raise ValueError(f"{operation}: target expects shape {expected} but has {classes.shape} (input {shape})")
    count = shape[0] if len(shape) == 1 else shape[1]
    classes = classes.astype(np.int64, copy=False)
    # Without a sign negative numbers are large ones: one comparison, in a loss that every training step computes.
    if not 0 <= ignore_index < count and np.count_nonzero(classes.view(np.uint64) < count) == classes.size:
        return classes, None
    counted = classes != ignore_index
    wrong = counted & ((classes < 0) | (classes >= count))
    if wrong.any():
        raise IndexError(f"{operation}: target expects 0 <= class < {count} but holds {classes[wrong][0]}")
    return np.where(counted, classes, 0), counted


def _used(
    input: Array, classes: np.ndarray, counted: np.ndarray | None, weights: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """The factor of each sample, and their sum, which the mean divides by."""
    if weights is None and counted is None:
        return np.ones(classes.shape, input.dtype), float(classes.size)
    column = np.ones(_class_count(input), input.dtype) if weights is None else weights
    used = column[classes] if counted is None else np.where(counted, column[classes], input.dtype.type(0))
    return used, np.sum(used).item()


def _class_count(input: Array) -> int:
    return input.shape[0] if input.ndim == 1 else input.shape[1]


def _class_weights(operation: str, input: Array, weight: Any) -> np.ndarray | None:
    if weight is None:
        return None
    if isinstance(weight, Variable) and weight._requires_grad:
        raise NotImplementedError(f"{operation}: weight requires a gradient, but the loss is not differentiable there")
    weights = weight.data if isinstance(weight, Variable) else np.asarray(weight)
    classes = _class_count(input)
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
    check_deprecated(operation, size_average, reduce)
    _check_logits(operation, input)
    check_reduction(operation, reduction)
    classes, counted = _classes(operation, input, target, ignore_index)
    used, divisor = _used(input, classes, counted, _class_weights(operation, input, weight))
    if input.ndim == 1:
        losses = _nll(unsqueeze(input, 0), classes[None], used[None], _divisor(reduction, divisor))
        return squeeze(losses, 0) if reduction == "none" else losses
    return _nll(input, classes, used, _divisor(reduction, divisor))


def _divisor(reduction: str, divisor: float) -> float | None:
    """What the sum of the losses is divided by; None if they are not added up."""
    return None if reduction == "none" else 1.0 if reduction == "sum" else divisor


def _combined(losses: np.ndarray, used: np.ndarray, divisor: float | None) -> np.ndarray:
    """``losses * used``, where 0 * inf is 0: as they are, or their sum divided by `divisor`."""
    losses = np.multiply(losses, used, out=np.zeros_like(losses), where=used != 0)
    return losses if divisor is None else np.add.reduce(losses, axis=None) / losses.dtype.type(divisor)


def _shared_out(g, divisor):
    """The cotangent of each loss, from that of what `_combined` returns; 0 where no sample counts, as in PyTorch."""
    if divisor is None:
        return g
    return g / divisor if divisor else g * 0


# Classes and factors of the samples are arrays in what follows.
@primitive
def _nll(input: Array, classes: Array, used: Array, divisor: float | None) -> Array:
    """``-used * input[classes]`` over dimension 1; the sum of it, divided, unless `divisor` is None."""
    return _combined(-kernels.pick(input, classes), used, divisor)


@_nll.vjp("input")
def _(g, input, classes, used, divisor):
    return _put(-(_shared_out(g, divisor) * used), input, classes)


@primitive(constants=("input",))
def _put(values: Array, input: Array, classes: Array) -> Array:
    """An array like `input` with `values` at the classes and 0 elsewhere."""
    return kernels.put_back(values, input, classes)


@_put.vjp("values")
def _(g, classes):
    return squeeze(gather(g, 1, np.expand_dims(classes, 1)), 1)


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


# The probabilities are kept from the forward pass, as the exponential function is most of the work; the derivatives of
# the gradient compute them again, from the input.
@primitive
def _class_cross_entropy(input: Array, classes: Array, used: Array, divisor: float | None) -> Array:
    """``-used * log_softmax(input)[classes]`` over dimension 1; the sum of it, divided, unless `divisor` is None."""
    losses, powers, total = kernels.cross_entropy(input, classes)
    return Residuals(_combined(losses, used, divisor), powers=powers, total=total)


@_class_cross_entropy.vjp("input")
def _(g, input, classes, used, divisor, powers, total):
    return _class_cross_entropy_grad(_shared_out(g, divisor), input, classes, used, powers, total)


@primitive(constants=("powers", "total"))
def _class_cross_entropy_grad(
    g: Array, input: Array, classes: Array, used: Array, powers: Array, total: Array
) -> Array:
    """``g * used * (softmax(input) - 1 at the class)``."""
    return kernels.cross_entropy_grad(g * used, classes, powers, total)


@_class_cross_entropy_grad.vjp("g")
def _(h, input, classes, used):
    return used * squeeze(sum(h * _softmax(input, 1), 1, True) - gather(h, 1, np.expand_dims(classes, 1)), 1)


@_class_cross_entropy_grad.vjp("input")
def _(h, g, input, used):
    return _softmax_grad(h * unsqueeze(g * used, 1), _softmax(input, 1), 1)


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
    check_deprecated(operation, size_average, reduce)
    _check_logits(operation, input)
    check_reduction(operation, reduction)
    smoothing = check_float(operation, "label_smoothing", label_smoothing, 0, 1)
    weights = _class_weights(operation, input, weight)
    batched = input if input.ndim > 1 else unsqueeze(input, 0)
    if hasattr(target, "dtype") and target.dtype.kind == "f":
        expected, divisor = _mixed_target(operation, input, target, weights, smoothing)
        losses = _cross_entropy(batched, expected if input.ndim > 1 else unsqueeze(expected, 0))
    else:
        classes, counted = _classes(operation, input, target, ignore_index)
        used, divisor = _used(input, classes, counted, weights)
        if input.ndim == 1:
            classes, used = classes[None], used[None]
        if not smoothing:
            losses = _class_cross_entropy(batched, classes, used, _divisor(reduction, divisor))
            return squeeze(losses, 0) if input.ndim == 1 and reduction == "none" else losses
        losses = _cross_entropy(batched, _smoothed(classes, counted, used, weights, batched, smoothing))
    if input.ndim == 1:
        losses = squeeze(losses, 0)
    if reduction == "none":
        return losses
    total = sum(losses)
    return total if reduction == "sum" else total / divisor


def _smoothed(
    classes: np.ndarray,
    counted: np.ndarray | None,
    used: np.ndarray,
    weights: np.ndarray | None,
    input: Array,
    smoothing: float,
) -> np.ndarray:
    """Class indices as a distribution for each sample, weighted and smoothed."""
    number = input.dtype.type
    count = input.shape[1]
    shares = np.full(count, smoothing / count, input.dtype) if weights is None else weights * number(smoothing / count)
    row = shares.reshape((-1,) + (1,) * (input.ndim - 2))
    present = np.True_ if counted is None else counted.reshape(classes.shape)[:, None]
    distribution = np.where(present, np.broadcast_to(row, tuple(input.shape)), number(0))
    positions = np.expand_dims(classes, 1)
    peaks = np.take_along_axis(distribution, positions, 1) + np.expand_dims(used * number(1 - smoothing), 1)
    np.put_along_axis(distribution, positions, peaks, 1)
    return distribution


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


def in_one_pass(input: Array, target: Array, reduction: str) -> bool:
    """Whether the kernels that sum losses as they compute them apply: for a reduction of single or double precision."""
    alike = input.dtype == target.dtype and input.dtype in (np.float32, np.float64)
    return alike and reduction != "none" and 0 not in input.shape


def reduced(losses: Array, reduction: str) -> Array:
    """The losses of any shape as they are, their mean or their sum: a shape or ``()``."""
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


def check_deprecated(operation: str, size_average: Any, reduce: Any) -> None:
    """Raise `ValueError` unless the arguments that PyTorch has given up are None."""
    if size_average is not None or reduce is not None:
        raise ValueError(f"{operation}: size_average and reduce expect None; use reduction='none', 'mean' or 'sum'")
