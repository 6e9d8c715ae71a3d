"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_tensor
from tinygrad_cnn.kernels import softmax as kernels
from tinygrad_cnn.ops.dtypes import as_dtype
from tinygrad_cnn.ops.elementwise import cast, exp
from tinygrad_cnn.ops.reduction import in_single, sum
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array, DTypeLike

__all__ = ["log_softmax", "softmax", "softmax_grad"]


@primitive
def _softmax(input: Array, dim: int) -> Array:
    return kernels.softmax(input, dim) if input.size else input.copy()


@_softmax.vjp("input")
def _(g, output, dim):
    return softmax_grad(g, output, dim)


@primitive
def softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """``y (g - sum(g y))``."""
    return kernels.softmax_grad(g, y, dim)


@softmax_grad.vjp("g")
def _(h, y, dim):
    return softmax_grad(h, y, dim)


@softmax_grad.vjp("y")
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
    return in_single(_softmax, x, axis) if x.ndim else reshape(in_single(_softmax, reshape(x, (1,)), 0), ())


def log_softmax(input: Array, dim: int | None, dtype: DTypeLike | None = None) -> Array:
    """``x - log(sum(exp(x)))`` over `dim`, shifted so that nothing overflows and no small probability is lost.

    Parameters and errors as `softmax`.
    """
    x, axis = _along("log_softmax", input, dim, dtype)
    return in_single(_log_softmax, x, axis) if x.ndim else reshape(in_single(_log_softmax, reshape(x, (1,)), 0), ())
