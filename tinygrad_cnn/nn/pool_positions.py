"""Pooling layers that pick an element of each window at random, or put the picked ones back."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sizes import pair
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import Pair


class StochasticPool2d(Module):
    """In training a random element of each window, else their weighted mean: (N, C, H, W) -> (N, C, OH, OW).

    An activation a has the probability a / (sum of the window); in evaluation the result is the expectation. Negative
    activations count as zeros. It regularises as dropout does, without a parameter to choose.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As for `MaxPool2d`, but with a padding of zeros.

    References
    ----------
    Zeiler, Fergus: Stochastic Pooling for Regularization of Deep Convolutional Neural Networks, ICLR 2013.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.StochasticPool2d(2).eval()(tg.tensor([[[1.0, 3.0], [0.0, 0.0]]])).item()
    2.5
    """

    def __init__(
        self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        for name, minimum in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            pair("StochasticPool2d", name, getattr(self, name), minimum)

    def forward(self, input: Tensor) -> Tensor:
        """Return draws in training mode, else their expectations."""
        return F.stochastic_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, training=self.training
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
        )


class MaxUnpool2d(Module):
    """Maxima put back to where `MaxPool2d` found them, zeros elsewhere: (N, C, H, W) -> (N, C, OH, OW).

    ``OH = (H - 1) stride - 2 padding + kernel_size``, and OW likewise.

    Parameters
    ----------
    kernel_size, stride, padding
        Those of the `MaxPool2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> maxima, indices = nn.MaxPool2d(2, return_indices=True)(tg.arange(4.0).view(1, 2, 2))
    >>> nn.MaxUnpool2d(2)(maxima, indices).tolist()
    [[[0.0, 0.0], [0.0, 3.0]]]
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size = pair("MaxUnpool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("MaxUnpool2d", "stride", stride, 1)
        self.padding = pair("MaxUnpool2d", "padding", padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the larger images; `output_size` says which of the sizes that pool to the input's is meant."""
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
