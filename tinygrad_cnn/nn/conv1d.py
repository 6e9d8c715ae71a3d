"""Convolution of sequences."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.conv import Convolution, LazyConvolution
from tinygrad_cnn.nn.sizes import single
from tinygrad_cnn.tensor import Tensor


class Conv1d(Convolution):
    """One-dimensional convolution (cross-correlation) with trained kernels: (N, C, L) -> (N, O, OL).

    ``OL = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``. The input may also be one sequence,
    (C, L).

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int, or sequence of one
    padding : int, sequence of one, "same" or "valid"
        Zeros added on each side. ``"same"`` keeps L and needs stride 1; ``"valid"`` adds none.
    groups, bias, padding_mode, device, dtype
        As for `Conv2d`.

    Attributes
    ----------
    weight : Parameter, (O, C / groups, kernel_size[0])
    bias : Parameter or None, (O,)
        Both are drawn from the uniform distribution on ±1/sqrt(C / groups · kernel_size[0]).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Conv1d(3, 8, 5, stride=2, padding=2)(tg.ones(10, 3, 28)).shape
    (10, 8, 14)
    """

    output_padding = (0,)
    _sizes = staticmethod(single)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: str | int | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._set_sizes(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        self._set_padding(padding)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self._set_parameters(shape, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the input with `weight` and add `bias`."""
        return F.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class LazyConv1d(LazyConvolution, Conv1d):
    """A `Conv1d` that learns `in_channels` from its first input, and is a `Conv1d` from then on.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As `Conv1d`'s.
    """

    becomes = Conv1d

    def __init__(
        self,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: str | int | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
