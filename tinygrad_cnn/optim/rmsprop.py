"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.optim.optimizer import Group, Optimizer, Params, check_number
from tinygrad_cnn.optim.rules import Array, average, average_square, moment, with_decay


class RMSprop(Optimizer):
    """RMSprop: the gradient over a running root of its mean square::

        d = g + weight_decay * p
        v = alpha * v + (1 - alpha) * d**2
        a = alpha * a + (1 - alpha) * d                 (only if centered; else a = 0)
        s = d / (sqrt(v - a**2) + eps)
        b = momentum * b + s
        p = p - lr * b

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize; see `Optimizer`.
    lr : float, default 1e-2
        Learning rate.
    alpha : float, default 0.99
        How much of the mean of squares each step keeps.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
        L2 penalty.
    momentum : float, default 0
        How much of the past steps each step keeps.
    centered : bool, default False
        Divide by a running standard deviation instead.
    maximize : bool, default False
        Go up instead of down.

    References
    ----------
    Tieleman & Hinton, "Lecture 6.5: RMSProp", Coursera, 2012.
    Graves, "Generating sequences with recurrent neural networks", 2013 (centered).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        for name in ("lr", "eps", "weight_decay", "momentum"):
            check_number("RMSprop", name, options[name])
        check_number("RMSprop", "alpha", options["alpha"], high=1.0)

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Take one step with one parameter."""
        state["step"] = state.get("step", 0) + 1
        lr, alpha, eps, weight_decay, momentum = (
            float(group[name]) for name in ("lr", "alpha", "eps", "weight_decay", "momentum")
        )
        names = ["square_avg"] + ["grad_avg"] * bool(group["centered"]) + ["momentum_buffer"] * (momentum > 0)
        arrays = (p, g, *(moment(state, name, p) for name in names))
        self.apply(_rmsprop, arrays, bool(group["centered"]), lr, alpha, eps, weight_decay, momentum)


def _rmsprop(temporaries: list[Array], p: Array, g: Array, square_avg: Array, *rest: Any) -> Iterator[Step]:
    *others, centered, lr, alpha, eps, weight_decay, momentum = rest
    step, temporary = temporaries[0], temporaries[2]
    g = yield from with_decay(temporaries[1], p, g, weight_decay)
    yield from average_square(temporary, square_avg, g, alpha)
    if centered:
        yield from average(temporary, others[0], g, 1 - alpha)
        yield np.multiply, others[0], others[0], temporary
        yield np.subtract, square_avg, temporary, step
        yield np.sqrt, step, step
    else:
        yield np.sqrt, square_avg, step
    yield np.add, step, eps, step
    yield np.divide, g, step, step
    if momentum > 0:
        buffer = others[-1]
        yield np.multiply, buffer, momentum, buffer
        yield np.add, buffer, step, buffer
        yield np.multiply, buffer, lr, step
    else:
        yield np.multiply, step, lr, step
    yield np.subtract, p, step, p
