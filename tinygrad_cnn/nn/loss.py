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


class L1Loss(_Loss):
    """Mean absolute error between two tensors of one shape.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
        What becomes of the absolute differences.
    """

    def __init__(self, size_average: None = None, reduce: None = None, reduction: str = "mean") -> None:
        super().__init__(size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` against `target`."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Absolute error, squared below `beta`: ``d**2 / (2 beta)`` there, else ``d - beta / 2``.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
        What becomes of the losses.
    beta : float, default 1.0
        Not negative; 0 gives `L1Loss`.
    """

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` against `target`."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Half the squared error, linear beyond `delta`: ``delta * (d - delta / 2)`` there.

    Parameters
    ----------
    reduction : "mean", "sum" or "none"
        What becomes of the losses.
    delta : float, default 1.0
        Positive.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(None, None, reduction)
        if not isinstance(delta, int | float):
            raise TypeError(f"HuberLoss: delta expects a number but got {delta!r}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` against `target`."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities.

    Parameters
    ----------
    weight : Tensor, optional
        Factors of the losses; a buffer.
    reduction : "mean", "sum" or "none"
        What becomes of the losses.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of probabilities `input` against `target`."""
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits, in one stable step.

    Parameters
    ----------
    weight : Tensor, optional
        Factors of the losses; a buffer.
    reduction : "mean", "sum" or "none"
        What becomes of the losses.
    pos_weight : Tensor, optional
        Factors of the losses of positive targets; a buffer.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> loss = nn.BCEWithLogitsLoss()(tg.zeros(4), tg.tensor([0.0, 1.0, 0.0, 1.0]))
    >>> f"{loss.item():.4f}"  # log(2)
    '0.6931'
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `input` against `target`."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of target probabilities from log-probabilities.

    Parameters
    ----------
    reduction : "batchmean", "mean", "sum" or "none"
        What becomes of the terms; "batchmean" is the divergence as it is defined.
    log_target : bool, default False
        Whether targets are log-probabilities too.
    """

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, "sum" if reduction == "batchmean" else reduction)
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the divergence of `target` from log-probabilities `input`."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
