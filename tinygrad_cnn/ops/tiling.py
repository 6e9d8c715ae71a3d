"""Elements over again and in other places: tile, repeat, roll."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_int, check_size, check_tensor
from tinygrad_cnn.ops.elementwise import contiguous
from tinygrad_cnn.ops.shape import expand, reshape
from tinygrad_cnn.types import Array


def tile(input: Array, dims: int | Sequence[int], *more: int) -> Array:
    """`input` laid side by side, ``dims[i]`` times along dimension i.

    If `dims` are fewer than the dimensions they stand for the last ones; if they are more, the input gets dimensions
    of size one in front.

    Raises
    ------
    ValueError
        If a number is negative.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> tg.tile(tg.tensor([[1, 2]]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    check_tensor("tile", "input", input)
    times = check_size("tile", dims, more, "dims")
    return _tile("tile", input, (1,) * (input.ndim - len(times)) + times)


def repeat(input: Array, repeats: int | Sequence[int], *more: int) -> Array:
    """As `tile`, with a number for each dimension at least.

    Raises
    ------
    ValueError
        If there are fewer numbers than dimensions, or if one is negative.
    """
    check_tensor("repeat", "input", input)
    times = check_size("repeat", repeats, more, "repeats")
    if len(times) < input.ndim:
        raise ValueError(f"repeat: repeats expects at least {input.ndim} numbers but got {times}")
    return _tile("repeat", input, times)


def _tile(operation: str, input: Array, times: tuple[int, ...]) -> Array:
    if any(n < 0 for n in times):
        raise ValueError(f"{operation}: expected numbers of at least 0 but got {times}")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    # Beside each dimension one of size 1, which is expanded and then joined with it.
    apart = reshape(input, tuple(n for size in shape for n in (1, size)))
    repeated = expand(apart, tuple(n for pair in zip(times, shape, strict=True) for n in pair))
    # A copy, whatever the numbers: what is repeated once, too, has elements of its own.
    return reshape(contiguous(repeated), tuple(n * size for n, size in zip(times, shape, strict=True)))


@primitive
def _roll(input: Array, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Array:
    return np.roll(input, shifts, dims)


@_roll.vjp("input")
def _(g, shifts, dims):
    return _roll(g, tuple(-shift for shift in shifts), dims)


def roll(input: Array, shifts: int | Sequence[int], dims: int | Sequence[int] | None = ()) -> Array:
    """Move the elements by `shifts` places along `dims`; those that leave at the end come in at the front.

    Parameters
    ----------
    input : tensor of any shape
    shifts : int or sequence of int
    dims : int or sequence of int
        As many; a dimension may appear again. Without any, the elements move in row-major order.

    Raises
    ------
    ValueError
        If there are no shifts, or if `shifts` and `dims` are of different number.
    IndexError
        If there is no such dimension.
    """
    check_tensor("roll", "input", input)
    steps = tuple(check_int("roll", "shifts", n) for n in (shifts if isinstance(shifts, (tuple, list)) else (shifts,)))
    given = () if dims is None else tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if not steps or len(steps) != (len(given) or 1):
        raise ValueError(f"roll: shifts expects a number for each of the dims {given} but got {steps}")
    if given and input.ndim == 0:
        raise IndexError(f"roll: dims expects none for a 0-d tensor but got {given}")
    axes = tuple(check_dim("roll", d, input.ndim, "dims") for d in given)
    if axes:
        return _roll(input, steps, axes)
    return reshape(_roll(reshape(input, (-1,)), steps, (0,)), tuple(input.shape)) if input.size else input
