"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.optim.optimizer import Group, Optimizer, Params, check_betas, check_number
from tinygrad_cnn.optim.rules import Array, average, average_square, moment, with_decay


class NAdam(Optimizer):
    """Adam that looks ahead: the step is made of the gradient and of the mean that already holds it. In step t::

        d = g + weight_decay * p
        mu[t] = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2)
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        n = (1 - mu[t]) * d / (1 - mu[1] ... mu[t]) + mu[t+1] * m / (1 - mu[1] ... mu[t+1])
        p = p - lr * n / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize; see `Optimizer`.
    lr : float, default 2e-3
        Learning rate.
    betas : pair of float, default (0.9, 0.999)
        How much of the means of gradient and squared gradient each step keeps.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
        L2 penalty.
    momentum_decay : float, default 4e-3
        How fast mu grows from beta1 / 2 to beta1.
    decoupled_weight_decay : bool, default False
        Take the weight decay out of the gradient, as `AdamW` does: ``p = p - lr * weight_decay * p`` before each step.
    maximize : bool, default False
        Go up instead of down.

    References
    ----------
    Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        for name in ("lr", "eps", "weight_decay", "momentum_decay"):
            check_number("NAdam", name, options[name])
        check_betas("NAdam", options["betas"])

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Take one step with one parameter."""
        lr, weight_decay, decay = float(group["lr"]), float(group["weight_decay"]), float(group["momentum_decay"])
        beta1, beta2 = map(float, group["betas"])
        step = state["step"] = state.get("step", 0) + 1
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        product = state["mu_product"] = state.get("mu_product", 1.0) * mu
        arrays = (p, g, moment(state, "exp_avg", p), moment(state, "exp_avg_sq", p))
        decoupled = group["decoupled_weight_decay"]
        shrink, penalty = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
        # As in Adam, both sides of the fraction are multiplied by sqrt(1 - beta2**t).
        correction = math.sqrt(1 - beta2**step)
        of_gradient = lr * correction * (1 - mu) / (1 - product)
        of_mean = lr * correction * mu_next / (1 - product * mu_next)
        floor = float(group["eps"]) * correction
        self.apply(_nadam, arrays, of_gradient, of_mean, floor, beta1, beta2, shrink, penalty)


def _nadam(
    temporaries: list[Array],
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    of_gradient: float,
    of_mean: float,
    floor: float,
    beta1: float,
    beta2: float,
    shrink: float,
    penalty: float,
) -> Iterator[Step]:
    root, step = temporaries[0], temporaries[2]
    if shrink != 1:
        yield np.multiply, p, shrink, p
    g = yield from with_decay(temporaries[1], p, g, penalty)
    yield from average(step, m, g, 1 - beta1)
    yield from average_square(step, v, g, beta2)
    yield np.sqrt, v, root
    yield np.add, root, floor, root
    yield np.multiply, g, of_gradient, step
    yield np.multiply, m, of_mean, temporaries[1]
    yield np.add, step, temporaries[1], step
    yield np.divide, step, root, step
    yield np.subtract, p, step, p
