"""A call of an operation, as a value: its arguments, and the same call with other arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.tensor import Tensor

__all__ = ["LAYOUTS", "Call", "laid_out"]

#: Memory layouts that hold the same values in different places.
LAYOUTS = ("contiguous", "transposed", "stepped", "negative")


class Call:
    """Arguments for an operation: ``Call(x, w, stride=2).of(conv2d)`` is ``conv2d(x, w, stride=2)``.

    Tensors may also stand in lists, tuples and dicts among the arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def of(self, function: Callable[..., Any]) -> Any:
        """Call `function` with these arguments."""
        return function(*self.args, **self.kwargs)

    def map(self, change: Callable[[Any], Any]) -> Call:
        """The call with `change` applied to every tensor and array in it, in the order of the arguments."""
        args = _mapped(change, list(self.args))
        return Call(*args, **_mapped(change, self.kwargs))

    def tensors(self) -> list[Tensor]:
        """Its tensors, in the order of the arguments."""
        found: list[Tensor] = []
        self.map(lambda x: found.append(x) if isinstance(x, Tensor) else None)
        return found

    def with_tensors(self, tensors: list[Tensor]) -> Call:
        """The call with other tensors in place of its own."""
        rest = iter(tensors)
        return self.map(lambda x: next(rest) if isinstance(x, Tensor) else x)

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"Call({', '.join([*map(repr, self.args), *named])})"


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, (Tensor, np.ndarray)):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(_mapped(change, x) for x in value)
    if type(value) is dict:
        return {key: _mapped(change, x) for key, x in value.items()}
    return value


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """A copy of an array with another memory layout.

    Parameters
    ----------
    array : array
    layout : str
        "contiguous"; "transposed": column-major; "stepped": every second element of a larger array in each
        dimension; "negative": strides below zero; "broadcast": the first slice along the last dimension repeated,
        with stride zero (the one layout that changes the values).

    Raises
    ------
    ValueError
        For another layout.
    """
    if layout == "contiguous":
        return array.copy()
    if layout == "transposed":
        return np.asarray(array.copy(order="F"))
    if layout == "broadcast":
        return np.broadcast_to(array[..., :1].copy(), array.shape) if array.ndim else array.copy()
    if layout not in LAYOUTS:
        raise ValueError(f"laid_out: layout expects one of {(*LAYOUTS, 'broadcast')} but got {layout!r}")
    step = 2 if layout == "stepped" else -1
    every = (slice(None, None, step),) * array.ndim
    larger = np.zeros(tuple(abs(step) * n for n in array.shape), array.dtype)
    larger[every] = array
    return np.asarray(larger[every])
