"""Primitives that arrange elements anew: reshape, permute, expand, join, flip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_dims, check_size, check_tensor
from tinygrad_cnn.kernels.layouts import joined, reshaped
from tinygrad_cnn.kernels.reduction import reduce
from tinygrad_cnn.ops.dtypes import common, common_dtype
from tinygrad_cnn.ops.elementwise import cast
from tinygrad_cnn.types import Array

# ------------------------------------------------------------------------------------- reshape, permute


@primitive
def _reshape(input: Array, shape: tuple[int, ...]) -> Array:
    try:
        return reshaped(input, shape)
    except ValueError:
        if shape.count(-1) > 1 or (-1 in shape and 0 in shape):
            raise ValueError(f"reshape: shape expects one -1 at most, and none beside a 0, but got {shape}") from None
        raise ValueError(
            f"reshape: shape {shape} expects {_count(shape)} elements but input {input.shape} has {input.size}"
        ) from None


def _count(shape: tuple[int, ...]) -> str:
    known = 1
    for n in shape:
        known *= n if n >= 0 else 1
    return f"a multiple of {known}" if -1 in shape else str(known)


@_reshape.vjp("input")
def _(g, input_shape):
    return _reshape(g, input_shape)


def reshape(input: Array, shape: int | Sequence[int], *more: int) -> Array:
    """The same elements, in row-major order, in another shape; one size may be -1, which takes what is left.

    Raises
    ------
    ValueError
        If the number of elements differs.
    """
    check_tensor("reshape", "input", input)
    sizes = check_size("reshape", shape, more, "shape")
    if any(n < -1 for n in sizes):
        raise ValueError(f"reshape: shape expects sizes of at least 0, or one -1, but got {sizes}")
    return _reshape(input, sizes)


def flatten(input: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """Join the dimensions `start_dim` to `end_dim` (included) into one.

    Raises
    ------
    IndexError
        If there is no such dimension.
    ValueError
        If `start_dim` comes after `end_dim`.
    """
    check_tensor("flatten", "input", input)
    start = check_dim("flatten", start_dim, input.ndim, "start_dim")
    end = check_dim("flatten", end_dim, input.ndim, "end_dim")
    if start > end:
        raise ValueError(f"flatten: start_dim expects to be at most end_dim {end_dim} but is {start_dim}")
    shape = input.shape
    count = 1
    for n in shape[start : end + 1]:
        count *= n
    return _reshape(input, (*shape[:start], count, *shape[end + 1 :]))


@primitive
def _permute(input: Array, dims: tuple[int, ...]) -> Array:
    return np.transpose(input, dims)


@_permute.vjp("input")
def _(g, dims):
    return _permute(g, tuple(dims.index(i) for i in range(len(dims))))


def permute(input: Array, dims: int | Sequence[int], *more: int) -> Array:
    """The dimensions in another order: dimension i of the output is dimension ``dims[i]`` of the input.

    Raises
    ------
    ValueError
        If `dims` does not name each dimension once.
    """
    check_tensor("permute", "input", input)
    given = check_size("permute", dims, more, "dims")
    order = tuple(check_dim("permute", d, input.ndim, "dims") for d in given)
    if sorted(order) != list(range(input.ndim)):
        raise ValueError(f"permute: dims expects each of the {input.ndim} dimensions once but got {given}")
    return _permute(input, order)


def transpose(input: Array, dim0: int, dim1: int) -> Array:
    """Swap two dimensions."""
    check_tensor("transpose", "input", input)
    a = check_dim("transpose", dim0, input.ndim, "dim0")
    b = check_dim("transpose", dim1, input.ndim, "dim1")
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return _permute(input, tuple(order))


def squeeze(input: Array, dim: int | Sequence[int] | None = None) -> Array:
    """Drop the dimensions of size one, all or those in `dim` (others among them stay)."""
    check_tensor("squeeze", "input", input)
    dims = check_dims("squeeze", dim, input.ndim)
    return _reshape(input, tuple(n for i, n in enumerate(input.shape) if n != 1 or i not in dims))


def unsqueeze(input: Array, dim: int) -> Array:
    """Insert a dimension of size one before dimension `dim`."""
    check_tensor("unsqueeze", "input", input)
    position = check_dim("unsqueeze", dim, input.ndim + 1)
    return _reshape(input, (*input.shape[:position], 1, *input.shape[position:]))


# ------------------------------------------------------------------------------------------ broadcasting


@primitive
def _expand(input: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(input, shape)


@_expand.vjp("input")
def _(g, input_shape):
    return sum_to_size(g, input_shape)


def expand(input: Array, size: int | Sequence[int], *more: int) -> Array:
    """A view in which dimensions of size one appear repeated to `size`; -1 keeps a size.

    Raises
    ------
    ValueError
        If a dimension of another size would have to change.
    """
    check_tensor("expand", "input", input)
    wanted = check_size("expand", size, more)
    added = len(wanted) - input.ndim
    shape = tuple(input.shape[i - added] if n == -1 and i >= added else n for i, n in enumerate(wanted))
    fits = added >= 0 and all(n >= 0 for n in shape)
    if not fits or any(n != m and m != 1 for n, m in zip(shape[added:], input.shape, strict=True)):
        raise ValueError(f"expand: size expects to extend input {tuple(input.shape)} but got {wanted}")
    return _expand(input, shape)


@primitive
def _sum_to_size(input: Array, shape: tuple[int, ...]) -> Array:
    added = input.ndim - len(shape)
    widened = (added + i for i, n in enumerate(shape) if n == 1 and input.shape[added + i] != 1)
    return reduce(np.add, input, (*range(added), *widened), keepdims=False).reshape(shape)


@_sum_to_size.vjp("input")
def _(g, input_shape):
    return _expand(g, input_shape)


def sum_to_size(input: Array, *size: Any) -> Array:
    """The sum over all dimensions that broadcasting from `size` to the input's shape adds or widens.

    Raises
    ------
    ValueError
        If `size` does not broadcast to the input's shape.
    """
    shape = check_size("sum_to_size", size[0], size[1:]) if size else ()
    added = input.ndim - len(shape)
    if added < 0 or any(n not in (1, m) for n, m in zip(shape, input.shape[added:], strict=True)):
        raise ValueError(f"sum_to_size: size expects to broadcast to {tuple(input.shape)} but is {shape}")
    return input if shape == tuple(input.shape) else _sum_to_size(input, shape)


# ---------------------------------------------------------------------------------------- joining


@primitive
def _cat(*tensors: Array, dim: int) -> Array:
    return joined(common(tensors), dim)


@_cat.vjp("tensors")
def _(g, tensors_shape, dim, wanted):
    gradients = []
    start = 0
    for shape, is_wanted in zip(tensors_shape, wanted, strict=True):
        stop = start + shape[dim]
        gradients.append(g[(slice(None),) * dim + (slice(start, stop),)] if is_wanted else None)
        start = stop
    return gradients


def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Join tensors along an existing dimension, in which alone their shapes may differ.

    Raises
    ------
    ValueError
        If there is no tensor, or if the shapes do not fit.
    """
    parts = list(tensors)
    if not parts:
        raise ValueError("cat: tensors expects at least one tensor but got none")
    for index, x in enumerate(parts):
        check_tensor("cat", f"tensor {index}", x)
    # PyTorch lets an empty 1-d tensor join with anything; only its dtype counts.
    dtype = common_dtype(parts)
    parts = [x for x in parts if tuple(x.shape) != (0,)] or parts
    first = parts[0]
    if first.ndim == 0:
        raise ValueError("cat: tensors expects at least 1-d tensors but got a 0-d one; stack() joins those")
    position = check_dim("cat", dim, first.ndim)
    for index, x in enumerate(parts):
        fits = x.ndim == first.ndim and all(
            n == m for i, (n, m) in enumerate(zip(x.shape, first.shape, strict=True)) if i != position
        )
        if not fits:
            raise ValueError(
                f"cat: tensor {index} expects shape {tuple(first.shape)} but for dimension {position}, "
                f"and has {tuple(x.shape)}"
            )
    joined = _cat(*parts, dim=position)
    return joined if joined.dtype == dtype else cast(joined, dtype)


@primitive
def _stack(*tensors: Array, dim: int) -> Array:
    apart = (*(slice(None),) * dim, None)
    return joined([x[apart] for x in common(tensors)], dim)


@_stack.vjp("tensors")
def _(g, dim, wanted):
    before = (slice(None),) * dim
    return [g[(*before, i, ...)] if is_wanted else None for i, is_wanted in enumerate(wanted)]


def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Join tensors of one shape along a new dimension.

    Raises
    ------
    ValueError
        If there is no tensor, or if the shapes differ.
    """
    parts = list(tensors)
    if not parts:
        raise ValueError("stack: tensors expects at least one tensor but got none")
    for index, x in enumerate(parts):
        check_tensor("stack", f"tensor {index}", x)
        if tuple(x.shape) != tuple(parts[0].shape):
            raise ValueError(f"stack: tensor {index} expects shape {tuple(parts[0].shape)} but has {tuple(x.shape)}")
    position = check_dim("stack", dim, parts[0].ndim + 1)
    return _stack(*parts, dim=position)


# ------------------------------------------------------------------------------------------------ flip


@primitive
def _flip(input: Array, dims: tuple[int, ...]) -> Array:
    return np.flip(input, dims).copy(order="K")


@_flip.vjp("input")
def _(g, dims):
    return _flip(g, dims)


def flip(input: Array, dims: int | Sequence[int], *more: int) -> Array:
    """A copy with the order of the elements along `dims` reversed."""
    check_tensor("flip", "input", input)
    return _flip(input, check_dims("flip", check_size("flip", dims, more, "dims"), input.ndim, "dims"))
