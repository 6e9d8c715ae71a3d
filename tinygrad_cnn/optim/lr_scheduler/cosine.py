"""Schedulers that bring the learning rate down along a cosine, once or again and again."""

from __future__ import annotations

import math

from tinygrad_cnn.errors import check_float
from tinygrad_cnn.optim.lr_scheduler.scheduler import LRScheduler, check_positive
from tinygrad_cnn.optim.optimizer import Optimizer


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
        check_positive("CosineAnnealingLR", "T_max", T_max)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates that follow the present ones on the cosine."""
        rates = self._rates()
        if self._is_initial:
            return rates
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # just past the bottom, where the ratio is 0 / 0
            rise = 1 - self._height(1)
            return [rate + (base - self.eta_min) * rise for rate, base in zip(rates, self.base_lrs, strict=False)]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [self.eta_min + (rate - self.eta_min) * ratio for rate in rates]

    def _height(self, step: int) -> float:
        return (1 + math.cos(math.pi * step / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Bring the learning rate down along half a cosine, put it back to its start, and again, each time more slowly.

    ``lr = eta_min + (base_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2``, `T_cur` steps after a restart. `T_i` is the
    length of the present cycle: `T_0` at first, then `T_mult` times as long after each.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer whose learning rate is changed.
    T_0 : int
        Steps until the first restart.
    T_mult : int, default 1
        How many times as long each cycle is as the one before it.
    eta_min : float, default 0
        The smallest rate.
    last_epoch : int, default -1
        See `LRScheduler`. It counts from the last restart but one; after more, `load_state_dict` is the way to resume.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    References
    ----------
    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        check_positive("CosineAnnealingWarmRestarts", "T_0", T_0)
        check_positive("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = check_float("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates at this point of the cycle."""
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next learning rates, or to those of `epoch`, which may be ``epoch + batch / batches``.

        Raises
        ------
        ValueError
            If `epoch` is negative.
        """
        if epoch is None:
            super().step()
            return
        position = check_float("CosineAnnealingWarmRestarts.step", "epoch", epoch, 0, 2**53)
        self.T_cur, self.T_i = position, self.T_0
        if self.T_mult == 1:
            self.T_cur %= self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        self.last_epoch = math.floor(position)
        self._set(self.get_lr())

    def _advance(self) -> None:
        self.T_cur += 1
        if self.T_cur >= self.T_i:
            self.T_cur %= self.T_i
            self.T_i *= self.T_mult
        super()._advance()

    def _undo(self) -> None:
        self.T_cur -= 1
        super()._undo()

    def _take_over(self) -> None:
        self.T_cur, self.T_i = -1, self.T_0
        super()._take_over()
