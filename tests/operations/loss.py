"""Softmax and the losses, sample by sample."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.reduction import dims
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.testing import Call, loss_cases, tensors


def along(function):
    """A function of a vector, applied along a dimension."""

    def applied(x, dim=None):
        if dim is None:
            dim = 0 if x.ndim in (0, 1, 3) else 1
        return np.apply_along_axis(function, dim, x) if x.ndim and x.size else function(x.reshape(-1)).reshape(x.shape)

    return applied


def softmax(v):
    return np.array([1 / sum(math.exp(b - a) for b in v) for a in v])


def log_softmax(v):
    return np.log(softmax(v))


@st.composite
def normalized(draw, guessed=False):
    """A tensor and a dimension; or no dimension."""
    x = draw(tensors())
    return Call(x) if guessed else Call(x, draw(dims(x.ndim, False)))


def per_sample(score, x, target, weight, ignore_index, reduction):
    """Collect ``score(vector, class, weights)`` of each sample, and reduce; the mean divides by the weights."""
    batched = x.ndim > 1
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) if batched else x[None]
    weights = np.ones(rows.shape[1]) if weight is None else weight
    losses = [0.0 if t == ignore_index else score(v, t, weights) for v, t in zip(rows, target.flat, strict=True)]
    total = sum(weights[t] for t in target.flat if t != ignore_index)
    if reduction == "none":
        return np.array(losses).reshape(target.shape)
    return math.fsum(losses) / (total if reduction == "mean" else 1)


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    return per_sample(lambda v, t, w: -w[t] * v[t], x, target, weight, ignore_index, reduction)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    def score(v, t, w):
        logarithms = log_softmax(v)
        return -(1 - label_smoothing) * w[t] * logarithms[t] - label_smoothing / len(v) * (w * logarithms).sum()

    return per_sample(score, x, target, weight, ignore_index, reduction)


def soft_cross_entropy(x, target, weight=None, reduction="mean", label_smoothing=0.0):
    batched = x.ndim > 1
    rows, goals = (np.moveaxis(a, 1, -1).reshape(-1, x.shape[1]) if batched else a[None] for a in (x, target))
    weights = np.ones(rows.shape[1]) if weight is None else weight
    smoothed = (1 - label_smoothing) * goals + label_smoothing / rows.shape[1]
    losses = np.array([-(weights * q * log_softmax(v)).sum() for v, q in zip(rows, smoothed, strict=True)])
    if reduction == "none":
        return losses.reshape(x.shape[:1] + x.shape[2:] if batched else ())
    return losses.sum() / (len(losses) if reduction == "mean" else 1)


@st.composite
def several_samples(draw, probabilities=False):
    """A loss for each sample, of class indices or of probabilities."""
    x = draw(tensors(draw(st.sampled_from([(3, 4), (2, 3, 2)]))))
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if probabilities:
        return Call(x, draw(tensors(x.shape)), reduction="none")
    target = tg.Tensor(draws.integers(0, x.shape[1], (x.shape[0], *x.shape[2:])))
    return Call(x, target, reduction="none", label_smoothing=draw(st.sampled_from([0.0, 0.3])))


def mse_loss(x, y, reduction="mean"):
    losses = np.square(x - y)
    return losses if reduction == "none" else losses.sum() / (losses.size if reduction == "mean" else 1)


X = leaf([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
T = constant(0, 2, dtype=int)
THREE = tg.ones(3, dtype=tg.float64)
HUGE = leaf([1e4, 0.0, -1e4])


def refused(name):
    def bad(error, message, *args, **kwargs):
        return Bad(Call(*args, **kwargs), error, f"{name}: {message}")

    return (
        bad(IndexError, "target expects 0 <= class < 3 but holds 3", X, constant(0, 3, dtype=int)),
        bad(IndexError, "target expects 0 <= class < 3 but holds -1", X, constant(0, -1, dtype=int)),
        bad(ValueError, r"target expects shape \(2,\) but has \(3,\)", X, constant(0, 1, 2, dtype=int)),
        bad(ValueError, r"input expects \(C,\), \(N, C\) or \(N, C, \*\) but is 0-d", tg.tensor(1.0), T),
        bad(TypeError, "input expects a floating dtype but has int64", T, T),
        bad(TypeError, "input expects a tensor but got .*list", [1.0], T),
        bad(ValueError, r"weight expects shape \(3,\), one for each class", X, T, tg.ones(2)),
        bad(TypeError, "weight expects the dtype of input, float64, but has float32", X, T, tg.ones(3)),
        bad(NotImplementedError, "weight requires a gradient", X, T, leaf(1.0, 1.0, 1.0)),
        bad(ValueError, "reduction expects 'none', 'mean' or 'sum' but got 'max'", X, T, reduction="max"),
        bad(ValueError, "size_average and reduce expect None", X, T, reduce=True),
    )


def not_along(name):
    return (
        Bad(Call(X, 2), IndexError, f"{name}: dim expects -2 <= dim < 2"),
        Bad(Call(T, 0), TypeError, f"{name}: input expects a floating dtype but has int64"),
    )


ROWS = [
    Row(
        "softmax",
        tg.softmax,
        normalized(),
        along(softmax),
        not_along("softmax"),
        points=((Call(HUGE, 1), (array([0, 0, 0]),)),),
    ),
    Row(
        "softmax (dtype)",
        lambda x: tg.softmax(x, 0, x.dtype),
        tensors((3,)).map(Call),
        along(softmax),
        public=tg.softmax,
    ),
    Row("softmax (functional)", F.softmax, normalized(guessed=True), along(softmax)),
    Row("log_softmax (functional)", F.log_softmax, normalized(guessed=True), along(log_softmax)),
    Row(
        "log_softmax",
        tg.log_softmax,
        normalized(),
        along(log_softmax),
        not_along("log_softmax"),
        points=((Call(HUGE, 1), (array([-2, 1, 1]),)),),
    ),
    Row(
        "nll_loss",
        F.nll_loss,
        loss_cases(),
        nll_loss,
        (
            *refused("nll_loss"),
            Bad(Call(X, X), TypeError, "nll_loss: target expects integer class indices but has dtype float64"),
        ),
    ),
    Row(
        "cross_entropy",
        F.cross_entropy,
        loss_cases(smoothing=True),
        cross_entropy,
        (
            *refused("cross_entropy"),
            Bad(Call(X, T, label_smoothing=1.5), ValueError, "cross_entropy: label_smoothing expects"),
            Bad(Call(X, T > 0), TypeError, "cross_entropy: target expects integer class indices but has dtype bool"),
        ),
        points=((Call(HUGE, constant(2, dtype=int), reduction="none"), (array([1, 0, -1]),)),),
    ),
    Row("cross_entropy (each sample)", F.cross_entropy, several_samples(), cross_entropy),
    Row("cross_entropy (each distribution)", F.cross_entropy, several_samples(True), soft_cross_entropy),
    Row(
        "cross_entropy (probabilities)",
        F.cross_entropy,
        loss_cases("probabilities", smoothing=True),
        soft_cross_entropy,
        (
            Bad(
                Call(X, THREE),
                ValueError,
                r"cross_entropy: target expects probabilities of the shape of input \(2, 3\)",
            ),
            Bad(Call(X, X.detach().float()), TypeError, "cross_entropy: target expects the dtype of input, float64"),
        ),
    ),
    Row(
        "mse_loss",
        F.mse_loss,
        loss_cases("values"),
        mse_loss,
        (
            Bad(Call(X, THREE), ValueError, r"mse_loss: target expects the shape of input \(2, 3\) but has \(3,\)"),
            Bad(Call(X, 1.0), TypeError, "mse_loss: target expects a tensor but got 1.0"),
            Bad(Call(X, X, reduction="max"), ValueError, "mse_loss: reduction expects"),
            Bad(Call(X, X, size_average=True), ValueError, "mse_loss: size_average and reduce expect None"),
        ),
    ),
]
