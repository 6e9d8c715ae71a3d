"""Normalisation without running statistics: of samples, of groups of channels, of neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import init
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.parameter import Parameter, new_parameter
from tinygrad_cnn.nn.sizes import size
from tinygrad_cnn.tensor import Tensor


class _Affine(Module):
    """A weight and a bias that scale and shift what was normalised, or None."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: tuple[int, ...], affine: bool, bias: bool, device: Any, dtype: Any) -> None:
        weight = new_parameter(*shape, device=device, dtype=dtype)
        self.register_parameter("weight", weight if affine else None)
        self.register_parameter("bias", Parameter(np.empty_like(weight.data)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight 1 and bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """Normalise each sample over its last dimensions, then scale and shift each element.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the biased variance, in training and evaluation alike.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the dimensions over which the statistics are taken.
    eps : float, default 1e-5
        Added to the variance.
    elementwise_affine : bool, default True
        Whether there are `weight` and `bias`.
    bias : bool, default True
        Whether there is a `bias`, if `elementwise_affine`.
    device, dtype : optional
        ``"cpu"``; the dtype of parameters, float32 by default.

    References
    ----------
    Ba, Kiros & Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.LayerNorm((3, 4))(tg.rand(2, 3, 4)).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        self.normalized_shape = tuple(size("LayerNorm", "normalized_shape", n) for n in given)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised samples."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class GroupNorm(_Affine):
    """Normalise groups of channels of each image over their positions, then scale and shift each channel.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the biased variance, in training and evaluation alike.

    Parameters
    ----------
    num_groups : int
        Must divide `num_channels`.
    num_channels : int
        C.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether there are `weight` and `bias`.
    device, dtype : optional
        ``"cpu"``; the dtype of parameters, float32 by default.
    bias : bool, default True
        Whether there is a `bias`, if `affine`.

    References
    ----------
    Wu & He, "Group normalization", 2018.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.GroupNorm(3, 6)(tg.rand(2, 6, 4, 4)).shape
    (2, 6, 4, 4)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = size("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = size("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: num_groups expects a divisor of {num_channels} channels but got {num_groups}")
        self.eps = eps
        self.affine = affine
        self._make_parameters((self.num_channels,), affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised images."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Divide each value by a power of the squares around it in neighbouring channels: (N, C, *) -> (N, C, *).

    ``y[c] = x[c] / (k + alpha / size * sum(x[j]**2))**beta``, the sum over the channels ``c - size // 2`` to
    ``c + (size - 1) // 2``.

    Parameters
    ----------
    size : int
        How many channels are neighbours.
    alpha, beta, k : float, default 1e-4, 0.75, 1.0

    References
    ----------
    Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks", 2012.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.LocalResponseNorm(5)(tg.rand(2, 8, 4, 4)).shape
    (2, 8, 4, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised responses."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LocalContrastNorm(Module):
    """Subtract from each pixel the mean around it, then divide by the deviation around it: (N, C, H, W) likewise.

    Both are taken over all channels and a window with Gaussian weights; the divisor is at least its mean over the
    image. What exactly is said at `tinygrad_cnn.nn.functional.local_contrast_norm`.

    Parameters
    ----------
    kernel_size : int, default 9
        Height and width of the window, odd.
    sigma : float, optional
        Width of the Gaussian in pixels; a quarter of `kernel_size` by default.
    eps : float, default 1e-4
        The least deviation: flat regions give 0.

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato & LeCun, "What is the best multi-stage architecture for object recognition?", 2009.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.LocalContrastNorm(5)(tg.rand(2, 3, 8, 8)).shape
    (2, 3, 8, 8)
    """

    def __init__(self, kernel_size: int = 9, sigma: float | None = None, eps: float = 1e-4) -> None:
        super().__init__()
        if not size("LocalContrastNorm", "kernel_size", kernel_size, 1) % 2:
            raise ValueError(f"LocalContrastNorm: kernel_size expects an odd number but got {kernel_size}")
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised images."""
        return F.local_contrast_norm(input, self.kernel_size, self.sigma, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.kernel_size}, sigma={self.sigma}, eps={self.eps}"
