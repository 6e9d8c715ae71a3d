"""Reductions over one, several or all dimensions."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.definitions import normalized, rowwise
from operations.elementwise import pairs
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.testing import Call, reals, shapes, tensors

X = leaf([1.0, 2.0], [3.0, 4.0])


def dims(ndim, several=True):
    """One dimension, counted from either end; several or all of them."""
    single = st.integers(-max(ndim, 1), max(ndim, 1) - 1)
    if not several:
        return single
    some = st.lists(st.integers(0, max(ndim - 1, 0)), unique=True, max_size=ndim).map(tuple)
    return st.one_of(single, single, some, st.none())


@st.composite
def reductions(draw, elements=None, least=0, several=True, dtype=np.float64, **parameters):
    """Calls ``(x, dim, keepdim)`` in which at least `least` elements are reduced to one."""
    x = draw(tensors(shapes(max_dims=3, max_side=3), dtype, elements))
    dim = draw(dims(x.ndim, several))
    count = math.prod(x.shape[d] for d in normalized(dim, x.ndim))
    if count < least:
        x = draw(tensors((3, 2), dtype, elements))
        dim = draw(st.sampled_from([0, 1, -1]))
    drawn = {name: draw(strategy) for name, strategy in parameters.items()}
    return Call(x, dim, keepdim=draw(st.booleans()), **drawn)


def reduction(name, function, calls, *, points=(), singular=(), bad=(), several=True, dtype=None, suffix=""):
    operation = getattr(tg, name)
    refused = [
        Bad(Call(X, 2), IndexError, rf"{name}: dim expects -2 <= dim < 2 for a 2-d tensor but got 2"),
        Bad(Call(X, -3), IndexError, rf"{name}: dim expects .* but got -3"),
        *bad,
    ]
    if several:
        refused += [
            Bad(Call(X, (0, -2)), ValueError, f"{name}: dim expects different dimensions"),
            Bad(Call(X, 1.0), TypeError, f"{name}: dim expects an int but got 1.0"),
        ]
    return Row(name + suffix, operation, calls, rowwise(function, dtype), tuple(refused), points, singular)


distinct = reals(distinct=True)
empty = tg.zeros(2, 0)


def variance(row, unbiased=True, correction=None):
    centre = math.fsum(row) / len(row)
    freedom = len(row) - (int(unbiased) if correction is None else correction)
    return math.fsum((x - centre) ** 2 for x in row) / freedom


def deviation(row, **parameters):
    return math.sqrt(variance(row, **parameters))


def position(choose):
    return lambda row: row.index(choose(row))


def along(choose):
    """`max` and `min` along a dimension: the value and where it is."""
    values, indices = rowwise(choose), rowwise(position(choose), np.int64)
    return lambda x, dim, keepdim: (values(x, dim, keepdim), indices(x, dim, keepdim))


def extremum_rows(name, choose):
    """`max` or `min` in PyTorch's three forms; `amax` or `amin`; `argmax` or `argmin`."""
    nothing = Bad(Call(empty, 1), ValueError, "input expects at least one element")
    form = getattr(tg, name)
    ties, share, first = leaf(1, 2, 2, 1), array(0, 0.5, 0.5, 0), array(0, 1, 0, 0)
    if name == "min":
        share, first = array(0.5, 0, 0, 0.5), array(1, 0, 0, 0)
    return [
        reduction(
            f"a{name}",
            choose,
            reductions(distinct, 1),
            points=((Call(ties), (share,)), (Call(ties, 0), (share,))),
            bad=(nothing,),
        ),
        reduction(f"arg{name}", position(choose), reductions(distinct, 1, False), several=False, dtype=np.int64),
        Row(
            f"{name} (all)",
            form,
            tensors(shapes(min_side=1), elements=distinct).map(Call),
            rowwise(choose),
            points=((Call(ties), (share,)),),
            bad=(Bad(Call(empty), ValueError, "input expects at least one element"),),
        ),
        Row(
            f"{name} (dim)",
            lambda x, dim, keepdim: tuple(form(x, dim, keepdim)),
            reductions(distinct, 1, False),
            along(choose),
            points=((Call(ties, 0, True), (first,)),),
            public=form,
        ),
        Row(
            f"{name} (two tensors)",
            form,
            pairs(reals(), reals(phase=0.5), scalars=0),
            lambda a, b: np.where((a > b) == (name == "max"), a, b),
            bad=(nothing,),
        ),
    ]


integers = Bad(Call(constant(1, 2, dtype=int)), TypeError, "input expects a floating dtype but has int64")

ROWS = [
    reduction("sum", math.fsum, reductions()),
    reduction("sum", sum, reductions(dtype=np.int32), dtype=np.int64, suffix=" (integers)"),
    reduction("mean", lambda row: math.fsum(row) / len(row), reductions(least=1), bad=(integers,)),
    reduction(
        "var",
        variance,
        reductions(least=2, unbiased=st.booleans()),
        singular=((Call(leaf(3)), (array(math.nan),)),),
        bad=(integers,),
    ),
    reduction(
        "var", variance, reductions(least=3, correction=st.sampled_from([0, 1, -1, 0.5])), suffix=" (correction)"
    ),
    reduction(
        "std",
        deviation,
        reductions(distinct, least=2, unbiased=st.booleans()),
        points=((Call(leaf(1, 1, 1)), (array(0, 0, 0),)),),
        singular=(
            (Call(leaf(3)), (array(math.nan),)),
            (Call(leaf(1, 2), correction=2), (array(math.nan, math.nan),)),
        ),
        bad=(integers,),
    ),
    reduction(
        "std", deviation, reductions(distinct, least=3, correction=st.sampled_from([0, 1, 0.5])), suffix=" (correction)"
    ),
    reduction(
        "logsumexp",
        lambda row: math.log(math.fsum(map(math.exp, row))),
        reductions(least=1),
    ),
    *extremum_rows("max", max),
    *extremum_rows("min", min),
]
