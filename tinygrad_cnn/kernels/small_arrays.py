"""Large arrays and small ones that repeat along some of their axes: arithmetic between them, and sums into small ones.

"Small" arrays, statistics and weights, have the number of dimensions of the large ones, and size 1 where they repeat.
All are brought to the order of memory, with neighbouring axes merged that are treated alike, and cut into blocks along
the slowest axis.

Arithmetic with an operand that repeats every few elements takes NumPy two to three times as long as with one that does
not, and sums over short rows longer still. So small arrays are written out, by a mere copy, as far as it takes to have
long runs; and sums are products with ones, which BLAS computes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.blas import dot_products, ones, parallel_products, product
from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.elementwise import memory_order
from tinygrad_cnn.kernels.runs import run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = [
    "Layout",
    "Spread",
    "Sums",
    "at",
    "layout_in",
    "layout_of",
    "summing",
    "summing_products",
    "total",
    "total_of_products",
]

Array = NDArray[Any]
Shape = tuple[int, ...]
# The calls of ``ufunc(x[part], small[part], out=out[part])``, from the first four of these.
Spread = Callable[[np.ufunc, Array, slice, Array], list[Call]]

# Elements of a block. Fewer blocks mean fewer turns with the interpreter lock, which cost more than caches save.
_BLOCK = 1 << 20
# Below, BLAS uses one thread for a product with a vector anyway: nothing to hold.
_SMALL = 1 << 13
# From here on a second thread helps.
_THREADS = 1 << 16
# Rows of at least so many elements, or columns side by side, are multiplied and added up in one go.
_ROW = 32
# Elements from which on a run is worth a turn of its own.
_LONG_RUN = 192
# Elements to which a small array is written out: long runs, which stay in the cache. Where each image has one of its
# own they are shorter, as all of them have to be written.
_TILE, _OWN_TILE = 1 << 14, 1 << 11
# Rows of a tile come in such multiples, so that no run begins in the middle of a vector of the processor.
_VECTOR = 16


class Layout:
    """How large arrays lie in memory, in axes that are treated alike.

    Parameters
    ----------
    shape : tuple of int
        Of the large arrays.
    order : tuple of int
        Their axes, from the slowest to the fastest.
    small : shapes
        Of the small arrays.
    """

    def __init__(self, shape: Shape, order: Shape, *small: Shape) -> None:
        self.order = order
        self.inverse = [self.order.index(axis) for axis in range(len(shape))]
        self.in_order = self.inverse == list(range(len(shape)))
        axes = [axis for axis in self.order if shape[axis] != 1]
        alike = itertools.groupby(axes, lambda axis: tuple(other[axis] == 1 for other in small))
        self.groups = [list(group) for _, group in alike]
        self._merged: dict[Shape, Shape] = {}
        self.shape = self.merged(shape)
        size = math.prod(shape)
        self.work = 0 if size < _SMALL else size << 10
        parts = balanced(self.shape[0], -(-size // _BLOCK) if size < _THREADS else max(2, -(-size // _BLOCK)))
        self.blocks = list(enumerate(parts))

    def merged(self, shape: Shape) -> Shape:
        """A shape in the layout's axes; at least one."""
        known = self._merged.get(shape)
        if known is None:
            known = tuple(math.prod(shape[axis] for axis in group) for group in self.groups) or (1,)
            self._merged[shape] = known
        return known

    def bring(self, x: Array) -> Array:
        """An array in the layout's axes: a view, if it lies in memory like the one to follow; else a copy."""
        return (x if self.in_order else x.transpose(self.order)).reshape(self.merged(x.shape))

    def restore(self, x: Array, shape: Shape) -> Array:
        """The opposite of `bring`."""
        if self.in_order:
            return x.reshape(shape)
        return x.reshape([shape[axis] for axis in self.order]).transpose(self.inverse)

    def over_blocks(self, plan: Callable[[tuple[int, slice]], Iterable[Call]]) -> None:
        """Do what ``plan((index, part))`` says for each block, in threads."""
        if not self.work:
            for block in self.blocks:
                for call in plan(block):
                    call()
            return
        with run_by_run():
            parallel_products(plan, self.blocks, self.work)

    def spread(self, small: Array) -> Spread:
        """How to compute with a small array and a large one.

        Its values must be there now if it repeats along the slowest axis, else when the calls run.
        """
        if small.shape == self.shape or self._run_of_ones(small.shape) >= min(_LONG_RUN, math.prod(self.shape)):
            return lambda ufunc, x, part, out: [partial(ufunc, x, at(small, part), out=out)]
        if small.shape[0] == 1:
            return self._spread_alike(small)
        rows = self._rows_of_tile(small.shape)

        def spread(ufunc: np.ufunc, x: Array, part: slice, out: Array) -> list[Call]:
            if not rows:
                tile = scratch("tile", x.shape, small.dtype)
                return [partial(np.copyto, tile, small[part]), partial(ufunc, x, tile, out=out)]
            calls: list[Call] = []
            row = small[part]
            if small.shape[2:] != self.shape[2:]:
                row = scratch("row", (len(x), 1, *self.shape[2:]), small.dtype)
                calls.append(partial(np.copyto, row, small[part]))
            shape = (x.shape[0], x.shape[1] // rows, rows, *x.shape[2:])
            tile = scratch("tile", (shape[0], 1, *shape[2:]), small.dtype)
            calls.append(partial(np.copyto, tile, row[:, None]))
            calls.append(partial(ufunc, x.reshape(shape), tile, out=out.reshape(shape)))
            return calls

        return spread

    def _run_of_ones(self, small: Shape) -> int:
        """How many neighbours in memory meet the same element of a small array."""
        repeated = itertools.takewhile(lambda sizes: sizes[1] == 1, zip(self.shape[::-1], small[::-1], strict=True))
        return math.prod(size for size, _ in repeated)

    def _rows_of_tile(self, small: Shape) -> int:
        """How often to repeat (n, 1, ...), so that an axis of rows is a multiple; 0 if it has to be all of a block."""
        if len(small) < 3 or small[1] != 1:
            return 0
        count, width = self.shape[1], math.prod(self.shape[2:])
        most = min(count, _OWN_TILE // width)
        rows = next((rows for rows in range(most, 0, -1) if count % rows == 0), 0)
        return rows if rows * width >= _LONG_RUN else 0

    def _spread_alike(self, small: Array) -> Spread:
        """How to compute with a small array that repeats along the slowest axis."""
        width = math.prod(self.shape[1:])
        rows = min(self.shape[0], max(1, _TILE // width))
        rows -= rows % _VECTOR if rows > _VECTOR else 0
        tile = empty((rows, *self.shape[1:]), small.dtype)
        np.copyto(tile, small)
        line = tile.reshape(-1)

        def spread(ufunc: np.ufunc, x: Array, part: slice, out: Array) -> list[Call]:
            whole = len(x) // rows * rows
            rest = (len(x) - whole) * width
            calls: list[Call] = []
            if whole:
                source, target = (array[:whole].reshape(-1, line.size) for array in (x, out))
                calls.append(partial(ufunc, source, line, out=target))
            if rest:
                end, end_target = (array[whole:].reshape(-1) for array in (x, out))
                calls.append(partial(ufunc, end, line[:rest], out=end_target))
            return calls

        return spread


class Sums:
    """The sums of large arrays over the axes in which a small shape, in the layout's axes, has size 1."""

    def __init__(self, layout: Layout, small: Shape, dtype: Any) -> None:
        self.small = small
        self.own = small[0] == layout.shape[0]
        self.parts = np.empty(small if self.own else (len(layout.blocks), *small[1:]), dtype)

    def place(self, index: int, part: slice) -> Array:
        """Where those of a block go."""
        return self.parts[part] if self.own else self.parts[index : index + 1]

    def together(self) -> Array:
        """Those of all blocks."""
        return self.parts if self.parts.shape == self.small else np.add.reduce(self.parts, axis=0, keepdims=True)


_layout = functools.lru_cache(256)(Layout)


def layout_of(x: Array, *small: Shape) -> Layout:
    """The layout of `x` and of small arrays."""
    return _layout(x.shape, tuple(memory_order(x)), *small)


def layout_in(order: Shape, x: Array, *small: Shape) -> Layout:
    """The layout of `x`, with its axes in some order, and of small arrays."""
    return _layout(x.shape, order, *small)


def at(small: Array, part: slice) -> Array:
    """The part of a small array that belongs to a block."""
    return small if small.shape[0] == 1 else small[part]


def _longest_run(shape: Shape, reduced: Shape) -> slice:
    """Neighbouring axes to add up, the most elements that there are: what is left is less work for the next."""
    runs: list[slice] = []
    start = 0
    for differs, axes in itertools.groupby(range(len(shape)), lambda axis: shape[axis] != reduced[axis]):
        stop = start + len(list(axes))
        runs += [slice(start, stop)] if differs else []
        start = stop
    return max(runs, key=lambda run: math.prod(shape[run.start : run.stop]))


@functools.lru_cache(256)
def _sum_steps(shape: Shape, reduced: Shape) -> list[tuple[int, int, Shape]]:
    """How to sum over all axes that `reduced` has with size 1: neighbours after neighbours.

    For each step how many are added up, how many sums lie side by side, and the shape that is left.
    """
    steps = []
    while shape != reduced:
        run = _longest_run(shape, reduced)
        left = shape[: run.start] + reduced[run] + shape[run.stop :]
        steps.append((math.prod(shape[run]), math.prod(shape[run.stop :]), left))
        shape = left
    return steps


def total(x: Array, shape: Shape) -> Array:
    """The sum of a C-contiguous array over all axes that `shape` has with size 1, which are kept: a new array."""
    if x.shape == shape:
        return x.copy()
    for count, after, left in _sum_steps(x.shape, shape):
        terms = ones(count, x.dtype)
        x = (x.reshape(-1, count) @ terms if after == 1 else terms @ x.reshape(-1, count, after)).reshape(left)
    return x


def total_of_products(x: Array, y: Array, shape: Shape) -> Array:
    """The sum of ``x * y``, as `total`."""
    if x.shape == shape:
        return np.multiply(x, y)
    count, after, left = _sum_steps(x.shape, shape)[0]
    if after == 1 and count >= _ROW:  # there is no other thread that may need the interpreter lock
        return total(np.vecdot(x.reshape(-1, count), y.reshape(-1, count)).reshape(left), shape)
    sums = np.empty(left, x.dtype)
    for call in _first_products(x, y, count, after, sums):
        call()
    return total(sums, shape) if left != shape else sums


def summing(x: Array, out: Array) -> list[Call]:
    """The calls that sum a C-contiguous array over all axes that `out`, one too, has with size 1."""
    calls: list[Call] = []
    for count, after, left in _sum_steps(x.shape, out.shape):
        terms = ones(count, x.dtype)
        target = out if left == out.shape else scratch(f"sums {len(calls)}", left, x.dtype)
        if after == 1:
            calls.append(product(x.reshape(-1, count), terms, target.reshape(-1)))
        else:
            calls.append(product(terms, x.reshape(-1, count, after), target.reshape(-1, after)))
        x = target
    return calls or [partial(np.copyto, out, x)]


def summing_products(x: Array, y: Array, out: Array) -> list[Call]:
    """The calls that sum ``x * y``, as `summing`."""
    if x.shape == out.shape:
        return [partial(np.multiply, x, y, out=out)]
    count, after, left = _sum_steps(x.shape, out.shape)[0]
    target = out if left == out.shape else scratch("products", left, x.dtype)
    calls = _first_products(x, y, count, after, target)
    return calls if target is out else [*calls, *summing(target, out)]


def _first_products(x: Array, y: Array, count: int, after: int, out: Array) -> list[Call]:
    """The calls for the first step of `summing_products`: `count` terms for each sum, `after` sums side by side."""
    if after >= _ROW:
        shape = (-1, count, after)
        return [partial(np.einsum, "ijk,ijk->ik", x.reshape(shape), y.reshape(shape), out=out.reshape(-1, after))]
    if after == 1 and count >= _ROW:
        return [dot_products(x.reshape(-1, count), y.reshape(-1, count), out.reshape(-1))]
    terms = scratch("product", x.shape, x.dtype)
    return [partial(np.multiply, x, y, out=terms), *summing(terms, out)]
