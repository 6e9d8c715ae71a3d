"""Batch normalisation, with running statistics for evaluation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import init
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.parameter import Parameter, new_parameter
from tinygrad_cnn.nn.sizes import size
from tinygrad_cnn.tensor import Tensor


class _RunningNorm(Module):
    """What batch and instance normalisation share: weight and bias, and running statistics."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = size(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        features = new_parameter(self.num_features, device=device, dtype=dtype)
        self.register_parameter("weight", features if affine else None)
        self.register_parameter("bias", Parameter(np.empty_like(features.data)) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", Tensor(np.zeros_like(features.data)) if tracked else None)
        self.register_buffer("running_var", Tensor(np.ones_like(features.data)) if tracked else None)
        self.register_buffer("num_batches_tracked", Tensor(np.array(0)) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batches."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                buffer.data.fill(value)
                buffer.bump_version()

    def reset_parameters(self) -> None:
        """Set weight 1, bias 0, and forget the running statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    """What `BatchNorm1d` and `BatchNorm2d` share; they differ in the inputs that they accept."""

    _dimensions: ClassVar[tuple[int, ...]]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with the batch's statistics in training, with the running ones in evaluation."""
        if input.ndim not in self._dimensions:
            expected = " or ".join(f"{ndim}-d" for ndim in self._dimensions)
            raise ValueError(
                f"{type(self).__name__}: input expects {expected} but got {input.ndim}-d shape {input.shape}"
            )
        update = self.training and self.track_running_stats
        use_running = update or not self.training
        return F.batch_norm(
            input,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=self._count_batch() if update else 0.0,
            eps=self.eps,
        )

    def _count_batch(self) -> float:
        """Count one more batch; return its share in the running statistics."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.data += 1
            self.num_batches_tracked.bump_version()
            if self.momentum is None:
                return 1.0 / int(self.num_batches_tracked.data)
        return self.momentum or 0.0


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of feature vectors, (N, C), or of sequences, (N, C, L).

    As `BatchNorm2d` in everything else.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.BatchNorm1d(3)(tg.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])).shape
    (2, 3)
    """

    _dimensions = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images, (N, C, H, W): each channel gets mean 0 and variance 1, then a scale and a shift.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, where mean and variance (biased) are the batch's in
    training. Meanwhile running statistics are kept, ``running = (1 - momentum) * running + momentum * batch`` (with
    the unbiased variance), and take their place in evaluation.

    Parameters
    ----------
    num_features : int
        C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        The share of the newest batch in the running statistics; None averages all batches evenly.
    affine : bool, default True
        Whether there are `weight` and `bias`.
    track_running_stats : bool, default True
        Without running statistics the batch's are used in evaluation too.
    device, dtype : optional
        ``"cpu"``; the dtype of parameters and statistics, float32 by default.
    bias : bool, default True
        Whether there is a `bias`, if `affine`.

    Attributes
    ----------
    weight, bias : Parameter or None, (C,)
        Ones and zeros at first.
    running_mean, running_var : Tensor or None, (C,)
        Zeros and ones at first.
    num_batches_tracked : Tensor or None
        An integer.

    References
    ----------
    Ioffe & Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    2015.
    """

    _dimensions = (4,)
