"""OneCycleLR: the learning rate rises once and falls once, momentum falls once and rises once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_cnn.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, check_positive, per_group
from tinygrad_cnn.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """One cycle: the learning rate rises from ``max_lr / div_factor`` to `max_lr`, then falls to almost nothing.

    Momentum (or Adam's first beta) moves the other way. Call `step` after every batch, `total_steps` times at most.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate and momentum are changed.
    max_lr : float, or one for each group
        The rate at the peak.
    total_steps : int, optional
        The length of the cycle; by default ``epochs * steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
        Give the length of the cycle if `total_steps` does not.
    pct_start : float, default 0.3
        The part of the cycle in which the rate rises.
    anneal_strategy : "cos" or "linear"
        The shape of rise and fall.
    cycle_momentum : bool, default True
        Whether momentum moves too.
    base_momentum, max_momentum : float, or one for each group
        Momentum at the peak of the rate (0.85), and at start and end (0.95).
    div_factor : float, default 25
        `max_lr` over the first rate.
    final_div_factor : float, default 1e4
        The first rate over the last one.
    three_phase : bool, default False
        Fall back to the first rate as slowly as it rose, and only then to the last one.
    last_epoch : int, default -1
        See `LRScheduler`; counts batches.

    Raises
    ------
    ValueError
        If an option is out of range, the cycle has no length, or the optimizer has no momentum to move.

    References
    ----------
    Smith & Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        self.total_steps = _cycle_length(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start expects a number between 0 and 1 but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy expects 'cos' or 'linear' but got {anneal_strategy!r}")
        groups = optimizer.param_groups
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ValueError("OneCycleLR: cycle_momentum expects an optimizer with momentum or betas")
        peaks = per_group("OneCycleLR", "max_lr", max_lr, groups)
        highs = per_group("OneCycleLR", "max_momentum", max_momentum, groups)
        lows = per_group("OneCycleLR", "base_momentum", base_momentum, groups)
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self._phases = _phases(self.total_steps, pct_start, three_phase)
        if last_epoch == -1:
            for group, peak, high, low in zip(groups, peaks, highs, lows, strict=True):
                first = peak / div_factor
                group.update(initial_lr=first, max_lr=peak, min_lr=first / final_div_factor)
                if cycle_momentum:
                    group.update(max_momentum=high, base_momentum=low)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates of this point of the cycle, and set the momenta."""
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step expects at most total_steps={self.total_steps} steps but got {self.last_epoch}"
            )
        begin, (end, rates, momenta) = self._phase()
        part = (self.last_epoch - begin) / (end - begin)
        if self.cycle_momentum:
            for group in self._groups:
                momentum = self._anneal(group[momenta[0]], group[momenta[1]], part)
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return [self._anneal(group[rates[0]], group[rates[1]], part) for group in self._groups]

    def _phase(self) -> tuple[float, Any]:
        """Return where the present phase begins, and the phase."""
        begin = 0.0
        for phase in self._phases[:-1]:
            if self.last_epoch <= phase[0]:
                return begin, phase
            begin = phase[0]
        return begin, self._phases[-1]

    def _anneal(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


def _phases(total_steps: int, pct_start: float, three_phase: bool) -> list[list[Any]]:
    """Return the phases of a cycle: its last step, and the rates and the momenta that it goes from and to."""
    peak = float(pct_start * total_steps) - 1
    up = [peak, ["initial_lr", "max_lr"], ["max_momentum", "base_momentum"]]
    if not three_phase:
        return [up, [total_steps - 1, ["max_lr", "min_lr"], ["base_momentum", "max_momentum"]]]
    down = [2 * peak, ["max_lr", "initial_lr"], ["base_momentum", "max_momentum"]]
    return [up, down, [total_steps - 1, ["initial_lr", "min_lr"], ["max_momentum", "max_momentum"]]]


def _cycle_length(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        check_positive("OneCycleLR", "total_steps", total_steps)
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("OneCycleLR: expects total_steps, or both epochs and steps_per_epoch")
    check_positive("OneCycleLR", "epochs", epochs)
    check_positive("OneCycleLR", "steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch
