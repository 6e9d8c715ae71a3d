"""Adam, and AdamW, which takes the weight decay out of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_cnn.kernels.elementwise import Step
from tinygrad_cnn.optim.optimizer import Group, Optimizer, Params, check_betas, check_number
from tinygrad_cnn.optim.rules import Array, average, average_square, moment, with_decay


class Adam(Optimizer):
    """Adam: steps of about `lr`, whatever the scale of the gradient. In step t::

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        p = p - lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    With `amsgrad` the largest v so far takes the place of v in the last line.

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize; see `Optimizer`.
    lr : float, default 1e-3
        Learning rate.
    betas : pair of float, default (0.9, 0.999)
        How much of the means of gradient and squared gradient each step keeps.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
        L2 penalty.
    amsgrad : bool, default False
        Never let the denominator shrink.
    maximize : bool, default False
        Go up instead of down.
    decoupled_weight_decay : bool, default False
        Take the weight decay out of the gradient: this is `AdamW` then.

    References
    ----------
    Kingma & Ba, "Adam: a method for stochastic optimization", 2015.
    Reddi, Kale & Kumar, "On the convergence of Adam and beyond", 2018 (AMSGrad).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range."""
        for name in ("lr", "eps", "weight_decay"):
            check_number(self._name, name, options[name])
        check_betas(self._name, options["betas"])

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Take one step with one parameter."""
        lr, eps, weight_decay = float(group["lr"]), float(group["eps"]), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        step = state["step"] = state.get("step", 0) + 1
        correction1, correction2 = 1 - beta1**step, math.sqrt(1 - beta2**step)
        arrays = [p, g, moment(state, "exp_avg", p), moment(state, "exp_avg_sq", p)]
        if group["amsgrad"]:
            arrays.append(moment(state, "max_exp_avg_sq", p))
        decoupled = group["decoupled_weight_decay"]
        shrink, penalty = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
        # Both sides of the fraction are multiplied by sqrt(1 - beta2**t), which saves a pass over the array.
        size, floor = lr * correction2 / correction1, eps * correction2
        self.apply(_adam, tuple(arrays), size, floor, beta1, beta2, shrink, penalty)


class AdamW(Adam):
    """Adam whose weight decay is not part of the gradient: ``p = p - lr * weight_decay * p`` before each step.

    Parameters
    ----------
    weight_decay : float, default 1e-2
        How fast parameters decay.
    params, lr, betas, eps, amsgrad, maximize
        As `Adam`'s.

    References
    ----------
    Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)


def _adam(temporaries: list[Array], p: Array, g: Array, m: Array, v: Array, *rest: Any) -> Iterator[Step]:
    *largest, size, floor, beta1, beta2, shrink, penalty = rest
    fraction = temporaries[0]
    if shrink != 1:
        yield np.multiply, p, shrink, p
    g = yield from with_decay(temporaries[1], p, g, penalty)
    yield from average(fraction, m, g, 1 - beta1)
    yield from average_square(fraction, v, g, beta2)
    if largest:
        yield np.maximum, largest[0], v, largest[0]
        v = largest[0]
    yield np.sqrt, v, fraction
    yield np.add, fraction, floor, fraction
    yield np.divide, m, fraction, fraction
    yield np.multiply, fraction, size, fraction
    yield np.subtract, p, fraction, p
