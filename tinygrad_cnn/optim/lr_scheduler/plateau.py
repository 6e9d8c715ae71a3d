"""ReduceLROnPlateau: the scheduler that looks at how training goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

from tinygrad_cnn.errors import check_float, check_int
from tinygrad_cnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from tinygrad_cnn.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rate by `factor` when a metric has not improved for more than `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    mode : "min" or "max"
        Whether less is better (a loss) or more (an accuracy).
    factor : float, default 0.1
        The factor, at least 0 and less than 1.
    patience : int, default 10
        How many steps in a row without improvement are tolerated.
    threshold : float, default 1e-4
        By how much a metric must beat the best one so far to count.
    threshold_mode : "rel" or "abs"
        Whether that is a part of the best metric, or an amount.
    cooldown : int, default 0
        For how many steps after a reduction bad metrics do not count.
    min_lr : float, or one for each group, default 0
        The smallest rate.
    eps : float, default 1e-8
        A reduction by no more than this is left out.

    Attributes
    ----------
    best : float
        The best metric so far.
    num_bad_epochs, cooldown_counter : int
        Steps without improvement, and steps of cooldown that are left.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        name = type(self).__name__
        check_optimizer(name, optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode expects 'min' or 'max' but got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{name}: threshold_mode expects 'rel' or 'abs' but got {threshold_mode!r}")
        self.factor = check_float(name, "factor", factor, 0)
        if self.factor >= 1:
            raise ValueError(f"{name}: factor expects less than 1 but got {factor}")
        self.optimizer = optimizer
        self.mode = mode
        self.patience = check_int(name, "patience", patience, 0)
        self.threshold = check_float(name, "threshold", threshold)
        self.threshold_mode = threshold_mode
        self.cooldown = check_int(name, "cooldown", cooldown, 0)
        self.eps = check_float(name, "eps", eps)
        least = per_group(name, "min_lr", min_lr, optimizer.param_groups)
        self.min_lrs = [check_float(name, "min_lr", lr, 0) for lr in least]
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self._last_lr = self._rates()

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override]
        """Look at the newest value of the metric, and reduce the learning rate if it is time.

        Raises
        ------
        TypeError
            If `metrics` is not a number.
        RuntimeError
            If the optimizer has got more groups since, and `min_lrs` has not been told.
        """
        try:
            current = float(metrics)
        except (TypeError, ValueError):
            raise TypeError(f"{type(self).__name__}.step: metrics expects a number but got {metrics!r}") from None
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def _is_better(self, current: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            bound = self.best * (1.0 + sign * self.threshold)
        else:
            bound = self.best + sign * self.threshold
        return current > bound if self.mode == "max" else current < bound

    def _reduce(self) -> None:
        if len(self.min_lrs) != len(self._groups):
            if len(set(self.min_lrs)) > 1:
                raise RuntimeError(
                    f"ReduceLROnPlateau: min_lrs expects one value for each of {len(self._groups)} groups but has "
                    f"{len(self.min_lrs)}; a group was added after the scheduler was made"
                )
            self.min_lrs = self.min_lrs[:1] * len(self._groups)
        for group, least in zip(self._groups, self.min_lrs, strict=True):
            lr = max(float(group["lr"]) * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
