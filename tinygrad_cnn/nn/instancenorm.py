"""Instance normalisation: batch normalisation of each image by itself."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.batchnorm import _RunningNorm
from tinygrad_cnn.tensor import Tensor


class InstanceNorm2d(_RunningNorm):
    """Normalise each channel of each image over its positions: (N, C, H, W) likewise, or without N.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with statistics of each channel of each image (the biased
    variance), in training and evaluation alike unless there are running ones.

    Parameters
    ----------
    num_features : int
        C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        The share of the newest batch in the running statistics; None keeps them as they are.
    affine : bool, default False
        Whether there are `weight` and `bias`.
    track_running_stats : bool, default False
        Whether running statistics are kept in training and used in evaluation.
    device, dtype : optional
        ``"cpu"``; the dtype of parameters and statistics, float32 by default.
    bias : bool, default True
        Whether there is a `bias`, if `affine`.

    References
    ----------
    Ulyanov, Vedaldi & Lempitsky, "Instance normalization: the missing ingredient for fast stylization", 2016.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.InstanceNorm2d(3)(tg.rand(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with each image's statistics, or with the running ones in evaluation."""
        if input.ndim not in (3, 4):
            raise ValueError(f"InstanceNorm2d: input expects 3-d or 4-d but got {input.ndim}-d shape {input.shape}")
        if input.shape[-3] != self.num_features:
            raise ValueError(f"InstanceNorm2d: input expects {self.num_features} channels but has {input.shape}")
        if input.ndim == 3:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum or 0.0,
            self.eps,
        )
