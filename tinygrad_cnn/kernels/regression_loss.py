"""Losses between two arrays and their slopes, step by step for `kernels.elementwise.blockwise`.

The steps of a loss ``f(target, x, out)`` write a function of ``x - target`` into `out`, those of its slope
``f_slope(g, target, x, out)`` `g` times the derivative of that function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import Step, scratch_like

__all__ = ["absolute", "absolute_slope", "huber", "huber_slope", "squares", "squares_slope"]

Array = NDArray[Any]
Steps = Iterator[Step]


def absolute(target: Array, x: Array, out: Array) -> Steps:
    """``|d|``."""
    yield np.subtract, x, target, out
    yield np.absolute, out, out


def absolute_slope(g: Array, target: Array, x: Array, out: Array) -> Steps:
    """``g sign(d)``."""
    (difference,) = scratch_like("difference", out, 1)
    yield np.subtract, x, target, difference
    yield np.sign, difference, out  # in place it takes ten times as long
    yield np.multiply, out, g, out


def squares(target: Array, x: Array, out: Array) -> Steps:
    """``d²``."""
    yield np.subtract, x, target, out
    yield np.square, out, out


def squares_slope(g: Array, target: Array, x: Array, out: Array) -> Steps:
    """``2 g d``."""
    yield np.subtract, x, target, out
    yield np.multiply, out, g, out
    yield np.add, out, out, out


def huber(target: Array, x: Array, out: Array, *, delta: float) -> Steps:
    """``c (d - c / 2)``, where c is d, limited to at most `delta`: ``d² / 2``, or ``delta (|d| - delta / 2)``."""
    (difference,) = scratch_like("difference", out, 1)
    yield np.subtract, x, target, difference
    yield np.clip, difference, -delta, delta, out
    yield np.multiply, out, 0.5, out
    yield np.subtract, difference, out, difference
    yield np.add, out, out, out
    yield np.multiply, difference, out, out


def huber_slope(g: Array, target: Array, x: Array, out: Array, *, delta: float) -> Steps:
    """``g c``."""
    yield np.subtract, x, target, out
    yield np.clip, out, -delta, delta, out
    yield np.multiply, out, g, out
