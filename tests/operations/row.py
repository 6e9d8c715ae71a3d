"""What the table says of an operation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.testing import Call, tensors
from tinygrad_cnn.testing.differences import outputs_of

__all__ = ["Bad", "Row", "array", "constant", "leaf", "on"]


@dataclass(frozen=True)
class Bad:
    """A call that is refused: with which error, and what its message says."""

    call: Call
    error: type[Exception]
    message: str

    def check(self, function: Callable[..., Any]) -> None:
        with pytest.raises(self.error, match=re.compile(self.message, re.DOTALL)):
            self.call.of(function)


@dataclass(frozen=True)
class Row:
    """An operation: calls of it, its definition in plain NumPy, and calls that it refuses.

    Attributes
    ----------
    name : str
        As it is called in PyTorch; a second row of an operation adds what it is about in brackets.
    function : callable
    calls : Hypothesis strategy of Call
        Tensors in them that require a gradient are differentiated, so they stay away from kinks and ties.
    reference : callable
    bad : sequence of Bad
    points : sequence of (Call, gradients)
        Calls at kinks and ties, and the gradients of the sum of the (first) output there, one for each tensor that
        requires one.
    singular : sequence of (Call, gradients)
        Likewise where NumPy warns.
    public : callable, optional
        What the row proves, if `function` is a wrapper of it.
    """

    name: str
    function: Callable[..., Any]
    calls: Any
    reference: Callable[..., Any]
    bad: tuple[Bad, ...] = ()
    points: tuple[tuple[Call, tuple[Any, ...]], ...] = ()
    singular: tuple[tuple[Call, tuple[Any, ...]], ...] = ()
    public: Callable[..., Any] | None = None

    @property
    def proves(self) -> Callable[..., Any]:
        return self.public or self.function

    def check_point(self, call: Call, expected: tuple[Any, ...]) -> None:
        """Compare the gradients at a kink or a tie."""
        y = outputs_of(call.of(self.function))[0]
        active = [x for x in call.tensors() if x.requires_grad]
        gradients = tg.grad(y, active, np.ones(y.shape), allow_unused=True)
        for gradient, wanted in zip(gradients, expected, strict=True):
            np.testing.assert_array_equal(gradient.data, wanted)

    def check_points(self) -> None:
        """Compare the gradients at all of them."""
        for point in self.points:
            self.check_point(*point)
        with np.errstate(all="ignore"):
            for point in self.singular:
                self.check_point(*point)

    def __repr__(self) -> str:
        return self.name


def array(*values: Any, dtype: Any = np.float64) -> np.ndarray:
    return np.array(values, dtype)


def leaf(*values: Any) -> tg.Tensor:
    """A float64 tensor that requires a gradient."""
    return tg.Tensor(array(*values), requires_grad=True)


def constant(*values: Any, dtype: Any = np.float64) -> tg.Tensor:
    return tg.Tensor(array(*values, dtype=dtype))


def on(elements: Any = None, **options: Any) -> Any:
    """Calls with one tensor of any shape."""
    return tensors(elements=elements, **options).map(Call)
