"""Losses between two arrays, step by step for `kernels.elementwise.blockwise`, and their sums.

A sum takes one pass: no loss of a single element is ever written to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import Step, memory_order, number, scratch_like
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = [
    "difference",
    "huber",
    "huber_slope",
    "sign_slope",
    "squares",
    "squares_slope",
    "sum_of_huber",
    "sum_of_squares",
]

Array = NDArray[Any]

# Elements of a block. Rounding errors grow with the root of it at most: BLAS adds up in many places at once.
_BLOCK = 1 << 17


def sum_of_squares(x: Array, target: Array) -> Any:
    """Return the sum of ``(x - target) ** 2``, for arrays of one shape."""

    def plan(x: Array, target: Array, total: Array) -> list[Call]:
        difference = scratch("difference", x.shape, x.dtype)
        return [partial(np.subtract, x, target, out=difference), partial(np.dot, difference, difference, total)]

    return _summed(plan, x, target)


def sum_of_huber(x: Array, target: Array, delta: float) -> Any:
    """Return the sum of ``c (d - c / 2)``, where d is ``x - target`` and c is that, clipped to at most `delta`."""

    def plan(x: Array, target: Array, total: Array) -> list[Call]:
        difference, clipped = (scratch(name, x.shape, x.dtype) for name in ("difference", "clipped"))
        half = x.dtype.type(0.5)
        return [
            partial(np.subtract, x, target, out=difference),
            partial(difference.clip, -delta, delta, clipped),
            # d - c / 2, in place
            partial(np.multiply, clipped, half, out=clipped),
            partial(np.subtract, difference, clipped, out=difference),
            partial(np.dot, clipped, difference, total),
        ]

    return 2 * _summed(plan, x, target)


def difference(target: Array, x: Array, out: Array) -> Iterator[Step]:
    """The steps for ``|x - target|``."""
    yield np.subtract, x, target, out
    yield np.absolute, out, out


def sign_slope(g: Array, target: Array, x: Array, out: Array) -> Iterator[Step]:
    """The steps for ``g * sign(x - target)``."""
    yield np.subtract, x, target, out
    yield np.sign, out, out
    yield np.multiply, out, g, out


def squares(target: Array, x: Array, out: Array) -> Iterator[Step]:
    """The steps for ``(x - target)²``."""
    yield np.subtract, x, target, out
    yield np.square, out, out


def squares_slope(g: Array, target: Array, x: Array, out: Array) -> Iterator[Step]:
    """The steps for ``2 g (x - target)``."""
    yield np.subtract, x, target, out
    yield np.multiply, out, g, out
    yield np.add, out, out, out


def huber(target: Array, x: Array, out: Array, *, delta: float) -> Iterator[Step]:
    """The steps for ``c (d - c / 2)``, with d and c as in `sum_of_huber`."""
    (clipped,) = scratch_like("clipped", out, 1)
    yield np.subtract, x, target, out
    yield out.clip, number(-delta, out.dtype), number(delta, out.dtype), clipped
    yield np.multiply, clipped, 0.5, clipped
    yield np.subtract, out, clipped, out
    yield np.multiply, out, clipped, out
    yield np.add, out, out, out


def huber_slope(g: Array, target: Array, x: Array, out: Array, *, delta: float) -> Iterator[Step]:
    """The steps for ``g * c``, with c as in `sum_of_huber`."""
    yield np.subtract, x, target, out
    yield out.clip, number(-delta, out.dtype), number(delta, out.dtype), out
    yield np.multiply, out, g, out


def _summed(plan: Callable[[Array, Array, Array], list[Call]], x: Array, target: Array) -> Any:
    order = memory_order(x)
    first, second = x.transpose(order).reshape(-1), target.transpose(order).reshape(-1)
    parts = balanced(x.size, -(-x.size // _BLOCK))
    totals = np.empty(len(parts), x.dtype)
    parallel_products(
        lambda block: plan(first[block[1]], second[block[1]], totals[block[0], ...]),
        list(enumerate(parts)),
        x.size if len(parts) == 1 else x.size << 10,
    )
    return np.add.reduce(totals)
