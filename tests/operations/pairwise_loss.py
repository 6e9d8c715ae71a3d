"""Losses of numbers or probabilities against targets of the same shape, element by element."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.row import Bad, Row, array, leaf
from tinygrad_cnn.testing import Call, reals, shapes, tensors

REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def elementwise(score, weighted_mean=False):
    """A loss from ``score(x, t)`` of two numbers."""

    def loss(x, target, reduction="mean", weight=None, pos_weight=None, **parameters):
        if pos_weight is not None:
            parameters["factors"] = np.broadcast_to(pos_weight, x.shape)
        lists = [v.reshape(-1) for v in (x, target, *(v for v in parameters.values() if isinstance(v, np.ndarray)))]
        numbers = {k: v for k, v in parameters.items() if not isinstance(v, np.ndarray)}
        losses = np.array([score(*values, **numbers) for values in zip(*lists, strict=True)]).reshape(x.shape)
        losses = losses if weight is None else losses * weight
        if reduction == "none":
            return losses
        divisor = weight.sum() if weighted_mean and weight is not None else losses.size
        if reduction == "batchmean":
            divisor = x.shape[0] if x.ndim else 1
        return losses.sum() / (1 if reduction == "sum" else divisor)

    return loss


@st.composite
def pairs(draw, low=-2.0, high=2.0, shape=None, reductions=REDUCTIONS, targets=None, **parameters):
    """Two tensors without a number in common, whose differences are no multiples of 1 / 4."""
    size = draw(shapes(min_side=1)) if shape is None else shape
    x = draw(tensors(size, elements=reals(low, high, step=1 / 16)))
    target = draw(tensors(size, elements=targets or reals(low, high, step=1 / 16, phase=0.5)))
    named = {name: draw(st.sampled_from(values)) for name, values in parameters.items()}
    return Call(x, target, reduction=draw(reductions), **named)


@st.composite
def weighted(draw, calls, names=("weight",), broadcast=True):
    """Calls with positive weights too, which may require a gradient."""
    call = draw(calls)
    shape = call.args[0].shape
    for name in names:
        if draw(st.booleans()):
            own = shape[1:] if broadcast and shape and draw(st.booleans()) else shape
            call.kwargs[name] = draw(tensors(own, elements=reals(0.5, 2)))
    return call


def l1(x, t):
    return abs(x - t)


def huber(x, t, delta=1.0):
    d = abs(x - t)
    return d * d / 2 if d <= delta else delta * (d - delta / 2)


def smooth_l1(x, t, beta=1.0):
    return huber(x, t, beta) / beta if beta else l1(x, t)


def bce(x, t):
    return -(t * math.log(x) + (1 - t) * math.log(1 - x))


def bce_with_logits(x, t, factor=1.0):
    return factor * t * math.log(1 + math.exp(-x)) + (1 - t) * math.log(1 + math.exp(x))


def kl(x, t, log_target=False):
    return math.exp(t) * (t - x) if log_target else t * (math.log(t) - x) if t else 0.0


X = leaf([1.0, 2.0], [3.0, 0.0])
ROW = leaf(1.0, 2.0)
HALF = X * 0.25


def refused(name, x=X):
    def bad(error, message, *args, **kwargs):
        return Bad(Call(*args, **kwargs), error, f"{name}: {message}")

    return (
        bad(ValueError, r"target expects the shape of input \(2, 2\) but has \(2,\)", x, ROW),
        bad(TypeError, "target expects the dtype of input, float64, but has float32", x, x.detach().float()),
        bad(ValueError, "reduction expects 'none', 'mean' or 'sum' but got 'max'", x, x, reduction="max"),
        bad(TypeError, "input expects a tensor but got", [1.0], x),
        *(
            (bad(ValueError, "size_average and reduce expect None", x, x, size_average=True),)
            if name != "huber_loss"
            else ()
        ),
    )


def not_weighted(name, argument="weight", x=X):
    return (
        Bad(Call(x, x, **{argument: tg.ones(3).double()}), ValueError, f"{name}: {argument} expects"),
        Bad(Call(x, x, **{argument: tg.ones(2, 2)}), TypeError, f"{name}: {argument} expects the dtype of input"),
    )


def floating(name):
    return (Bad(Call(X.long(), X.long()), TypeError, f"{name}: input expects a floating dtype but has int64"),)


ROWS = [
    Row(
        "l1_loss",
        F.l1_loss,
        weighted(pairs(), broadcast=False),
        elementwise(l1, weighted_mean=True),
        (*refused("l1_loss"), *not_weighted("l1_loss")),
        points=((Call(leaf(1.0, 2.0, 3.0), leaf(2.0, 2.0, 2.0)), (array(-1, 0, 1) / 3, array(1, 0, -1) / 3)),),
    ),
    Row(
        "smooth_l1_loss",
        F.smooth_l1_loss,
        pairs(beta=[1.0, 0.5, 2.0, 0.0]),
        elementwise(smooth_l1),
        (
            *refused("smooth_l1_loss"),
            *floating("smooth_l1_loss"),
            Bad(Call(X, X, beta=-1.0), ValueError, "smooth_l1_loss: beta expects 0 <= beta"),
        ),
        points=((Call(leaf(0.5, -3.0), leaf(0.0, 0.0), beta=0.5, reduction="sum"), (array(1, -1), array(-1, 1))),),
    ),
    Row(
        "huber_loss",
        F.huber_loss,
        weighted(pairs(delta=[1.0, 0.5, 2.0]), broadcast=False),
        elementwise(huber),
        (
            *refused("huber_loss"),
            *not_weighted("huber_loss"),
            *floating("huber_loss"),
            Bad(Call(X, X, delta=0.0), ValueError, "huber_loss: delta expects a positive number but got 0.0"),
        ),
        points=(
            (Call(leaf(0.5, -3.0), leaf(0.0, 0.0), delta=2.0, reduction="sum"), (array(0.5, -2), array(-0.5, 2))),
            (
                Call(
                    leaf(0.5, -3.0), leaf(0.0, 0.0), delta=2.0, reduction="sum", weight=tg.tensor([4.0, 2.0]).double()
                ),
                (array(2, -4), array(-2, 4)),
            ),
        ),
    ),
    Row(
        "binary_cross_entropy",
        F.binary_cross_entropy,
        weighted(pairs(0.1, 0.9)),
        elementwise(bce),
        (
            *refused("binary_cross_entropy", HALF),
            *not_weighted("binary_cross_entropy", x=HALF),
            *floating("binary_cross_entropy"),
            Bad(Call(X, X), ValueError, r"binary_cross_entropy: input expects probabilities within \[0, 1\]"),
            Bad(Call(HALF, X), ValueError, r"binary_cross_entropy: target expects probabilities within \[0, 1\]"),
        ),
        points=((Call(leaf(0.0, 1.0), tg.tensor([0.0, 1.0]).double(), reduction="sum"), (array(0, 0),)),),
    ),
    Row(
        "binary_cross_entropy_with_logits",
        F.binary_cross_entropy_with_logits,
        weighted(pairs(targets=reals(0.0, 1.0)), ("weight", "pos_weight")),
        elementwise(bce_with_logits),
        (
            *refused("binary_cross_entropy_with_logits"),
            *not_weighted("binary_cross_entropy_with_logits"),
            *not_weighted("binary_cross_entropy_with_logits", "pos_weight"),
            *floating("binary_cross_entropy_with_logits"),
        ),
        points=(
            (
                Call(leaf(1e4, -1e4), tg.tensor([0.0, 1.0]).double(), reduction="sum"),
                (array(1, -1),),
            ),
        ),
    ),
    Row(
        "kl_div",
        F.kl_div,
        pairs(
            -2.0,
            0.0,
            targets=reals(0.1, 1.0),
            log_target=[False, True],
            reductions=st.sampled_from(["mean", "sum", "none", "batchmean"]),
        ),
        elementwise(kl),
        (*refused("kl_div"), *floating("kl_div")),
        points=((Call(leaf(-1.0, -2.0), tg.tensor([0.0, 1.0]).double(), reduction="sum"), (array(0, -1),)),),
    ),
]
