"""Sliding windows as columns, and columns added up to images."""

from __future__ import annotations

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sizes import pair
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import Pair

_MINIMA = {"kernel_size": 1, "dilation": 1, "padding": 0, "stride": 1}


class Unfold(Module):
    """The sliding windows of images as columns: (N, C, H, W) -> (N, C · kernel_size[0] · kernel_size[1], L).

    Parameters
    ----------
    kernel_size, dilation, padding, stride : int or pair

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Unfold(3, padding=1)(tg.ones(10, 2, 8, 8)).shape
    (10, 18, 64)
    """

    def __init__(self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride
        for name, minimum in _MINIMA.items():
            pair("Unfold", name, getattr(self, name), minimum)

    def forward(self, input: Tensor) -> Tensor:
        """Return the columns."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the settings."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in _MINIMA)


class Fold(Module):
    """Columns added up to images, the adjoint of `Unfold`: (N, C · kernel_size[0] · kernel_size[1], L) -> (N, C, H, W).

    Parameters
    ----------
    output_size : int or pair
        H and W.
    kernel_size, dilation, padding, stride : int or pair
        As for the `Unfold` of such images.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Fold((8, 8), 3, padding=1)(tg.ones(10, 18, 64)).shape
    (10, 2, 8, 8)
    """

    def __init__(
        self, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride
        for name, minimum in {"output_size": 1, **_MINIMA}.items():
            pair("Fold", name, getattr(self, name), minimum)

    def forward(self, input: Tensor) -> Tensor:
        """Return the images."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the settings."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in ("output_size", *_MINIMA))
