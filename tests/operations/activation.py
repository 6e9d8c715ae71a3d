"""Activation functions: what a textbook says of one number, for each."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.elementwise import INFINITE, not_zero
from operations.functions import each
from operations.row import Bad, Row, array, constant, leaf, on
from tinygrad_cnn.testing import Call, reals, tensors

X = leaf([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
INTEGERS = constant(1, 2, dtype=int)


def smooth(name, of_number, limits, calls=None, suffix="", points=(), bad=()):
    """An activation without kinks; `limits` are its derivatives at 1000 and -1000."""
    far = ((Call(leaf(1000, -1000)), (array(*limits),)),) if limits else ()
    refused = (Bad(Call(INTEGERS), TypeError, f"{name}: input expects a floating dtype but has int64"), *bad)

    def reference(x, *parameters, **options):
        return np.vectorize(lambda v: of_number(v, *parameters, **options), otypes=[x.dtype])(x)

    return Row(
        name + suffix,
        getattr(F, name),
        on(reals(-4, 4)) if calls is None else calls,
        reference,
        refused,
        (*far, *points),
    )


def bent(name, of_number, kinks, calls=None, points=(), bad=()):
    """An activation with kinks, at which the derivative is a matter of convention."""
    return smooth(
        name, of_number, None, on(reals(-4, 4, away_from=kinks)) if calls is None else calls, points=points, bad=bad
    )


def given(*parameters, elements=None):
    """Calls with one of several lists of parameters."""
    return st.builds(lambda x, more: Call(x, *more), tensors(elements=elements), st.sampled_from(parameters))


def logistic(v):
    return 1 / (1 + math.exp(-v))


def gelu(v, approximate="none"):
    if approximate == "tanh":
        return v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2
    return v * (1 + math.erf(v / math.sqrt(2))) / 2


def softplus(v, beta=1.0, threshold=20.0):
    return v if beta * v > threshold else math.log(1 + math.exp(beta * v)) / beta


def elu(v, alpha=1.0):
    return v if v > 0 else alpha * (math.exp(v) - 1)


@st.composite
def prelu_calls(draw):
    """A weight for all, or one for each channel, with images, vectors and less."""
    shape = draw(st.sampled_from([(), (3,), (2, 3), (0, 3), (2, 3, 2), (2, 3, 1, 2)]))
    weights = [(), (1,), (3,)] if len(shape) > 1 else [(), (1,)]
    return Call(draw(tensors(shape, elements=not_zero)), draw(tensors(draw(st.sampled_from(weights)))))


def prelu(x, weight):
    slopes = weight.reshape(-1, *(1,) * (x.ndim - 2)) if weight.size > 1 else weight.reshape(())
    return x * (x > 0) + x * slopes * (x < 0)


@st.composite
def softmin_calls(draw):
    x = draw(tensors((2, 3)))
    return Call(x, draw(st.sampled_from([0, 1, -1])))


def softmin(x, dim):
    weights = np.exp(-x)
    return weights / weights.sum(axis=dim, keepdims=True)


ROWS = [
    Row("sigmoid", tg.sigmoid, on(), each(logistic), points=((Call(leaf(800, -800)), (array(0, 0),)),)),
    smooth("logsigmoid", lambda v: math.log(logistic(v)), (0, 1)),
    smooth("silu", lambda v: v * logistic(v), (1, 0)),
    smooth("mish", lambda v: v * math.tanh(softplus(v)), (1, 0)),
    smooth(
        "gelu",
        gelu,
        (1, 0),
        bad=(Bad(Call(X, "exact"), ValueError, "gelu: approximate expects 'none' or 'tanh' but got 'exact'"),),
    ),
    smooth(
        "gelu",
        gelu,
        None,
        given(("tanh",), elements=reals(-4, 4)),
        " (tanh)",
        ((Call(leaf(1e3, -1e3), "tanh"), (array(1, 0),)),),
    ),
    smooth(
        "softplus",
        softplus,
        (1, 0),
        given((), (2.0,), (-0.5, 3.0), (2, 1.0), elements=reals(-4, 4, away_from=[0.5, -6])),
        points=((Call(leaf(0, 1, 2), 1.0, 0.5), (array(0.5, 1, 1),)),),
        bad=(Bad(Call(X, "1"), TypeError, "softplus: beta expects"),),
    ),
    bent(
        "elu",
        elu,
        [0],
        given((), (0.5,), (-2.0,), elements=not_zero),
        points=((Call(leaf(0, 1, 1000, -1000), 0.5), (array(0.5, 1, 1, 0),)),),
        bad=(Bad(Call(X, None), TypeError, "elu: alpha expects"),),
    ),
    bent("selu", lambda v: 1.0507009873554805 * elu(v, 1.6732632423543772), [0]),
    Row(
        "relu",
        tg.relu,
        on(not_zero),
        lambda x: np.where(x > 0, x, 0),
        points=((Call(leaf(-1, 0, -0.0, 1, *INFINITE)), (array(0, 0, 0, 1, 1, 0),)),),
        bad=(Bad(Call(constant(True, dtype=bool)), TypeError, "relu: input expects a tensor of numbers"),),
    ),
    Row("relu (functional)", F.relu, on(not_zero), lambda x: np.where(x > 0, x, 0)),
    bent(
        "leaky_relu",
        lambda v, slope=0.01: v if v > 0 else slope * v,
        [0],
        given((), (0.25,), (-1.0,), elements=not_zero),
        points=((Call(leaf(-1, 0, 1), 0.25), (array(0.25, 0.25, 1),)),),
    ),
    Row(
        "prelu",
        tg.prelu,
        prelu_calls(),
        prelu,
        bad=(
            Bad(Call(INTEGERS, leaf(1)), TypeError, "prelu: input expects a floating dtype"),
            Bad(Call(X, constant(1, dtype=np.float32)), TypeError, "prelu: weight expects the dtype of input"),
            Bad(Call(X, leaf(1, 2)), ValueError, r"prelu: weight expects shape \(1,\) or \(3,\).*but has \(2,\)"),
            Bad(Call(leaf(1, 2), leaf(1, 2)), ValueError, r"prelu: weight expects shape \(1,\)"),
        ),
        points=((Call(leaf([-2, 0, 3]), leaf(0.5)), (array([0.5, 0.5, 1]), array(-2))),),
    ),
    Row(
        "hardtanh",
        F.hardtanh,
        given((), (-0.5, 1.5), elements=reals(-2, 2, away_from=[-1, 1, -0.5, 1.5])),
        lambda x, low=-1.0, high=1.0: np.where(x < low, low, np.where(x > high, high, x)),
        points=((Call(leaf(-2, -1, 0, 1, 2)), (array(0, 0, 1, 0, 0),)),),
        bad=(
            Bad(Call(X, 1.0, 0.0), ValueError, "hardtanh: min_val expects at most max_val but they are 1.0 and 0.0"),
            Bad(Call(constant(True, dtype=bool)), TypeError, "hardtanh: input expects a dtype that holds min_val=-1.0"),
            Bad(Call(constant(1, dtype=np.uint8)), TypeError, "hardtanh: input expects a dtype that holds"),
        ),
    ),
    Row(
        "relu6",
        F.relu6,
        on(reals(-8, 8, away_from=[0, 6])),
        lambda x: np.where(x < 0, 0, np.where(x > 6, 6, x)),
        points=((Call(leaf(-1, 0, 1, 6, 7)), (array(0, 0, 1, 0, 0),)),),
    ),
    bent(
        "hardsigmoid",
        lambda v: min(max(v + 3, 0), 6) / 6,
        [-3, 3],
        points=((Call(leaf(-4, -3, 3, 4)), (array(0, 0, 0, 0),)),),
    ),
    bent(
        "hardswish",
        lambda v: v * min(max(v + 3, 0), 6) / 6,
        [-3, 3],
        points=((Call(leaf(-4, -3, 0, 3, 4)), (array(0, 0, 0.5, 1, 1),)),),
    ),
    Row("softmin", F.softmin, softmin_calls(), softmin),
]
