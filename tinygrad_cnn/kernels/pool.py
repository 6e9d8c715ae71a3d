"""Maximum and average pooling, and the adjoints that their derivatives are made of."""

from __future__ import annotations

from tinygrad_cnn.kernels.avg_pool import avg_pool2d, avg_pool2d_grad
from tinygrad_cnn.kernels.max_pool import max_pool2d, max_pool2d_gather, max_pool2d_indices, max_pool2d_scatter

__all__ = [
    "avg_pool2d",
    "avg_pool2d_grad",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_indices",
    "max_pool2d_scatter",
]
