"""What is done to gradients and parameters between the backward pass and the optimizer's step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from types import GeneratorType
from typing import Any

import numpy as np

from tinygrad_cnn.errors import check_float, check_floating
from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.elementwise import flat
from tinygrad_cnn.kernels.threads import parallel_calls
from tinygrad_cnn.ops.shape import cat, reshape
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import Array

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]

# Elements: what stays in the second-level cache, and is worth a thread.
_BLOCK = 1 << 17

# ------------------------------------------------------------------------------------------- clipping


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Return the norm of all elements of all tensors, as if they were one vector: ``sum(abs(x)**p) ** (1/p)``.

    Parameters
    ----------
    tensors : Tensor, or iterable of them
        Of any shapes.
    norm_type : float, default 2.0
        p. ``inf`` is the largest absolute value. It is the norm of the tensors' norms, which matters with 0 alone.
    error_if_nonfinite : bool, default False
        Whether a norm of NaN or Inf is an error.
    foreach : optional
        Without effect.

    Returns
    -------
    Tensor, 0-d
        In the widest of the dtypes; without a history.

    Raises
    ------
    RuntimeError
        If the norm is not finite, and may not be so.
    TypeError, ValueError
        If something is not a floating tensor, or `norm_type` not a number.
    """
    members = [check_floating("get_total_norm", "tensors", tensor) for tensor in _listed("get_total_norm", tensors)]
    p = check_float("get_total_norm", "norm_type", float(norm_type) if norm_type in ("inf", "-inf") else norm_type)
    if not members:
        return Tensor(np.zeros((), np.float32))
    total = _norm(np.stack([_norm(tensor.data, p) for tensor in members]), p)
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite ({total}), so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return Tensor(np.asarray(total))


def _norm(x: Array, p: float) -> Any:
    """The p-norm of all elements, in their dtype."""
    vector = flat(x)
    if p == math.inf:
        return np.maximum(vector.max(), -vector.min()) if x.size else x.dtype.type(0)
    if p == -math.inf:
        return np.abs(vector).min()
    if p == 0:
        return x.dtype.type(np.count_nonzero(vector))
    total = _sum_of_powers(vector, p)
    return x.dtype.type(np.sqrt(total) if p == 2 else total ** (1 / p))


def _sum_of_powers(vector: Array, p: float) -> Any:
    """The sum, in float32 at least: the squares of a vector whose norm float16 can hold may be too large for it."""
    starts = list(range(0, vector.size, _BLOCK))
    sums = np.empty(len(starts), np.result_type(vector, np.float32))

    def compute(number: int) -> None:
        block = vector[starts[number] : starts[number] + _BLOCK].astype(sums.dtype, copy=False)
        if p == 2:
            sums[number] = np.dot(block, block)
        else:
            sums[number] = np.sum(np.abs(block) if p == 1 else np.abs(block) ** p)

    parallel_products(lambda number: [partial(compute, number)], list(range(len(starts))), vector.size)
    return sums.sum()


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients of `parameters` by ``min(1, max_norm / (total_norm + 1e-6))``, in place.

    Parameters
    ----------
    parameters : Tensor, or iterable of them
        Those without a gradient are passed over.
    max_norm : float
        What the norm shall be at most.
    total_norm : Tensor
        What it is, from `get_total_norm`.
    foreach : optional
        Without effect.

    Raises
    ------
    TypeError, ValueError
        If something is not a tensor, or `max_norm` not a number, at least 0.
    """
    limit = check_float("clip_grads_with_norm_", "max_norm", max_norm, 0)
    check_floating("clip_grads_with_norm_", "total_norm", total_norm)
    scale = np.minimum(limit / (total_norm.data + total_norm.dtype.type(1e-6)), 1)
    if scale == 1:
        return
    for gradient in _gradients("clip_grads_with_norm_", parameters):
        _in_place(_scale_by(gradient.dtype.type(scale)), gradient)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of `parameters` down, in place, to a norm (of all of them together) of `max_norm` at most.

    Parameters
    ----------
    parameters : Tensor, or iterable of them
        Those without a gradient are passed over.
    max_norm : float
        What the norm shall be at most. Gradients are never scaled up.
    norm_type : float, default 2.0
        Which norm; ``inf`` is the largest absolute value.
    error_if_nonfinite : bool, default False
        Whether a norm of NaN or Inf is an error. The gradients are scaled by it otherwise, which spoils them.
    foreach : optional
        Without effect.

    Returns
    -------
    Tensor, 0-d
        The norm before.

    Raises
    ------
    RuntimeError
        If the norm is not finite, and may not be so. The gradients are as they were then.
    TypeError, ValueError
        If something is not a tensor, or a number is out of range.

    Warns
    -----
    UserWarning
        If `parameters` is a generator that has been used up.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> p = tg.zeros(2, requires_grad=True)
    >>> (p * tg.tensor([30.0, 40.0])).sum().backward()
    >>> clip_grad_norm_(p, max_norm=1.0)
    tensor(50.)
    >>> [round(x, 3) for x in p.grad.tolist()]
    [0.6, 0.8]
    """
    members = _listed("clip_grad_norm_", parameters)
    if not members and isinstance(parameters, GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", UserWarning, stacklevel=2)
    check_float("clip_grad_norm_", "max_norm", max_norm, 0)
    total = get_total_norm(_gradients("clip_grad_norm_", members), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(members, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clip every element of the gradients of `parameters` to ``[-clip_value, clip_value]``, in place.

    Parameters
    ----------
    parameters : Tensor, or iterable of them
        Those without a gradient are passed over.
    clip_value : float
        The bound, at least 0.
    foreach : optional
        Without effect.

    Raises
    ------
    TypeError, ValueError
        If something is not a tensor, or `clip_value` not a number, at least 0.
    """
    bound = check_float("clip_grad_value_", "clip_value", clip_value, 0)
    for gradient in _gradients("clip_grad_value_", parameters):
        _in_place(lambda block: np.clip(block, -bound, bound, out=block), gradient)


def _scale_by(factor: Any) -> Callable[[Array], object]:
    return lambda block: np.multiply(block, factor, out=block)


def _in_place(write: Callable[[Array], object], tensor: Tensor) -> None:
    """Let `write` change the tensor's values, in blocks and threads if there are many."""
    x = flat(tensor.data)
    if not np.may_share_memory(x, tensor.data):  # there are gaps between its elements
        write(tensor.data)
    else:
        blocks = [x[start : start + _BLOCK] for start in range(0, x.size, _BLOCK)]
        parallel_calls(lambda block: [partial(write, block)], blocks)
    tensor.bump_version()


def _gradients(operation: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [p.grad for p in _listed(operation, parameters) if p.grad is not None]


def _listed(operation: str, tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    members = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for member in members:
        if not isinstance(member, Tensor):
            raise TypeError(f"{operation}: expects tensors but got {type(member).__name__}")
    return members


# ------------------------------------------------------------------------------------------- one vector


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all elements of all parameters as one vector; gradients flow back through it.

    Parameters
    ----------
    parameters : iterable of Tensor
        At least one.

    Examples
    --------
    >>> from tinygrad_cnn import nn
    >>> parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    vector: Tensor = cat([reshape(p, (-1,)) for p in _listed("parameters_to_vector", parameters)])
    return vector


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector into the parameters, in order: the inverse of `parameters_to_vector`.

    Raises
    ------
    TypeError
        If `vec` or a parameter is not a tensor.
    ValueError
        If `vec` is not a vector with as many elements as the parameters have. Nothing is changed then.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec expects a Tensor but got {type(vec).__name__}")
    members = _listed("vector_to_parameters", parameters)
    sizes = [parameter.data.size for parameter in members]
    if vec.shape != (sum(sizes),):
        raise ValueError(f"vector_to_parameters: vec expects shape ({sum(sizes)},) but has {vec.shape}")
    pieces = np.split(vec.data, np.cumsum(sizes))[:-1]
    for parameter, piece in zip(members, pieces, strict=True):
        parameter.data[...] = piece.reshape(parameter.shape)
        parameter.bump_version()
