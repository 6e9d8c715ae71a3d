"""Pooling that picks one element of each window, and the way back."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.conv import pair
from operations.pool import inside, refused, windows
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.testing import Call, pool2d_cases, reals, tensors


def adaptive_max_pool2d(x, size):
    oh, ow = (n if m is None else m for m, n in zip(pair(size), x.shape[-2:], strict=True))

    def covered(i, outputs, n):
        return range(i * n // outputs, math.ceil((i + 1) * n / outputs))

    y = np.zeros((*x.shape[:-2], oh, ow), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for place in np.ndindex(*y.shape):
        *plane, i, j = place
        rows, columns = covered(i, oh, x.shape[-2]), covered(j, ow, x.shape[-1])
        y[place], indices[place] = max(inside(x[tuple(plane)], rows, columns))
    return y, indices


@st.composite
def adaptive_cases(draw):
    call = draw(pool2d_cases("adaptive"))
    x = call.args[0]
    return Call(draw(tensors(x.shape, elements=reals(distinct=True))), call.args[1])


# ------------------------------------------------------------------------------------------ unpooling


def max_unpool2d(y, indices, kernel, stride=None, padding=0, output_size=None):
    kernel, padding = pair(kernel), pair(padding)
    stride = kernel if stride is None else pair(stride)
    size = [(n - 1) * s + k - 2 * p for n, k, s, p in zip(y.shape[-2:], kernel, stride, padding, strict=True)]
    x = np.zeros((*y.shape[:-2], *(size if output_size is None else output_size[-2:])), y.dtype)
    for place in np.ndindex(*y.shape):
        x[place[:-2]][divmod(indices[place], x.shape[-1])] = y[place]
    return x


@st.composite
def unpoolings(draw):
    kernel, stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), draw(st.sampled_from([None, 1, 2, (1, 2)]))
    shape = (*draw(st.sampled_from([(), (1,), (2,), (0,)])), *(draw(st.integers(1, 3)) for _ in range(3)))
    steps = kernel if stride is None else pair(stride)
    padding = tuple(min(k // 2, ((n - 1) * s + k - 1) // 2) for k, n, s in zip(kernel, shape[-2:], steps, strict=True))
    parameters = {"stride": stride, "padding": padding}
    usual = [(n - 1) * s + k - 2 * p for n, k, s, p in zip(shape[-2:], kernel, steps, padding, strict=True)]
    if draw(st.booleans()):
        usual = [draw(st.integers(max(1, n - s + 1), n + s - 1)) for n, s in zip(usual, steps, strict=True)]
        parameters["output_size"] = tuple(usual if draw(st.booleans()) else [1, 1, *usual])
    # Some are equal: the last of them counts.
    seed = draw(st.integers(0, 999))
    indices = np.random.default_rng(seed).integers(0, math.prod(usual), shape)
    return Call(draw(tensors(shape)), constant(*indices, dtype=np.int64).reshape(shape), kernel, **parameters)


# ----------------------------------------------------------------------------------------- stochastic


def stochastic_pool2d(x, kernel, stride=None, padding=0, ceil_mode=False, training=False):
    found = list(windows(x, kernel, stride, padding, 1, ceil_mode))
    draws = iter(np.random.default_rng(0).random((*x.shape[:-2], *found[0][0]), np.float32).ravel())
    y = np.zeros((*x.shape[:-2], *found[0][0]), x.dtype)
    # In the order of the draws: image by image, window by window.
    for leading in np.ndindex(*x.shape[:-2]):
        for _, position, rows, columns in found:
            values = [max(v, 0.0) for v, _ in inside(x[leading], rows, columns)]
            total, draw = sum(values), next(draws)
            if training:
                sums = np.cumsum(values)
                y[(*leading, *position)] = next((v for v, s in zip(values, sums, strict=True) if s > draw * total), 0)
            elif total:
                y[(*leading, *position)] = sum(v * v / total for v in values)
    return y


def drawn(x, *args, **kwargs):
    tg.manual_seed(0)
    return F.stochastic_pool2d(x, *args, **kwargs, training=True)


@st.composite
def stochastic_cases(draw):
    call = draw(pool2d_cases("avg"))
    x = draw(tensors(call.args[0].shape, elements=reals(-1, 2, away_from=(0.0,))))
    parameters = {name: call.kwargs[name] for name in ("stride", "padding", "ceil_mode")}
    return Call(x, call.args[1], **parameters)


X = tg.ones(1, 1, 2, 2)
INDICES = constant([[[0, 1], [2, 3]]], dtype=np.int64)
FLAT = tg.ones(1, 3, 3, dtype=tg.float64, requires_grad=True)
NOTHING = leaf([[0.0, -1.0], [-2.0, 0.0]])

ROWS = [
    Row(
        "adaptive_max_pool2d",
        F.adaptive_max_pool2d,
        adaptive_cases(),
        lambda x, size: adaptive_max_pool2d(x, size)[0],
        (
            Bad(Call(leaf(1, 2), 1), ValueError, r"adaptive_max_pool2d: input expects \(N, C, H, W\)"),
            Bad(Call(X, -1), ValueError, "adaptive_max_pool2d: output_size expects at least 0 but got -1"),
            Bad(Call(X, 1.5), TypeError, "adaptive_max_pool2d: output_size expects an int"),
            Bad(Call(X, (1, 1, 1)), ValueError, "adaptive_max_pool2d: output_size expects an int or a pair"),
        ),
        points=((Call(FLAT, 2), (array([[1, 1, 0], [1, 1, 0], [0, 0, 0]]),)),),
    ),
    Row(
        "adaptive_max_pool2d (indices)",
        lambda x, size: F.adaptive_max_pool2d(x, size, return_indices=True),
        adaptive_cases(),
        adaptive_max_pool2d,
        public=F.adaptive_max_pool2d,
    ),
    Row(
        "max_unpool2d",
        F.max_unpool2d,
        unpoolings(),
        max_unpool2d,
        (
            Bad(Call(tg.ones(3, 3), INDICES, 2), ValueError, r"max_unpool2d: input expects \(N, C, H, W\)"),
            Bad(Call(X, [0], 2), TypeError, "max_unpool2d: indices expects a tensor"),
            Bad(Call(X, X, 2), TypeError, "max_unpool2d: indices expects dtype int64 but has float32"),
            Bad(Call(X[0], INDICES, 2), ValueError, r"max_unpool2d: indices expects the shape of input, \(1, 2, 2\)"),
            Bad(Call(X, INDICES + 13, 2), IndexError, "max_unpool2d: indices expects 0 <= index < 16 .* 13 to 16"),
            Bad(Call(X, INDICES - 1, 2), IndexError, "max_unpool2d: indices expects 0 <= index < 16 .* -1 to 2"),
            Bad(Call(X, INDICES, 0), ValueError, "max_unpool2d: kernel_size expects at least 1 but got 0"),
            Bad(Call(X, INDICES, 2, 0), ValueError, "max_unpool2d: stride expects at least 1 but got 0"),
            Bad(Call(X, INDICES, 1, 1, 1), ValueError, "max_unpool2d: output_size expects at least 1"),
            Bad(Call(X, INDICES, 2, output_size=(6, 4)), ValueError, r"output_size expects .*\[4, 4\] up or down"),
            Bad(Call(X, INDICES, 2, output_size=(1, 4, 4)), ValueError, "output_size expects 2 or 4 sizes"),
        ),
        points=((Call(leaf([[1.0, 2.0]]), constant([[3, 3]], dtype=np.int64), 2), (array([[0, 1]]),)),),
    ),
    Row(
        "stochastic_pool2d",
        F.stochastic_pool2d,
        stochastic_cases(),
        stochastic_pool2d,
        (
            *refused("stochastic_pool2d"),
            Bad(Call(constant([[[1]]], dtype=int), 1), TypeError, "stochastic_pool2d: input expects a floating dtype"),
        ),
        points=((Call(NOTHING.reshape(1, 2, 2).detach().requires_grad_(), 2), (np.zeros((1, 2, 2)),)),),
    ),
    Row(
        "stochastic_pool2d (training)",
        drawn,
        stochastic_cases(),
        lambda *args, **kwargs: stochastic_pool2d(*args, **kwargs, training=True),
        points=((Call(NOTHING.reshape(1, 2, 2).detach().requires_grad_(), 2), (np.zeros((1, 2, 2)),)),),
        public=F.stochastic_pool2d,
    ),
]
