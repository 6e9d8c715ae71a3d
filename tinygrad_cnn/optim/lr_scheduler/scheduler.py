"""LRScheduler: the base class of schedulers, and the checks that they share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar

from tinygrad_cnn.optim.optimizer import Group, Optimizer


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

    # Attributes that a state dict does not hold as they are.
    _unsaved: ClassVar[tuple[str, ...]] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(type(self).__name__, optimizer)
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
        self._begin()

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

        Raises
        ------
        RuntimeError
            If the optimizer has got more groups since, and the scheduler has no rates for them.
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
        self._set(self.get_lr())

    def _set(self, rates: list[float]) -> None:
        if len(rates) != len(self._groups):
            raise RuntimeError(
                f"{type(self).__name__}: expects one learning rate for each of {len(self._groups)} groups but has "
                f"{len(rates)}; was a group added after the scheduler was made?"
            )
        for group, lr in zip(self._groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self._groups]

    @property
    def _groups(self) -> list[Group]:
        return self.optimizer.param_groups

    # ------------------------------------------------------------------------------- for schedulers of schedulers

    def _begin(self) -> None:
        """Set the rates of the first step, starting from the groups' present ones."""
        self._step_count = 0
        self._is_initial = True
        self._advance()
        self._is_initial = False

    def _undo(self) -> None:
        """Go back to before the first step; the rates themselves are the caller's affair."""
        self.last_epoch -= 1

    def _take_over(self) -> None:
        """Set the rates of step 0, from the initial ones: its turn has come within a `SequentialLR`."""
        self.last_epoch = -1
        self._set(self.base_lrs)
        self._begin()

    # ------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every attribute but the optimizer, for `tinygrad_cnn.save`."""
        return {key: deepcopy(value) for key, value in self.__dict__.items() if key not in self._unsaved}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned. The optimizer's own state carries the present learning rates.

        Raises
        ------
        TypeError
            If it is not a dict.
        ValueError
            If it is the state of another kind of scheduler. Nothing is changed then.
        """
        self._check_state(state_dict)
        self.__dict__.update(
            {key: deepcopy(value) for key, value in state_dict.items() if key not in self._unsaved},
        )

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        """Raise unless `state_dict` has the form of this scheduler's own."""
        operation = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"{operation}: expects a dict but got {type(state_dict).__name__}")
        own = set(self.state_dict())
        if set(state_dict) != own:
            raise ValueError(
                f"{operation}: state_dict expects the keys {sorted(own)} but has {sorted(map(str, state_dict))}"
            )


def check_optimizer(scheduler: str, optimizer: Any) -> None:
    """Raise TypeError unless `optimizer` is an `Optimizer`."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{scheduler}: optimizer expects an Optimizer but got {type(optimizer).__name__}")


def check_positive(scheduler: str, name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a positive int."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{scheduler}: {name} expects a positive integer but got {value!r}")


def per_group(scheduler: str, name: str, value: Any, groups: list[Group]) -> list[Any]:
    """Return one value for each group: `value` itself for all of them, or those of a list.

    Raises
    ------
    ValueError
        If a list has another length than there are groups.
    """
    if not isinstance(value, list | tuple):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise ValueError(f"{scheduler}: {name} expects one value for each of {len(groups)} groups but got {len(value)}")
    return list(value)


def check_list(operation: str, name: str, value: Any, length: int) -> None:
    """Raise TypeError unless `value` is a list, and ValueError unless it is so long."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{operation}: {name} expects a list but got {type(value).__name__}")
    if len(value) != length:
        raise ValueError(f"{operation}: {name} expects {length} entries but has {len(value)}")
