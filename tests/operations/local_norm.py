"""Normalisation by neighbours."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.definitions import by_index
from operations.row import Bad, Row, array, leaf
from tinygrad_cnn.testing import Call, reals, tensors


@st.composite
def responses(draw):
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 5)), *draw(st.sampled_from([(1,), (2,), (2, 2)])))
    parameters = draw(st.sampled_from([{}, {"alpha": 0.5, "beta": 0.5, "k": 2.0}, {"alpha": 2.0, "beta": 1.5}]))
    return Call(draw(tensors(shape)), draw(st.integers(1, 7)), **parameters)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    def value(n, c, *place):
        neighbours = [j for j in range(c - size // 2, c + (size - 1) // 2 + 1) if 0 <= j < x.shape[1]]
        return x[n, c, *place] / (k + alpha / size * sum(x[n, j, *place] ** 2 for j in neighbours)) ** beta

    return by_index(x.shape, value, x.dtype)


@st.composite
def contrasts(draw):
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(2, 4)), draw(st.integers(2, 3)))
    return Call(draw(tensors(shape, elements=reals(distinct=True))), draw(st.sampled_from([3, 5])))


def local_contrast_norm(x, kernel_size):
    spread, reach = kernel_size / 4, kernel_size // 2

    def blurred(values):
        """The weighted mean around each pixel, over all channels."""

        def value(n, i, j):
            total = weights = 0.0
            for a in range(max(i - reach, 0), min(i + reach + 1, x.shape[2])):
                for b in range(max(j - reach, 0), min(j + reach + 1, x.shape[3])):
                    weight = math.exp(-((a - i) ** 2 + (b - j) ** 2) / (2 * spread**2))
                    total += weight * values[n, :, a, b].sum()
                    weights += weight * x.shape[1]
            return total / weights

        return by_index((x.shape[0], *x.shape[2:]), value, x.dtype)[:, None]

    centred = x - blurred(x)
    deviation = np.sqrt(np.maximum(blurred(centred**2), 1e-8))
    return centred / np.maximum(deviation, deviation.mean((1, 2, 3), keepdims=True))


@st.composite
def vectors(draw):
    p = draw(st.sampled_from([2.0, 2.0, 1.0, 3.0, math.inf, 0.0]))
    x = draw(tensors((draw(st.integers(1, 3)), 3), elements=reals(0.25, 2, distinct=True)))
    return Call(x * draw(st.sampled_from([1, -1])), p, draw(st.sampled_from([0, 1, -1, (0, 1)])))


@st.composite
def euclidean_vectors(draw):
    x = draw(tensors(draw(st.sampled_from([(2, 3), (2, 3, 2)])), elements=reals(0.25, 2, distinct=True)))
    return Call(x, dim=draw(st.sampled_from([0, 1, -1])), eps=draw(st.sampled_from([1e-12, 1.5])))


def normalize(x, p=2.0, dim=1, eps=0.0):
    size = np.abs(x)
    if p == 0:
        length = (size != 0).sum(dim, keepdims=True)
    elif p == math.inf:
        length = size.max(dim, keepdims=True)
    else:
        length = (size**p).sum(dim, keepdims=True) ** (1 / p)
    return x / np.maximum(length, eps)


X = tg.ones(2, 3, 4, 4)

ROWS = [
    Row(
        "local_response_norm",
        F.local_response_norm,
        responses(),
        local_response_norm,
        (
            Bad(Call(X[0, 0], 2), ValueError, r"local_response_norm: input expects \(N, C, \*\) with 3 or more"),
            Bad(Call(X, 0), ValueError, "local_response_norm: size expects at least 1 but got 0"),
            Bad(Call(X.long(), 2), TypeError, "local_response_norm: input expects a floating dtype but has int64"),
        ),
    ),
    Row(
        "local_contrast_norm",
        F.local_contrast_norm,
        contrasts(),
        local_contrast_norm,
        (
            Bad(Call(X[0]), ValueError, r"local_contrast_norm: input expects \(N, C, H, W\) but has shape \(3, 4, 4\)"),
            Bad(Call(X, 4), ValueError, "local_contrast_norm: kernel_size expects an odd number but got 4"),
            Bad(Call(X, 3, 0.0), ValueError, "local_contrast_norm: sigma expects a positive number but got 0.0"),
            Bad(Call(X, 3, eps=0.0), ValueError, "local_contrast_norm: eps expects a positive number but got 0.0"),
        ),
        points=((Call(leaf([[[1.0, 1.0], [1.0, 1.0]]]), 3), (np.zeros((1, 1, 2, 2)),)),),
    ),
    Row(
        "normalize",
        F.normalize,
        vectors(),
        normalize,
        (
            Bad(Call(X, dim=4), IndexError, "normalize: dim expects -4 <= dim < 4"),
            Bad(Call(X.long()), TypeError, "normalize: input expects a floating dtype but has int64"),
            Bad(Call(X, out=X), TypeError, "normalize: out expects None"),
        ),
        points=(
            (Call(leaf([0.0, 0.0]), eps=0.5), (array([2, 2]),)),
            (Call(leaf([4.0, 4.0, 0.0]), math.inf), (array([0, 0, 0.25]),)),
            (Call(leaf([0.0, 1.0]), 3.0), (array([1, 0]),)),
        ),
    ),
    Row("normalize (Euclidean)", F.normalize, euclidean_vectors(), normalize),
]
