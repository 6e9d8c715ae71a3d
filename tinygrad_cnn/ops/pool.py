"""Pooling in two dimensions.

Max pooling gathers; its derivative scatters the cotangent to the first maximum of each window; the derivative of
that gathers again. Which pixel won does not change with a small step, so the winners are constants of
differentiation, found again from the input and the output. Mean pooling is linear, and its derivative its adjoint.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_int, check_pair
from tinygrad_cnn.kernels import pool as kernels
from tinygrad_cnn.kernels.shapes import output_size
from tinygrad_cnn.ops.linalg import matmul
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array, Pair


class MaxWindow(NamedTuple):
    """How the window of max pooling moves."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool


class MeanWindow(NamedTuple):
    """How the window of mean pooling moves, and what it divides by."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil_mode: bool
    count_include_pad: bool
    divisor_override: int | None


# ---------------------------------------------------------------------------------------- max pooling


@primitive
def _max_pool2d(input: Array, window: MaxWindow) -> Array:
    return kernels.max_pool2d(input, *window)


@_max_pool2d.vjp("input")
def _(g, input, output, window):
    return _scatter(g, input, output, window)


@primitive(constants=("input", "output"))
def _scatter(g: Array, input: Array, output: Array, window: MaxWindow) -> Array:
    return kernels.max_pool2d_scatter(g, input, output, *window)


@_scatter.vjp("g")
def _(g, input, output, window):
    return _gather(g, input, output, window)


@primitive(constants=("input", "output"))
def _gather(g: Array, input: Array, output: Array, window: MaxWindow) -> Array:
    return kernels.max_pool2d_gather(g, input, output, *window)


@_gather.vjp("g")
def _(g, input, output, window):
    return _scatter(g, input, output, window)


@primitive(constants=("input",))
def _indices(input: Array, window: MaxWindow) -> Array:
    return kernels.max_pool2d_indices(input, *window)


def max_pool2d(
    input: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window: ``(N, C, H, W) -> (N, C, OH, OW)``, or without N.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`. Windows may overlap.
    padding : int or pair
        Minus infinity added on both sides; at most half the kernel.
    dilation : int or pair
        Steps between the pixels of a window.
    ceil_mode : bool
        Let the last window start inside and end outside of the padded image, instead of dropping it.
    return_indices : bool
        Also return where each maximum stands, as ``h * W + w``, int64. The first of equal ones counts.

    Returns
    -------
    tensor, or pair of tensors
        ``OH = (H + 2*padding - dilation*(kH - 1) - 1) // stride + 1`` (rounded up with `ceil_mode`), OW likewise.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, or if the window does not fit.
    """
    kernel, steps, pads = _window("max_pool2d", input, kernel_size, stride, padding)
    window = MaxWindow(kernel, steps, pads, check_pair("max_pool2d", "dilation", dilation, 1), bool(ceil_mode))
    _check_fit("max_pool2d", input, kernel, steps, pads, window.dilation, window.ceil_mode)
    x = reshape(input, (1, *input.shape)) if input.ndim == 3 else input
    y = _max_pool2d(x, window)
    y = reshape(y, tuple(y.shape[1:])) if input.ndim == 3 else y
    if not return_indices:
        return y
    return y, reshape(_indices(x, window), tuple(y.shape))


# --------------------------------------------------------------------------------------- mean pooling


@primitive
def _avg_pool2d(input: Array, window: MeanWindow) -> Array:
    return kernels.avg_pool2d(input, *window)


@_avg_pool2d.vjp("input")
def _(g, input_shape, window):
    return _avg_pool2d_grad(g, input_shape, window)


@primitive
def _avg_pool2d_grad(g: Array, input_shape: tuple[int, ...], window: MeanWindow) -> Array:
    return kernels.avg_pool2d_grad(g, input_shape, *window)


@_avg_pool2d_grad.vjp("g")
def _(g, window):
    return _avg_pool2d(g, window)


def avg_pool2d(
    input: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window: ``(N, C, H, W) -> (N, C, OH, OW)``, or without N.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, ceil_mode
        As for `max_pool2d`; the padding is zeros.
    count_include_pad : bool
        Whether the zeros of the padding count in the mean.
    divisor_override : int, optional
        Divide the sum of a window by this instead of its number of pixels.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, if `input` is not floating, or if the window does not fit.
    """
    operation = "avg_pool2d"
    kernel, steps, pads = _window(operation, input, kernel_size, stride, padding)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    if divisor_override is not None and check_int(operation, "divisor_override", divisor_override) == 0:
        raise ValueError(f"{operation}: divisor_override expects a number other than 0 but got 0")
    window = MeanWindow(kernel, steps, pads, bool(ceil_mode), bool(count_include_pad), divisor_override)
    _check_fit(operation, input, kernel, steps, pads, (1, 1), window.ceil_mode)
    if input.ndim == 4:
        return _avg_pool2d(input, window)
    y = _avg_pool2d(reshape(input, (1, *input.shape)), window)
    return reshape(y, tuple(y.shape[1:]))


def adaptive_avg_pool2d(input: Array, output_size: Any) -> Array:
    """Mean pooling to a given size: output row i is the mean of rows ``floor(i*H/OH)`` to ``ceil((i+1)*H/OH)``.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    output_size : int or pair
        (OH, OW); None for either keeps the input's size.

    Raises
    ------
    TypeError, ValueError
        If `output_size` is not made of ints or is negative, or if `input` has another shape or dtype.
    """
    operation = "adaptive_avg_pool2d"
    _check_image(operation, input)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(given) != 2:
        raise ValueError(f"{operation}: output_size expects an int or a pair but got {output_size}")
    height, width = input.shape[-2:]
    target = tuple(n if size is None else size for size, n in zip(given, (height, width), strict=True))
    rows, columns = check_pair(operation, "output_size", target, 0)
    if rows and columns and height % rows == 0 and width % columns == 0:
        return avg_pool2d(input, (height // rows, width // columns))
    # Averaging is linear in rows and in columns: two products with small matrices.
    return matmul(matmul(_means(rows, height, input.dtype), input), _means(columns, width, input.dtype).T)


def _means(outputs: int, size: int, dtype: Any) -> np.ndarray:
    """The matrix (outputs, size) whose row i averages the i-th of `outputs` windows that cover `size` pixels."""
    i = np.arange(outputs)[:, None]
    pixel = np.arange(size)
    start, stop = i * size // outputs, -((i + 1) * size // -outputs)
    return ((start <= pixel) & (pixel < stop)).astype(dtype) / (stop - start).astype(dtype)


# ------------------------------------------------------------------------------------------- checks


def _check_image(operation: str, input: Array) -> None:
    if not hasattr(input, "ndim"):
        raise TypeError(f"{operation}: input expects a tensor but got {type(input).__name__}")
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise ValueError(
            f"{operation}: input expects (N, C, H, W) or (C, H, W), none of C, H, W zero, but has shape "
            f"{tuple(input.shape)}"
        )


def _window(
    operation: str, input: Array, kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding as pairs."""
    _check_image(operation, input)
    kernel = check_pair(operation, "kernel_size", kernel_size, 1)
    unset = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    steps = kernel if unset else check_pair(operation, "stride", stride, 1)
    pads = check_pair(operation, "padding", padding, 0)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise ValueError(f"{operation}: padding expects at most half of kernel_size {kernel} but is {pads}")
    return kernel, steps, pads


def _check_fit(
    operation: str,
    input: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
) -> None:
    for axis, name in ((0, "height"), (1, "width")):
        size, pad = input.shape[-2 + axis], padding[axis]
        if output_size(size, kernel[axis], stride[axis], (pad, pad), dilation[axis], ceil_mode) < 1:
            raise ValueError(
                f"{operation}: kernel_size {kernel} expects to fit into the padded input, but its {name} "
                f"{dilation[axis] * (kernel[axis] - 1) + 1} exceeds {size + 2 * pad} (input {tuple(input.shape)})"
            )
