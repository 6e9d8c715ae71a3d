"""Products, sums so far, norms, counts."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.definitions import by_index, rowwise
from operations.reduction import X, dims, reduction, reductions
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.operators import Operators
from tinygrad_cnn.testing import Call, reals, shapes, tensors


@st.composite
def along(draw, dtype=np.float64, keepdim=False):
    """A tensor, zeros in it, and one dimension."""
    x = draw(tensors(shapes(max_dims=2, max_side=7), dtype, reals(step=1 / 2)))
    dim = draw(dims(x.ndim, several=False))
    return Call(x, dim, keepdim=draw(st.booleans())) if keepdim else Call(x, dim)


def cumsum(x, dim):
    if x.ndim == 0:
        return np.array(x)
    dim %= x.ndim
    return by_index(x.shape, lambda *i: sum(x[(*i[:dim], k, *i[dim + 1 :])] for k in range(i[dim] + 1)), x.dtype)


def magnitude(row, p=2):
    if p in ("fro", None):
        p = 2
    if p == 0:
        return sum(x != 0 for x in row)
    if math.isinf(p):
        return (max if p > 0 else min)(map(abs, row))
    return math.fsum(abs(x) ** p for x in row) ** (1 / p)


def norm(x, p="fro", dim=None, keepdim=False):
    return rowwise(magnitude)(x, dim, keepdim, p=p)


def norms(*orders, elements, **options):
    drawn = reductions(elements, least=1, **options)
    return st.tuples(drawn, st.sampled_from(orders)).map(lambda pair: _with_order(*pair))


def _with_order(call, p):
    x, dim = call.args
    return Call(x, p, dim, **call.kwargs)


not_zero = reals(away_from=[0])
at_zero = tuple((Call(leaf(0, 0), p), (array(0, 0),)) for p in (0, 1, 1.5, 2, 3, 0.5, math.inf, "fro"))

ROWS = [
    reduction(
        "prod",
        math.prod,
        along(keepdim=True),
        several=False,
        points=((Call(leaf(2, 0, 4)), (array(0, 8, 0),)), (Call(leaf(0, 2, 0)), (array(0, 0, 0),))),
        bad=(
            Bad(Call(X, keepdim=True), TypeError, "prod: keepdim expects a dim with it"),
            Bad(Call(X, (0, 1)), TypeError, "prod: dim expects an int"),
        ),
    ),
    reduction("prod", math.prod, along(np.int32, keepdim=True), several=False, dtype=np.int64, suffix=" (integers)"),
    Row("prod (all)", tg.prod, tensors(elements=reals(step=1 / 2)).map(Call), rowwise(math.prod)),
    Row(
        "cumsum",
        tg.cumsum,
        along(),
        cumsum,
        (Bad(Call(X, 2), IndexError, "cumsum: dim expects"), Bad(Call([1], 0), TypeError, "cumsum: input expects")),
    ),
    Row(
        "norm",
        tg.norm,
        norms(0.5, 1, 1.5, 2, 3, -1, None, elements=not_zero),
        norm,
        (
            Bad(Call(constant(1, 2, dtype=int)), TypeError, "norm: input and dtype expect floating dtypes.*int64"),
            Bad(Call(X, dtype=tg.float32), TypeError, "norm: .* are float64, float32"),
            Bad(Call(X, "nuc"), ValueError, "norm: p expects a number or 'fro' but got 'nuc'"),
            Bad(Call(tg.zeros(1, 1, 1), "fro", (0, 1, 2)), ValueError, "norm: dim expects at most 2 dimensions"),
            Bad(Call(tg.zeros(2, 0), -1, 1), ValueError, "norm: input expects at least one element for p=-1"),
            Bad(Call(tg.zeros(0), math.inf), ValueError, "input expects at least one element"),
            Bad(Call(X, 2, 5), IndexError, "norm: dim expects"),
        ),
        (
            *at_zero,
            (Call(leaf(0, 4), 0.5), (array(0, 1),)),
            (Call(leaf(-2), 3), (array(-1),)),
            (Call(leaf(-2, 1, 2), math.inf), (array(-0.5, 0, 0.5),)),
        ),
        ((Call(leaf(0, 1), -1), (array(0, 0),)),),
    ),
    Row("norm (method)", Operators.norm, norms(1, 2, elements=not_zero), norm),
    Row("norm (0)", tg.norm, norms(0, elements=not_zero), norm),
    Row("norm (inf)", tg.norm, norms(math.inf, -math.inf, elements=reals(0.25, 3, distinct=True)), norm),
    Row("norm (Frobenius)", tg.norm, tensors(shapes(min_dims=1, min_side=1), elements=not_zero).map(Call), norm),
    Row(
        "count_nonzero",
        tg.count_nonzero,
        reductions(reals(step=1)).map(lambda call: Call(*call.args)),
        rowwise(lambda row: sum(x != 0 for x in row), np.int64),
        (Bad(Call(X, 2), IndexError, "count_nonzero: dim expects"),),
    ),
]
