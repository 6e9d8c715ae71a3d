"""Sliding windows as columns of a matrix, and columns added up to an image: each is the adjoint of the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_pair, check_tensor
from tinygrad_cnn.kernels import unfold as kernels
from tinygrad_cnn.kernels.shapes import output_size as windows_of
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array, Pair


class Window(NamedTuple):
    """How the window moves."""

    kernel: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]

    def counts(self, size: tuple[int, ...]) -> tuple[int, int]:
        """How many windows fit into an image, along its height and its width."""
        rows, columns = (
            windows_of(n, k, s, (p, p), d)
            for n, k, d, p, s in zip(size, self.kernel, self.dilation, self.padding, self.stride, strict=True)
        )
        return rows, columns


@primitive
def _unfold(input: Array, window: Window) -> Array:
    return kernels.unfold(input, *window)


@_unfold.vjp("input")
def _(g, input_shape, window):
    return _fold(g, tuple(input_shape[2:]), window)


@primitive
def _fold(input: Array, size: tuple[int, int], window: Window) -> Array:
    return kernels.fold(input, size, *window)


@_fold.vjp("input")
def _(g, window):
    return _unfold(g, window)


def unfold(input: Array, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Array:
    """The sliding windows of images as columns: ``(N, C, H, W) -> (N, C*kH*kW, L)``, or without N.

    Row ``(c, a, b)``, counted in this order, holds tap ``(a, b)`` of channel c in each of the ``L = OH*OW`` windows;
    outside of the image are zeros. A convolution is then one matrix product,
    ``weight.flatten(1) @ unfold(input, ...)``. The derivative is `fold`.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    kernel_size, dilation, padding, stride : int or pair
        ``OH = (H + 2*padding - dilation*(kH - 1) - 1) // stride + 1``, and OW likewise.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, or if the window does not fit.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> unfold(tg.arange(6.0).reshape(1, 1, 2, 3), kernel_size=2).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [4.0, 5.0]]]
    """
    check_tensor("unfold", "input", input)
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise ValueError(
            f"unfold: input expects (N, C, H, W) or (C, H, W), none of C, H, W zero, but has shape {tuple(input.shape)}"
        )
    window = _window("unfold", kernel_size, dilation, padding, stride)
    _check_fit("unfold", window, tuple(input.shape[-2:]))
    if input.ndim == 4:
        return _unfold(input, window)
    y = _unfold(reshape(input, (1, *input.shape)), window)
    return reshape(y, tuple(y.shape[1:]))


def fold(
    input: Array,
    output_size: Pair,
    kernel_size: Pair,
    dilation: Pair = 1,
    padding: Pair = 0,
    stride: Pair = 1,
) -> Array:
    """Columns laid back to where `unfold` takes them from, and added up: ``(N, C*kH*kW, L) -> (N, C, H, W)``.

    It is the adjoint of `unfold`, not its inverse: ``fold(unfold(x))`` has each pixel as many times as there are
    windows that cover it. The derivative is `unfold`.

    Parameters
    ----------
    input : tensor (N, C*kH*kW, L) or (C*kH*kW, L)
    output_size : int or pair
        (H, W).
    kernel_size, dilation, padding, stride : int or pair
        As for the `unfold` of such an image; they give L.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not an int or out of range, or if the shapes do not fit.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.arange(6.0).reshape(1, 1, 2, 3)
    >>> fold(unfold(x, kernel_size=2), output_size=(2, 3), kernel_size=2).tolist()
    [[[[0.0, 2.0, 2.0], [3.0, 8.0, 5.0]]]]
    """
    check_tensor("fold", "input", input)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise ValueError(
            f"fold: input expects (N, C*kH*kW, L) or (C*kH*kW, L), none of them zero but N, but has shape "
            f"{tuple(input.shape)}"
        )
    size = check_pair("fold", "output_size", output_size, 1, one_for_both=False)
    window = _window("fold", kernel_size, dilation, padding, stride)
    _check_fit("fold", window, size)
    taps, (rows, columns) = window.kernel[0] * window.kernel[1], window.counts(size)
    if input.shape[-2] % taps or input.shape[-1] != rows * columns:
        raise ValueError(
            f"fold: input expects a multiple of {taps} rows (kernel_size {window.kernel}) and {rows * columns} columns "
            f"({rows} x {columns} windows in output_size {size}) but has shape {tuple(input.shape)}"
        )
    if input.ndim == 3:
        return _fold(input, size, window)
    y = _fold(reshape(input, (1, *input.shape)), size, window)
    return reshape(y, tuple(y.shape[1:]))


def _window(operation: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    return Window(
        check_pair(operation, "kernel_size", kernel_size, 1, one_for_both=False),
        check_pair(operation, "dilation", dilation, 1, one_for_both=False),
        check_pair(operation, "padding", padding, 0, one_for_both=False),
        check_pair(operation, "stride", stride, 1, one_for_both=False),
    )


def _check_fit(operation: str, window: Window, size: tuple[int, ...]) -> None:
    if min(window.counts(size)) < 1:
        raise ValueError(
            f"{operation}: kernel_size {window.kernel} with dilation {window.dilation} expects to fit into the image "
            f"{size} with padding {window.padding}"
        )
