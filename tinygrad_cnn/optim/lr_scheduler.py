"""Schedules of the learning rate: ``scheduler.step()`` after each epoch, or after each batch, changes it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from tinygrad_cnn.optim.optimizer import Group, Optimizer

__all__ = ["CosineAnnealingLR", "LRScheduler", "OneCycleLR", "StepLR"]


class LRScheduler:
    """Base class of schedulers. A subclass defines `get_lr`, and keeps its settings as plain attributes.

    Making a scheduler sets the learning rates of step 0.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose groups' ``"lr"`` is changed.
    last_epoch : int, default -1
        How many steps have been taken, minus one. Anything but -1 resumes, and needs ``"initial_lr"`` in every group,
        which the optimizer's state dict carries.

    Attributes
    ----------
    base_lrs : list of float
        The learning rates of the groups at the start.
    last_epoch : int
        The number of steps taken.

    Raises
    ------
    TypeError
        If `optimizer` is not an `Optimizer`.
    KeyError
        If it resumes with a group that has no ``"initial_lr"``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: resuming (last_epoch={last_epoch}) expects 'initial_lr' in every "
                    f"parameter group but group {i} has none; load the optimizer's state dict first"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._is_initial = True
        self._advance()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """Return the learning rate of each group at `last_epoch`; `step` calls it. Ask `get_last_lr` instead.

        It may start from the groups' present rates, so that several schedulers can act on one optimizer.
        """
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group that was set last."""
        return list(self._last_lr)

    def step(self) -> None:
        """Go on to the next learning rates. Call it after ``optimizer.step()``.

        Warns
        -----
        UserWarning
            If the optimizer has not taken a step yet: the first learning rate would never be used.
        """
        overridden = type(self.optimizer).step is not Optimizer.step  # then nobody counts its steps
        if self._step_count == 1 and self.optimizer.steps_taken == 0 and not overridden:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(): the first value of the learning rate "
                "schedule is skipped. Call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._advance()

    def _advance(self) -> None:
        self._step_count += 1
        self.last_epoch += 1
        for group, lr in zip(self._groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self._groups]

    @property
    def _groups(self) -> list[Group]:
        return self.optimizer.param_groups

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every attribute but the optimizer, for `tinygrad_cnn.save`."""
        return {key: deepcopy(value) for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned. The optimizer's own state carries the present learning rates.

        Raises
        ------
        TypeError
            If it is not a dict.
        ValueError
            If it is the state of another kind of scheduler.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"{type(self).__name__}.load_state_dict: expects a dict but got {type(state_dict).__name__}"
            )
        own = set(self.__dict__) - {"optimizer"}
        if set(state_dict) != own:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: state_dict expects the keys {sorted(own)} "
                f"but has {sorted(map(str, state_dict))}"
            )
        self.__dict__.update(deepcopy(dict(state_dict)))


class StepLR(LRScheduler):
    """Multiply the learning rate by `gamma` every `step_size` steps.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    step_size : int
        Steps from one change to the next.
    gamma : float, default 0.1
        The factor.
    last_epoch : int, default -1
        See `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        _check_positive("StepLR", "step_size", step_size)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the present rates, scaled at every `step_size`-th step."""
        changes = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [group["lr"] * self.gamma if changes else group["lr"] for group in self._groups]


class CosineAnnealingLR(LRScheduler):
    """Bring the learning rate from its start down to `eta_min` along half a cosine, in `T_max` steps.

    ``lr = eta_min + (base_lr - eta_min) (1 + cos(pi t / T_max)) / 2`` in step t. It is computed from the rate before,
    so other schedulers may act at the same time; after `T_max` it rises again.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    T_max : int
        Steps down to `eta_min`.
    eta_min : float, default 0
        The smallest rate.
    last_epoch : int, default -1
        See `LRScheduler`.

    References
    ----------
    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017 (here without restarts).
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        _check_positive("CosineAnnealingLR", "T_max", T_max)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates that follow the present ones on the cosine."""
        rates = [group["lr"] for group in self._groups]
        if self._is_initial:
            return rates
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # just past the bottom, where the ratio is 0 / 0
            rise = 1 - self._height(1)
            return [rate + (base - self.eta_min) * rise for rate, base in zip(rates, self.base_lrs, strict=True)]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [self.eta_min + (rate - self.eta_min) * ratio for rate in rates]

    def _height(self, step: int) -> float:
        return (1 + math.cos(math.pi * step / self.T_max)) / 2


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
        _check_optimizer("OneCycleLR", optimizer)
        self.total_steps = _cycle_length(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start expects a number between 0 and 1 but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy expects 'cos' or 'linear' but got {anneal_strategy!r}")
        groups = optimizer.param_groups
        self.use_beta1 = "betas" in optimizer.defaults
        if cycle_momentum and not self.use_beta1 and "momentum" not in optimizer.defaults:
            raise ValueError("OneCycleLR: cycle_momentum expects an optimizer with momentum or betas")
        peaks = _per_group("max_lr", max_lr, groups)
        highs = _per_group("max_momentum", max_momentum, groups)
        lows = _per_group("base_momentum", base_momentum, groups)
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
        _check_positive("OneCycleLR", "total_steps", total_steps)
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("OneCycleLR: expects total_steps, or both epochs and steps_per_epoch")
    _check_positive("OneCycleLR", "epochs", epochs)
    _check_positive("OneCycleLR", "steps_per_epoch", steps_per_epoch)
    return epochs * steps_per_epoch


def _per_group(name: str, value: Any, groups: list[Group]) -> list[float]:
    if not isinstance(value, list | tuple):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise ValueError(f"OneCycleLR: {name} expects one value for each of {len(groups)} groups but got {len(value)}")
    return list(value)


def _check_optimizer(scheduler: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{scheduler}: optimizer expects an Optimizer but got {type(optimizer).__name__}")


def _check_positive(scheduler: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{scheduler}: {name} expects a positive integer but got {value!r}")
