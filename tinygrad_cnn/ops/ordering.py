"""Elements in order: sort, and the largest or smallest few.

Which element comes where does not change with a small step, so positions are constants of differentiation, and values
are gathered at them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_int, check_tensor
from tinygrad_cnn.kernels import order as kernels
from tinygrad_cnn.ops.elementwise import clone
from tinygrad_cnn.ops.indexing import take_along
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array


class Sorted(NamedTuple):
    """What `sort` and `topk` return."""

    values: Array
    indices: Array


@primitive(constants=("input",))
def _argsort(input: Array, dim: int, descending: bool) -> Array:
    return kernels.order(input, dim, descending)


@primitive(constants=("input",))
def _argtopk(input: Array, k: int, dim: int, largest: bool) -> Array:
    return kernels.top(input, k, dim, largest)


def sort(input: Array, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Sorted:
    """The elements along `dim` in ascending or descending order, and where they were.

    Equal elements keep their order, whether `stable` or not; NaN counts as the largest.

    Returns
    -------
    Sorted
        A pair ``(values, indices)``, the indices int64.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> values, indices = tg.sort(tg.tensor([2, 3, 1]), descending=True)
    >>> values.tolist(), indices.tolist()
    ([3, 2, 1], [1, 0, 2])
    """
    axis = _axis("sort", input, dim, descending)
    return _pick(input, axis, _argsort(reshape(input, input.shape or (1,)), axis, descending))


def argsort(input: Array, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Array:
    """The positions (int64) of the elements in order: the `indices` of `sort`."""
    axis = _axis("argsort", input, dim, descending)
    return reshape(_argsort(reshape(input, input.shape or (1,)), axis, descending), input.shape)


def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Sorted:
    """The `k` largest (or smallest) elements along `dim`, the most extreme first, and where they are.

    Parameters
    ----------
    input : tensor of numbers
    k : int
    dim : int
    largest : bool
    sorted : bool
        Accepted without effect: they always come in order.

    Raises
    ------
    ValueError
        If `k` is negative or larger than the size of `dim`.
    TypeError
        If `input` is boolean.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> values, indices = tg.topk(tg.tensor([2.0, 3.0, 1.0]), 2)
    >>> values.tolist(), indices.tolist()
    ([3.0, 2.0], [1, 0])
    """
    axis = _axis("topk", input, dim, largest)
    if input.dtype == np.bool_:
        raise TypeError("topk: input expects numbers but has dtype bool")
    count = check_int("topk", "k", k, 0)
    size = input.shape[axis] if input.ndim else 1
    if count > size:
        raise ValueError(f"topk: k expects at most {size}, the size of dimension {axis}, but is {count}")
    if input.ndim == 0:
        count = 1
    return _pick(input, axis, _argtopk(reshape(input, input.shape or (1,)), count, axis, largest))


def _axis(operation: str, input: Array, dim: int, flag: bool) -> int:
    check_tensor(operation, "input", input)
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{operation}: expected True or False but got {flag!r} ({type(flag).__name__})")
    return check_dim(operation, dim, input.ndim)


def _pick(input: Array, dim: int, indices: Array) -> Sorted:
    if input.ndim == 0:
        return Sorted(clone(input), reshape(indices, ()))
    return Sorted(take_along(input, dim, indices), indices)
