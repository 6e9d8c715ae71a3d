"""Elements in order."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.reduction import dims, distinct
from operations.row import Bad, Row, array, constant, leaf
from operations.shape import X
from tinygrad_cnn.testing import Call, shapes, tensors


@st.composite
def orders(draw, elements=distinct, dtype=np.float64):
    x = draw(tensors(shapes(max_side=4), dtype, elements))
    return Call(x, draw(dims(x.ndim, several=False)), draw(st.booleans()))


def order(row, descending):
    """Where the elements of a list are in order; equal ones keep theirs."""
    return sorted(range(len(row)), key=lambda i: -row[i] if descending else row[i])


def argsort(x, dim, descending):
    if x.ndim == 0:
        return np.zeros((), np.int64)
    return np.apply_along_axis(lambda row: order(row.tolist(), descending), dim, x).astype(np.int64) if x.size else x


def sort(x, dim, descending):
    indices = argsort(x, dim, descending)
    return (np.take_along_axis(x, indices, dim) if x.ndim else np.array(x)), indices


@st.composite
def choices(draw):
    x = draw(tensors(shapes(max_side=5), elements=distinct))
    dim = draw(dims(x.ndim, several=False))
    return Call(x, draw(st.integers(0, x.shape[dim] if x.ndim else 1)), dim, draw(st.booleans()))


def topk(x, k, dim, largest):
    values, indices = sort(x, dim, largest)
    return (values, indices) if not x.ndim else (np.take(values, range(k), dim), np.take(indices, range(k), dim))


out_of_range = (
    Bad(Call(X, dim=2), IndexError, "sort: dim expects"),
    Bad(Call(X, 0, 1), TypeError, "sort: expected True or False but got 1"),
)

ROWS = [
    Row(
        "sort",
        lambda *args, **kwargs: tuple(tg.sort(*args, **kwargs)),
        orders(),
        lambda x, dim, descending: sort(x, dim, descending) if x.size else (x, np.zeros(x.shape, np.int64)),
        out_of_range,
        ((Call(leaf(3, 1, 2)), (array(1, 1, 1),)),),
        public=tg.sort,
    ),
    Row(
        "argsort",
        tg.argsort,
        orders(None, np.uint8),
        lambda x, dim, descending: argsort(x.astype(int), dim, descending),
        out_of_range,
    ),
    Row(
        "topk",
        lambda *args, **kwargs: tuple(tg.topk(*args, **kwargs)),
        choices(),
        lambda x, k, dim, largest: (
            topk(x, k, dim, largest) if x.size else (np.take(x, range(k), dim), np.take(x, range(k), dim).astype(int))
        ),
        (
            Bad(Call(X, 4), ValueError, "topk: k expects at most 3, the size of dimension 1, but is 4"),
            Bad(Call(X, -1), ValueError, "topk: k expects at least 0 but got -1"),
            Bad(Call(constant(True, dtype=bool), 1), TypeError, "topk: input expects numbers"),
            Bad(Call(X, 1, 5), IndexError, "topk: dim expects"),
        ),
        (
            (Call(leaf(1, 3, 3, 2), 2), (array(0, 1, 1, 0),)),
            (Call(leaf(1, math.nan, 2), 1), (array(0, 1, 0),)),
            (Call(leaf(1, math.nan, 2), 1, largest=False), (array(1, 0, 0),)),
        ),
        public=tg.topk,
    ),
]
