"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.optim.optimizer import Group, Optimizer, Params, check_number
from tinygrad_cnn.optim.rules import Array, average_square, moment, with_decay


class Adadelta(Optimizer):
    """Adadelta: the size of each step follows from those before it::

        d = g + weight_decay * p
        v = rho * v + (1 - rho) * d**2
        s = sqrt(u + eps) / sqrt(v + eps) * d
        u = rho * u + (1 - rho) * s**2
        p = p - lr * s

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize; see `Optimizer`.
    lr : float, default 1.0
        Scales the step; the method itself has no learning rate.
    rho : float, default 0.9
        How much of the means of squares each step keeps.
    eps : float, default 1e-6
        Added under the roots; it sets the size of the first steps.
    weight_decay : float, default 0
        L2 penalty.
    maximize : bool, default False
        Go up instead of down.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        for name in ("lr", "eps", "weight_decay"):
            check_number("Adadelta", name, options[name])
        check_number("Adadelta", "rho", options["rho"], high=1.0)

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Take one step with one parameter."""
        state["step"] = state.get("step", 0) + 1
        arrays = (p, g, moment(state, "square_avg", p), moment(state, "acc_delta", p))
        options = (float(group[name]) for name in ("lr", "rho", "eps", "weight_decay"))
        self.apply(_adadelta, arrays, *options)


def _adadelta(
    temporaries: list[Array],
    p: Array,
    g: Array,
    square_avg: Array,
    acc_delta: Array,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Step]:
    step, temporary = temporaries[0], temporaries[2]
    g = yield from with_decay(temporaries[1], p, g, weight_decay)
    yield from average_square(temporary, square_avg, g, rho)
    yield np.add, square_avg, eps, temporary
    yield np.add, acc_delta, eps, step
    yield np.divide, step, temporary, step
    yield np.sqrt, step, step
    yield np.multiply, step, g, step
    yield from average_square(temporary, acc_delta, step, rho)
    yield np.multiply, step, lr, step
    yield np.subtract, p, step, p
