"""Selecting elements by position: basic and advanced indexing, gathering and scattering along a dimension, masks.

Each selection is linear, and its derivative puts the cotangent back where the elements came from, adding where
one was taken more than once; the derivative of that selects again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_dim, check_int, check_tensor
from tinygrad_cnn.kernels import gather as kernels
from tinygrad_cnn.kernels.layouts import copied_in_order
from tinygrad_cnn.ops.dtypes import check_number
from tinygrad_cnn.ops.elementwise import cast, clone, where
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
    whole = kernels.zeros(shape, g.dtype)
    if _is_basic(index):
        whole[index] = g
    else:
        kernels.add_at_index(whole, index, g)
    return whole


@_put.vjp("g")
def _(g, index):
    return _getitem(g, index)


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)


def getitem(input: Array, index: Any) -> Array:
    """``input[index]``: ints, slices, ``...``, ``None``, integer and boolean arrays or tensors.

    As in PyTorch, ints select first, and arrays then: ``x[0, :, [1, 2]]`` is ``x[0][:, [1, 2]]``. In NumPy an int next
    to arrays is one of them, and their dimensions would come first.

    Raises
    ------
    IndexError
        If an index is out of range or not a valid one.
    """
    index = plain_index(index)
    if isinstance(index, np.ndarray) and index.dtype == np.bool_ and index.shape != tuple(input.shape[: index.ndim]):
        raise IndexError(f"getitem: a mask expects the shape of what it masks but is {index.shape} for {input.shape}")
    if isinstance(index, tuple) and mixes_ints(index):
        first, then = ints_first(index)
        return _getitem(_getitem(input, first), then)
    return _getitem(input, index)


def mixes_ints(index: tuple[Any, ...]) -> bool:
    """Whether there are ints and arrays in a plain index."""
    kinds = [*map(type, index)]
    return int in kinds and np.ndarray in kinds


def ints_first(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A plain index as two: the ints and slices of it, which give a view, and what is left to do with that."""
    first: list[Any] = []
    then: list[Any] = []
    for part in index:
        if isinstance(part, np.ndarray):
            first += [slice(None)] * (part.ndim if part.dtype == np.bool_ else 1)
            then.append(part)
        elif part is None or isinstance(part, bool):
            then.append(part)
        else:
            first.append(part)
            if type(part) is not int:
                then.append(part if part is Ellipsis else slice(None))
    return tuple(first), tuple(then)


def plain_index(index: Any) -> Any:
    """An index free of tensors, which nobody changes behind the graph's back."""
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, Variable):
        index = index.data
    if isinstance(index, (list, range)):
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


@primitive
def _take(input: Array, places: np.ndarray) -> Array:
    """The elements at `places` in row-major memory."""
    return kernels.take(input, places)


@_take.vjp("input")
def _(g, input_shape, places):
    return _add_up(g, input_shape, places)


@primitive
def _add_up(g: Array, shape: tuple[int, ...], places: np.ndarray) -> Array:
    """Zeros of `shape`, with `g` added at the places that `_take` reads."""
    whole = kernels.zeros(shape, g.dtype)
    kernels.add_at(whole, places, g)
    return whole


@_add_up.vjp("g")
def _(g, places):
    return _take(g, places)


def take_along(input: Array, dim: int, index: Array) -> Array:
    """As `gather`, at an index of a shape that fits."""
    return _take(input, _places("gather", input, dim, index))


def _places(operation: str, input: Array, dim: int, index: Array) -> np.ndarray:
    """Where `input`, in row-major memory, is read at an index; an IndexError if that is out of range."""
    positions = index.data if isinstance(index, Variable) else index
    places = kernels.places(positions, dim, tuple(input.shape))
    if places is None:
        raise IndexError(
            f"{operation}: index expects 0 <= index < {input.shape[dim]} along dim {dim} "
            f"but holds {positions.min()} to {positions.max()}"
        )
    return places


def gather(input: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    """Pick along `dim`: ``output[i][j] = input[index[i][j]][j]`` for ``dim=0``, and so on.

    Parameters
    ----------
    input : tensor of shape (n_0, ..., n_k)
    dim : int
    index : integer tensor of as many dimensions, nowhere larger than `input` but along `dim`
    sparse_grad : bool
        Accepted without effect: gradients are dense.

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
    chosen = check_index("gather", input, axis, index)
    if input.ndim == 0 or chosen.ndim == 0:
        return take_along(input.reshape(-1), 0, chosen.reshape(-1)).reshape(chosen.shape)
    return take_along(input, axis, chosen)


@primitive
def _scatter_add(input: Array, places: np.ndarray, src: Array) -> Array:
    whole = copied_in_order(input)
    kernels.add_at(whole, places, src)
    return whole


@_scatter_add.vjp("input")
def _(g):
    return g


@_scatter_add.vjp("src")
def _(g, places):
    return _take(g, places)


def scatter_add(input: Array, dim: int, index: Array, src: Array) -> Array:
    """`input` with `src` added where `gather` would read: ``output[index[i][j]][j] += src[i][j]`` for ``dim=0``.

    Parameters
    ----------
    input : tensor of shape (n_0, ..., n_k)
    dim : int
    index : integer tensor of as many dimensions, nowhere larger than `src`, nor than `input` but along `dim`
    src : tensor of the dtype of `input`
        The part of it that `index` covers is added.

    Raises
    ------
    TypeError
        If `index` is not int64 or int32, or if the dtypes of `src` and `input` differ.
    ValueError
        If the shapes do not fit.
    IndexError
        If an index is out of range.
    """
    check_tensor("scatter_add", "input", input)
    check_tensor("scatter_add", "src", src)
    axis = check_dim("scatter_add", dim, input.ndim)
    chosen = check_index("scatter_add", input, axis, index)
    if src.dtype != input.dtype:
        raise TypeError(f"scatter_add: src expects dtype {input.dtype}, like input, but has {src.dtype}")
    if not chosen.size:
        return clone(input)
    if max(src.ndim, 1) != max(chosen.ndim, 1) or any(n > m for n, m in zip(chosen.shape, src.shape, strict=False)):
        raise ValueError(f"scatter_add: index {chosen.shape} expects to be nowhere larger than src {tuple(src.shape)}")
    if 0 in (input.ndim, chosen.ndim, src.ndim):
        sum = scatter_add(input.reshape(-1), 0, chosen.reshape(-1), src.reshape(-1))
        return sum.reshape(input.shape)
    if src.shape != chosen.shape:
        src = _getitem(src, tuple(slice(n) for n in chosen.shape)).reshape(chosen.shape)
    return _scatter_add(input, _places("scatter_add", input, axis, chosen), src)


def masked_fill(input: Array, mask: Array, value: Array) -> Array:
    """`value` where `mask` holds, else `input`, with broadcasting; in the dtype of `input`.

    Parameters
    ----------
    input : tensor
    mask : boolean tensor
    value : number, or 0-d tensor, which may require a gradient

    Raises
    ------
    TypeError
        If `mask` is not boolean, or if `value` is neither a number nor a tensor.
    ValueError
        If `value` has dimensions or does not fit into the dtype of `input`, or if the shapes do not broadcast.
    """
    check_tensor("masked_fill", "input", input)
    if getattr(mask, "dtype", None) != np.bool_:
        raise TypeError(f"masked_fill: mask expects a boolean tensor but got {getattr(mask, 'dtype', mask)}")
    if hasattr(value, "ndim") and not isinstance(value, np.generic):
        if value.ndim:
            raise ValueError(f"masked_fill: value expects a number or a 0-d tensor but has shape {tuple(value.shape)}")
        if getattr(value, "requires_grad", False) and input.dtype.kind != "f":
            raise TypeError(f"masked_fill: value requires a gradient, which {input.dtype}, the dtype of input, has not")
        return where(mask, cast(value, input.dtype), input)
    return where(mask, check_number("masked_fill", "value", value, input.dtype), input)


def check_index(operation: str, input: Array, dim: int, index: Any) -> np.ndarray:
    """The index of a selection along `dim` as an array, of a shape that fits."""
    positions = index.data if isinstance(index, Variable) else np.asarray(index)
    if positions.size and positions.dtype not in (np.dtype(np.int64), np.dtype(np.int32)):
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
    return positions


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
