"""Dropout: in training, some values are replaced by zeros at random."""

from __future__ import annotations

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.tensor import Tensor


class Dropout(Module):
    """In training, zero each value with probability `p` and scale the others by ``1 / (1 - p)``; else the identity.

    Parameters
    ----------
    p : float, default 0.5
        The probability of zero, between 0 and 1.
    inplace : bool, default False
        Accepted so that models written for PyTorch run; operations here never write over their input.

    References
    ----------
    Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p expects a probability between 0 and 1 but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with values dropped, if the module is in training mode."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout2d(Dropout):
    """As `Dropout`, but drops whole channels of (N, C, H, W): neighbouring pixels would give the value away.

    References
    ----------
    Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with channels dropped, if the module is in training mode."""
        return F.dropout2d(input, self.p, self.training)
