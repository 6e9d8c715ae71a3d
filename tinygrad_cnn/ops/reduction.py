"""Reductions over one, several or all dimensions.

`dim` is an int, a tuple of ints, or None for all; with `keepdim` the reduced dimensions stay, with size one.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_dims, check_float, check_tensor
from tinygrad_cnn.kernels import reduction as kernels
from tinygrad_cnn.kernels.elementwise import Step, blockwise
from tinygrad_cnn.kernels.order import first_extreme
from tinygrad_cnn.ops.dtypes import as_dtype, fractional
from tinygrad_cnn.ops.elementwise import cast, clone, eq, maximum, minimum, where
from tinygrad_cnn.ops.indexing import gather
from tinygrad_cnn.ops.shape import expand, reshape, squeeze
from tinygrad_cnn.types import Array, Dims, DTypeLike

_HALF, _SINGLE = np.dtype(np.float16), np.dtype(np.float32)


def _over(operation: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """The dimensions to reduce; an empty tuple stands for all of them, as in PyTorch."""
    return check_dims(operation, None if isinstance(dim, (tuple, list)) and not dim else dim, ndim)


def _keep(x, shape, dims):
    """A reduced array with its reduced dimensions in place, with size one."""
    return reshape(x, tuple(1 if i in dims else n for i, n in enumerate(shape)))


def _spread(g, shape, dims):
    """A cotangent of a reduction, brought back to the shape of the input."""
    return expand(_keep(g, shape, dims), shape)


def _count(shape, dims) -> int:
    return math.prod(shape[d] for d in dims)


def in_single(function: Callable[..., Array], input: Array, *arguments: Any) -> Array:
    """``function(input, *arguments)``; of half precision in single, where sums do not overflow, and rounded once."""
    if input.dtype != _HALF:
        return function(input, *arguments)
    return cast(function(cast(input, _SINGLE), *arguments), input.dtype)


# ------------------------------------------------------------------------------------------ sum and mean


@primitive
def _sum(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    if input.dtype.kind != "f":
        return np.sum(input, axis=dims, keepdims=keepdim, dtype=np.int64)
    return kernels.reduce(np.add, input, dims, keepdim)


@_sum.vjp("input")
def _(g, input_shape, dims):
    return _spread(g, input_shape, dims)


def sum(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Array:
    """The sum over `dim`; integers and booleans add up to int64."""
    check_tensor("sum", "input", input)
    x = input if dtype is None else cast(input, as_dtype(dtype))
    return _sum(x, _over("sum", dim, input.ndim), keepdim)


@primitive
def _mean(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    total = kernels.reduce(np.add, input, dims, keepdim)
    return np.true_divide(total, input.dtype.type(_count(input.shape, dims)))


@_mean.vjp("input")
def _(g, input_shape, dims):
    return _spread(g / builtins.max(_count(input_shape, dims), 1), input_shape, dims)


def mean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: DTypeLike | None = None) -> Array:
    """The arithmetic mean over `dim`.

    Raises
    ------
    TypeError
        If `input` is not floating and no floating `dtype` is given.
    """
    check_tensor("mean", "input", input)
    x = input if dtype is None else cast(input, as_dtype(dtype))
    if x.dtype.kind != "f":
        raise TypeError(f"mean: input expects a floating dtype but has {x.dtype}")
    return in_single(_mean, x, _over("mean", dim, input.ndim), keepdim)


# --------------------------------------------------------------------------------- variance and deviation


def _freedom(shape: tuple[int, ...], dims: tuple[int, ...], correction: float) -> float:
    """What the squared deviations are divided by; the variance of nothing is 0 / 0, whatever the correction."""
    count = _count(shape, dims)
    return builtins.max(count - correction, 0) if count else 0


@primitive
def _var(input: Array, dims: tuple[int, ...], correction: float, keepdim: bool) -> Array:
    freedom = _freedom(input.shape, dims, correction)
    variation = kernels.variation(input, _mean(input, dims, True), dims)
    return np.true_divide(variation if keepdim else np.squeeze(variation, dims), input.dtype.type(freedom))


@_var.vjp("input")
def _(g, input, dims, correction):
    freedom = _freedom(input.shape, dims, correction)
    scale = 2 / freedom if freedom else math.nan
    return _spread(g * scale, input.shape, dims) * (input - _mean(input, dims, True))


@primitive
def _std(input: Array, dims: tuple[int, ...], correction: float, keepdim: bool) -> Array:
    return np.sqrt(_var(input, dims, correction, keepdim))


@_std.vjp("input")
def _(g, input, output, dims, correction):
    # Where all values are equal the derivative does not exist; 0 there, as in PyTorch: the deviations are 0.
    scale = g / where(eq(output, 0), 1, output)
    freedom = _freedom(input.shape, dims, correction)
    return _spread(scale / freedom if freedom else scale * math.nan, input.shape, dims) * (
        input - _mean(input, dims, True)
    )


def _dispersion(statistic, operation, input, dim, unbiased, keepdim, correction):
    """Shared by `var` and `std`: the many forms in which PyTorch takes their arguments."""
    check_tensor(operation, "input", input)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    if correction is None:
        correction = 1 if unbiased else 0
    correction = check_float(operation, "correction", correction)
    return in_single(statistic, input, _over(operation, dim, input.ndim), correction, keepdim)


def var(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Array:
    """The variance over `dim`: squared deviations from the mean, summed and divided by ``n - correction``.

    Parameters
    ----------
    input : tensor of any shape
    dim : int, tuple of int, optional
    unbiased : bool
        Whether `correction` is 1 (Bessel's) or 0.
    keepdim : bool
    correction : float, optional
        Takes precedence over `unbiased`.
    """
    return _dispersion(_var, "var", input, dim, unbiased, keepdim, correction)


def std(
    input: Array, dim: Dims = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Array:
    """The standard deviation over `dim`, the root of `var`; its derivative where all values are equal is 0."""
    return _dispersion(_std, "std", input, dim, unbiased, keepdim, correction)


# ----------------------------------------------------------------------------------- largest and smallest


@primitive
def _amax(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    return kernels.reduce(np.maximum, input, dims, keepdim)


@primitive
def _amin(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    return kernels.reduce(np.minimum, input, dims, keepdim)


@primitive(constants=("input", "extremum"))
def _shares(input: Array, extremum: Array, dims: tuple[int, ...]) -> Array:
    """1/k at each of the k elements that attain the extremum, 0 elsewhere."""
    attained = (input == extremum).astype(np.promote_types(input.dtype, np.float32))
    return (attained / np.sum(attained, axis=dims, keepdims=True)).astype(input.dtype, copy=False)


def _extremum_vjp(g, input, output, dims):
    shape = input.shape
    return _spread(g, shape, dims) * _shares(input, _keep(output, shape, dims), dims)


_amax.vjp("input")(_extremum_vjp)
_amin.vjp("input")(_extremum_vjp)


def _check_elements(operation: str, shape: Any, dims: tuple[int, ...]) -> None:
    if dims and not _count(shape, dims):
        raise ValueError(f"{operation}: input expects at least one element to reduce but has shape {tuple(shape)}")


def amax(input: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    """The largest element over `dim`; equal ones share the gradient evenly.

    Raises
    ------
    ValueError
        If there is nothing to reduce.
    """
    check_tensor("amax", "input", input)
    dims = _over("amax", dim, input.ndim)
    _check_elements("amax", input.shape, dims)
    return _amax(input, dims, keepdim)


def amin(input: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    """The smallest element over `dim`; equal ones share the gradient evenly.

    Raises
    ------
    ValueError
        If there is nothing to reduce.
    """
    check_tensor("amin", "input", input)
    dims = _over("amin", dim, input.ndim)
    _check_elements("amin", input.shape, dims)
    return _amin(input, dims, keepdim)


class Extremum(NamedTuple):
    """What `max` and `min` over one dimension return."""

    values: Array
    indices: Array


def _extremum(operation, every, pairwise, position, input, dim, keepdim):
    """Shared by `max` and `min`: of all elements, of two tensors, or along one dimension with its indices."""
    check_tensor(operation, "input", input)
    if dim is None:
        return every(input)
    if not isinstance(dim, (int, np.integer)):
        return pairwise(input, dim)
    axis = check_dim(operation, dim, input.ndim)
    _check_elements(operation, input.shape, (axis,)[: input.ndim])
    indices = position(input, axis if input.ndim else None, True)
    values = gather(input, axis, indices) if input.ndim else clone(input)
    return Extremum(values, indices) if keepdim else Extremum(squeeze(values, axis), squeeze(indices, axis))


def max(input: Array, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest of all elements; along `dim`, with the index of the first; or elementwise of two tensors.

    Returns
    -------
    tensor, or Extremum
        For an int `dim`, a pair ``(values, indices)``; the gradient then goes to the first of equal elements. Else
        as `amax` (``max(input)``) or `maximum` (``max(input, other)``).
    """
    return _extremum("max", amax, maximum, _argmax, input, dim, keepdim)


def min(input: Array, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest of all elements; along `dim`, with the index of the first; or elementwise of two tensors.

    Returns
    -------
    tensor, or Extremum
        As `max`.
    """
    return _extremum("min", amin, minimum, _argmin, input, dim, keepdim)


def _first(find, x, dim, keepdim):
    if dim is None:
        return find(x, keepdims=keepdim)
    position = first_extreme(find, x, dim)
    return position if keepdim else np.squeeze(position, dim)


@primitive(constants=("input",))
def _argmax(input: Array, dim: int | None, keepdim: bool) -> Array:
    return _first(np.argmax, input, dim, keepdim)


@primitive(constants=("input",))
def _argmin(input: Array, dim: int | None, keepdim: bool) -> Array:
    return _first(np.argmin, input, dim, keepdim)


def _position(search, operation, input, dim, keepdim):
    check_tensor(operation, "input", input)
    if input.dtype == np.bool_:
        raise TypeError(f"{operation}: input expects numbers but has dtype bool")
    axis = None if dim is None else check_dim(operation, dim, input.ndim)
    _check_elements(operation, input.shape, tuple(range(input.ndim)) if axis is None else (axis,)[: input.ndim])
    return search(input, axis if input.ndim else None, keepdim)


def argmax(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """The index (int64) of the first largest element, along `dim` or of the flattened input."""
    return _position(_argmax, "argmax", input, dim, keepdim)


def argmin(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """The index (int64) of the first smallest element, along `dim` or of the flattened input."""
    return _position(_argmin, "argmin", input, dim, keepdim)


# --------------------------------------------------------------------------------------- log-sum-exp


@primitive
def _logsumexp(input: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    if not _count(input.shape, dims):
        return np.log(np.sum(input, axis=dims, keepdims=keepdim))
    result = kernels.log_sum_exp(fractional(input), dims)
    return result if keepdim else np.squeeze(result, dims)


@_logsumexp.vjp("input")
def _(g, input, output, dims):
    return _scaled_exp(_keep(g, input.shape, dims), input, _keep(output, input.shape, dims))


@primitive
def _scaled_exp(scale: Array, input: Array, shift: Array) -> Array:
    """``scale * exp(input - shift)``, for scales and shifts that are spread over the input."""
    return blockwise(_steps_of_scaled_exp, scale, shift, input)


def _steps_of_scaled_exp(scale: Array, shift: Array, x: Array, out: Array) -> Iterator[Step]:
    yield np.subtract, x, shift, out
    yield np.exp, out, out
    yield np.multiply, out, scale, out


@_scaled_exp.vjp("scale")
def _(g, input, shift):
    return _scaled_exp(g, input, shift)


@_scaled_exp.vjp("input")
def _(g, output):
    return g * output


@_scaled_exp.vjp("shift")
def _(g, output):
    return -g * output


def logsumexp(input: Array, dim: Dims, keepdim: bool = False) -> Array:
    """``log(sum(exp(input)))`` over `dim`, shifted by the maximum so that nothing overflows."""
    check_tensor("logsumexp", "input", input)
    return in_single(_logsumexp, input, _over("logsumexp", dim, input.ndim), keepdim)
