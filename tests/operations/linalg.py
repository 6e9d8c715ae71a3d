"""Products of matrices."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.testing import Call, shapes, tensors

SHAPES = hnp.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=2, max_side=3)


@st.composite
def products(draw):
    a, b = draw(SHAPES).input_shapes
    if draw(st.integers(0, 4)) == 0:
        a, b = draw(st.sampled_from([((2, 0), (0, 3)), ((0, 2), (2,)), ((0,), (0,)), ((0, 1, 2), (2, 1))]))
    return Call(draw(tensors(a)), draw(tensors(b)))


def matmul(a, b):
    rows, columns = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
    y = (rows[..., :, :, None] * columns[..., None, :, :]).sum(-2)
    y = y[..., 0] if b.ndim == 1 else y
    return (y[..., 0, :] if b.ndim > 1 else y[..., 0]) if a.ndim == 1 else y


@st.composite
def affine(draw):
    inputs, outputs = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    x = draw(tensors((*draw(shapes(max_dims=2)), inputs)))
    w = draw(tensors(draw(st.sampled_from([(outputs, inputs), (outputs, inputs), (inputs,)]))))
    bias = draw(st.sampled_from([None, w.shape[:-1], w.shape[:-1], ()]))
    return Call(x, w) if bias is None else Call(x, w, draw(tensors(bias)))


def linear(x, weight, bias=0.0):
    y = (x[..., None, :] * np.atleast_2d(weight)).sum(-1)
    return (y[..., 0] if weight.ndim == 1 else y) + bias


X, V = leaf([1.0, 2.0], [3.0, 4.0]), leaf(1.0, 2.0, 3.0)

ROWS = [
    Row(
        "matmul",
        tg.matmul,
        products(),
        matmul,
        (
            Bad(Call(X, V), ValueError, r"matmul: shapes do not fit: input \(2, 2\), other \(3,\)"),
            Bad(Call(tg.ones(2, 2, 2), tg.ones(3, 2, 2)), ValueError, "matmul: shapes do not fit"),
            Bad(Call(X, tg.tensor(1.0)), ValueError, "matmul: other expects at least 1 dimension"),
            Bad(Call(tg.tensor(1.0), X), ValueError, "matmul: input expects at least 1 dimension"),
            Bad(Call(X, 2.0), TypeError, "matmul: other expects a tensor but got 2.0"),
        ),
        ((Call(V, leaf(5.0, 7.0, 9.0)), (array(5, 7, 9), array(1, 2, 3))),),
    ),
    Row(
        "linear",
        F.linear,
        affine(),
        linear,
        (
            Bad(Call(X, V), ValueError, r"linear: weight expects \(out, in\) with in = 2 but has shape \(3,\)"),
            Bad(Call(tg.tensor(1.0), X), ValueError, r"linear: weight expects \(out, in\)"),
            Bad(Call(X, X, V), ValueError, r"linear: bias expects shape \(2,\) but has \(3,\)"),
            Bad(Call(X, constant([1, 2], dtype=np.float32)), TypeError, "linear: expected one dtype but got"),
        ),
    ),
]
