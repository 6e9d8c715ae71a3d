"""Softmax over one dimension, and what is built on it: in blocks that hold that dimension whole, over all threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = [
    "cross_entropy",
    "cross_entropy_grad",
    "log_softmax",
    "log_softmax_grad",
    "pick",
    "put_back",
    "softmax",
    "softmax_grad",
]

Array = NDArray[Any]
Part = tuple[slice, ...]

# Elements of a block. There are steps enough in each to outweigh that it is planned.
_BLOCK = 1 << 17
# Below, all is done at once: a second thread does not help, and BLAS uses one for a product with a vector anyway.
_SMALL = 1 << 15
# The maxima of rows of at most so many elements are found faster column by column.
_NARROW = 32


class _Lines:
    """An array as one of shape (before, along, after), in the order of its memory: `along` is the axis `dim`."""

    def __init__(self, x: Array, dim: int) -> None:
        self.dim = dim
        self.order = memory_order(x)
        place = self.order.index(dim)
        sizes = [x.shape[axis] for axis in self.order]
        self.shape = (math.prod(sizes[:place]), sizes[place], math.prod(sizes[place + 1 :]))
        self.ones = np.ones(self.shape[1], x.dtype)

    def bring(self, x: Array) -> Array:
        """An array of the same shape: a view, if it lies in memory like the one to follow; else a copy."""
        return x.transpose(self.order).reshape(self.shape)

    def bring_choice(self, choice: Array) -> Array:
        """One position along the lines for each of them, as positions in the flat array."""
        before, along, after = self.shape
        order = [axis - (axis > self.dim) for axis in self.order if axis != self.dim]
        places = choice.transpose(order).reshape(before, after)
        if after == 1:
            return places[:, 0] + np.arange(0, before * along, along)
        starts = np.arange(0, before * along * after, along * after)[:, None] + np.arange(after)
        return (places * after + starts).reshape(-1)

    def restore(self, x: Array, shape: tuple[int, ...]) -> Array:
        """One value for each line, as an array of the given shape: the input's without `dim`."""
        order = [axis - (axis > self.dim) for axis in self.order if axis != self.dim]
        inverse = [order.index(axis) for axis in range(len(order))]
        return x.reshape([shape[axis] for axis in order]).transpose(inverse)

    def statistic(self, dtype: Any) -> Array:
        """Memory for one value for each line."""
        return np.empty((self.shape[0], 1, self.shape[2]), dtype)

    def over_blocks(self, plan: Callable[[Part], Iterable[Call]]) -> None:
        """Do what ``plan(part)`` says for each block."""
        before = self.shape[0]
        size = math.prod(self.shape)
        if size <= _SMALL:
            for call in plan(()):
                call()
            return
        axis = 0 if before > 1 else 2
        parts = balanced(self.shape[axis], max(2, -(-size // _BLOCK)))
        blocks = [(*(slice(None),) * axis, part) for part in parts]
        with run_by_run():
            parallel_products(plan, blocks, size << 10)

    def sum_up(self, x: Array, out: Array) -> Call:
        """The sums along the lines; of rows as products with ones, which BLAS adds up several times as fast."""
        if x.dtype.itemsize < 4:
            return partial(np.add.reduce, x, axis=1, keepdims=True, out=out)
        if self.shape[2] == 1:
            return partial(np.matmul, x[:, :, 0], self.ones, out=out[:, 0, 0])
        return partial(np.matmul, self.ones[None], x, out=out)

    def peaks(self, x: Array, out: Array) -> list[Call]:
        """The maxima along the lines. Over rows, NumPy finds where a maximum is several times as fast as what it is."""
        before, along, after = x.shape
        if after > 1:
            return [partial(np.maximum.reduce, x, axis=1, keepdims=True, out=out)]
        if along <= _NARROW:
            columns = scratch("columns", (along, before), x.dtype)
            return [
                partial(np.copyto, columns, x[:, :, 0].T),
                partial(np.maximum.reduce, columns, axis=0, out=out[:, 0, 0]),
            ]
        places = scratch("places", (before,), np.intp)
        return [
            partial(x[:, :, 0].argmax, 1, places),
            partial(np.add, places, np.arange(0, before * along, along), out=places),
            partial(x.reshape(-1).take, places, out=out[:, 0, 0], mode="clip"),
        ]


def _less(x: Array, small: Array, out: Array) -> list[Call]:
    """The calls for ``x - small``; a copy and a plain subtraction are faster than one with many short runs."""
    if (x.shape[2] if x.shape[2] > 1 else x.shape[1]) >= LONG_RUN:
        return [partial(np.subtract, x, small, out=out)]
    return [partial(np.copyto, out, small), partial(np.subtract, x, out, out=out)]


def _exponentials(x: Array, y: Array, peak: Array, total: Array, lines: _Lines) -> list[Call]:
    """Write ``exp(x - peak)``, which cannot overflow, into `y`; its sum and the peaks, too."""
    return [*lines.peaks(x, peak), *_less(x, peak, y), partial(np.exp, y, out=y), lines.sum_up(y, total)]


def softmax(x: Array, dim: int) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over `dim`."""
    lines = _Lines(x, dim)
    y = empty_like(x)
    x_, y_ = lines.bring(x), lines.bring(y)
    peak, total = lines.statistic(x.dtype), lines.statistic(x.dtype)

    def plan(part: Part) -> list[Call]:
        calls = _exponentials(x_[part], y_[part], peak[part], total[part], lines)
        return [*calls, partial(np.divide, y_[part], total[part], out=y_[part])]

    lines.over_blocks(plan)
    return y


def softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """Return ``y (g - sum(g y))``: the gradient of `softmax` from its output."""
    lines = _Lines(y, dim)
    out = empty_like(y)
    g_, y_, out_ = map(lines.bring, (g, y, out))
    total = lines.statistic(y.dtype)

    def plan(part: Part) -> list[Call]:
        return [
            partial(np.multiply, g_[part], y_[part], out=out_[part]),
            lines.sum_up(out_[part], total[part]),
            partial(np.subtract, g_[part], total[part], out=out_[part]),
            partial(np.multiply, out_[part], y_[part], out=out_[part]),
        ]

    lines.over_blocks(plan)
    return out


def log_softmax(x: Array, dim: int) -> Array:
    """Return ``x - log(sum(exp(x)))`` over `dim`."""
    lines = _Lines(x, dim)
    y = empty_like(x)
    x_, y_ = lines.bring(x), lines.bring(y)
    peak, total = lines.statistic(x.dtype), lines.statistic(x.dtype)

    def plan(part: Part) -> list[Call]:
        powers = scratch("powers", y_[part].shape, x.dtype)
        return [
            *lines.peaks(x_[part], peak[part]),
            *_less(x_[part], peak[part], y_[part]),
            partial(np.exp, y_[part], out=powers),
            lines.sum_up(powers, total[part]),
            partial(np.log, total[part], out=total[part]),
            partial(np.subtract, y_[part], total[part], out=y_[part]),
        ]

    lines.over_blocks(plan)
    return y


def log_softmax_grad(g: Array, y: Array, dim: int) -> Array:
    """Return ``g - exp(y) sum(g)``: the gradient of `log_softmax` from its output."""
    lines = _Lines(y, dim)
    out = empty_like(y)
    g_, y_, out_ = map(lines.bring, (g, y, out))
    total = lines.statistic(y.dtype)

    def plan(part: Part) -> list[Call]:
        return [
            partial(np.exp, y_[part], out=out_[part]),
            lines.sum_up(g_[part], total[part]),
            partial(np.multiply, out_[part], total[part], out=out_[part]),
            partial(np.subtract, g_[part], out_[part], out=out_[part]),
        ]

    lines.over_blocks(plan)
    return out


def pick(x: Array, classes: Array) -> Array:
    """Return the elements of `x` (N, C, *) at the classes (N, *)."""
    lines = _Lines(x, 1)
    chosen = lines.bring(x).reshape(-1).take(lines.bring_choice(classes))
    return lines.restore(chosen, classes.shape)


def put_back(values: Array, x: Array, classes: Array) -> Array:
    """Return an array like `x` (N, C, *) with `values` (N, *) at the classes and 0 elsewhere."""
    lines = _Lines(x, 1)
    y = empty_like(x, values.dtype)
    y.fill(0)
    lines.bring(y).reshape(-1)[lines.bring_choice(classes)] = _line_values(lines, values)
    return y


def _line_values(lines: _Lines, values: Array) -> Array:
    """One value for each line, in the order of memory."""
    return values.transpose([axis - (axis > 1) for axis in lines.order if axis != 1]).reshape(-1)


def cross_entropy(x: Array, classes: Array) -> tuple[Array, Array, Array]:
    """Return ``-log_softmax(x)`` at the classes, for `x` (N, C, *), and what `cross_entropy_grad` asks for.

    That is, ``exp(x - peak)`` and its sum over the classes, the latter in the order of memory.
    """
    lines = _Lines(x, 1)
    powers = empty_like(x)
    x_, powers_ = lines.bring(x), lines.bring(powers)
    peak, total = lines.statistic(x.dtype), lines.statistic(x.dtype)
    lines.over_blocks(lambda part: _exponentials(x_[part], powers_[part], peak[part], total[part], lines))
    chosen = x_.reshape(-1).take(lines.bring_choice(classes))
    losses = np.log(total.reshape(-1))
    losses -= chosen - peak.reshape(-1)
    return lines.restore(losses, classes.shape), powers, total


def cross_entropy_grad(factors: Array, classes: Array, powers: Array, total: Array) -> Array:
    """Return ``factors * (softmax(x) - 1 at the class)``, for factors of the shape of `classes`."""
    lines = _Lines(powers, 1)
    gradient = empty_like(powers)
    powers_, gradient_ = lines.bring(powers), lines.bring(gradient)
    values = _line_values(lines, factors)
    scale = values.reshape(total.shape) / total
    lines.over_blocks(lambda part: [partial(np.multiply, powers_[part], scale[part], out=gradient_[part])])
    gradient_.reshape(-1)[lines.bring_choice(classes)] -= values
    return gradient
