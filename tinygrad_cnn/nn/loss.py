"""Losses as modules. What each computes is said at its function in `tinygrad_cnn.nn.functional`."""

from __future__ import annotations

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.tensor import Tensor


class _Loss(Module):
    """A loss with a reduction. `size_average` and `reduce`, long deprecated in PyTorch, only hold their places."""

    def __init__(self, size_average: None, reduce: None, reduction: str) -> None:
        super().__init__()
        layer = type(self).__name__
        for name, value in (("size_average", size_average), ("reduce", reduce)):
            if value is not None:
                raise ValueError(f"{layer}: {name} expects None (use reduction instead) but got {value!r}")
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"{layer}: reduction expects 'none', 'mean' or 'sum' but got {reduction!r}")
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """Cross entropy between logits, (N, C, ...), and class indices, (N, ...), or probabilities, (N, C, ...).

    Parameters
    ----------
    weight : Tensor, optional, (C,)
        The weight of each class; a buffer.
    ignore_index : int, default -100
        Targets of this value count nothing.
    reduction : "mean", "sum" or "none"
        What becomes of the losses of the samples.
    label_smoothing : float, default 0.0
        Mixes the target with the uniform distribution.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> loss = nn.CrossEntropyLoss()(tg.zeros(2, 10), tg.tensor([3, 7]))
    >>> f"{loss.item():.4f}"  # log(10)
    '2.3026'
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `input` against `target`."""
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log-likelihood of class indices, (N, ...), under log-probabilities, (N, C, ...).

    Parameters
    ----------
    weight, ignore_index, reduction
        As `CrossEntropyLoss`'s.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-probabilities `input` against `target`."""
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(_Loss):
    """Mean squared error between two tensors of one shape.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
        What becomes of the squared differences.
    """

    def __init__(self, size_average: None = None, reduce: None = None, reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` against `target`."""
        return F.mse_loss(input, target, reduction=self.reduction)
