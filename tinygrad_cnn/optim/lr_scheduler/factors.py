"""Schedulers that multiply the learning rate: in steps, along a line, exponentially, by any function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from types import FunctionType
from typing import Any

from tinygrad_cnn.errors import check_float, check_int
from tinygrad_cnn.optim.lr_scheduler.scheduler import (
    LRScheduler,
    check_list,
    check_optimizer,
    check_positive,
    per_group,
)
from tinygrad_cnn.optim.optimizer import Optimizer


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
        check_positive("StepLR", "step_size", step_size)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the present rates, scaled at every `step_size`-th step."""
        changes = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if changes else lr for lr in self._rates()]


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by `gamma` at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    milestones : iterable of int
        The steps at which it changes; one that comes twice counts twice.
    gamma : float, default 0.1
        The factor.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If a milestone is not an int, or is negative.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(check_int("MultiStepLR", "milestones", step, 0) for step in milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the present rates, scaled at a milestone."""
        factor = self.gamma ** self.milestones.get(self.last_epoch, 0)
        return [lr * factor for lr in self._rates()]


class ConstantLR(LRScheduler):
    """Multiply the learning rate by `factor` for the first `total_iters` steps: a crude warm-up.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    factor : float, default 1/3
        The factor, from 0 to 1.
    total_iters : int, default 5
        How long it holds.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an option is not a number of its range.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = check_float("ConstantLR", "factor", factor, 0, 1)
        self.total_iters = check_int("ConstantLR", "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the present rates, scaled at step 0 and scaled back at step `total_iters`."""
        rates = self._rates()
        if self.last_epoch == 0:
            return [lr * self.factor for lr in rates]
        if self.last_epoch != self.total_iters:
            return rates
        return [lr * (1.0 / self.factor) for lr in rates] if self.factor else list(self.base_lrs)


class LinearLR(LRScheduler):
    """Multiply the learning rate by a factor that goes along a line from `start_factor` to `end_factor`: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    start_factor : float, default 1/3
        The first factor, more than 0 and at most 1.
    end_factor : float, default 1.0
        The last factor, from 0 to 1.
    total_iters : int, default 5
        Steps from the first to the last; the rate stays as it is after that.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        If an option is not a number of its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = check_float("LinearLR", "start_factor", start_factor, 0, 1)
        if self.start_factor == 0:
            raise ValueError("LinearLR: start_factor expects more than 0 but got 0")
        self.end_factor = check_float("LinearLR", "end_factor", end_factor, 0, 1)
        self.total_iters = check_int("LinearLR", "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates that follow the present ones on the line."""
        rates = self._rates()
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in rates]
        if self._is_initial or self.last_epoch > self.total_iters:
            return rates
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [lr * ratio for lr in rates]

    def _height(self, step: int) -> float:
        """Return the factor times `total_iters`. It is 0, and nothing below, at the end of a line to 0."""
        return self.total_iters * self.start_factor + step * (self.end_factor - self.start_factor)


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by `gamma` in every step.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    gamma : float
        The factor.
    last_epoch : int, default -1
        See `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the present rates, scaled."""
        return [lr if self._is_initial else lr * self.gamma for lr in self._rates()]


class LambdaLR(LRScheduler):
    """Set the learning rate to its start times any function of the step: ``lr = base_lr * lr_lambda(t)``.

    A state dict has the attributes of callable objects in it, but None for functions: give the same ones again.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    lr_lambda : callable, or list of one for each group
        The factor, given the number of steps taken.
    last_epoch : int, default -1
        See `LRScheduler`.

    Raises
    ------
    TypeError
        If `lr_lambda` can't be called.
    ValueError
        If there is not one for each group.
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("LambdaLR", optimizer)
        self.lr_lambdas = per_group("LambdaLR", "lr_lambda", lr_lambda, optimizer.param_groups)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"LambdaLR: lr_lambda expects a function but got {type(function).__name__}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the initial rates times what the functions say."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(self.last_epoch) for base, function in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every attribute but the optimizer and the functions."""
        saved = [
            None if isinstance(f, FunctionType) else deepcopy(getattr(f, "__dict__", None)) for f in self.lr_lambdas
        ]
        return {**super().state_dict(), "lr_lambdas": saved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, with this scheduler's own functions. Errors as `LRScheduler`'s."""
        super().load_state_dict(state_dict)
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                function.__dict__.update(deepcopy(attributes))

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        super()._check_state(state_dict)
        saved = state_dict["lr_lambdas"]
        check_list("LambdaLR.load_state_dict", "lr_lambdas", saved, len(self.lr_lambdas))
        if not all(attributes is None or isinstance(attributes, Mapping) for attributes in saved):
            raise TypeError("LambdaLR.load_state_dict: lr_lambdas expects None or a dict for each function")
