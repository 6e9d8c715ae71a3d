"""Checks of arguments that many operations share; each names the operation, what it expected and what came."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

__all__ = [
    "check_dim",
    "check_dims",
    "check_float",
    "check_floating",
    "check_int",
    "check_pair",
    "check_single",
    "check_size",
    "check_tensor",
    "name_of_type",
]


def name_of_type(value: Any) -> str:
    """The name of its type, with the module where it is not Python's own: other libraries have a Tensor too."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def check_tensor(operation: str, argument: str, value: Any) -> None:
    """Raise TypeError unless `value` is a tensor or an array."""
    if not (hasattr(value, "ndim") and hasattr(value, "dtype")):
        raise TypeError(f"{operation}: {argument} expects a tensor but got {_say(value)}")


def check_floating(operation: str, argument: str, value: Any) -> Any:
    """`value` itself; raise TypeError unless it is a tensor or an array of a floating dtype."""
    check_tensor(operation, argument, value)
    if value.dtype.kind != "f":
        raise TypeError(f"{operation}: {argument} expects a floating dtype but has {value.dtype}")
    return value


def check_int(operation: str, argument: str, value: Any, minimum: int | None = None) -> int:
    """`value` as a Python int.

    Raises
    ------
    TypeError
        If it is not an integer (a bool is not one).
    ValueError
        If it is less than `minimum`.
    """
    number = value
    if type(value) is not int:
        try:
            if isinstance(value, bool):
                raise TypeError
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"{operation}: {argument} expects an int but got {_say(value)}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{operation}: {argument} expects at least {minimum} but got {number}")
    return int(number)


def check_float(
    operation: str, argument: str, value: Any, minimum: float = -float("inf"), maximum: float = float("inf")
) -> float:
    """`value` as a Python float within [minimum, maximum].

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it lies outside, or is NaN.
    """
    try:
        if isinstance(value, str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{operation}: {argument} expects a number but got {_say(value)}") from None
    if not minimum <= number <= maximum:
        raise ValueError(f"{operation}: {argument} expects {minimum} <= {argument} <= {maximum} but got {number}")
    return number


def check_pair(operation: str, argument: str, value: Any, minimum: int, one_for_both: bool = True) -> tuple[int, int]:
    """`value`, an int or a pair of them, as a pair (height, width); with `one_for_both` also a sequence of one.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or if one of them is less than `minimum`.
    """
    if type(value) is int and value >= minimum:
        return value, value
    if type(value) is tuple and len(value) == 2:
        first, second = value
        if type(first) is type(second) is int and first >= minimum <= second:
            return value
    if not _is_sequence(value):
        number = check_int(operation, argument, value, minimum)
        return number, number
    if len(value) == 1 and one_for_both:
        return check_pair(operation, argument, value[0], minimum)
    if len(value) != 2:
        raise ValueError(f"{operation}: {argument} expects an int or a pair but got {len(value)} values, {value}")
    return check_int(operation, argument, value[0], minimum), check_int(operation, argument, value[1], minimum)


def _is_sequence(value: Any) -> bool:
    # The first types are told at once; asking an abstract class takes as long as adding two small arrays.
    return not isinstance(value, (int, str)) and isinstance(value, (tuple, list, Sequence))


def check_single(operation: str, argument: str, value: Any, minimum: int) -> int:
    """`value`, an int or a sequence of one, as an int.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or if it is less than `minimum`.
    """
    if not _is_sequence(value):
        return check_int(operation, argument, value, minimum)
    if len(value) != 1:
        raise ValueError(f"{operation}: {argument} expects one int but got {len(value)} values, {value}")
    return check_int(operation, argument, value[0], minimum)


def check_size(operation: str, size: Any, more: Sequence[Any] = (), argument: str = "size") -> tuple[int, ...]:
    """Ints from ``f(2, 3)`` or ``f((2, 3))``: `size` is the first argument, `more` are those after it.

    Raises
    ------
    TypeError
        If it holds anything but ints.
    """
    given = (size, *more) if more or not isinstance(size, (tuple, list)) else size
    return tuple(check_int(operation, argument, n) for n in given)


def check_dim(operation: str, dim: Any, ndim: int, argument: str = "dim") -> int:
    """`dim` counted from the front.

    Raises
    ------
    TypeError
        If it is not an int.
    IndexError
        If there is no such dimension. A 0-d tensor counts as having one, as in PyTorch.
    """
    number = check_int(operation, argument, dim)
    room = max(ndim, 1)
    if not -room <= number < room:
        raise IndexError(
            f"{operation}: {argument} expects {-room} <= {argument} < {room} for a {ndim}-d tensor but got {number}"
        )
    return number % room


def check_dims(operation: str, dim: Any, ndim: int, argument: str = "dim") -> tuple[int, ...]:
    """One, several or all (None) dimensions, counted from the front, in order.

    Raises
    ------
    TypeError, IndexError
        As `check_dim`.
    ValueError
        If a dimension is named twice.
    """
    if dim is None:
        return tuple(range(ndim))
    given = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    dims = tuple(check_dim(operation, d, ndim, argument) for d in given)
    if len(set(dims)) != len(dims):
        raise ValueError(f"{operation}: {argument} expects different dimensions but got {given}")
    return tuple(sorted(dims)) if ndim else ()


def _say(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"
