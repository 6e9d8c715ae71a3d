"""Pooling layers: they make images smaller and have no parameters."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sizes import pair, single, size
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import Pair


class MaxPool2d(Module):
    """The largest value in each window: (N, C, H, W) -> (N, C, OH, OW), or without N.

    ``OH = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``, and OW likewise. Among equal
    values the gradient goes to the first.

    Parameters
    ----------
    kernel_size : int or pair
        Height and width of the window.
    stride : int or pair, optional
        Step from one window to the next; the kernel size by default.
    padding : int or pair, default 0
        Rows and columns of -inf added on each side; at most half the kernel size.
    dilation : int or pair, default 1
        Distance between the rows, and between the columns, of a window.
    return_indices : bool, default False
        Return the positions of the maxima too, ``h * W + w`` in each channel.
    ceil_mode : bool, default False
        Round the output size up instead of down.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.MaxPool2d(2)(tg.arange(16.0).view(1, 4, 4)).tolist()
    [[[5.0, 7.0], [13.0, 15.0]]]
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        for name, minimum in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            pair("MaxPool2d", name, getattr(self, name), minimum)

    def forward(self, input: Tensor, *, rectified: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return the maxima, and with `return_indices` their positions; `rectified`, their ``relu``."""
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
            rectified=rectified,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(Module):
    """The largest value in each window: (N, C, L) -> (N, C, OL), or without N.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int, or sequence of one
    return_indices, ceil_mode : bool
        As for `MaxPool2d`.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        for name, minimum in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            single("MaxPool1d", name, getattr(self, name), minimum)

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the maxima, and with `return_indices` their positions."""
        return F.max_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class LPPool2d(Module):
    """The p-norm of each window, ``sum(x**p)**(1/p)``: (N, C, H, W) -> (N, C, OH, OW), or without N.

    Parameters
    ----------
    norm_type : float
        p; infinity gives the largest magnitude.
    kernel_size, stride, ceil_mode
        As for `MaxPool2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.LPPool2d(2, 2)(tg.tensor([[[3.0, 0.0], [0.0, 4.0]]])).item()
    5.0
    """

    def __init__(
        self, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode
        pair("LPPool2d", "kernel_size", kernel_size, 1)
        if stride is not None:
            pair("LPPool2d", "stride", stride, 1)

    def forward(self, input: Tensor) -> Tensor:
        """Return the norms."""
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window: (N, C, H, W) -> (N, C, OH, OW), or without N.

    ``OH = floor((H + 2 padding - kernel_size) / stride) + 1``, and OW likewise.

    Parameters
    ----------
    kernel_size : int or pair
        Height and width of the window.
    stride : int or pair, optional
        Step from one window to the next; the kernel size by default.
    padding : int or pair, default 0
        Rows and columns of zeros added on each side; at most half the kernel size.
    ceil_mode : bool, default False
        Round the output size up instead of down.
    count_include_pad : bool, default True
        Count the zeros of the padding in the mean.
    divisor_override : int, optional
        Divide the sum of a window by this instead of by its size.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.AvgPool2d(2)(tg.arange(16.0).view(1, 4, 4)).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        for name, minimum in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            pair("AvgPool2d", name, getattr(self, name), minimum)

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The means over a grid of a given size: (N, C, H, W) -> (N, C, OH, OW), or without N.

    Parameters
    ----------
    output_size : int, or pair of int or None
        OH and OW; None keeps the input's size. Window i covers rows ``floor(i H / OH)`` to ``ceil((i+1) H / OH)``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.AdaptiveAvgPool2d((1, None))(tg.ones(2, 3, 5, 7)).shape
    (2, 3, 1, 7)
    """

    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size
        _check_output_size("AdaptiveAvgPool2d", output_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The maxima over a grid of a given size: (N, C, H, W) -> (N, C, OH, OW), or without N.

    Parameters
    ----------
    output_size : int, or pair of int or None
        As for `AdaptiveAvgPool2d`.
    return_indices : bool, default False
        Return the positions of the maxima too, ``h * W + w`` in each channel.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None] | None, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices
        _check_output_size("AdaptiveMaxPool2d", output_size)

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the maxima, and with `return_indices` their positions."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"output_size={self.output_size}"


def _check_output_size(layer: str, output_size: Any) -> None:
    for wanted in output_size if isinstance(output_size, tuple | list) else (output_size,):
        if wanted is not None:
            size(layer, "output_size", wanted)
