"""Maximum and average pooling, and the adjoints that their derivatives are made of."""

from __future__ import annotations

from tinygrad_cnn.kernels.avg_pool import avg_pool2d, avg_pool2d_grad
from tinygrad_cnn.kernels.max_pool import (
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_positions,
    max_pool2d_scatter,
    max_pool2d_winners,
)
from tinygrad_cnn.kernels.max_pool_tiles import are_tiles, max_pool2d_scatter_tiles

__all__ = [
    "are_tiles",
    "avg_pool2d",
    "avg_pool2d_grad",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_positions",
    "max_pool2d_scatter",
    "max_pool2d_scatter_tiles",
    "max_pool2d_winners",
]
