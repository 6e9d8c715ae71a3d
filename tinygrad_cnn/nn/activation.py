"""Activation functions as layers. Each keeps the shape of its input."""

from __future__ import annotations

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.tensor import Tensor


class ReLU(Module):
    """``max(x, 0)``, elementwise. The derivative at 0 is 0.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that models written for PyTorch run, and shown in the repr. The values and gradients are the
        same either way: operations here never write over their input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``."""
        return F.relu(input)

    def extra_repr(self) -> str:
        """Return the settings that are not the default."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """``x`` where ``x > 0``, else ``negative_slope * x``, elementwise.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope for negative inputs.
    inplace : bool, default False
        As `ReLU`'s.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, its negative part scaled."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``, elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the sigmoid of the input."""
        return F.sigmoid(input)


class Tanh(Module):
    """``tanh(x)``, elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the hyperbolic tangent of the input."""
        return F.tanh(input)


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` along one dimension: positive numbers that sum to 1.

    Parameters
    ----------
    dim : int
        The dimension that sums to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of the input."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """``log(softmax(x))`` along one dimension, without the overflow and underflow of taking it literally.

    Parameters
    ----------
    dim : int
        The dimension whose exponentials sum to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the softmax of the input."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"
