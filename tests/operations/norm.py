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


def standardized(values, eps):
    return (values - values.mean()) / np.sqrt(values.var() + eps)


@st.composite
def affine(draw, x, shape, *parameters, **named):
    """A call with a weight, a bias, both or neither."""
    which = draw(st.sampled_from(["both", "neither", "weight", "bias"]))
    weight = draw(tensors(shape)) if which in ("both", "weight") else None
    bias = draw(tensors(shape)) if which in ("both", "bias") else None
    return Call(x, *parameters, weight=weight, bias=bias, eps=draw(st.sampled_from([1e-5, 0.5])), **named)


def spread_out(shape, offset=0.0):
    """Values that differ, around a mean that is small or large beside the differences."""
    return tensors(shape, elements=reals(offset - 2, offset + 2, distinct=True))


@st.composite
def layers(draw):
    shape = draw(st.sampled_from([(3,), (2, 3), (3, 2), (4,)]))
    batch = draw(st.sampled_from([(), (1,), (2,), (2, 3), (0,)]))
    x = draw(spread_out((*batch, *shape), draw(st.sampled_from([0.0, 0.0, 100.0]))))
    return draw(affine(x, shape, shape))


def layer_norm(x, shape, weight, bias, eps):
    samples = x.reshape(-1, *shape)
    y = np.array([standardized(sample, eps) for sample in samples]).reshape(x.shape)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


@st.composite
def groups(draw):
    count, each = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rest = draw(st.sampled_from([(2,), (2, 2), (3, 1), ()])) if each > 1 else draw(st.sampled_from([(3,), (2, 2)]))
    x = draw(spread_out((draw(st.integers(1, 2)), count * each, *rest)))
    return draw(affine(x, (count * each,), count))


def by_channel(x, y, weight, bias):
    row = (1, -1) + (1,) * (x.ndim - 2)
    return y * (1 if weight is None else weight.reshape(row)) + (0 if bias is None else bias.reshape(row))


def group_norm(x, count, weight, bias, eps):
    parts = x.reshape(x.shape[0] * count, -1)
    return by_channel(x, np.array([standardized(part, eps) for part in parts]).reshape(x.shape), weight, bias)


@st.composite
def instances(draw, own):
    channels = draw(st.integers(1, 2))
    x = draw(spread_out((draw(st.integers(1, 2)), channels, *draw(st.sampled_from([(3,), (2, 2), (1, 3)])))))
    running = {
        "running_mean": draw(tensors((channels,))),
        "running_var": draw(tensors((channels,), elements=reals(0.25, 2))),
    }
    if own:
        running = {name: r.detach() for name, r in running.items()}
    return draw(affine(x, (channels,), use_input_stats=own, **running))


def with_own_statistics(x, running_mean, running_var, **kwargs):
    """`instance_norm` with copies of the running statistics, which it updates."""
    return F.instance_norm(x, running_mean * 1, running_var * 1, **kwargs)


def instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, eps):
    if use_input_stats:
        return group_norm(x, x.shape[1], weight, bias, eps)
    row = (1, -1) + (1,) * (x.ndim - 2)
    y = (x - running_mean.reshape(row)) / np.sqrt(running_var.reshape(row) + eps)
    return by_channel(x, y, weight, bias)


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
            Bad(Call(X, None, None), ValueError, "batch_norm: running_mean and running_var must be given"),
            Bad(
                Call(tg.ones(1, 2), None, None, training=True),
                ValueError,
                "batch_norm: input expects more than 1 value",
            ),
        ),
    ),
    Row(
        "layer_norm",
        F.layer_norm,
        layers(),
        layer_norm,
        (
            Bad(Call(X, 2), TypeError, "layer_norm: normalized_shape expects a sequence of ints but got 2"),
            Bad(Call(X, ()), ValueError, "layer_norm: normalized_shape expects at least one size"),
            Bad(Call(X, (3,)), ValueError, r"layer_norm: input expects \(3,\) as its last dimensions .* has \(3, 2\)"),
            Bad(Call(TWO, (3, 2)), ValueError, r"layer_norm: input expects \(\*, 3, 2\) but has shape \(2,\)"),
            Bad(Call(X, (2,), tg.ones(3)), ValueError, r"layer_norm: weight expects shape \(2,\) but has \(3,\)"),
            Bad(Call(X, (2,), TWO, TWO.double()), TypeError, "layer_norm: bias expects the dtype of input, float32"),
            Bad(Call(X.long(), (2,)), TypeError, "layer_norm: input expects a floating dtype but has int64"),
        ),
    ),
    Row(
        "group_norm",
        F.group_norm,
        groups(),
        group_norm,
        (
            Bad(Call(TWO, 1), ValueError, r"group_norm: input expects \(N, C, \*\) but has shape \(2,\)"),
            Bad(Call(X, 0), ValueError, "group_norm: num_groups expects at least 1 but got 0"),
            Bad(
                Call(tg.ones(2, 3, 4), 2),
                ValueError,
                "group_norm: num_groups expects a divisor of 3 channels but got 2",
            ),
            Bad(Call(tg.ones(1, 2), 2), ValueError, "group_norm: input expects more than 1 value in a group"),
            Bad(Call(X, 1, tg.ones(3)), ValueError, r"group_norm: weight expects shape \(2,\) but has \(3,\)"),
        ),
    ),
    Row(
        "instance_norm (own statistics)",
        with_own_statistics,
        instances(True),
        instance_norm,
        public=F.instance_norm,
    ),
    Row(
        "instance_norm",
        F.instance_norm,
        instances(False),
        instance_norm,
        (
            Bad(Call(TWO), ValueError, r"instance_norm: input expects \(N, C, \*\) but has shape \(2,\)"),
            Bad(Call(X), ValueError, "instance_norm: input expects more than 1 position in each channel"),
            Bad(
                Call(tg.ones(2, 3, 4), eps=0.0), ValueError, "instance_norm: eps expects a positive number but got 0.0"
            ),
            Bad(
                Call(X, use_input_stats=False), ValueError, "instance_norm: running_mean and running_var must be given"
            ),
            Bad(Call(tg.ones(2, 3, 4), TWO), ValueError, r"instance_norm: running_mean expects shape \(3,\)"),
            Bad(
                Call(tg.ones(3, 2, 4), TWO),
                ValueError,
                "instance_norm: running_mean and running_var must be given together",
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
