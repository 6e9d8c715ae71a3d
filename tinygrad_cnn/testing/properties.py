"""`check_primitive`: the checks of `check_call`, for every call that a strategy draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_cnn.testing.check import check_call
from tinygrad_cnn.testing.strategies import for_all

__all__ = ["check_primitive"]


def check_primitive(primitive: Callable[..., Any], strategy: Any, reference: Callable[..., Any] | None = None) -> None:
    """Prove a primitive, as far as examples can: `check_call` at calls drawn by Hypothesis.

    Parameters
    ----------
    primitive : callable
        A primitive, or any function made of primitives.
    strategy : Hypothesis strategy
        Draws the arguments: a `Call`, a tuple of positional arguments, or a single tensor. Tensors that require a
        gradient are differentiated.
    reference : callable, optional
        The definition in plain NumPy: takes the same arguments, with arrays for tensors.

    Raises
    ------
    AssertionError, GradcheckError
        As `check_call`, for the simplest call that was found to fail.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.autograd import primitive
    >>> from tinygrad_cnn.testing import check_primitive, tensors
    >>> @primitive
    ... def square(x):
    ...     return x * x
    >>> @square.vjp("x")
    ... def _(g, x):
    ...     return 2 * g * x
    >>> check_primitive(square, tensors(), reference=np.square)
    """
    for_all(strategy, lambda drawn: check_call(primitive, drawn, reference))
