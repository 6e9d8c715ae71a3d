"""Functions of one variable that have a name, and questions about values."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.definitions import rowwise
from operations.elementwise import not_zero, positive, unary
from operations.reduction import dims
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.ops import functions as ops
from tinygrad_cnn.testing import Call, reals, tensors

X = leaf([1.0, 2.0], [3.0, 4.0])
LARGE = leaf(1000, -1000)
INFINITE = constant(math.inf, -math.inf, math.nan, 0.0)


def each(function):
    """A function of a number, applied to each."""
    return lambda x: np.vectorize(function, otypes=[x.dtype])(x)


def rounding(name, function):
    """Constant between its steps, which are at the integers or half-way between them."""
    booleans = Bad(Call(constant(True, dtype=bool)), TypeError, f"{name}: input expects a tensor of numbers")
    return unary(
        name,
        each(function),
        reals(-4, 4, phase=0.5),
        points=((Call(leaf(-1.5, 0.3)), (array(0, 0),)),),
        bad=(booleans,),
    )


@st.composite
def questions(draw):
    """Tensors with zeros in them, and dimensions to ask over: one, several, none or all."""
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_]))
    x = draw(tensors(dtype=dtype, elements=reals(0, 2, step=1) if np.dtype(dtype).kind == "f" else None))
    over = draw(st.one_of(dims(x.ndim), st.just(())))
    return Call(tg.Tensor(x.data), over, keepdim=draw(st.booleans()))


def question(name, answer):
    """`any` or `all`: what Python says of the list of elements, in uint8 of uint8."""

    def asked(x, dim, keepdim):
        alone = x != 0 if dim == () else rowwise(answer, np.bool_)(x, dim, keepdim)
        return alone.astype(np.uint8) if x.dtype == np.uint8 else alone

    bad = (
        Bad(Call(X, 2), IndexError, f"{name}: dim expects -2 <= dim < 2"),
        Bad(Call(X, (0, -2)), ValueError, f"{name}: dim expects different dimensions"),
        Bad(Call("1"), TypeError, f"{name}: input expects a tensor"),
    )
    return Row(name, getattr(tg, name), questions(), asked, bad)


@st.composite
def pairs_to_compare(draw):
    x = draw(tensors(requires_grad=False)).data
    shift = draw(st.sampled_from([0.0, 1e-9, 1e-6, 1e-3]))
    tolerances = draw(st.sampled_from([{}, {"rtol": 1e-4}, {"atol": 1e-2, "rtol": 0.0}]))
    return Call(tg.Tensor(x), tg.Tensor(x + shift), **tolerances)


def close(a, b, rtol=1e-5, atol=1e-8):
    return np.asarray(all(abs(p - q) <= atol + rtol * abs(q) for p, q in zip(a.flat, b.flat, strict=True)))


def finite(test):
    """`isnan` and its like, of infinities and NaN as well."""
    elements = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.5])
    return Row(test.__name__, getattr(tg, test.__name__), tensors(elements=elements).map(Call), each_truth(test))


def each_truth(test):
    return lambda x: np.vectorize(test, otypes=[np.bool_])(x)


ROWS = [
    unary("sin", each(math.sin)),
    unary("cos", each(math.cos)),
    unary("square", lambda x: x * x),
    unary("reciprocal", lambda x: 1 / x, not_zero),
    unary("rsqrt", lambda x: np.exp(-np.log(x) / 2), positive),
    unary("expm1", each(math.expm1)),
    unary("log1p", each(math.log1p), reals(-0.75, 3)),
    unary("erf", each(math.erf), points=((Call(LARGE), (array(0, 0),)),)),
    Row(
        "gaussian",
        ops.gaussian,
        tensors().map(Call),
        each(lambda v: math.exp(-v * v)),
        points=((Call(LARGE), (array(0, 0),)),),
    ),
    rounding("floor", math.floor),
    rounding("ceil", math.ceil),
    rounding("round", round),
    Row(
        "round (decimals)",
        lambda x, decimals: tg.round(x, decimals=decimals),
        st.builds(Call, tensors(elements=reals(-40, 40, step=1 / 32, phase=0.3)), st.sampled_from([1, -1])),
        lambda x, decimals: np.floor(x * 10.0**decimals + 0.5) / 10.0**decimals,
        bad=(
            Bad(Call(X, decimals=1.5), TypeError, "round: decimals expects an int but got 1.5"),
            Bad(Call(constant(1, dtype=int), decimals=1), TypeError, "round: input expects a floating dtype"),
        ),
        public=tg.round,
    ),
    *map(finite, (math.isnan, math.isinf, math.isfinite)),
    question("any", any),
    question("all", all),
    Row(
        "allclose",
        tg.allclose,
        pairs_to_compare(),
        close,
        bad=(
            Bad(Call(X, X.float()), TypeError, "allclose: other expects the dtype of input, float64, but has float32"),
            Bad(Call(X, leaf(1, 2, 3)), ValueError, r"allclose: \(2, 2\) and \(3,\)"),
            Bad(Call(X, X, rtol=-1.0), ValueError, "allclose: rtol expects"),
            Bad(Call(X, 1.0), TypeError, "allclose: other expects a tensor"),
        ),
    ),
]
