"""Normalisation and dropout."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.testing import Call, reals, shapes, tensors


@st.composite
def normalizations(draw, training):
    channels = draw(st.integers(1, 3))
    batch, rest = draw(st.integers(1, 3)), draw(shapes(max_dims=2, min_side=1, max_side=2))
    if training and batch * np.prod(rest) < 3:
        batch = 3
    x = draw(tensors((batch, channels, *rest), elements=reals(distinct=True)))
    row = (channels,)
    mean, var = draw(tensors(row)), draw(tensors(row, elements=reals(0.25, 2)))
    if training:
        mean, var = mean.detach(), var.detach()
    affine = draw(st.booleans())
    weight, bias = (draw(tensors(row)), draw(tensors(row))) if affine else (None, None)
    return Call(x, mean, var, weight, bias, training=training, eps=draw(st.sampled_from([1e-5, 0.5])))


def untouched(x, running_mean, running_var, *args, **kwargs):
    """`batch_norm` with running statistics of its own, which it updates."""
    clone = [None if r is None or not kwargs["training"] else r * 1 for r in (running_mean, running_var)]
    return F.batch_norm(x, *(clone if kwargs["training"] else (running_mean, running_var)), *args, **kwargs)


def batch_norm(x, mean, var, weight, bias, training, eps):
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        values = x[:, c]
        m, v = (values.mean(), values.var()) if training else (mean[c], var[c])
        y[:, c] = (values - m) / np.sqrt(v + eps)
        if weight is not None:
            y[:, c] = y[:, c] * weight[c] + bias[c]
    return y


def seeded(operation):
    def drop(x, p, **kwargs):
        tg.manual_seed(0)
        return operation(x, p, **kwargs)

    return drop


def masked(operation, spatial=0):
    """The input times the mask that the same seed draws for ones: 0 or 1 / (1 - p)."""

    def drop(x, p, training=True):
        if not training:
            return x
        mask = seeded(operation)(np.ones(x.shape if not spatial else (*x.shape[:2], *[1] * (x.ndim - 2))), p)
        kept = mask[mask != 0]
        assert np.allclose(kept, 1 / (1 - p) if p < 1 else 0)
        return x * mask

    return drop


def drops(least):
    return st.builds(
        lambda x, p, training: Call(x, p, training=training),
        tensors(shapes(min_dims=least)),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.sampled_from([True, True, False]),
    )


X, TWO = tg.ones(3, 2), tg.ones(2)


def probabilities(name):
    return tuple(
        Bad(Call(X, p), error, f"{name}: p expects")
        for p, error in ((-0.1, ValueError), (1.1, ValueError), ("a", TypeError))
    )


ROWS = [
    Row(
        "batch_norm (training)",
        untouched,
        normalizations(True),
        batch_norm,
        public=F.batch_norm,
    ),
    Row(
        "batch_norm",
        F.batch_norm,
        normalizations(False),
        batch_norm,
        (
            Bad(
                Call(TWO, None, None, training=True), ValueError, r"batch_norm: input expects \(N, C\) or \(N, C, \*\)"
            ),
            Bad(Call(X, TWO, tg.ones(3)), ValueError, r"batch_norm: running_var expects shape \(2,\) but has \(3,\)"),
            Bad(Call(X, TWO, TWO, tg.ones(3)), ValueError, r"batch_norm: weight expects shape \(2,\) but has \(3,\)"),
            Bad(
                Call(X, None, None), ValueError, "batch_norm: running_mean and running_var must be given in evaluation"
            ),
            Bad(
                Call(tg.ones(1, 2), None, None, training=True),
                ValueError,
                "batch_norm: input expects more than 1 value",
            ),
        ),
    ),
    Row(
        "dropout",
        seeded(F.dropout),
        drops(0),
        masked(F.dropout),
        (
            *probabilities("dropout"),
            Bad(Call(constant(1, 2, dtype=int), 0.5), TypeError, "dropout: input expects a floating"),
        ),
        points=((Call(leaf(1, 2), 1.0), (array(0, 0),)),),
        public=F.dropout,
    ),
    Row(
        "dropout2d",
        seeded(F.dropout2d),
        drops(2),
        masked(F.dropout2d, spatial=2),
        (*probabilities("dropout2d"), Bad(Call(TWO, 0.5), ValueError, r"dropout2d: input expects \(N, C, \*\)")),
        public=F.dropout2d,
    ),
]
