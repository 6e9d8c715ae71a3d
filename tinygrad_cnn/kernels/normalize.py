"""Normalisation: the moments over some axes, what they make of an array, and the gradient of that.

Arrays are brought to the order of their memory, with neighbouring axes merged that are treated alike, and cut into
blocks along the slowest axis. "Small" arrays, statistics and weights, have the number of dimensions of the large ones,
and size 1 where they repeat.

Arithmetic with an operand that repeats every few elements takes NumPy two to three times as long as with one that does
not, and sums over short rows longer still. So small arrays are written out for a block, by a mere copy, unless the runs
are long; and sums are products with ones, which BLAS computes.
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

from tinygrad_cnn.kernels import layer_norm
from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import empty, scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call

__all__ = ["moments", "normalize", "normalize_grad", "scale_shift", "scale_shift_grad"]

Array = NDArray[Any]
Shape = tuple[int, ...]

# Elements of a block: the fewer blocks, the less Python; larger ones would leave the second-level cache.
_BLOCK = 1 << 18
# Below, BLAS uses one thread for a product with a vector anyway: nothing to hold.
_SMALL = 1 << 13
# From here on a second thread helps.
_THREADS = 1 << 16
# Rows of at least so many elements are multiplied and added up in one go.
_ROW = 32


class _Layout:
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
        axes = [axis for axis in self.order if shape[axis] != 1]
        alike = itertools.groupby(axes, lambda axis: tuple(other[axis] == 1 for other in small))
        self.groups = [list(group) for _, group in alike]
        self.shape = self.merged(shape)
        size = math.prod(shape)
        self.work = 0 if size < _SMALL else size << 10
        parts = balanced(self.shape[0], -(-size // _BLOCK) if size < _THREADS else max(2, -(-size // _BLOCK)))
        self.blocks = list(enumerate(parts))

    def merged(self, shape: Shape) -> Shape:
        """A shape in the layout's axes; at least one."""
        return tuple(math.prod(shape[axis] for axis in group) for group in self.groups) or (1,)

    def bring(self, x: Array) -> Array:
        """An array in the layout's axes: a view, if it lies in memory like the one to follow; else a copy."""
        return x.transpose(self.order).reshape(self.merged(x.shape))

    def restore(self, x: Array, shape: Shape) -> Array:
        """The opposite of `bring`."""
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

    def repeated(self, small: Array) -> Callable[[slice], tuple[Array, list[Call]]]:
        """A function that says how a small array is repeated to the shape of a block: where, and by what calls.

        The place is good until the next calls of this kind.
        """
        if small.shape == self.shape or (small.shape[-1] == 1 and self.shape[-1] >= LONG_RUN):
            return lambda part: (small if small.shape[0] == 1 else small[part], [])
        if small.shape[0] != 1:

            def repeat(part: slice) -> tuple[Array, list[Call]]:
                block = scratch("repeated", self.block(part), small.dtype)
                return block, [partial(np.copyto, block, small[part])]

            return repeat
        # The same for all blocks, but that the last one may be shorter.
        tile = empty(self.block(self.blocks[0][1]), small.dtype)
        np.copyto(tile, small)
        return lambda part: (tile[: part.stop - part.start], [])

    def block(self, part: slice) -> Shape:
        """The shape of a block."""
        return (part.stop - part.start, *self.shape[1:])


class _Sums:
    """The sums of large arrays over the axes in which a small shape, in the layout's axes, has size 1."""

    def __init__(self, layout: _Layout, small: Shape, dtype: Any) -> None:
        self.layout = layout
        self.small = small
        self.own = small[0] == layout.shape[0]
        self.parts = np.empty(small if self.own else (len(layout.blocks), *small[1:]), dtype)

    def place(self, index: int, part: slice) -> Array:
        """Where those of a block go."""
        return self.parts[part] if self.own else self.parts[index : index + 1]

    def together(self) -> Array:
        """Those of all blocks."""
        return self.parts if self.parts.shape == self.small else np.add.reduce(self.parts, axis=0, keepdims=True)


@functools.lru_cache(256)
def _layout(*key: Shape) -> _Layout:
    return _Layout(*key)


def _layout_of(x: Array, *small: Shape) -> _Layout:
    return _layout(x.shape, tuple(memory_order(x)), *small)


def _longest_run(shape: Shape, reduced: Shape) -> slice:
    """Neighbouring axes to add up, the most elements that there are: what is left is less work for the next."""
    runs: list[slice] = []
    start = 0
    for differs, axes in itertools.groupby(range(len(shape)), lambda axis: shape[axis] != reduced[axis]):
        stop = start + len(list(axes))
        runs += [slice(start, stop)] if differs else []
        start = stop
    return max(runs, key=lambda run: math.prod(shape[run.start : run.stop]))


def total(x: Array, shape: Shape) -> Array:
    """The sum of a C-contiguous array over all axes that `shape` has with size 1; they are kept."""
    out = np.empty(shape, x.dtype)
    for call in _summing(x, out):
        call()
    return out


def _summing(x: Array, out: Array) -> list[Call]:
    """The calls that sum a C-contiguous array over all axes that `out`, one too, has with size 1."""
    calls: list[Call] = []
    shape = out.shape
    while x.shape != shape:
        run = _longest_run(x.shape, shape)
        count, after = math.prod(x.shape[run]), math.prod(x.shape[run.stop :])
        ones = np.ones(count, x.dtype)
        left = x.shape[: run.start] + shape[run] + x.shape[run.stop :]
        target = out if left == shape else scratch(f"sums {len(calls)}", left, x.dtype)
        if after == 1:
            calls.append(partial(np.matmul, x.reshape(-1, count), ones, out=target.reshape(-1)))
        else:
            calls.append(partial(np.matmul, ones, x.reshape(-1, count, after), out=target.reshape(-1, after)))
        x = target
    return calls or [partial(np.copyto, out, x)]


def _summing_products(x: Array, y: Array, out: Array) -> list[Call]:
    """The calls that sum ``x * y``, as `_summing`."""
    shape = out.shape
    if x.shape == shape:
        return [partial(np.multiply, x, y, out=out)]
    run = _longest_run(x.shape, shape)
    count = math.prod(x.shape[run])
    if run.stop < x.ndim or count < _ROW:
        product = scratch("product", x.shape, x.dtype)
        return [partial(np.multiply, x, y, out=product), *_summing(product, out)]
    left = x.shape[: run.start] + shape[run]
    target = out if left == shape else scratch("products", left, x.dtype)
    dot = partial(np.vecdot, x.reshape(-1, count), y.reshape(-1, count), out=target.reshape(-1))
    return [dot] if target is out else [dot, *_summing(target, out)]


def moments(x: Array, axes: Shape) -> tuple[Array, Array]:
    """Return the mean and the biased variance of `x` over `axes`, which are kept with size 1.

    The variance is the mean of the squares less the square of the mean; if that is the larger one somewhere, which
    would cost digits, the mean is subtracted first.
    """
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    if not x.size:
        return np.full(shape, np.nan, x.dtype), np.full(shape, np.nan, x.dtype)
    layout = _layout_of(x, shape)
    x_, small, count = layout.bring(x), layout.merged(shape), x.dtype.type(x.size // math.prod(shape))
    sums, squares = _Sums(layout, small, x.dtype), _Sums(layout, small, x.dtype)

    def add_up(block: tuple[int, slice]) -> list[Call]:
        values = x_[block[1]]
        return [*_summing(values, sums.place(*block)), *_summing_products(values, values, squares.place(*block))]

    layout.over_blocks(add_up)
    mean = sums.together() / count
    variance = squares.together() / count - mean * mean
    if np.any(mean * mean > 16 * variance):

        def add_up_deviations(block: tuple[int, slice]) -> list[Call]:
            values = x_[block[1]]
            deviations = scratch("deviations", values.shape, x.dtype)
            middle = mean[block[1]] if sums.own else mean
            subtract = partial(np.subtract, values, middle, out=deviations)
            return [subtract, *_summing_products(deviations, deviations, squares.place(*block))]

        layout.over_blocks(add_up_deviations)
        variance = squares.together() / count
    return layout.restore(mean, shape), layout.restore(variance, shape)


def scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    """Return ``x * scale + shift``, for small `scale` and `shift` that repeat alike."""
    y = empty_like(x)
    if not x.size or scale.shape == x.shape:
        return np.add(np.multiply(x, scale, out=y), shift, out=y)
    layout = _layout_of(x, scale.shape)
    x_, y_ = layout.bring(x), layout.bring(y)
    scales, shifts = layout.repeated(layout.bring(scale)), layout.repeated(layout.bring(shift))

    def plan(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        (factor, bring_factor), (term, bring_term) = scales(part), shifts(part)
        return [
            *bring_factor,
            partial(np.multiply, x_[part], factor, out=y_[part]),
            *bring_term,
            partial(np.add, y_[part], term, out=y_[part]),
        ]

    layout.over_blocks(plan)
    return y


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `scale_shift` by `x`, by `scale` and by `shift`."""
    if not x.size:
        return np.zeros_like(x), np.zeros_like(scale), np.zeros_like(scale)
    layout = _layout_of(x, scale.shape)
    by_x = empty_like(x)
    g_, x_, scale_, out = map(layout.bring, (g, x, scale, by_x))
    scales = layout.repeated(scale_)
    by_scale, by_shift = (_Sums(layout, scale_.shape, x.dtype) for _ in range(2))

    def plan(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        factor, bring_factor = scales(part)
        return [
            *_summing(g_[part], by_shift.place(*block)),
            *_summing_products(g_[part], x_[part], by_scale.place(*block)),
            *bring_factor,
            partial(np.multiply, g_[part], factor, out=out[part]),
        ]

    layout.over_blocks(plan)
    return by_x, layout.restore(by_scale.together(), scale.shape), layout.restore(by_shift.together(), scale.shape)


def normalize(x: Array, mean: Array, rstd: Array, weight: Array, bias: Array) -> Array:
    """Return ``(x - mean) * rstd * weight + bias``, for small arrays but for `x`."""
    if not x.size:
        return np.empty_like(x)
    x, mean = _centred(x, mean, rstd)
    if _elementwise(x, rstd, weight):
        return layer_norm.normalize(x, mean, rstd, weight, bias)
    scale = rstd * weight
    return scale_shift(x, scale, bias - mean * scale)


def _centred(x: Array, mean: Array, rstd: Array) -> tuple[Array, Array]:
    """`x` and its mean; less the mean where that is so large that ``x rstd - mean rstd`` would lose digits."""
    return (x - mean, mean - mean) if np.any(np.absolute(mean * rstd) > 16) else (x, mean)


def _elementwise(x: Array, rstd: Array, weight: Array) -> bool:
    """Whether there are statistics for each row and weights for each column, so that nothing repeats in both."""
    return rstd.size * weight.size == x.size == math.prod(np.broadcast_shapes(rstd.shape, weight.shape))


def normalize_grad(g: Array, x: Array, mean: Array, rstd: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `normalize` by `x`, by `weight` and by `bias`, where mean and rstd come from `x`.

    With ``h = g weight`` and ``z = (x - mean) rstd`` the first is ``rstd (h - mean(h) - z mean(h z))``: Ioffe &
    Szegedy (2015), section 3, with the sums gathered. It is evaluated as ``g (rstd weight) + x slope + offset``.
    """
    if not x.size:
        return np.zeros_like(x), np.zeros_like(weight), np.zeros_like(weight)
    x, mean = _centred(x, mean, rstd)
    if _elementwise(x, rstd, weight):
        return layer_norm.normalize_grad(g, x, mean, rstd, weight)
    scale = rstd * weight
    layout = _layout_of(x, rstd.shape, weight.shape)
    g_, x_, mean_, rstd_, weight_ = map(layout.bring, (g, x, mean, rstd, weight))
    small = layout.merged(scale.shape)
    count = x.dtype.type(x.size // rstd.size)
    sums, products = _Sums(layout, small, x.dtype), _Sums(layout, small, x.dtype)

    def add_up(block: tuple[int, slice]) -> list[Call]:
        g_block, x_block = g_[block[1]], x_[block[1]]
        return [*_summing(g_block, sums.place(*block)), *_summing_products(g_block, x_block, products.place(*block))]

    layout.over_blocks(add_up)
    sum_g = sums.together()
    sum_gz = (products.together() - mean_ * sum_g) * rstd_
    mean_h, mean_hz = (total(s * weight_, rstd_.shape) / count for s in (sum_g, sum_gz))
    slope = -rstd_ * rstd_ * mean_hz
    offset = -mean_ * slope - rstd_ * mean_h
    by_x = empty_like(x)
    out = layout.bring(by_x)
    scales, slopes, offsets = map(layout.repeated, (layout.bring(scale), slope, offset))

    def apply(block: tuple[int, slice]) -> list[Call]:
        part = block[1]
        line = scratch("line", layout.block(part), x.dtype)
        (factor, bring_factor), (rise, bring_rise), (start, bring_start) = scales(part), slopes(part), offsets(part)
        return [
            *bring_rise,
            partial(np.multiply, x_[part], rise, out=line),
            *bring_start,
            partial(np.add, line, start, out=line),
            *bring_factor,
            partial(np.multiply, g_[part], factor, out=out[part]),
            partial(np.add, out[part], line, out=out[part]),
        ]

    layout.over_blocks(apply)
    by_weight, by_bias = (layout.restore(total(s, weight_.shape), weight.shape) for s in (sum_gz, sum_g))
    return by_x, by_weight, by_bias
