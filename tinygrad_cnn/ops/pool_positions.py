"""Pooling that picks one element of each window, and the way back.

Which elements are picked does not change with a small step, so their positions are constants of differentiation.
Picking is linear then, and its derivative adds the cotangent at the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.autograd import Variable, primitive
from tinygrad_cnn.errors import check_int, check_pair, check_tensor
from tinygrad_cnn.kernels import positions as kernels
from tinygrad_cnn.kernels.layouts import copied
from tinygrad_cnn.kernels.stochastic_pool import stochastic_positions
from tinygrad_cnn.kernels.windows import Cover
from tinygrad_cnn.ops.elementwise import eq, where
from tinygrad_cnn.ops.piecewise import relu
from tinygrad_cnn.ops.pool import (
    adaptive_size,
    avg_pool2d,
    check_fit,
    check_image,
    even_windows,
    max_pool2d,
    max_pool2d_in,
    window_of,
)
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array, Pair


@primitive(constants=("positions",))
def _take(input: Array, positions: Array) -> Array:
    return kernels.take(input, positions)


@_take.vjp("input")
def _(g, input_shape, positions):
    return _add(g, positions, tuple(input_shape[2:]))


@primitive(constants=("positions",))
def _add(g: Array, positions: Array, size: tuple[int, int]) -> Array:
    return kernels.add(g, positions, size)


@_add.vjp("g")
def _(g, positions):
    return _take(g, positions)


@primitive(constants=("positions",))
def _put(input: Array, positions: Array, size: tuple[int, int]) -> Array:
    return kernels.put(input, positions, size)


@_put.vjp("input")
def _(g, positions):
    return _take_last(g, positions)


@primitive(constants=("positions",))
def _take_last(g: Array, positions: Array) -> Array:
    return kernels.take_last(g, positions)


@_take_last.vjp("g")
def _(g, g_shape, positions):
    return _put(g, positions, tuple(g_shape[2:]))


# -------------------------------------------------------------------------------------- adaptive maximum


def adaptive_max_pool2d(input: Array, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum pooling to a given size: output row i is of rows ``floor(i*H/OH)`` to ``ceil((i+1)*H/OH)``.

    Among equal values the gradient goes to the first.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    output_size : int or pair
        (OH, OW); None for either keeps the input's size.
    return_indices : bool
        Also return where each maximum stands, as ``h * W + w``, int64.

    Raises
    ------
    TypeError, ValueError
        If `output_size` is not made of ints or is negative, or if `input` has another shape.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> adaptive_max_pool2d(tg.arange(12.0).reshape(1, 3, 4), (2, 2)).tolist()
    [[[5.0, 7.0], [9.0, 11.0]]]
    """
    size = adaptive_size("adaptive_max_pool2d", input, output_size)
    if window := even_windows(size, tuple(input.shape[-2:])):
        return max_pool2d(input, *window, return_indices=return_indices)
    rows, columns = (Cover(n, count) for n, count in zip(input.shape[-2:], size, strict=True))
    return max_pool2d_in(input, (rows, columns), return_indices)


# ------------------------------------------------------------------------------------------ stochastic


@primitive(constants=("input",))
def _draw(input: Array, draws: np.ndarray, window: Any) -> Array:
    return stochastic_positions(input, draws, *window)


def stochastic_pool2d(
    input: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    training: bool = False,
) -> Array:
    """In training a random element of each window, else their weighted mean: ``(N, C, H, W) -> (N, C, OH, OW)``.

    Element ``a[i]`` of a window has the probability ``p[i] = a[i] / sum(a)``. In training one is drawn, and the
    gradient goes to it alone. In evaluation the result is the expectation of the draw, ``sum(p*a)``, with the
    derivative of ``sum(a**2) / sum(a)``.

    The method is meant for activations that are not negative. Negative ones count as zeros here, as behind a `relu`,
    and so does the padding: they are never drawn and have no gradient. A window without a positive element gives 0,
    without a gradient.

    Parameters
    ----------
    input : floating tensor (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, ceil_mode
        As for `max_pool2d`.
    training : bool
        Whether to draw; the numbers come from the library's generator (`manual_seed`).

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, if `input` is not floating, or if the window does not fit.

    References
    ----------
    Zeiler, Fergus: Stochastic Pooling for Regularization of Deep Convolutional Neural Networks, ICLR 2013.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.tensor([[[1.0, 3.0], [-2.0, 0.0]]])
    >>> stochastic_pool2d(x, 2).item()
    2.5
    >>> sorted({stochastic_pool2d(x, 2, training=True).item() for _ in range(50)})
    [1.0, 3.0]
    """
    operation = "stochastic_pool2d"
    kernel, steps, pads = window_of(operation, input, kernel_size, stride, padding)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    counts = check_fit(operation, input.shape, kernel, steps, pads, (1, 1), bool(ceil_mode))
    x = relu(_batched(input))
    if training:
        draws = random.generator().random((*x.shape[:2], *counts), np.float32)
        return _like(input, _take(x, _draw(x, draws, (kernel, steps, pads, bool(ceil_mode)))))
    sums = [avg_pool2d(each, kernel, steps, pads, ceil_mode, divisor_override=1) for each in (x * x, x)]
    return _like(input, sums[0] / where(eq(sums[1], 0), 1, sums[1]))


# ------------------------------------------------------------------------------------------- unpooling


def max_unpool2d(
    input: Array,
    indices: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    """Put maxima back to where `max_pool2d` found them, zeros elsewhere: ``(N, C, H, W) -> (N, C, OH, OW)``.

    Where windows overlap, several of `indices` may be equal; the last of them counts, and has the gradient.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    indices : int64 tensor of the same shape
        From `max_pool2d` with `return_indices`: ``h * OW + w``.
    kernel_size, stride, padding : int or pair
        Those of `max_pool2d`.
    output_size : sequence of int, optional
        (OH, OW), or the whole shape. Default: ``OH = (H - 1)*stride - 2*padding + kernel_size``, the smallest size
        that `max_pool2d` maps to H. It may be less or more by less than the stride.

    Raises
    ------
    TypeError
        If `indices` is not int64, or a parameter is not an int.
    ValueError
        If the shapes do not fit, or a parameter is out of range.
    IndexError
        If an index is not within the output.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn.nn.functional import max_pool2d
    >>> y, indices = max_pool2d(tg.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
    >>> max_unpool2d(y, indices, 2).tolist()
    [[[0.0, 0.0], [0.0, 3.0]]]
    """
    operation = "max_unpool2d"
    check_image(operation, input)
    check_tensor(operation, "indices", indices)
    if indices.dtype != np.int64:
        raise TypeError(f"{operation}: indices expects dtype int64 but has {indices.dtype}")
    if tuple(indices.shape) != tuple(input.shape):
        raise ValueError(
            f"{operation}: indices expects the shape of input, {tuple(input.shape)}, but has {tuple(indices.shape)}"
        )
    kernel = check_pair(operation, "kernel_size", kernel_size, 1, one_for_both=False)
    steps = kernel if stride is None else check_pair(operation, "stride", stride, 1, one_for_both=False)
    pads = check_pair(operation, "padding", padding, 0, one_for_both=False)
    size = _unpooled_size(operation, input, kernel, steps, pads, output_size)
    # A copy: what is done to the indices afterwards must not change the gradient.
    positions = copied(np.asarray(indices.data if isinstance(indices, Variable) else indices))
    # Without a sign, a negative index is a huge one.
    if positions.size and positions.view(np.uint64).max() >= size[0] * size[1]:
        raise IndexError(
            f"{operation}: indices expects 0 <= index < {size[0] * size[1]} for an output of {size} but holds "
            f"{positions.min()} to {positions.max()}"
        )
    return _like(input, _put(_batched(input), _batched(positions), size))


def _unpooled_size(
    operation: str,
    input: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    given: Any,
) -> tuple[int, int]:
    usual = [(n - 1) * s + k - 2 * p for n, k, s, p in zip(input.shape[-2:], kernel, stride, padding, strict=True)]
    if given is None:
        wanted = usual
    else:
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 4):
            raise ValueError(f"{operation}: output_size expects 2 or 4 sizes but got {given}")
        wanted = [check_int(operation, "output_size", n) for n in given[-2:]]
    fits = all(abs(n - m) < s for n, m, s in zip(wanted, usual, stride, strict=True))
    if not fits or min(wanted) < 1:
        raise ValueError(
            f"{operation}: output_size expects at least 1 and {usual} up or down by less than stride {stride} but is "
            f"{wanted}"
        )
    return wanted[0], wanted[1]


def _batched(x: Array) -> Array:
    """(C, H, W) as a batch of one."""
    return reshape(x, (1, *x.shape)) if x.ndim == 3 else x


def _like(input: Array, y: Array) -> Array:
    """A batch as `input` is one, or its only image."""
    return reshape(y, tuple(y.shape[1:])) if input.ndim == 3 else y
