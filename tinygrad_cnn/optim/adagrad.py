"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.optim.optimizer import Group, Optimizer, Params, check_number
from tinygrad_cnn.optim.rules import Array, moment, with_decay


class Adagrad(Optimizer):
    """Adagrad: a learning rate for each element, which shrinks as its gradients add up. In step t::

        d = g + weight_decay * p
        s = s + d**2                                    (s = initial_accumulator_value at first)
        p = p - lr / (1 + (t - 1) * lr_decay) * d / (sqrt(s) + eps)

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize; see `Optimizer`.
    lr : float, default 1e-2
        Learning rate.
    lr_decay : float, default 0
        How fast the learning rate falls.
    weight_decay : float, default 0
        L2 penalty.
    initial_accumulator_value : float, default 0
        The first value of s.
    eps : float, default 1e-10
        Added to the root.
    maximize : bool, default False
        Go up instead of down.

    References
    ----------
    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        for name in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            check_number("Adagrad", name, options[name])

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Take one step with one parameter."""
        step = state["step"] = state.get("step", 0) + 1
        total = moment(state, "sum", p, first=group["initial_accumulator_value"])
        lr = float(group["lr"]) / (1 + (step - 1) * float(group["lr_decay"]))
        self.apply(_adagrad, (p, g, total), lr, float(group["weight_decay"]), float(group["eps"]))


def _adagrad(
    temporaries: list[Array], p: Array, g: Array, total: Array, lr: float, weight_decay: float, eps: float
) -> Iterator[Step]:
    fraction = temporaries[0]
    g = yield from with_decay(temporaries[1], p, g, weight_decay)
    yield np.multiply, g, g, fraction
    yield np.add, total, fraction, total
    yield np.sqrt, total, fraction
    yield np.add, fraction, eps, fraction
    yield np.divide, g, fraction, fraction
    yield np.multiply, fraction, lr, fraction
    yield np.subtract, p, fraction, p
