"""Flatten: from feature maps to feature vectors."""

from __future__ import annotations

from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.tensor import Tensor


class Flatten(Module):
    """Merge the dimensions from `start_dim` to `end_dim` into one; by default all but the batch.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Flatten()(tg.ones(10, 3, 4, 5)).shape
    (10, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with those dimensions merged."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
