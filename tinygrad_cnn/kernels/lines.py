"""An array as lines along one of its dimensions: in blocks of whole lines, over all threads."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import dot_products, ones, parallel_products, product
from tinygrad_cnn.kernels.elementwise import memory_order
from tinygrad_cnn.kernels.reduction import by_columns, peaks_of_rows
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = ["Lines", "Part", "lines_of", "peaks", "sums", "sums_of_products", "with_each"]

Array = NDArray[Any]
Part = tuple[slice, ...]

# Elements of a block: what goes in and what comes out fit into the second-level cache.
_BLOCK = 1 << 18
# Up to here all is done at once: BLAS uses one thread for a product with a vector anyway.
_SMALL = 1 << 15
# From here on a second thread helps.
_THREADS = 3 << 16
# The maxima of rows of at most so many elements are found faster column by column, and their products one by one.
_NARROW = 32
# Elements below which short runs do not matter.
_LEAST_COPY = 1 << 12


class Lines:
    """How arrays of one shape, and one order in memory, are such of shape (before, along, after).

    Parameters
    ----------
    shape : tuple of int
    order : tuple of int
        The axes from the slowest to the fastest.
    dim : int
        The axis that becomes `along`.
    """

    def __init__(self, shape: tuple[int, ...], order: tuple[int, ...], dim: int) -> None:
        if shape[dim] == 1:  # its place in memory means nothing, and may differ between arrays that lie alike
            order = (*(axis for axis in order if axis != dim), dim)
        self.order = order
        place = order.index(dim)
        sizes = [shape[axis] for axis in order]
        self.shape = (math.prod(sizes[:place]), sizes[place], math.prod(sizes[place + 1 :]))
        self.size = math.prod(shape)
        # Of arrays with one value for each line.
        self.value_order = [axis - (axis > dim) for axis in order if axis != dim]
        self.value_inverse = [self.value_order.index(axis) for axis in range(len(shape) - 1)]
        self.value_sizes = [shape[axis] for axis in order if axis != dim]

    def bring(self, x: Array) -> Array:
        """An array of the shape: a view, if it lies in memory in the order; else a copy."""
        return x.transpose(self.order).reshape(self.shape)

    def bring_values(self, values: Array) -> Array:
        """One value for each line, (before, 1, after): of an array with the shape without `dim`."""
        return values.transpose(self.value_order).reshape(self.shape[0], 1, self.shape[2])

    def bring_choice(self, choice: Array) -> Array:
        """One position along the lines for each of them, as positions in the flat array."""
        before, along, after = self.shape
        places = self.bring_values(choice)
        if after == 1:
            return places.reshape(-1) + np.arange(before) * along
        starts = np.arange(before)[:, None, None] * (along * after) + np.arange(after)
        return (places * after + starts).reshape(-1)

    def restore(self, values: Array) -> Array:
        """The opposite of `bring_values`."""
        return values.reshape(self.value_sizes).transpose(self.value_inverse)

    def statistic(self, dtype: Any) -> Array:
        """Memory for one value for each line."""
        return np.empty((self.shape[0], 1, self.shape[2]), dtype)

    def over_blocks(self, plan: Callable[[Part], Iterable[Call]]) -> None:
        """Do what ``plan(part)`` says for each block."""
        if self.size <= _SMALL:
            for call in plan(()):
                call()
            return
        axis = 0 if self.shape[0] > 1 else 2
        parts = balanced(self.shape[axis], 1 if self.size < _THREADS else max(2, -(-self.size // _BLOCK)))
        blocks = [(*(slice(None),) * axis, part) for part in parts]
        with run_by_run() if _has_long_runs(self.shape) else nullcontext():
            parallel_products(plan, blocks, self.size << 10)


_lines = functools.lru_cache(256)(Lines)


def lines_of(x: Array, dim: int) -> Lines:
    """The lines of an array along an axis."""
    return _lines(x.shape, tuple(memory_order(x)), dim)


def sums(x: Array, out: Array, weights: Array | None = None) -> Call:
    """The call for the sums along lines, weighted or not: as products, which BLAS adds up several times as fast."""
    if weights is None:
        if x.dtype.itemsize < 4:
            return partial(np.add.reduce, x, axis=1, keepdims=True, out=out)
        weights = ones(x.shape[1], x.dtype)
    if x.shape[2] == 1:
        return product(x[:, :, 0], weights, out[:, 0, 0])
    return product(weights[None], x, out)


def sums_of_products(a: Array, b: Array, out: Array, spare: Array) -> list[Call]:
    """The calls for the sums of ``a * b`` along lines; `spare` is for the products, if they have to be written."""
    if a.shape[2] == 1 and a.shape[1] > _NARROW:
        return [dot_products(a[:, :, 0], b[:, :, 0], out[:, 0, 0])]
    return [partial(np.multiply, a, b, out=spare), sums(spare, out)]


def peaks(x: Array, out: Array) -> list[Call]:
    """The calls for the maxima along lines. Over rows NumPy finds where a maximum is faster than what it is."""
    _, along, after = x.shape
    if after > 1:
        return [partial(np.maximum.reduce, x, axis=1, keepdims=True, out=out)]
    find = by_columns if along <= _NARROW else peaks_of_rows
    return find(np.maximum, x[:, :, 0], out[:, 0, 0])


def with_each(ufunc: np.ufunc, x: Array, small: Array, out: Array) -> list[Call]:
    """The calls for ``ufunc(x, small, out=out)`` with one number a line; `out` may be `x`.

    Where runs are short, NumPy copies the numbers, and is fast in place; elsewhere it is faster to make that copy.
    """
    if _has_long_runs(x.shape) or out is x or x.size < _LEAST_COPY:
        return [partial(ufunc, x, small, out=out)]
    return [partial(np.copyto, out, small), partial(ufunc, x, out, out=out)]


def _has_long_runs(shape: tuple[int, ...]) -> bool:
    """Whether long runs of memory meet the same number of those that are one for each line."""
    return (shape[2] if shape[2] > 1 else shape[1]) >= LONG_RUN
