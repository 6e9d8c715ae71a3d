"""Products: matrix multiplication and the affine map of a fully connected layer."""

from __future__ import annotations

import math
from functools import lru_cache

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_tensor
from tinygrad_cnn.kernels import gemm
from tinygrad_cnn.ops.dtypes import common
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.ops.shape import reshape, squeeze, unsqueeze
from tinygrad_cnn.types import Array


@primitive
def _matmul(input: Array, other: Array) -> Array:
    return gemm.matmul(*common((input, other)))


@_matmul.vjp("input")
def _(g, other):
    return _matmul(g, other.mT)


@_matmul.vjp("other")
def _(g, input):
    return _matmul(input.mT, g)


@primitive
def _dot(input: Array, other: Array) -> Array:
    a, b = common((input, other))
    return gemm.matmul(a.reshape(1, -1), b.reshape(-1, 1)).reshape(())


@_dot.vjp("input")
def _(g, other):
    return g * other


@_dot.vjp("other")
def _(g, input):
    return g * input


def matmul(input: Array, other: Array) -> Array:
    """The matrix product over the last two dimensions; earlier ones are batches and broadcast.

    ``(..., n, k) @ (..., k, m) -> (..., n, m)``; a 1-d operand is a row on the left, a column on the right, and
    the dimension that this adds is dropped again.

    Raises
    ------
    TypeError
        If an operand is not an array or tensor.
    ValueError
        If an operand is 0-d, or if the shapes do not fit.
    """
    for name, x in (("input", input), ("other", other)):
        check_tensor("matmul", name, x)
        if x.ndim == 0:
            raise ValueError(f"matmul: {name} expects at least 1 dimension but got a 0-d tensor")
    if input.ndim == other.ndim == 1 and input.shape == other.shape:
        return _dot(input, other)
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    if a.shape[-1] != b.shape[-2] or not _broadcast(a.shape[:-2], b.shape[:-2]):
        raise ValueError(f"matmul: shapes do not fit: input {tuple(input.shape)}, other {tuple(other.shape)}")
    product = _matmul(a, b)
    if other.ndim == 1:
        product = squeeze(product, -1)
    return squeeze(product, -1 if other.ndim == 1 else -2) if input.ndim == 1 else product


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(n == m or 1 in (n, m) for n, m in zip(reversed(a), reversed(b), strict=False))


@primitive
def _linear(input: Array, weight: Array, bias: Array) -> Array:
    y = gemm.matmul(input, weight.T)
    if bias is not None:
        y += bias
    return y


@_linear.vjp("input")
def _(g, weight):
    return _matmul(g, weight)


@_linear.vjp("weight")
def _(g, input):
    return _matmul(g.mT, input)


@_linear.vjp("bias")
def _(g):
    return sum(g, 0)


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """The affine map ``y = x @ weight.T + bias``: ``(*, in) -> (*, out)``.

    Parameters
    ----------
    input : tensor (*, in)
    weight : tensor (out, in), or (in,) for a single output without its dimension
    bias : tensor (out,) or (), optional

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_tensor("linear", "input", input)
    check_tensor("linear", "weight", weight)
    if bias is not None:
        check_tensor("linear", "bias", bias)
    shape = input.shape
    _check_linear(shape, weight.shape, None if bias is None else bias.shape)
    if weight.ndim == 1:
        y = matmul(input, weight)
        return y if bias is None else y + bias
    if weight.dtype != input.dtype or (bias is not None and bias.dtype != input.dtype):
        dtypes = {str(x.dtype) for x in (input, weight, bias) if x is not None}
        raise TypeError(f"linear: expected one dtype but got {sorted(dtypes)}")
    if len(shape) == 2:
        return _linear(input, weight, bias)
    rows = reshape(input, (math.prod(shape[:-1]), shape[-1]))
    return reshape(_linear(rows, weight, bias), (*shape[:-1], weight.shape[0]))


@lru_cache(maxsize=512)
def _check_linear(input: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...] | None) -> None:
    if len(weight) not in (1, 2) or not input or input[-1] != weight[-1]:
        raise ValueError(
            f"linear: weight expects (out, in) with in = {input[-1] if input else 'input.shape[-1]'} "
            f"but has shape {weight} (input {input})"
        )
    if bias is not None and bias not in (weight[:-1], (1,), ()):
        raise ValueError(f"linear: bias expects shape {weight[:-1]} but has {bias}")
