"""Selecting elements by position: basic and advanced indexing, and gathering along a dimension.

Each selection is linear, and its derivative puts the cotangent back where the elements came from, adding where
one was taken more than once; the derivative of that selects again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_dim, check_int, check_tensor
from tinygrad_cnn.types import Array


@primitive
def _getitem(input: Array, index: Any) -> Array:
    try:
        selected = input[index]
    except IndexError as error:
        raise IndexError(f"getitem: {error} (input {input.shape})") from None
    if isinstance(selected, np.ndarray):
        return selected
    # NumPy copies a single element; with an ellipsis it is a view, like any other part.
    return input[(*index, ...)] if isinstance(index, tuple) else input[index, ...]


@_getitem.vjp("input")
def _(g, input_shape, index):
    return _put(g, input_shape, index)


@primitive
def _put(g: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Zeros of `shape`, with `g` added at `index`."""
    whole = np.zeros(shape, g.dtype)
    if _is_basic(index):
        whole[index] = g
    else:
        np.add.at(whole, index, g)
    return whole


@_put.vjp("g")
def _(g, index):
    return _getitem(g, index)


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)


def getitem(input: Array, index: Any) -> Array:
    """``input[index]``: ints, slices, ``...``, ``None``, integer and boolean arrays or tensors, as NumPy has them.

    Raises
    ------
    IndexError
        If an index is out of range or not a valid one.
    """
    return _getitem(input, plain_index(index))


def plain_index(index: Any) -> Any:
    """An index free of tensors, which nobody changes behind the graph's back."""
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, Variable):
        index = index.data
    if isinstance(index, list):
        index = np.array([plain_index(part) for part in index])
        return index if index.size else index.astype(np.int64)
    if isinstance(index, slice):
        return slice(*map(_bound, (index.start, index.stop, index.step)))
    if isinstance(index, np.ndarray):
        if index.ndim == 0 and index.dtype.kind in "iu":
            return int(index)
        return index.copy()
    return int(index) if isinstance(index, np.integer) else index


def _bound(number: Any) -> Any:
    return number if number is None else check_int("getitem", "slice", number.data if _is_0d(number) else number)


def _is_0d(x: Any) -> bool:
    return isinstance(x, Variable) and x.data.ndim == 0


# ------------------------------------------------------------------------------------ along a dimension


def _along(index: np.ndarray, dim: int) -> tuple[Any, ...]:
    """The positions (i, ..., index[i, ..., k], ..., k) that an index along one dimension stands for."""
    mesh = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    mesh[dim] = index
    return tuple(mesh)


@primitive
def _gather(input: Array, dim: int, index: np.ndarray) -> Array:
    return input[_along(index, dim)]


@_gather.vjp("input")
def _(g, input_shape, dim, index):
    return _scatter(g, input_shape, dim, index)


@primitive
def _scatter(g: Array, shape: tuple[int, ...], dim: int, index: np.ndarray) -> Array:
    """Zeros of `shape`, with `g` added at the positions that `_gather` reads."""
    whole = np.zeros(shape, g.dtype)
    np.add.at(whole, _along(index, dim), g)
    return whole


@_scatter.vjp("g")
def _(g, dim, index):
    return _gather(g, dim, index)


def gather(input: Array, dim: int, index: Array) -> Array:
    """Pick along `dim`: ``output[i][j] = input[index[i][j]][j]`` for ``dim=0``, and so on.

    Parameters
    ----------
    input : tensor of shape (n_0, ..., n_k)
    dim : int
    index : integer tensor of as many dimensions, nowhere larger than `input` but along `dim`

    Raises
    ------
    TypeError
        If `index` is not int64 or int32.
    ValueError
        If the shapes do not fit.
    IndexError
        If an index is out of range.
    """
    check_tensor("gather", "input", input)
    axis = check_dim("gather", dim, input.ndim)
    positions = check_index("gather", input, axis, index)
    if input.ndim == 0:
        return _gather(input.reshape(1), 0, positions.reshape(-1)).reshape(positions.shape)
    return _gather(input, axis, positions)


def check_index(operation: str, input: Array, dim: int, index: Any) -> np.ndarray:
    """The index of a selection along `dim`, as an array of its own, in range."""
    positions = index.data if isinstance(index, Variable) else np.asarray(index)
    if positions.dtype not in (np.dtype(np.int64), np.dtype(np.int32)):
        raise TypeError(f"{operation}: index expects dtype int64 but has {positions.dtype}")
    if positions.size and max(positions.ndim, 1) != max(input.ndim, 1):
        raise ValueError(
            f"{operation}: index expects {input.ndim} dimension(s), like input {tuple(input.shape)}, "
            f"but has shape {positions.shape}"
        )
    if positions.ndim and input.ndim and positions.size:
        for i, (n, m) in enumerate(zip(positions.shape, input.shape, strict=True)):
            if n > m and i != dim:
                raise ValueError(
                    f"{operation}: index {positions.shape} expects to be no larger than input "
                    f"{tuple(input.shape)} but along dim {dim}"
                )
    size = input.shape[dim] if input.ndim else 1
    if positions.size and (positions.min() < 0 or positions.max() >= size):
        raise IndexError(
            f"{operation}: index expects 0 <= index < {size} along dim {dim} "
            f"but holds {positions.min()} to {positions.max()}"
        )
    return positions.copy()


def one_hot(tensor: Array, num_classes: int = -1) -> Array:
    """Class indices (*) as int64 vectors (*, num_classes) with a 1 at the index and 0 elsewhere.

    Parameters
    ----------
    tensor : int64 tensor of any shape
    num_classes : int
        Default: one more than the largest index.

    Raises
    ------
    TypeError
        If `tensor` is not int64.
    ValueError
        If an index is negative or not less than `num_classes`.
    """
    classes = tensor.data if isinstance(tensor, Variable) else np.asarray(tensor)
    if classes.dtype != np.int64:
        raise TypeError(f"one_hot: tensor expects dtype int64 but has {classes.dtype}")
    number = check_int("one_hot", "num_classes", num_classes, -1)
    if not classes.size and number <= 0:
        raise ValueError("one_hot: num_classes must be given for a tensor without elements")
    count = int(classes.max()) + 1 if number == -1 else number
    if classes.size and (classes.min() < 0 or classes.max() >= count):
        raise ValueError(f"one_hot: tensor expects 0 <= class < {count} but holds {classes.min()} to {classes.max()}")
    encoded = np.zeros((*classes.shape, count), np.int64)
    np.put_along_axis(encoded, classes[..., None], 1, axis=-1)
    return tensor._wrap(encoded) if isinstance(tensor, Variable) else encoded
