"""Operations of neural networks as functions, under PyTorch's names: ``import tinygrad_cnn.nn.functional as F``."""

from __future__ import annotations

from tinygrad_cnn.ops import piecewise
from tinygrad_cnn.ops import softmax as softmaxes
from tinygrad_cnn.ops.activation import elu, gelu, logsigmoid, mish, selu, sigmoid, silu, softplus
from tinygrad_cnn.ops.conv import conv1d, conv2d, conv_transpose2d
from tinygrad_cnn.ops.elementwise import tanh
from tinygrad_cnn.ops.indexing import one_hot
from tinygrad_cnn.ops.interpolate import interpolate
from tinygrad_cnn.ops.linalg import linear
from tinygrad_cnn.ops.local_norm import local_contrast_norm, local_response_norm, normalize
from tinygrad_cnn.ops.loss import cross_entropy, nll_loss
from tinygrad_cnn.ops.norm import batch_norm, dropout, dropout2d, group_norm, instance_norm, layer_norm
from tinygrad_cnn.ops.padding import pad
from tinygrad_cnn.ops.piecewise import hardsigmoid, hardswish, hardtanh, leaky_relu, prelu, relu6
from tinygrad_cnn.ops.pool import adaptive_avg_pool2d, avg_pool2d, lp_pool2d, max_pool1d, max_pool2d
from tinygrad_cnn.ops.pool_positions import adaptive_max_pool2d, max_unpool2d, stochastic_pool2d
from tinygrad_cnn.ops.probability_loss import binary_cross_entropy, binary_cross_entropy_with_logits, kl_div
from tinygrad_cnn.ops.regression_loss import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from tinygrad_cnn.ops.unfold import fold, unfold
from tinygrad_cnn.types import Array, DTypeLike

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "elu",
    "fold",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_contrast_norm",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_unpool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "stochastic_pool2d",
    "tanh",
    "unfold",
]


def relu(input: Array, inplace: bool = False) -> Array:
    """``max(input, 0)``; `inplace` has no effect: the result is always new."""
    return piecewise.relu(input)


def softmax(input: Array, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """As `tinygrad_cnn.softmax`; without a dimension 1, but 0 for 0-d, 1-d and 3-d tensors."""
    return softmaxes.softmax(input, dim, dtype)


def log_softmax(input: Array, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """As `tinygrad_cnn.log_softmax`; without a dimension 1, but 0 for 0-d, 1-d and 3-d tensors."""
    return softmaxes.log_softmax(input, dim, dtype)


def softmin(input: Array, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None) -> Array:
    """``softmax(-input)``, with the arguments of `softmax`: the smallest element weighs most."""
    return softmaxes.softmax(-input, dim, dtype)
