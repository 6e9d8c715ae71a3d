"""Losses between scores or log-probabilities and classes; and what all losses share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Residuals, Variable, primitive
from tinygrad_cnn.errors import check_float, check_int, check_tensor
from tinygrad_cnn.kernels import cross_entropy as kernels
from tinygrad_cnn.ops.indexing import gather
from tinygrad_cnn.ops.reduction import mean, sum
from tinygrad_cnn.ops.shape import squeeze, unsqueeze
from tinygrad_cnn.ops.softmax import log_softmax, softmax, softmax_grad
from tinygrad_cnn.types import Array

# ------------------------------------------------------------------------------- arguments of losses


def check_reduction(operation: str, reduction: Any) -> None:
    """Raise ValueError unless `reduction` is one of "none", "mean", "sum"."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{operation}: reduction expects 'none', 'mean' or 'sum' but got {reduction!r}")


def _classes(operation: str, input: Array, target: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The class of each sample (some other if it is ignored), and which samples count, or None if all do."""
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
    if np.count_nonzero(classes.view(np.uint64) < count) == classes.size:
        return classes, classes != ignore_index if 0 <= ignore_index < count else None
    counted = classes != ignore_index
    wrong = counted & ((classes < 0) | (classes >= count))
    if wrong.any():
        raise IndexError(f"{operation}: target expects 0 <= class < {count} but holds {classes[wrong][0]}")
    return np.where(counted, classes, 0), counted


def _used(
    input: Array, classes: np.ndarray, counted: np.ndarray | None, weights: np.ndarray | None
) -> tuple[np.ndarray | float, float]:
    """The factor of each sample, or 1 for all, and the sum of them, which the mean divides by."""
    if weights is None:
        if counted is None:
            return 1.0, float(classes.size)
        return counted.astype(input.dtype), float(np.count_nonzero(counted))
    used = weights[classes] if counted is None else np.where(counted, weights[classes], input.dtype.type(0))
    return used, np.add.reduce(used, axis=None).item()


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
        losses = _nll(unsqueeze(input, 0), classes[None], used, _divisor(reduction, divisor))
        return squeeze(losses, 0) if reduction == "none" else losses
    return _nll(input, classes, used, _divisor(reduction, divisor))


def _divisor(reduction: str, divisor: float) -> float | None:
    """What the sum of the losses is divided by; None if they are not added up."""
    return None if reduction == "none" else 1.0 if reduction == "sum" else divisor


def _times(factors: np.ndarray | float, losses: np.ndarray) -> np.ndarray:
    """``factors * losses``, where 0 * inf is 0."""
    if isinstance(factors, float) and factors:
        return losses if factors == 1 else losses * factors
    return np.multiply(factors, losses, out=np.zeros_like(losses), where=np.not_equal(factors, 0))


def _combined(losses: np.ndarray, divisor: float | None) -> np.ndarray:
    """The losses as they are, or their sum divided by `divisor`."""
    return losses if divisor is None else np.add.reduce(losses, axis=None) / losses.dtype.type(divisor)


def _shared_out(g, divisor):
    """The cotangent of each loss, or of all, from that of what `_combined` returns.

    It is 0 where no sample counts, as in PyTorch.
    """
    if divisor is None or divisor == 1:
        return g
    return g / divisor if divisor else g * 0


# Classes and factors of the samples are arrays in what follows; a factor for all of them is a number.
@primitive
def _nll(input: Array, classes: Array, used: Array | float, divisor: float | None) -> Array:
    """``-used * input[classes]`` over dimension 1; the sum of it, divided, unless `divisor` is None."""
    return _combined(_times(used, -kernels.pick(input, classes)), divisor)


@_nll.vjp("input")
def _(g, input, classes, used, divisor):
    return _put(-(_shared_out(g, divisor) * used), input, classes)


@primitive(constants=("input",))
def _put(values: Array, input: Array, classes: Array) -> Array:
    """An array like `input` with `values`, or one value, at the classes and 0 elsewhere."""
    return kernels.put_back(values, input, classes)


@_put.vjp("values")
def _(g, classes):
    return _chosen(g, classes)


def _chosen(x, classes):
    return squeeze(gather(x, 1, np.expand_dims(classes, 1)), 1)


# ---------------------------------------------------------------------------- cross-entropy with classes


@dataclass(slots=True, frozen=True)
class _Labels:
    """Classes (N, *) and the distribution that each stands for: `own` at the class, and ``rest * shares`` everywhere.

    Attributes
    ----------
    classes : array (N, *)
    own, rest : array (N, *), or a number for all samples
    shares : array (C,) or None
        None: there is nothing but the class.
    """

    classes: Any
    own: Any
    rest: Any = 1.0
    shares: Any = None

    @property
    def sum(self) -> Any:
        """The sum of each distribution."""
        return self.own if self.shares is None else self.own + self.rest * np.add.reduce(self.shares)

    def shares_along(self, input: Array) -> Any:
        """The shares along dimension 1, as a factor of an array like the input."""
        return self.shares.reshape((-1,) + (1,) * (input.ndim - 2))


# The powers are kept from the forward pass, as the exponential function is most of the work; the derivatives of the
# gradient compute them again, from the input.
@primitive
def _class_cross_entropy(input: Array, labels: _Labels, divisor: float | None, *, recorded: bool) -> Array:
    """``-sum(q * log_softmax(input))`` over dimension 1; the sum of it, divided, unless `divisor` is None."""
    own, even, (powers, total) = kernels.class_losses(input, labels.classes, labels.shares, recorded)
    losses = _times(labels.own, own)
    if even is not None:
        losses = losses + _times(labels.rest, even)
    return Residuals(_combined(losses, divisor), powers=powers, total=total)


@_class_cross_entropy.vjp("input")
def _(g, input, labels, divisor, powers, total):
    return _class_cross_entropy_grad(_shared_out(g, divisor), input, labels, powers, total)


@primitive(constants=("powers", "total"))
def _class_cross_entropy_grad(g: Array, input: Array, labels: _Labels, powers: Array, total: Array) -> Array:
    """``g * (sum(q) * softmax(input) - q)``."""
    return kernels.class_losses_grad(
        g * labels.sum, g * labels.own, g * labels.rest, labels.shares, labels.classes, powers, total
    )


@_class_cross_entropy_grad.vjp("g")
def _(h, input, labels):
    slope = labels.sum * sum(h * softmax(input, 1), 1) - labels.own * _chosen(h, labels.classes)
    if labels.shares is None:
        return slope
    return slope - labels.rest * sum(h * labels.shares_along(h), 1)


@_class_cross_entropy_grad.vjp("input")
def _(h, g, input, labels):
    each = g * labels.sum
    return softmax_grad(h * (unsqueeze(each, 1) if each.ndim else each), softmax(input, 1), 1)


# --------------------------------------------------------------------- cross-entropy with distributions


@primitive
def _cross_entropy(input: Array, target: Array, divisor: float | None, *, recorded: bool) -> Array:
    """``-sum(target * log_softmax(input))`` over dimension 1; the sum of it, divided, unless `divisor` is None."""
    losses, weight, (powers, total) = kernels.distribution_losses(input, target, recorded)
    return Residuals(_combined(losses, divisor), powers=powers, total=total, weight=weight)


@_cross_entropy.vjp("input")
def _(g, input, target, divisor, powers, total, weight):
    return _cross_entropy_grad(_shared_out(g, divisor), input, target, powers, total, weight)


@_cross_entropy.vjp("target")
def _(g, input, divisor):
    each = _shared_out(g, divisor)
    return -(unsqueeze(each, 1) if each.ndim else each) * log_softmax(input, 1)


@primitive(constants=("powers", "total", "weight"))
def _cross_entropy_grad(g: Array, input: Array, target: Array, powers: Array, total: Array, weight: Array) -> Array:
    """``g * (sum(target) * softmax(input) - target)``."""
    return kernels.distribution_losses_grad(g * weight, g, target, powers, total)


@_cross_entropy_grad.vjp("g")
def _(h, input, target):
    return sum(h * (softmax(input, 1) * sum(target, 1, True) - target), 1)


@_cross_entropy_grad.vjp("input")
def _(h, g, input, target):
    each = unsqueeze(g, 1) if g.ndim else g
    return softmax_grad(h * each * sum(target, 1, True), softmax(input, 1), 1)


@_cross_entropy_grad.vjp("target")
def _(h, g, input):
    each = unsqueeze(g, 1) if g.ndim else g
    return each * (sum(h * softmax(input, 1), 1, True) - h)


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
        expected = expected if input.ndim > 1 else unsqueeze(expected, 0)
        if 0 in batched.shape:
            losses = _of_nothing(batched * expected, _divisor(reduction, divisor))
        else:
            losses = _cross_entropy(batched, expected, _divisor(reduction, divisor))
    else:
        classes, counted = _classes(operation, input, target, ignore_index)
        used, divisor = _used(input, classes, counted, weights)
        if 0 in batched.shape:
            losses = _of_nothing(batched, _divisor(reduction, divisor))
        else:
            labels = _labels(input.dtype, _class_count(input), classes, counted, used, weights, smoothing)
            losses = _class_cross_entropy(batched, labels, _divisor(reduction, divisor))
    return squeeze(losses, 0) if input.ndim == 1 and reduction == "none" else losses


def _of_nothing(terms: Array, divisor: float | None) -> Array:
    """The losses without scores: no samples, or sums of no terms; combined as by `_combined`."""
    losses = sum(terms, 1)
    return losses if divisor is None else sum(losses) / divisor


def _labels(
    dtype: np.dtype[Any],
    count: int,
    classes: np.ndarray,
    counted: np.ndarray | None,
    used: np.ndarray | float,
    weights: np.ndarray | None,
    smoothing: float,
) -> _Labels:
    """What the classes stand for, weighted and smoothed."""
    classes = classes if classes.ndim else classes[None]
    if not smoothing:
        return _Labels(classes, used)
    rest = 1.0 if counted is None else counted.astype(dtype)
    shares = np.full(count, smoothing / count, dtype)
    return _Labels(classes, used * (1 - smoothing), rest, shares if weights is None else shares * weights)


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
    expected = target * (1 - smoothing) + smoothing / max(count, 1) if smoothing else target
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
