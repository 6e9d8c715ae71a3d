"""Questions about values: which are finite, whether any or all are true, whether two tensors are close."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_dims, check_float, check_tensor
from tinygrad_cnn.kernels.elementwise import apply
from tinygrad_cnn.types import Array, Dims


@primitive(constants=("input",))
def isnan(input: Array) -> Array:
    """Whether each element is NaN, as booleans."""
    return apply(np.isnan, input)


@primitive(constants=("input",))
def isinf(input: Array) -> Array:
    """Whether each element is infinite, as booleans."""
    return apply(np.isinf, input)


@primitive(constants=("input",))
def isfinite(input: Array) -> Array:
    """Whether each element is neither infinite nor NaN, as booleans."""
    return apply(np.isfinite, input)


@primitive(constants=("input",))
def _any(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    return _in_kind(input, np.any(input, axis=dims, keepdims=keepdim))


@primitive(constants=("input",))
def _all(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    return _in_kind(input, np.all(input, axis=dims, keepdims=keepdim))


def _in_kind(input, answer):
    return answer.astype(np.uint8) if input.dtype == np.uint8 else answer


def any(input: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    """Whether any element over `dim` is true, that is, not zero; NaN is true. Of nothing: False.

    Parameters
    ----------
    input : tensor of any shape and dtype
    dim : int, tuple of int, or None for all
        Over no dimensions, ``()``, each element is asked alone.
    keepdim : bool

    Returns
    -------
    tensor
        Booleans; of uint8 tensors uint8, as in PyTorch.
    """
    check_tensor("any", "input", input)
    return _any(input, check_dims("any", dim, input.ndim), keepdim)


def all(input: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    """Whether all elements over `dim` are true, that is, not zero; NaN is true. Of nothing: True.

    Parameters and result as `any`.
    """
    check_tensor("all", "input", input)
    return _all(input, check_dims("all", dim, input.ndim), keepdim)


def allclose(
    input: Array, other: Array, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> builtins.bool:
    """Whether ``|input - other| <= atol + rtol * |other|`` everywhere, with broadcasting. A bool, not a tensor.

    Parameters
    ----------
    input, other : tensor of one dtype
    rtol, atol : float
        Not negative.
    equal_nan : bool
        Whether NaN is close to NaN.

    Raises
    ------
    TypeError
        If the dtypes differ.
    ValueError
        If the shapes do not broadcast, or if a tolerance is negative.
    """
    a, b = _plain("input", input), _plain("other", other)
    if a.dtype != b.dtype:
        raise TypeError(f"allclose: other expects the dtype of input, {a.dtype}, but has {b.dtype}")
    relative, absolute = check_float("allclose", "rtol", rtol, 0), check_float("allclose", "atol", atol, 0)
    try:
        return builtins.bool(np.allclose(a, b, rtol=relative, atol=absolute, equal_nan=equal_nan))
    except ValueError as error:
        raise ValueError(f"allclose: {a.shape} and {b.shape}: {error}") from None


def _plain(argument: str, x: Any) -> np.ndarray:
    check_tensor("allclose", argument, x)
    return x.data if isinstance(x, Variable) else np.asarray(x)
