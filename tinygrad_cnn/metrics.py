"""How good a classifier is: accuracy, the confusion matrix, precision and recall of each class.

Predictions are classes, or the scores (logits, probabilities) of all classes, whose largest is meant: the first of
several. Inputs are tensors or arrays; nothing here is recorded.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy as np

from tinygrad_cnn.errors import check_int
from tinygrad_cnn.ops.dtypes import DEFAULT
from tinygrad_cnn.tensor import Tensor

__all__ = ["accuracy", "confusion_matrix", "f1", "precision", "recall", "top_k"]

_Array = np.ndarray[Any, Any]


def accuracy(predictions: Any, targets: Any) -> float:
    """Return the share of predictions that are right.

    Parameters
    ----------
    predictions : tensor (N, *) of classes, or (N, C, *) of scores
    targets : tensor (N, *) of classes

    Raises
    ------
    TypeError
        If classes are not integers.
    ValueError
        If the shapes do not fit, or there is nothing to count.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> accuracy(tg.tensor([2, 0, 1, 1]), tg.tensor([2, 0, 1, 0]))
    0.75
    >>> accuracy(tg.tensor([[0.1, 0.9], [0.6, 0.4]]), tg.tensor([1, 1]))
    0.5
    """
    classes, wanted, _ = _classes("accuracy", predictions, targets)
    return _share("accuracy", classes == wanted)


def top_k(scores: Any, targets: Any, k: int = 5) -> float:
    """Return how often the right class is among the `k` with the largest scores: top-k accuracy.

    Of equal scores the one of the lower class counts as larger, so that ``k=1`` is `accuracy`.

    Parameters
    ----------
    scores : tensor (N, C, *)
    targets : tensor (N, *) of classes
    k : int, default 5
        From 1 to C.

    Raises
    ------
    TypeError
        If classes are not integers.
    ValueError
        If the shapes do not fit, `k` is out of range, or there is nothing to count.
    IndexError
        If a target is not a class of the scores.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> scores = tg.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> top_k(scores, tg.tensor([1, 2]), k=2)
    0.5
    """
    values, wanted = _array(scores), _integers("top_k", "targets", targets)
    if values.ndim != wanted.ndim + 1:
        raise ValueError(f"top_k: scores expects (N, C, *) for targets (N, *) but got {values.shape}, {wanted.shape}")
    axis = _class_axis("top_k", "scores", values, wanted)
    count = values.shape[axis]
    if check_int("top_k", "k", k, 1) > count:
        raise ValueError(f"top_k: k expects at most the number of classes, {count}, but got {k}")
    _check_range("top_k", "targets", wanted, count)
    index = np.expand_dims(wanted, axis)
    own = np.take_along_axis(values, index, axis)
    number = np.arange(count).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    # Written so that NaN counts as larger than everything: a score of NaN is nothing to be right about.
    ahead = ~(values <= own) | ((values == own) & (number < index))
    return _share("top_k", ahead.sum(axis) < k)


def confusion_matrix(predictions: Any, targets: Any, num_classes: int | None = None) -> Tensor:
    """Count how often each class (row) was taken for each class (column): the diagonal is right.

    The matrices of several batches, with the same `num_classes`, add up.

    Parameters
    ----------
    predictions : tensor (N, *) of classes, or (N, C, *) of scores
    targets : tensor (N, *) of classes
    num_classes : int, optional
        How many classes there are. By default C, or one more than the largest class in sight.

    Returns
    -------
    tensor (num_classes, num_classes)
        int64.

    Raises
    ------
    TypeError
        If classes are not integers.
    ValueError
        If the shapes do not fit.
    IndexError
        If a class is negative, or not less than `num_classes`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> confusion_matrix(tg.tensor([0, 1, 1, 2]), tg.tensor([0, 1, 2, 2]), num_classes=3)
    tensor([[1, 0, 0],
            [0, 1, 0],
            [0, 1, 1]])
    """
    return Tensor(_counts("confusion_matrix", predictions, targets, num_classes))


def precision(
    predictions: Any, targets: Any, num_classes: int | None = None, zero_division: SupportsFloat = 0.0
) -> Tensor:
    """Return, for each class, which part of what was taken for it is it: ``tp / (tp + fp)``.

    Parameters
    ----------
    predictions, targets, num_classes
        As `confusion_matrix`'s; errors too.
    zero_division : float, default 0
        The value for a class that was never predicted.

    Returns
    -------
    tensor (num_classes,)
        float32. Its mean is the macro average.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> precision(tg.tensor([0, 1, 1, 2]), tg.tensor([0, 1, 2, 2]))
    tensor([1. , 0.5, 1. ])
    """
    matrix = _counts("precision", predictions, targets, num_classes)
    return _ratio(matrix.diagonal(), matrix.sum(0), zero_division)


def recall(
    predictions: Any, targets: Any, num_classes: int | None = None, zero_division: SupportsFloat = 0.0
) -> Tensor:
    """Return, for each class, which part of it was found: ``tp / (tp + fn)``.

    Parameters
    ----------
    predictions, targets, num_classes
        As `confusion_matrix`'s; errors too.
    zero_division : float, default 0
        The value for a class that does not occur in `targets`.

    Returns
    -------
    tensor (num_classes,)
        float32.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> recall(tg.tensor([0, 1, 1, 2]), tg.tensor([0, 1, 2, 2]))
    tensor([1. , 1. , 0.5])
    """
    matrix = _counts("recall", predictions, targets, num_classes)
    return _ratio(matrix.diagonal(), matrix.sum(1), zero_division)


def f1(predictions: Any, targets: Any, num_classes: int | None = None, zero_division: SupportsFloat = 0.0) -> Tensor:
    """Return, for each class, the harmonic mean of precision and recall: ``2 tp / (2 tp + fp + fn)``.

    Parameters
    ----------
    predictions, targets, num_classes
        As `confusion_matrix`'s; errors too.
    zero_division : float, default 0
        The value for a class that was never predicted and does not occur in `targets`.

    Returns
    -------
    tensor (num_classes,)
        float32.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> f1(tg.tensor([0, 1, 1, 2]), tg.tensor([0, 1, 1, 1]))
    tensor([1. , 0.8, 0. ])
    """
    matrix = _counts("f1", predictions, targets, num_classes)
    return _ratio(2 * matrix.diagonal(), matrix.sum(0) + matrix.sum(1), zero_division)


# ------------------------------------------------------------------------------------------- what they share


def _counts(operation: str, predictions: Any, targets: Any, num_classes: int | None) -> _Array:
    """The confusion matrix as an array."""
    classes, wanted, scored = _classes(operation, predictions, targets)
    if num_classes is None:
        count = scored or max((int(x.max()) + 1 for x in (classes, wanted) if x.size), default=0)
    else:
        count = check_int(operation, "num_classes", num_classes, 1)
    _check_range(operation, "predictions", classes, count)
    _check_range(operation, "targets", wanted, count)
    return np.bincount((wanted * count + classes).ravel(), minlength=count * count).reshape(count, count)


def _classes(operation: str, predictions: Any, targets: Any) -> tuple[_Array, _Array, int]:
    """The predicted and the right classes, and of how many classes there were scores (0: there were none)."""
    given, wanted = _array(predictions), _integers(operation, "targets", targets)
    scored = 0
    if given.ndim == wanted.ndim + 1:
        axis = _class_axis(operation, "predictions", given, wanted)
        scored = given.shape[axis]
        given = given.argmax(axis)
    classes = _integers(operation, "predictions", given)
    if classes.shape != wanted.shape:
        raise ValueError(
            f"{operation}: predictions expects the targets' shape {wanted.shape}, or the classes' scores in "
            f"dimension 1, but has shape {classes.shape}"
        )
    return classes, wanted, scored


def _class_axis(operation: str, argument: str, scores: _Array, wanted: _Array) -> int:
    """The dimension of the classes, if all others are those of the targets."""
    axis = min(1, wanted.ndim)
    others = scores.shape[:axis] + scores.shape[axis + 1 :]
    if others != wanted.shape or not scores.shape[axis]:
        raise ValueError(f"{operation}: {argument} expects (N, C, *) for targets {wanted.shape} but has {scores.shape}")
    return axis


def _array(x: Any) -> _Array:
    return x.data if isinstance(x, Tensor) else np.asarray(x)


def _integers(operation: str, argument: str, x: Any) -> _Array:
    values = _array(x)
    if values.dtype.kind not in "iub":
        raise TypeError(f"{operation}: {argument} expects classes, which are integers, but has dtype {values.dtype}")
    return values.astype(np.int64, copy=False)


def _check_range(operation: str, argument: str, classes: _Array, count: int) -> None:
    wrong = (classes < 0) | (classes >= count)
    if wrong.any():
        raise IndexError(f"{operation}: {argument} expects 0 <= class < {count} but holds {classes[wrong][0]}")


def _share(operation: str, right: _Array) -> float:
    if not right.size:
        raise ValueError(f"{operation}: targets expects at least one class but is empty")
    return float(np.count_nonzero(right)) / right.size


def _ratio(part: _Array, whole: _Array, zero_division: SupportsFloat) -> Tensor:
    """``part / whole``, and `zero_division` where there is nothing to divide by."""
    values = np.full(whole.shape, float(zero_division))
    np.divide(part, whole, out=values, where=whole > 0)
    return Tensor(values.astype(DEFAULT))
