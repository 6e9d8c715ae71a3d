"""Normalisation: the moments over some axes, what they make of an array, and the gradient of that.

Arrays are brought to the order of their memory, with neighbouring axes merged that are treated alike, and cut into
blocks along the slowest axis. "Small" arrays, statistics and weights, have the number of dimensions of the large ones,
and size 1 where they repeat.

Arithmetic with an operand that repeats takes NumPy two to three times as long as with one that does not, and sums over
short rows longer still. So small arrays are written out for a block, by a mere copy, and sums are products with ones,
which BLAS computes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import layer_norm
from tinygrad_cnn.kernels.blas import parallel_blocks
from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import empty_like, memory_order
from tinygrad_cnn.kernels.shapes import balanced

__all__ = ["moments", "normalize", "normalize_grad", "scale_shift"]

Array = NDArray[Any]
Shape = tuple[int, ...]

# Elements of a block: the fewer blocks, the less Python; larger ones would leave the second-level cache.
_BLOCK = 1 << 17
# Below, BLAS uses one thread for a product with a vector anyway: nothing to hold.
_SMALL = 1 << 13
# Rows of at least so many elements are multiplied and added up in one go.
_ROW = 32


class _Layout:
    """How large arrays lie in memory, in axes that are treated alike.

    Parameters
    ----------
    x : array
        The large array to follow.
    small : shapes
        Of the small arrays.
    """

    def __init__(self, x: Array, *small: Shape) -> None:
        self.order = memory_order(x)
        self.inverse = [self.order.index(axis) for axis in range(x.ndim)]
        axes = [axis for axis in self.order if x.shape[axis] != 1]
        alike = itertools.groupby(axes, lambda axis: tuple(shape[axis] == 1 for shape in small))
        self.groups = [list(group) for _, group in alike]
        self.shape = self.merged(x.shape)
        self.work = 0 if x.size < _SMALL else x.size << 10
        self.blocks = balanced(self.shape[0], -(-x.size // _BLOCK))

    def merged(self, shape: Shape) -> Shape:
        """A shape in the layout's axes; at least one."""
        return tuple(math.prod(shape[axis] for axis in group) for group in self.groups) or (1,)

    def bring(self, x: Array) -> Array:
        """An array in the layout's axes: a view, if it lies in memory like the one to follow; else a copy."""
        return x.transpose(self.order).reshape(self.merged(x.shape))

    def restore(self, x: Array, shape: Shape) -> Array:
        """The opposite of `bring`."""
        return x.reshape([shape[axis] for axis in self.order]).transpose(self.inverse)

    def over_blocks(self, function: Callable[[slice], tuple[Array, ...] | None]) -> Any:
        """Call ``function(part)`` for each block, in threads; of several results, those of all blocks together."""
        results: list[Any] = [None] * len(self.blocks)

        def compute(index: int) -> None:
            results[index] = function(self.blocks[index])

        parallel_blocks(compute, list(range(len(results))), self.work)
        return results if results[0] is None else zip(*results, strict=True)

    def repeated(self, small: Array) -> Callable[[slice], Array]:
        """A function that repeats a small array to the shape of a block; good until it, or another one, is called."""
        if small.shape == self.shape:
            return lambda part: small[part]
        if small.shape[0] != 1:

            def repeat(part: slice) -> Array:
                block = scratch("repeated", self.block(part), small.dtype)
                np.copyto(block, small[part])
                return block

            return repeat
        # The same for all blocks, but that the last one may be shorter.
        tile = np.ascontiguousarray(np.broadcast_to(small, self.block(self.blocks[0])))
        return lambda part: tile[: part.stop - part.start]

    def block(self, part: slice) -> Shape:
        """The shape of a block."""
        return (part.stop - part.start, *self.shape[1:])


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
    while x.shape != shape:
        run = _longest_run(x.shape, shape)
        count, after = math.prod(x.shape[run]), math.prod(x.shape[run.stop :])
        ones = np.ones(count, x.dtype)
        summed = x.reshape(-1, count) @ ones if after == 1 else ones @ x.reshape(-1, count, after)
        x = summed.reshape(x.shape[: run.start] + shape[run] + x.shape[run.stop :])
    return x


def total_product(x: Array, y: Array, shape: Shape) -> Array:
    """The sum of ``x * y``, as `total`."""
    if x.shape == shape:
        return x * y
    run = _longest_run(x.shape, shape)
    count = math.prod(x.shape[run])
    if run.stop < x.ndim or count < _ROW:
        return total(np.multiply(x, y, out=scratch("product", x.shape, x.dtype)), shape)
    summed = np.vecdot(x.reshape(-1, count), y.reshape(-1, count))
    return total(summed.reshape(x.shape[: run.start] + shape[run]), shape)


def joined(parts: tuple[Array, ...], shape: Shape) -> Array:
    """Small arrays of all blocks as one: added up, or one after the other where the first axis does not repeat."""
    if len(parts) == 1:
        return parts[0]
    together = np.concatenate(parts)
    return together if together.shape == shape else np.add.reduce(together, axis=0, keepdims=True)


def moments(x: Array, axes: Shape) -> tuple[Array, Array]:
    """Return the mean and the biased variance of `x` over `axes`, which are kept with size 1.

    The blocks are merged as in Chan, Golub & LeVeque (1983). The variance is the mean of the squares less the square
    of the mean, but where the mean is the larger one, which would cost digits: there, the mean is subtracted first.
    """
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    if not x.size:
        return np.full(shape, np.nan, x.dtype), np.full(shape, np.nan, x.dtype)
    layout = _Layout(x, shape)
    x_, small, number = layout.bring(x), layout.merged(shape), x.dtype.type

    def compute(part: slice) -> tuple[Array, ...]:
        block = x_[part]
        reduced = tuple(map(min, block.shape, small))
        count = number(block.size // math.prod(reduced))
        if block.shape == reduced:
            return block.copy(), np.zeros_like(block), np.full((1,) * block.ndim, count)
        mean = total(block, reduced) / count
        variance = total_product(block, block, reduced) / count - mean * mean
        if np.any(mean * mean > 16 * variance):
            deviations = np.subtract(block, mean, out=scratch("deviations", block.shape, block.dtype))
            variance = total_product(deviations, deviations, reduced) / count
        return mean, variance, np.full((1,) * block.ndim, count)

    means, variances, counts = map(np.concatenate, layout.over_blocks(compute))
    if means.shape != small:
        shares = counts * number(math.prod(shape) / x.size)
        mean = np.sum(means * shares, axis=0, keepdims=True)
        variances = np.sum((variances + (means - mean) ** 2) * shares, axis=0, keepdims=True)
        means = mean
    return layout.restore(means, shape), layout.restore(variances, shape)


def scale_shift(x: Array, scale: Array, shift: Array) -> Array:
    """Return ``x * scale + shift``, for small `scale` and `shift` that repeat alike."""
    y = empty_like(x)
    if not x.size or scale.shape == x.shape:
        return np.add(np.multiply(x, scale, out=y), shift, out=y)
    layout = _Layout(x, scale.shape)
    x_, y_ = layout.bring(x), layout.bring(y)
    scales, shifts = layout.repeated(layout.bring(scale)), layout.repeated(layout.bring(shift))

    def compute(part: slice) -> None:
        np.multiply(x_[part], scales(part), out=y_[part])
        np.add(y_[part], shifts(part), out=y_[part])

    layout.over_blocks(compute)
    return y


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
    layout = _Layout(x, rstd.shape, weight.shape)
    g_, x_, mean_, rstd_, weight_ = map(layout.bring, (g, x, mean, rstd, weight))
    small = layout.merged(scale.shape)
    count = x.dtype.type(x.size // rstd.size)

    def add_up(part: slice) -> tuple[Array, ...]:
        reduced = tuple(map(min, layout.block(part), small))
        return total(g_[part], reduced), total_product(g_[part], x_[part], reduced)

    sum_g, sum_gx = (joined(parts, small) for parts in layout.over_blocks(add_up))
    sum_gz = (sum_gx - mean_ * sum_g) * rstd_
    mean_h, mean_hz = (total(s * weight_, rstd_.shape) / count for s in (sum_g, sum_gz))
    slope = -rstd_ * rstd_ * mean_hz
    offset = -mean_ * slope - rstd_ * mean_h
    by_x = empty_like(x)
    out = layout.bring(by_x)
    scales, slopes, offsets = map(layout.repeated, (layout.bring(scale), slope, offset))

    def apply(part: slice) -> None:
        line = np.multiply(x_[part], slopes(part), out=scratch("line", layout.block(part), x.dtype))
        np.add(line, offsets(part), out=line)
        np.multiply(g_[part], scales(part), out=out[part])
        np.add(out[part], line, out=out[part])

    layout.over_blocks(apply)
    by_weight, by_bias = (layout.restore(total(s, weight_.shape), weight.shape) for s in (sum_gz, sum_g))
    return by_x, by_weight, by_bias
