"""Sums of losses between two arrays, in one pass: no loss of a single element is ever written to memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, slices
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["huber_slope", "sum_of_huber", "sum_of_squares"]

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


def huber_slope(g: Array, x: Array, target: Array, delta: float) -> Array:
    """Return ``g * c``, with c as in `sum_of_huber`, for a single number `g`."""
    out = empty_like(x)

    def plan(part: Any) -> list[Call]:
        return [
            partial(np.subtract, x[part], target[part], out=out[part]),
            partial(out[part].clip, -delta, delta, out[part]),
            partial(np.multiply, out[part], g, out=out[part]),
        ]

    blocks: list[Any] = slices(x, _BLOCK) if x.size > _BLOCK else [...]  # which even 0-d arrays have views for
    parallel_calls(plan, blocks)
    return out


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
