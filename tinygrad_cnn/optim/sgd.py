"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.optim.optimizer import Group, Optimizer, Params, check_number
from tinygrad_cnn.optim.rules import Array, moment, with_decay


class SGD(Optimizer):
    """Stochastic gradient descent::

        d = g + weight_decay * p
        b = momentum * b + (1 - dampening) * d          (b = d in the first step)
        p = p - lr * b                                  (nesterov: p - lr * (d + momentum * b))

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize; see `Optimizer`.
    lr : float, default 1e-3
        Learning rate.
    momentum : float, default 0
        How much of the past steps each step keeps.
    dampening : float, default 0
        How much less of the present gradient it takes.
    weight_decay : float, default 0
        L2 penalty.
    nesterov : bool, default False
        Nesterov's momentum; needs momentum and no dampening.
    maximize : bool, default False
        Go up instead of down.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        for name in ("lr", "momentum", "weight_decay"):
            check_number("SGD", name, options[name])
        check_number("SGD", "dampening", options["dampening"], low=-np.inf)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov expects a momentum and zero dampening "
                f"but got momentum={options['momentum']}, dampening={options['dampening']}"
            )

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Take one step with one parameter."""
        lr, weight_decay, momentum = float(group["lr"]), float(group["weight_decay"]), float(group["momentum"])
        if momentum == 0:
            self.apply(_plain, (p, g), lr, weight_decay)
            return
        share = 1.0 - float(group["dampening"]) if "momentum_buffer" in state else 1.0
        buffer = moment(state, "momentum_buffer", p)
        self.apply(_with_momentum, (p, g, buffer), lr, weight_decay, momentum, share, group["nesterov"])


def _plain(temporaries: list[Array], p: Array, g: Array, lr: float, weight_decay: float) -> Iterator[Step]:
    step = temporaries[0]
    g = yield from with_decay(temporaries[1], p, g, weight_decay)
    yield np.multiply, g, lr, step
    yield np.subtract, p, step, p


def _with_momentum(
    temporaries: list[Array],
    p: Array,
    g: Array,
    buffer: Array,
    lr: float,
    weight_decay: float,
    momentum: float,
    share: float,
    nesterov: bool,
) -> Iterator[Step]:
    step = temporaries[0]
    g = yield from with_decay(temporaries[1], p, g, weight_decay)
    yield np.multiply, buffer, momentum, buffer
    if share == 1:
        yield np.add, buffer, g, buffer
    else:
        yield np.multiply, g, share, step
        yield np.add, buffer, step, buffer
    if nesterov:
        yield np.multiply, buffer, momentum, step
        yield np.add, step, g, step
        yield np.multiply, step, lr, step
    else:
        yield np.multiply, buffer, lr, step
    yield np.subtract, p, step, p
