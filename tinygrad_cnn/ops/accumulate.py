"""Products over a dimension, sums up to each element, norms, counts.

The primitives keep reduced dimensions, with size one, so that cotangents broadcast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_dims, check_float, check_tensor
from tinygrad_cnn.kernels import accumulate as kernels
from tinygrad_cnn.ops.dtypes import as_dtype
from tinygrad_cnn.ops.elementwise import abs, cast, eq, ones_like, sign, where, zeros_like
from tinygrad_cnn.ops.reduction import amax, amin, in_single
from tinygrad_cnn.ops.shape import cat, reshape
from tinygrad_cnn.types import Array, Dims, DTypeLike


def _in_dtype(x: Array, dtype: DTypeLike | None) -> Array:
    """In the dtype that is asked for; else integers and booleans as int64."""
    if dtype is None and x.dtype.kind == "f":
        return x
    return cast(x, np.dtype(np.int64) if dtype is None else as_dtype(dtype))


# -------------------------------------------------------------------------------------------- products


@primitive
def _prod(input: Array, dim: int) -> Array:
    return kernels.product(input, dim)


@_prod.vjp("input")
def _(g, input, output, dim):
    if isinstance(output, np.ndarray) and _is_normal(output):
        return g * (output / input)
    return g * _others(input, dim)


def _is_normal(x: np.ndarray) -> bool:
    """Whether no number is 0, infinite, NaN, or so small that it has lost digits."""
    sizes = np.abs(x)
    return bool(np.all((sizes >= np.finfo(x.dtype).tiny) & (sizes < math.inf)))


def _others(x: Any, dim: int) -> Any:
    """The product of all other elements along `dim`, in the place of each: without a division, which zeros forbid.

    Two elements share what is outside of the pair, which is found in the same way from half as many products.
    """
    n = x.shape[dim]
    if n < 2:
        return ones_like(x)

    def part(y: Any, start: int, stop: int) -> Any:
        return y[(slice(None),) * dim + (slice(start, stop),)]

    half = n // 2
    first, second, rest = part(x, 0, half), part(x, half, 2 * half), part(x, 2 * half, n)
    outside = _others(cat((first * second, rest), dim), dim)
    shared = part(outside, 0, half)
    return cat((shared * second, shared * first, part(outside, half, n)), dim)


def prod(input: Array, dim: int | None = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Array:
    """The product over `dim`, or of all elements; integers and booleans multiply to int64.

    The derivative in an element is the product of the others: that of all, divided by it, if no product is zero; else,
    and where it is to be differentiated again, computed without a division.

    Raises
    ------
    TypeError
        If `keepdim` is given without `dim`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.tensor([2.0, 0.0, 4.0], requires_grad=True)
    >>> x.prod().backward()
    >>> x.grad
    tensor([0., 8., 0.])
    """
    check_tensor("prod", "input", input)
    x = _in_dtype(input, dtype)
    if dim is None:
        if keepdim:
            raise TypeError("prod: keepdim expects a dim with it")
        return reshape(_prod(reshape(x, (math.prod(x.shape),)), 0), ())
    axis = check_dim("prod", dim, input.ndim)
    y = _prod(reshape(x, x.shape or (1,)), axis)
    return y if keepdim and input.ndim else reshape(y, (*input.shape[:axis], *input.shape[axis + 1 :]))


# ------------------------------------------------------------------------------------- sums so far


@primitive
def _cumsum(input: Array, dim: int, from_end: bool = False) -> Array:
    return kernels.cumulative_sum(input, dim, from_end)


@_cumsum.vjp("input")
def _(g, dim, from_end):
    return _cumsum(g, dim, not from_end)


def cumsum(input: Array, dim: int, *, dtype: DTypeLike | None = None) -> Array:
    """The sum of all elements up to each one along `dim`; integers and booleans add up to int64.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.cumsum(tg.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    check_tensor("cumsum", "input", input)
    axis = check_dim("cumsum", dim, input.ndim)
    x = _in_dtype(input, dtype)
    return in_single(_cumsum, x, axis) if x.ndim else reshape(_cumsum(reshape(x, (1,)), 0), ())


# ------------------------------------------------------------------------------------ norms and counts


@primitive
def _norm(input: Array, p: float, dims: tuple[int, ...]) -> Array:
    return kernels.norm(input, p, dims)


@_norm.vjp("input")
def _(g, input, output, p):
    if p == 0:
        return zeros_like(input)
    if p == 1:
        return g * sign(input)
    zero = eq(output, 0)  # in the origin, where the derivative does not exist, it is 0
    scale = where(zero, 0, g * where(zero, 1, output) ** (1 - p))
    return input * scale if p == 2 else sign(input) * _power(input, p - 1) * scale


def _power(x: Any, exponent: float) -> Any:
    """``abs(x) ** exponent``, but 0 where x is 0, with its derivatives."""
    zero = eq(x, 0)
    return where(zero, 0, where(zero, 1, abs(x)) ** exponent)


def norm(
    input: Array,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    out: None = None,
    dtype: DTypeLike | None = None,
) -> Array:
    """The p-norm ``sum(abs(x) ** p) ** (1 / p)`` over `dim`.

    Parameters
    ----------
    input : floating tensor of any shape
    p : number or "fro"
        2 ("fro", None) is Euclid's norm, 1 the sum of magnitudes, ``inf`` the largest and ``-inf`` the smallest of
        them, 0 the number of elements that are not zero. Where the norm has no derivative it is 0; equally large
        elements share that of ``inf``.
    dim : int or tuple of int, optional
        Default: all.
    keepdim : bool
    out : None
    dtype : dtype, optional
        To compute in, at least as wide as that of `input`.

    Raises
    ------
    TypeError
        If `input` or `dtype` is not floating, or if `dtype` is narrower.
    ValueError
        If `p` is another text, or if there are no elements to find the smallest or largest of.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.norm(tg.tensor([3.0, -4.0])).item(), tg.norm(tg.tensor([3.0, -4.0]), 1).item()
    (5.0, 7.0)
    """
    check_tensor("norm", "input", input)
    wanted = input.dtype if dtype is None else as_dtype(dtype)
    if input.dtype.kind != "f" or wanted.kind != "f" or wanted.itemsize < input.dtype.itemsize:
        raise TypeError(
            f"norm: input and dtype expect floating dtypes, dtype the wider, but are {input.dtype}, {wanted}"
        )
    if out is not None:
        raise TypeError("norm: out expects None: results are new tensors")
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: p expects a number or 'fro' but got {p!r}")
    dims = check_dims("norm", None if isinstance(dim, (tuple, list)) and not dim else dim, input.ndim)
    if p == "fro" and dim is not None and len(dims) > 2:
        raise ValueError(f"norm: dim expects at most 2 dimensions for p='fro' but got {dim}")
    order = 2.0 if p is None or p == "fro" else check_float("norm", "p", p)
    x = input if wanted == input.dtype else cast(input, wanted)
    if order < 0 and not all(input.shape[d] for d in dims):
        raise ValueError(f"norm: input expects at least one element for p={p} but has shape {tuple(input.shape)}")
    if math.isinf(order):
        return (amax if order > 0 else amin)(abs(x), dims, keepdim)
    y = in_single(_norm, x, order, dims)
    return y if keepdim else reshape(y, tuple(n for i, n in enumerate(input.shape) if i not in dims))


@primitive(constants=("input",))
def _count_nonzero(input: Array, dims: tuple[int, ...]) -> Array:
    return np.asarray(np.count_nonzero(input, axis=dims), np.int64)


def count_nonzero(input: Array, dim: Dims = None) -> Array:
    """The number (int64) of elements over `dim` that are not zero."""
    check_tensor("count_nonzero", "input", input)
    dims = check_dims("count_nonzero", None if isinstance(dim, (tuple, list)) and not dim else dim, input.ndim)
    return _count_nonzero(input, dims)
