"""Schedulers made of schedulers: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tinygrad_cnn.errors import check_int
from tinygrad_cnn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tinygrad_cnn.optim.lr_scheduler.scheduler import LRScheduler, check_list
from tinygrad_cnn.optim.optimizer import Optimizer


class _Combination(LRScheduler):
    """What both share: schedulers of one optimizer, and their states in a state dict."""

    _unsaved = ("optimizer", "_schedulers")

    def __init__(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name}: schedulers expects at least one scheduler but got none")
        for i, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"{name}: schedulers[{i}] expects a scheduler but got {type(scheduler).__name__}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"{name}: schedulers[{i}] is a ReduceLROnPlateau, whose step needs a metric")
            optimizer = scheduler.optimizer if optimizer is None else optimizer
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"{name}: schedulers[{i}] expects the same optimizer as the others but has another")
        self.optimizer = schedulers[0].optimizer
        self._schedulers = list(schedulers)

    def _undo(self) -> None:
        for scheduler in self._schedulers:
            scheduler._undo()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every attribute but the optimizer, with the schedulers' own state dicts."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned. Errors as `LRScheduler`'s."""
        super().load_state_dict(state_dict)
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        super()._check_state(state_dict)
        states = state_dict["_schedulers"]
        check_list(f"{type(self).__name__}.load_state_dict", "_schedulers", states, len(self._schedulers))
        for scheduler, state in zip(self._schedulers, states, strict=True):
            scheduler._check_state(state)


class SequentialLR(_Combination):
    """One scheduler after the other: each milestone is the step at which the next one takes over, at its step 0.

    A warm-up, then a cosine: ``SequentialLR(optimizer, [LinearLR(optimizer), CosineAnnealingLR(optimizer, 95)], [5])``.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    schedulers : list of LRScheduler
        All of this optimizer.
    milestones : list of int
        When the second, the third, ... begins; one fewer than schedulers, in order.
    last_epoch : int, default -1
        The number that counting starts after. To resume, `load_state_dict` is the way.

    Raises
    ------
    ValueError
        If there are no schedulers, they have another optimizer, one needs a metric (`ReduceLROnPlateau`), or the
        milestones are not one fewer or not in order.
    TypeError
        If one is no scheduler, or a milestone no int.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: milestones expects one fewer than the {len(schedulers)} schedulers "
                f"but got {len(milestones)}"
            )
        self._milestones = [check_int("SequentialLR", "milestones", step, 0) for step in milestones]
        if any(first > second for first, second in pairwise(self._milestones)):
            raise ValueError(f"SequentialLR: milestones expects steps in order but got {self._milestones}")
        self.last_epoch = last_epoch
        # Each scheduler has set the rates of its first step when it was made; only one of them should have.
        super()._undo()
        for group in self._groups:
            group["lr"] = group["initial_lr"]
        self._begin()

    def _begin(self) -> None:
        self.last_epoch += 1
        self._first._begin()
        self._last_lr = self._rates()

    def _undo(self) -> None:
        self._first._undo()
        self.last_epoch -= 1

    def _take_over(self) -> None:
        self.last_epoch = 0
        self._first._take_over()
        self._last_lr = self._rates()

    @property
    def _first(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, 0)]

    def step(self) -> None:
        """Take a step with the scheduler whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            scheduler._take_over()
        else:
            scheduler.step()
        self._last_lr = self._rates()


class ChainedScheduler(_Combination):
    """Several schedulers at once, each of which changes what those before it have set.

    Parameters
    ----------
    schedulers : sequence of LRScheduler
        All of one optimizer.
    optimizer : Optimizer, optional
        That optimizer.

    Raises
    ------
    ValueError
        If there are no schedulers, they have different optimizers, or one needs a metric (`ReduceLROnPlateau`).
    TypeError
        If one is no scheduler.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        super().__init__(optimizer, schedulers)
        self._last_lr = self._rates()

    def _begin(self) -> None:
        for scheduler in self._schedulers:
            scheduler._begin()
        self._last_lr = self._rates()

    def _take_over(self) -> None:
        first, *others = self._schedulers
        first._take_over()
        for scheduler in others:
            scheduler._begin()
        self._last_lr = self._rates()

    def step(self) -> None:
        """Take a step with every scheduler, in order."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()
