"""Checks of the sizes that layers are made with."""

from __future__ import annotations

import operator
from typing import Any


def size(layer: str, name: str, value: Any, minimum: int = 0) -> int:
    """Return `value` as an int of at least `minimum`, or raise TypeError or ValueError."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{layer}: {name} expects an integer but got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{layer}: {name} expects at least {minimum} but got {number}")
    return number


def pair(layer: str, name: str, value: Any, minimum: int = 0) -> tuple[int, int]:
    """Return `value`, one integer or two, as a pair (vertical, horizontal)."""
    if not isinstance(value, tuple | list):
        return (size(layer, name, value, minimum),) * 2
    if len(value) != 2:
        raise ValueError(f"{layer}: {name} expects one integer or a pair but got {value!r}")
    return size(layer, name, value[0], minimum), size(layer, name, value[1], minimum)


def single(layer: str, name: str, value: Any, minimum: int = 0) -> tuple[int]:
    """Return `value`, one integer or a sequence of one, as a tuple."""
    if isinstance(value, tuple | list):
        if len(value) != 1:
            raise ValueError(f"{layer}: {name} expects one integer but got {value!r}")
        value = value[0]
    return (size(layer, name, value, minimum),)
