"""Pooling in two dimensions.

Max pooling gathers; its derivative scatters the cotangent to the first maximum of each window; the derivative of
that gathers again. Which pixel won does not change with a small step, so the winners are constants of
differentiation. Mean pooling is linear, and its derivative its adjoint.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tinygrad_cnn.autograd import Residuals, primitive
from tinygrad_cnn.errors import check_float, check_int, check_pair, check_single, check_tensor
from tinygrad_cnn.kernels import pool as kernels
from tinygrad_cnn.kernels.interpolate import Taps, multiply_by_maps
from tinygrad_cnn.kernels.shapes import output_size
from tinygrad_cnn.kernels.windows import Windows, axes
from tinygrad_cnn.ops.elementwise import abs, eq, pow, where
from tinygrad_cnn.ops.interpolate import window_means
from tinygrad_cnn.ops.piecewise import relu, relu_grad
from tinygrad_cnn.ops.reduction import mean
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array, Pair

MaxWindows = tuple[Windows, Windows]


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
def _max_pool2d(input: Array, windows: MaxWindows, *, recorded: bool) -> Array | Residuals:
    if not recorded:
        return kernels.max_pool2d(input, *windows)
    output, winners = kernels.max_pool2d_winners(input, *windows)
    return Residuals(output, winners=winners)


@_max_pool2d.vjp("input")
def _(g, winners, windows):
    return _scatter(g, winners, windows)


@primitive(constants=("winners",))
def _scatter(g: Array, winners: Array, windows: MaxWindows) -> Array:
    return kernels.max_pool2d_scatter(g, winners, *windows)


@_scatter.vjp("g")
def _(g, winners, windows):
    return _gather(g, winners, windows)


@primitive(constants=("winners",))
def _gather(g: Array, winners: Array, windows: MaxWindows) -> Array:
    return kernels.max_pool2d_gather(g, winners, *windows)


@_gather.vjp("g")
def _(g, winners, windows):
    return _scatter(g, winners, windows)


@primitive
def _max_pool2d_of_tiles(input: Array, windows: MaxWindows, rectified: bool) -> Array:
    return kernels.max_pool2d(input, *windows, rectified=rectified)


@_max_pool2d_of_tiles.vjp("input")
def _(g, input, output, windows, rectified):
    return _scatter_tiles(g, input, output, windows, rectified)


@primitive(constants=("input", "maxima"))
def _scatter_tiles(g: Array, input: Array, maxima: Array, windows: Any, rectified: bool) -> Array:
    rows, columns = windows
    return kernels.max_pool2d_scatter_tiles(g, input, maxima, rows, columns, rectified)


@_scatter_tiles.vjp("g")
def _(g, input, maxima, windows, rectified):
    found = _gather(g, _winners(input, windows), windows)
    return relu_grad(found, maxima) if rectified else found


@primitive(constants=("input",))
def _winners(input: Array, windows: MaxWindows) -> Array:
    return kernels.max_pool2d_winners(input, *windows)[1]


@primitive
def _max_pool2d_with_indices(input: Array, windows: MaxWindows) -> Residuals:
    output, winners = kernels.max_pool2d_winners(input, *windows)
    return Residuals((output, kernels.max_pool2d_positions(winners, *windows)), winners=winners)


@_max_pool2d_with_indices.vjp("input")
def _(g, winners, windows):
    return _scatter(g[0], winners, windows)


def max_pool2d_in(input: Array, windows: MaxWindows, return_indices: bool, rectified: bool = False) -> Any:
    """The maximum of each of the windows of (N, C, H, W) or (C, H, W), and where they stand if that is wanted.

    If they are to be `rectified`, what is returned is their `relu`.
    """
    x = reshape(input, (1, *input.shape)) if input.ndim == 3 else input
    if return_indices:
        found = _max_pool2d_with_indices(x, windows)
    elif kernels.are_tiles(x.dtype, *windows):
        found = (_max_pool2d_of_tiles(x, windows, rectified),)
    else:
        maxima = _max_pool2d(x, windows)
        found = (relu(maxima) if rectified else maxima,)
    if input.ndim == 3:
        found = tuple(reshape(array, tuple(array.shape[1:])) for array in found)
    return found if return_indices else found[0]


def max_pool2d(
    input: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    rectified: bool = False,
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
    rectified : bool
        Return ``relu`` of the maxima: but for windows on the padding alone these are the maxima of ``relu(input)``,
        found with less work. PyTorch has no such parameter.

    Returns
    -------
    tensor, or pair of tensors
        ``OH = (H + 2*padding - dilation*(kH - 1) - 1) // stride + 1`` (rounded up with `ceil_mode`), OW likewise.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, if the window does not fit, or if `rectified` comes with
        `return_indices`: of maxima that become 0 none has a place.
    """
    if rectified and return_indices:
        raise ValueError("max_pool2d: rectified expects return_indices=False but got both as True")
    kernel, steps, pads = window_of("max_pool2d", input, kernel_size, stride, padding)
    apart = check_pair("max_pool2d", "dilation", dilation, 1)
    size = (1, 1, *input.shape[-2:])
    check_fit("max_pool2d", input.shape, kernel, steps, pads, apart, bool(ceil_mode))
    windows = axes("max_pool2d", size, kernel, steps, pads, apart, bool(ceil_mode))
    return max_pool2d_in(input, windows, return_indices, rectified)


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
    kernel, steps, pads = window_of(operation, input, kernel_size, stride, padding)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    if divisor_override is not None and check_int(operation, "divisor_override", divisor_override) == 0:
        raise ValueError(f"{operation}: divisor_override expects a number other than 0 but got 0")
    window = MeanWindow(kernel, steps, pads, bool(ceil_mode), bool(count_include_pad), divisor_override)
    check_fit(operation, input.shape, kernel, steps, pads, (1, 1), window.ceil_mode)
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
    rows, columns = adaptive_size(operation, input, output_size)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    height, width = input.shape[-2:]
    if (rows, columns) == (1, 1):
        return mean(input, (-2, -1), True)
    if window := even_windows((rows, columns), (height, width)):
        return avg_pool2d(input, *window)
    return _means(input, (window_means(height, rows), window_means(width, columns)))


# Averaging is linear in rows and in columns.
@primitive
def _means(input: Array, maps: tuple[Taps, Taps]) -> Array:
    return multiply_by_maps(input, maps)


@_means.vjp("input")
def _(g, maps):
    return _means(g, tuple(taps.transposed for taps in maps))


def lp_pool2d(
    input: Array, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False
) -> Array:
    """The p-norm of each window, without its absolute values: ``(N, C, H, W) -> (N, C, OH, OW)``, or without N.

    ``y = sum(x**p)**(1/p)``. Unless p is even, negative inputs may make sums that have no such root: these give NaN.
    A sum of 0 has derivative 0.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    norm_type : float
        p; infinity gives the largest magnitude of a window, minus infinity the smallest.
    kernel_size, stride, ceil_mode
        As for `max_pool2d`. A window that `ceil_mode` lets end outside counts as if it were full.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number or out of range, if `input` is not floating, or if the window does not fit.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> lp_pool2d(tg.tensor([[[3.0, 0.0], [0.0, 4.0]]]), 2, 2).item()
    5.0
    """
    operation = "lp_pool2d"
    kernel, steps, _ = window_of(operation, input, kernel_size, stride, 0)
    p = check_float(operation, "norm_type", norm_type)
    if p == 0:
        raise ValueError(f"{operation}: norm_type expects a number other than 0 but got 0")
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
    check_fit(operation, input.shape, kernel, steps, (0, 0), (1, 1), bool(ceil_mode))
    if math.isinf(p):
        way = math.copysign(1, p)
        return max_pool2d(abs(input) * way, kernel, steps, 0, 1, ceil_mode) * way
    mean = avg_pool2d(input * input if p == 2 else pow(input, p), kernel, steps, 0, ceil_mode)
    # The root has no derivative at 0: those sums are taken out of its sight.
    zero = eq(mean, 0)
    root = pow(where(zero, 1, mean) * (kernel[0] * kernel[1]), 1 / p)
    return where(zero, 0 if p > 0 else math.inf, root)


def max_pool1d(
    input: Array,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window: ``(N, C, L) -> (N, C, OL)``, or without N.

    As `max_pool2d` of images of height 1.

    Parameters
    ----------
    input : tensor (N, C, L) or (C, L)
    kernel_size, stride, padding, dilation : int, or sequence of one
    ceil_mode, return_indices : bool
        As for `max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, or if the window does not fit.
    """
    operation = "max_pool1d"
    check_tensor(operation, "input", input)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise ValueError(
            f"{operation}: input expects (N, C, L) or (C, L), neither C nor L zero, but has shape {tuple(input.shape)}"
        )
    kernel = check_single(operation, "kernel_size", kernel_size, 1)
    unset = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    step = kernel if unset else check_single(operation, "stride", stride, 1)
    before, apart = check_single(operation, "padding", padding, 0), check_single(operation, "dilation", dilation, 1)
    reach = (kernel - 1) * apart + 1
    if 2 * before > reach:
        raise ValueError(f"{operation}: padding expects at most half of the window's length {reach} but is {before}")
    if output_size(input.shape[-1], kernel, step, (before, before), apart, ceil_mode) < 1:
        raise ValueError(
            f"{operation}: kernel_size {kernel} expects to fit into the padded input, but its length {reach} exceeds "
            f"{input.shape[-1] + 2 * before} (input {tuple(input.shape)})"
        )
    image = reshape(input, (*input.shape[:-1], 1, input.shape[-1]))
    windows = axes(
        operation, (1, 1, *image.shape[-2:]), (1, kernel), (1, step), (0, before), (1, apart), bool(ceil_mode)
    )
    found = max_pool2d_in(image, windows, return_indices)
    line = lambda y: reshape(y, (*input.shape[:-1], y.shape[-1]))  # noqa: E731
    return tuple(map(line, found)) if return_indices else line(found)


# ------------------------------------------------------------------------------------------- checks


def adaptive_size(operation: str, input: Array, output_size: Any) -> tuple[int, int]:
    """The output size of an adaptive pooling: an int or a pair, the size of `input` where it is None."""
    check_image(operation, input)
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(given) != 2:
        raise ValueError(f"{operation}: output_size expects an int or a pair but got {output_size}")
    target = tuple(n if size is None else size for size, n in zip(given, input.shape[-2:], strict=True))
    return check_pair(operation, "output_size", target, 0)


def even_windows(outputs: tuple[int, int], sizes: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Kernel and stride of the windows of an adaptive pooling; None if they are not all alike, or there are none."""
    kernel: list[int] = []
    stride: list[int] = []
    for count, size in zip(outputs, sizes, strict=True):
        starts = [i * size // count for i in range(count)]
        lengths = {-((i + 1) * size // -count) - start for i, start in enumerate(starts)}
        steps = {after - before for before, after in itertools.pairwise(starts)} or lengths
        if len(lengths) != 1 or len(steps) != 1 or 0 in steps:
            return None
        kernel += lengths
        stride += steps
    return (kernel[0], kernel[1]), (stride[0], stride[1])


def check_image(operation: str, input: Array) -> None:
    """Raise unless `input` is a tensor (N, C, H, W) or (C, H, W)."""
    if not hasattr(input, "ndim"):
        raise TypeError(f"{operation}: input expects a tensor but got {type(input).__name__}")
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise ValueError(
            f"{operation}: input expects (N, C, H, W) or (C, H, W), none of C, H, W zero, but has shape "
            f"{tuple(input.shape)}"
        )


def window_of(
    operation: str, input: Array, kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding as pairs."""
    check_image(operation, input)
    kernel = check_pair(operation, "kernel_size", kernel_size, 1)
    unset = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    steps = kernel if unset else check_pair(operation, "stride", stride, 1)
    pads = check_pair(operation, "padding", padding, 0)
    if 2 * pads[0] > kernel[0] or 2 * pads[1] > kernel[1]:
        raise ValueError(f"{operation}: padding expects at most half of kernel_size {kernel} but is {pads}")
    return kernel, steps, pads


@lru_cache(maxsize=512)
def check_fit(
    operation: str,
    input_shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
) -> tuple[int, int]:
    """How many windows there are along height and width; raise if there are none."""
    counts = []
    for axis, name in ((0, "height"), (1, "width")):
        size, pad = input_shape[-2 + axis], padding[axis]
        counts.append(output_size(size, kernel[axis], stride[axis], (pad, pad), dilation[axis], ceil_mode))
        if counts[-1] < 1:
            raise ValueError(
                f"{operation}: kernel_size {kernel} expects to fit into the padded input, but its {name} "
                f"{dilation[axis] * (kernel[axis] - 1) + 1} exceeds {size + 2 * pad} (input {input_shape})"
            )
    return counts[0], counts[1]
