"""Pooling, window by window."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.conv import pair
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.testing import Call, pool2d_cases, reals, tensors


def count(size, kernel, stride, padding, dilation, ceil_mode):
    """How many windows there are; with `ceil_mode` one may end outside, but must begin inside of the padded image."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    windows = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    return windows - 1 if ceil_mode and (windows - 1) * stride >= size + padding else windows


def windows(x, kernel, stride, padding, dilation, ceil_mode):
    """For each output pixel: its position, and the rows and columns that its window covers, also outside of `x`."""
    kernel, padding, dilation = pair(kernel), pair(padding), pair(dilation)
    stride = kernel if stride is None else pair(stride)
    sizes = [count(*each, ceil_mode) for each in zip(x.shape[-2:], kernel, stride, padding, dilation, strict=True)]
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            rows = [i * stride[0] - padding[0] + a * dilation[0] for a in range(kernel[0])]
            columns = [j * stride[1] - padding[1] + b * dilation[1] for b in range(kernel[1])]
            yield sizes, (i, j), rows, columns


def pooled(x, found, value, dtype):
    """Assemble ``value(rows, columns)`` over windows for every image and channel."""
    found = list(found)
    y = np.zeros((*x.shape[:-2], *found[0][0]), dtype)
    for leading in np.ndindex(*x.shape[:-2]):
        for _, position, rows, columns in found:
            y[(*leading, *position)] = value(x[leading], rows, columns)
    return y


def inside(image, rows, columns):
    height, width = image.shape
    return [(image[r, c], r * width + c) for r in rows for c in columns if 0 <= r < height and 0 <= c < width]


def max_pool2d(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    found = list(windows(x, kernel, stride, padding, dilation, ceil_mode))
    y = pooled(x, found, lambda *window: max(v for v, _ in inside(*window)), x.dtype)
    if not return_indices:
        return y
    return y, pooled(x, found, lambda *window: max(inside(*window))[1], np.int64)


def avg_pool2d(x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    (ph, pw), (height, width) = pair(padding), x.shape[-2:]

    def mean(image, rows, columns):
        values = [v for v, _ in inside(image, rows, columns)]
        padded = sum(r < height + ph for r in rows) * sum(c < width + pw for c in columns)
        return math.fsum(values) / (divisor_override or (padded if count_include_pad else len(values)))

    return pooled(x, windows(x, kernel, stride, padding, 1, ceil_mode), mean, x.dtype)


def adaptive_avg_pool2d(x, size):
    height, width = x.shape[-2:]
    oh, ow = (n if m is None else m for m, n in zip(pair(size), (height, width), strict=True))
    y = np.zeros((*x.shape[:-2], oh, ow), x.dtype)
    for i in range(oh):
        for j in range(ow):
            rows = slice(i * height // oh, math.ceil((i + 1) * height / oh))
            columns = slice(j * width // ow, math.ceil((j + 1) * width / ow))
            y[..., i, j] = x[..., rows, columns].mean((-2, -1))
    return y


def max_pool1d(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    flat = lambda value, other: (other, value) if isinstance(value, int) else (other, *value)  # noqa: E731
    window = (flat(kernel, 1), None if stride is None else flat(stride, 1), flat(padding, 0), flat(dilation, 1))
    found = max_pool2d(x[..., None, :], *window, ceil_mode, return_indices)
    return tuple(each[..., 0, :] for each in found) if return_indices else found[..., 0, :]


@st.composite
def max_pool1d_cases(draw):
    kernel, dilation, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.sampled_from([None, 1, 2, 3]))
    padding = draw(st.integers(0, kernel // 2))
    length = max(dilation, dilation * (kernel - 1) + 1 - 2 * padding) + draw(st.integers(0, 4))
    batch = draw(st.sampled_from([(), (1,), (2,), (0,)]))
    x = draw(tensors((*batch, draw(st.integers(1, 2)), length), elements=reals(distinct=True)))
    return Call(x, draw(st.sampled_from([kernel, (kernel,)])), stride, padding, dilation, draw(st.booleans()))


def lp_pool2d(x, p, kernel, stride=None, ceil_mode=False):
    count = math.prod(pair(kernel))

    def norm(image, rows, columns):
        values = [abs(v) if math.isinf(p) else v for v, _ in inside(image, rows, columns)]
        if math.isinf(p):
            return max(values) if p > 0 else min(values)
        return (math.fsum(v**p for v in values) / len(values) * count) ** (1 / p)

    return pooled(x, windows(x, kernel, stride, 0, 1, ceil_mode), norm, x.dtype)


@st.composite
def lp_pool2d_cases(draw):
    call = draw(pool2d_cases("avg"))
    p = draw(st.sampled_from([1, 2, 2.0, 3, 1.5, -1, math.inf, -math.inf]))
    kernel = call.args[1]
    shape = (*call.args[0].shape[:-2], *map(max, call.args[0].shape[-2:], pair(kernel)))
    x = draw(tensors(shape, elements=reals(0.5, 2, distinct=True)))
    return Call(x, p, kernel, call.kwargs["stride"], call.kwargs["ceil_mode"])


@st.composite
def rectified_cases(draw):
    call = draw(pool2d_cases("max"))
    x = draw(tensors(call.args[0].shape, elements=reals(distinct=True, away_from=[0])))
    return Call(x, *call.args[1:], **call.kwargs)


X = tg.ones(1, 1, 3, 3)
ZEROS = tg.zeros(1, 3, 3, dtype=tg.float64, requires_grad=True)
FLAT = tg.ones(1, 3, 3, dtype=tg.float64, requires_grad=True)


def refused(name):
    def bad(error, message, *args, **kwargs):
        return Bad(Call(*args, **kwargs), error, f"{name}: {message}")

    return (
        bad(ValueError, r"input expects \(N, C, H, W\) or \(C, H, W\)", tg.ones(3, 3), 2),
        bad(ValueError, r"input expects .* none of C, H, W zero", tg.ones(1, 0, 3, 3), 2),
        bad(ValueError, "kernel_size expects at least 1 but got 0", X, 0),
        bad(TypeError, "kernel_size expects an int but got 1.5", X, 1.5),
        bad(ValueError, "stride expects at least 1 but got 0", X, 2, 0),
        bad(ValueError, r"padding expects at most half of kernel_size \(2, 2\) but is \(2, 2\)", X, 2, 1, 2),
        bad(ValueError, "padding expects at least 0 but got -1", X, 2, 1, -1),
        bad(ValueError, "kernel_size .* height 4 exceeds 3", X, 4),
        bad(TypeError, "input expects a tensor but got .*list", [1.0], 2),
    )


LINE = tg.ones(1, 1, 3)
FIRST = array([[1, 0, 0], [0, 0, 0], [0, 0, 0]])
CORNERS = array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])

ROWS = [
    Row(
        "max_pool2d",
        F.max_pool2d,
        pool2d_cases("max"),
        max_pool2d,
        (*refused("max_pool2d"), Bad(Call(X, 2, dilation=0), ValueError, "max_pool2d: dilation expects at least 1")),
        points=(
            (Call(FLAT, 3), (FIRST,)),
            (Call(FLAT, 2, 1), (CORNERS,)),
            (Call(FLAT, 3, 1, 1), (np.array([[[4.0, 2, 0], [2, 1, 0], [0, 0, 0]]]),)),
        ),
    ),
    Row(
        "max_pool2d (indices)",
        lambda *args, **kwargs: F.max_pool2d(*args, **kwargs, return_indices=True),
        pool2d_cases("max"),
        lambda *args, **kwargs: max_pool2d(*args, **kwargs, return_indices=True),
        public=F.max_pool2d,
    ),
    Row(
        "max_pool2d (rectified)",
        lambda *args, **kwargs: F.max_pool2d(*args, **kwargs, rectified=True),
        rectified_cases(),
        lambda *args, **kwargs: np.maximum(max_pool2d(*args, **kwargs), 0),
        (
            Bad(
                Call(X, 2, return_indices=True, rectified=True),
                ValueError,
                "max_pool2d: rectified expects return_indices=False but got both as True",
            ),
        ),
        points=((Call(ZEROS, 3), (0 * FIRST,)), (Call(FLAT, 3), (FIRST,)), (Call(FLAT, 2, 1), (CORNERS,))),
        public=F.max_pool2d,
    ),
    Row(
        "max_pool1d",
        F.max_pool1d,
        max_pool1d_cases(),
        max_pool1d,
        (
            Bad(Call(tg.ones(3), 2), ValueError, r"max_pool1d: input expects \(N, C, L\) or \(C, L\)"),
            Bad(Call([1.0], 2), TypeError, "max_pool1d: input expects a tensor"),
            Bad(Call(LINE, 4), ValueError, "max_pool1d: kernel_size 4 expects to fit .* its length 4 exceeds 3"),
            Bad(Call(LINE, 0), ValueError, "max_pool1d: kernel_size expects at least 1 but got 0"),
            Bad(Call(LINE, (2, 2)), ValueError, "max_pool1d: kernel_size expects one int but got 2 values"),
            Bad(Call(LINE, 2, 0), ValueError, "max_pool1d: stride expects at least 1 but got 0"),
            Bad(Call(LINE, 2, 1, 2), ValueError, "max_pool1d: padding expects at most half of the window's length 2"),
            Bad(Call(LINE, 2, dilation=0), ValueError, "max_pool1d: dilation expects at least 1 but got 0"),
        ),
        points=((Call(tg.ones(1, 3, dtype=tg.float64, requires_grad=True), 2, 1), (array([1, 1, 0]),)),),
    ),
    Row(
        "max_pool1d (indices)",
        lambda *args, **kwargs: F.max_pool1d(*args, **kwargs, return_indices=True),
        max_pool1d_cases(),
        lambda *args, **kwargs: max_pool1d(*args, **kwargs, return_indices=True),
        public=F.max_pool1d,
    ),
    Row(
        "lp_pool2d",
        F.lp_pool2d,
        lp_pool2d_cases(),
        lp_pool2d,
        (
            Bad(Call(tg.ones(3, 3), 2, 2), ValueError, r"lp_pool2d: input expects \(N, C, H, W\) or \(C, H, W\)"),
            Bad(Call(X, 2, 4), ValueError, "lp_pool2d: kernel_size .* height 4 exceeds 3"),
            Bad(Call(X, 0, 2), ValueError, "lp_pool2d: norm_type expects a number other than 0"),
            Bad(Call(X, "two", 2), TypeError, "lp_pool2d: norm_type expects a number but got 'two'"),
            Bad(Call(constant([[[1]]], dtype=int), 2, 1), TypeError, "lp_pool2d: input expects a floating dtype"),
        ),
        points=((Call(tg.zeros(1, 2, 2, dtype=tg.float64, requires_grad=True), 2, 2), (np.zeros((1, 2, 2)),)),),
    ),
    Row(
        "avg_pool2d",
        F.avg_pool2d,
        pool2d_cases("avg"),
        avg_pool2d,
        (
            *refused("avg_pool2d"),
            Bad(
                Call(X, 2, divisor_override=0), ValueError, "avg_pool2d: divisor_override expects a number other than 0"
            ),
            Bad(Call(constant([[[1]]], dtype=int), 1), TypeError, "avg_pool2d: input expects a floating dtype"),
        ),
    ),
    Row(
        "adaptive_avg_pool2d",
        F.adaptive_avg_pool2d,
        pool2d_cases("adaptive"),
        adaptive_avg_pool2d,
        (
            Bad(Call(leaf(1, 2), 1), ValueError, r"adaptive_avg_pool2d: input expects \(N, C, H, W\)"),
            Bad(Call(X, -1), ValueError, "adaptive_avg_pool2d: output_size expects at least 0 but got -1"),
            Bad(Call(X, 1.5), TypeError, "adaptive_avg_pool2d: output_size expects an int"),
            Bad(
                Call(constant([[[1]]], dtype=int), 1), TypeError, "adaptive_avg_pool2d: input expects a floating dtype"
            ),
        ),
    ),
]
