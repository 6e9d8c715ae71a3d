"""Arithmetic, functions of one variable, comparisons, selections."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.row import Bad, Row, array, constant, leaf, on
from tinygrad_cnn.ops import elementwise as ops
from tinygrad_cnn.testing import Call, broadcastable_shapes, reals, tensors

X = leaf(1.0, 2.0)
BYTES = tg.tensor([1, 2], dtype=tg.uint8)


@st.composite
def pairs(draw, first=None, second=None, scalars=2):
    """Calls with two operands that broadcast; now and then the second (or the first) is a Python number."""
    shapes = draw(broadcastable_shapes(2))
    a, b = draw(tensors(shapes[0], elements=first)), draw(tensors(shapes[1], elements=second))
    number = draw(st.integers(0, 9))
    if number < scalars:
        return Call(1.5, b) if number else Call(a, 1.5)
    return Call(a, b)


@st.composite
def mixed(draw):
    """Pairs of different dtypes, for operations without a derivative."""
    shapes = draw(broadcastable_shapes(2))
    dtypes = st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_])
    return Call(*(draw(tensors(shape, draw(dtypes), requires_grad=False)) for shape in shapes))


def unary(name, reference, elements=None, points=(), bad=(), function=None):
    return Row(name, function or getattr(tg, name), on(elements), reference, bad, points)


def binary(name, reference, calls, points=(), bad=()):
    not_numbers = Bad(Call(X, "1"), TypeError, f"{name}: .*str")
    misfit = Bad(Call(leaf(1, 2), leaf(1, 2, 3)), ValueError, rf"{name}.*\(2,\).*\(3,\)")
    return Row(name, getattr(tg, name), calls, reference, (not_numbers, misfit, *bad), points)


def scaled(name, ufunc):
    """`add` and `sub` with their factor `alpha`."""
    calls = st.builds(lambda call, alpha: Call(*call.args, alpha=alpha), pairs(scalars=1), st.sampled_from([2, -0.5]))
    return Row(f"{name} (alpha)", getattr(tg, name), calls, lambda a, b, alpha: ufunc(a, alpha * b))


positive = reals(0.25, 3)
not_zero = reals(away_from=[0])
without_ties = pairs(reals(phase=0), reals(phase=0.5), scalars=0)


@st.composite
def wheres(draw):
    shapes = draw(broadcastable_shapes(3))
    condition = draw(tensors(shapes[0], np.bool_))
    a, b = draw(tensors(shapes[1])), draw(tensors(shapes[2]))
    return draw(st.sampled_from([Call(condition, a, b), Call(condition, a, 2.0), Call(condition, -1.0, b)]))


@st.composite
def clamps(draw, numbers):
    """Tensors or numbers as bounds, either of them missing, also in the wrong order; no ties."""
    shapes = draw(broadcastable_shapes(3))
    x, low, high = (
        draw(tensors(shape, elements=reals(phase=phase))) for shape, phase in zip(shapes, (0, 0.3, 0.6), strict=True)
    )
    if numbers:
        low, high = -1 / 3, draw(st.sampled_from([2 / 3, -2 / 3, high]))
    low = draw(st.sampled_from([low, low, None]))
    return Call(x, low, draw(st.sampled_from([high, high, high if low is None else None])))


def clamp(x, low=None, high=None):
    y = x if low is None else np.where(x < low, low, x)
    return y if high is None else np.where(y > high, high, y)


INFINITE = [float("inf"), -float("inf")]

ROWS = [
    binary("add", lambda a, b: a + b, pairs()),
    binary("sub", lambda a, b: a - b, pairs()),
    scaled("add", np.add),
    scaled("sub", np.subtract),
    binary("mul", lambda a, b: a * b, pairs()),
    binary("div", lambda a, b: a / b, pairs(None, not_zero)),
    binary(
        "pow",
        lambda a, b: np.exp(b * np.log(a)),
        pairs(positive),
        points=(
            (Call(leaf(0, 0, 0, 0), constant(0, 1, 2, 3)), (array(0, 1, 0, 0),)),
            (Call(leaf(0, 0, 2), leaf(0, 2, 0)), (array(0, 0, 0), array(0, 0, math.log(2)))),
            (Call(leaf(0, 2, -2), 0), (array(0, 0, 0),)),
            (Call(leaf(0, 2, -2), 2), (array(0, 4, -4),)),
            (Call(0, leaf(0, 1, 2)), (array(0, 0, 0),)),
        ),
    ),
    Row(
        "pow (of zero)",
        tg.pow,
        pairs(positive, scalars=0),
        lambda a, b: np.exp(b * np.log(a)),
        singular=((Call(constant(0, 0), leaf(-1, 2)), (array(-math.inf, 0),)),),
    ),
    Row(
        "pow (numbers)",
        tg.pow,
        st.builds(
            lambda x, number, swapped: Call(abs(number), x) if swapped else Call(x, number),
            tensors(elements=positive),
            st.sampled_from([2, 3, 0.5, 1, -0.5, -1, -2, 2.5]),
            st.booleans(),
        ),
        lambda a, b: np.exp(b * np.log(a)),
    ),
    unary("neg", lambda x: 0 - x),
    unary("exp", np.exp),
    unary("log", np.log, positive),
    unary("sqrt", np.sqrt, positive),
    unary("abs", lambda x: np.where(x < 0, -x, x), not_zero, points=((Call(leaf(-2, 0, 2)), (array(-1, 0, 1),)),)),
    unary("sign", lambda x: 1.0 * (x > 0) - (x < 0), not_zero, points=((Call(leaf(-2, 0, 2)), (array(0, 0, 0),)),)),
    unary("tanh", lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    Row(
        "where",
        tg.where,
        wheres(),
        lambda c, a, b: c * a + ~c * b,
        bad=(
            Bad(Call(X, X, X), TypeError, "where: condition expects a boolean tensor"),
            Bad(Call(X > 1, BYTES, 300), ValueError, "where: other expects to fit into uint8 but is 300"),
            Bad(Call(X > 1, -1, BYTES), ValueError, "where: input expects to fit into uint8 but is -1"),
            Bad(Call(X > 1, X, "b"), TypeError, "where: .*str"),
        ),
        points=(
            (Call(constant(True, False, dtype=bool), leaf(*INFINITE), leaf(*INFINITE)), (array(1, 0), array(0, 1))),
        ),
    ),
    binary(
        "maximum",
        lambda a, b: np.where(a > b, a, b),
        without_ties,
        points=((Call(leaf(1, 2, 3), leaf(3, 2, 1)), (array(0, 0.5, 1), array(1, 0.5, 0))),),
    ),
    binary(
        "minimum",
        lambda a, b: np.where(a < b, a, b),
        without_ties,
        points=((Call(leaf(1, 2, 3), leaf(3, 2, 1)), (array(1, 0.5, 0), array(0, 0.5, 1))),),
    ),
    Row(
        "clamp",
        tg.clamp,
        clamps(numbers=False),
        clamp,
        bad=(
            Bad(Call(X), ValueError, "clamp: expected min, max or both but got neither"),
            Bad(Call(X, "0"), TypeError, "clamp: .*str"),
            Bad(Call(BYTES, -9, 99), ValueError, "clamp: -9 does not fit into uint8"),
        ),
        points=(
            (Call(leaf(0, 1, 1.5, 2, 3), 1, 2), (array(0, 1, 1, 1, 0),)),
            (
                Call(leaf(0, 1, 2, 3), leaf(1, 1, 1, 1), leaf(2, 2, 2, 2)),
                (array(0, 1, 1, 0), array(1, 0, 0, 0), array(0, 0, 0, 1)),
            ),
            (
                Call(leaf(0, 1, 2), leaf(1, 1, 1), leaf(1, 1, 1)),
                (array(0, 1, 0), array(0, 0, 0), array(0, 0, 1)),
            ),
            (
                Call(leaf(0, 1.5, 3), leaf(2, 2, 2), leaf(1, 1, 1)),
                (array(0, 0, 0), array(0, 0, 0), array(1, 1, 1)),
            ),
            (Call(leaf(0, 1, 2), None, leaf(1, 1, 1)), (array(1, 1, 0), array(0, 0, 1))),
            (Call(leaf(0, 1, 2), leaf(1, 1, 1)), (array(0, 1, 1), array(1, 0, 0))),
        ),
    ),
    Row("clamp (numbers)", tg.clamp, clamps(numbers=True), clamp),
    Row("clone", tg.clone, on(), lambda x: x),
    Row("contiguous", ops.contiguous, on(), lambda x: x),
    Row("to (dtype)", lambda x: ops.cast(x, x.dtype), on(), lambda x: x, public=ops.cast),
    *(
        Row(name, getattr(tg, name), st.one_of(mixed(), pairs(scalars=1)), reference)
        for name, reference in {
            "eq": lambda a, b: ~((a < b) | (a > b)),
            "ne": lambda a, b: (a < b) | (a > b),
            "lt": lambda a, b: ~(a >= b),
            "le": lambda a, b: ~(a > b),
            "gt": lambda a, b: ~(a <= b),
            "ge": lambda a, b: ~(a < b),
        }.items()
    ),
]
