"""Vectors along one dimension divided by their lengths, and the gradient of that."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.lines import Part, lines_of, sums_of_products, with_each
from tinygrad_cnn.kernels.threads import Call

__all__ = ["unit_vectors", "unit_vectors_grad"]

Array = NDArray[Any]


def unit_vectors(x: Array, dim: int, least: float) -> tuple[Array, Array]:
    """Return ``x / max(length, least)`` and the lengths along `dim`, which is kept with size 1."""
    lines = lines_of(x, dim)
    y = empty_like(x)
    x_, y_ = lines.bring(x), lines.bring(y)
    length, scale = lines.statistic(x.dtype), lines.statistic(x.dtype)

    def plan(part: Part) -> list[Call]:
        out = y_[part]
        return [
            *sums_of_products(x_[part], x_[part], length[part], out),
            partial(np.sqrt, length[part], out=length[part]),
            partial(np.maximum, length[part], least, out=scale[part]),
            partial(np.reciprocal, scale[part], out=scale[part]),
            *with_each(np.multiply, x_[part], scale[part], out),
        ]

    lines.over_blocks(plan)
    return y, np.expand_dims(lines.restore(length), dim)


def unit_vectors_grad(g: Array, y: Array, length: Array, dim: int, least: float) -> Array:
    """Return ``(g - y sum(g y)) / length``, and ``g / least`` for shorter vectors: the gradient of `unit_vectors`."""
    lines = lines_of(y, dim)
    by_x = empty_like(y)
    g_, y_, by_x_ = map(lines.bring, (g, y, by_x))
    length_ = lines.bring_values(length.squeeze(dim))
    total, free = lines.statistic(y.dtype), (length_ > least).astype(y.dtype)
    scale = 1 / np.maximum(length_, y.dtype.type(least))

    def plan(part: Part) -> list[Call]:
        out = by_x_[part]
        return [
            *sums_of_products(g_[part], y_[part], total[part], out),
            partial(np.multiply, total[part], free[part], out=total[part]),
            *with_each(np.multiply, y_[part], total[part], out),
            partial(np.subtract, g_[part], out, out=out),
            *with_each(np.multiply, out, scale[part], out),
        ]

    lines.over_blocks(plan)
    return by_x
