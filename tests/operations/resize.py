"""Windows as columns, and images of another size, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.conv import pair
from operations.row import Bad, Row, constant
from tinygrad_cnn.testing import Call, tensors

# ------------------------------------------------------------------------------------- unfold and fold


def taps(size, kernel, dilation, padding, stride):
    """For each column and each tap (a, b): the pixel, which may lie outside of the image."""
    kernel, dilation, padding, stride = map(pair, (kernel, dilation, padding, stride))
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    ]
    for column, (i, j) in enumerate(np.ndindex(*counts)):
        for tap, (a, b) in enumerate(np.ndindex(*kernel)):
            h = i * stride[0] + a * dilation[0] - padding[0]
            w = j * stride[1] + b * dilation[1] - padding[1]
            if 0 <= h < size[0] and 0 <= w < size[1]:
                yield column, tap, h, w


def columns_of(size, kernel, dilation, padding, stride):
    padded = [n + 2 * p for n, p in zip(size, pair(padding), strict=True)]
    everywhere = taps(padded, kernel, dilation, 0, stride)
    return 1 + max(column for column, *_ in everywhere)


def unfold(x, kernel, dilation=1, padding=0, stride=1):
    window = (kernel, dilation, padding, stride)
    number, channels = math.prod(pair(kernel)), x.shape[-3]
    y = np.zeros((*x.shape[:-2], number, columns_of(x.shape[-2:], *window)), x.dtype)
    for column, tap, h, w in taps(x.shape[-2:], *window):
        y[..., tap, column] = x[..., h, w]
    return y.reshape(*x.shape[:-3], channels * number, -1) if y.size else y.reshape(0, channels * number, y.shape[-1])


def fold(y, size, kernel_size, dilation=1, padding=0, stride=1):
    number = math.prod(pair(kernel_size))
    y = y.reshape(*y.shape[:-2], y.shape[-2] // number, number, y.shape[-1])
    x = np.zeros((*y.shape[:-2], *pair(size)), y.dtype)
    for column, tap, h, w in taps(pair(size), kernel_size, dilation, padding, stride):
        x[..., h, w] += y[..., tap, column]
    return x


@st.composite
def unfoldings(draw, folding=False):
    small = lambda low, high: draw(  # noqa: E731
        st.one_of(st.integers(low, high), st.tuples(st.integers(low, high), st.integers(low, high)))
    )
    window = {"kernel_size": small(1, 3), "dilation": small(1, 2), "padding": small(0, 2), "stride": small(1, 3)}
    reach = [d * (k - 1) + 1 for d, k in zip(pair(window["dilation"]), pair(window["kernel_size"]), strict=True)]
    size = tuple(
        max(1, r - 2 * p) + draw(st.integers(0, 2)) for r, p in zip(reach, pair(window["padding"]), strict=True)
    )
    leading = (*draw(st.sampled_from([(), (1,), (2,), (0,)])), draw(st.integers(1, 2)))
    if not folding:
        return Call(draw(tensors((*leading, *size))), *window.values())
    count = columns_of(size, *window.values())
    rows = leading[-1] * math.prod(pair(window["kernel_size"]))
    return Call(draw(tensors((*leading[:-1], rows, count))), size, **window)


# ----------------------------------------------------------------------------------------- interpolate


def neighbours(mode, size, outputs, scale, corners):
    """For each output pixel: which input pixels it looks at, and how much of each it takes."""
    keeps = size == outputs and (mode == "nearest" or mode.endswith("linear"))
    ratio = 1 / scale if scale and not keeps else size / outputs
    for o in range(outputs):
        if mode == "area":
            pixels = range(o * size // outputs, math.ceil((o + 1) * size / outputs))
            yield [(i, 1 / len(pixels)) for i in pixels]
        elif mode.startswith("nearest"):
            place = (o + 0.5 * (mode == "nearest-exact")) * (size / outputs if outputs == 2 * size else ratio)
            yield [(min(math.floor(place), size - 1), 1.0)]
        else:
            place = (o * (size - 1) / (outputs - 1) if outputs > 1 else 0) if corners else (o + 0.5) * ratio - 0.5
            cubic = mode == "bicubic"
            place = place if cubic else min(max(place, 0), size - 1)
            reach = 2 if cubic else 1
            near = range(math.floor(place) - reach + 1, math.floor(place) + reach + 1)
            kernel = keys if cubic else lambda d: max(0, 1 - abs(d))
            yield [(min(max(i, 0), size - 1), kernel(place - i)) for i in near]


def keys(d, a=-0.75):
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None):
    dims = x.ndim - 2
    each = lambda value: value if isinstance(value, tuple) else (value,) * dims  # noqa: E731
    scales = each(scale_factor)
    sizes = each(size) if size is not None else [int(n * s) for n, s in zip(x.shape[2:], scales, strict=True)]
    known = size is None and not recompute_scale_factor and mode != "area"
    for axis in range(2, x.ndim):
        n, m = x.shape[axis], sizes[axis - 2]
        y = np.zeros((*x.shape[:axis], m, *x.shape[axis + 1 :]), x.dtype)
        for o, found in enumerate(neighbours(mode, n, m, scales[axis - 2] if known else None, align_corners)):
            place = (slice(None),) * axis
            for i, weight in found:
                y[(*place, o)] += weight * x[(*place, i)]
        x = y
    return x


@st.composite
def resizings(draw):
    mode, dims = draw(
        st.sampled_from(
            [
                *(("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 2), ("area", 1), ("area", 2)),
                *(("linear", 1), ("bilinear", 2), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2)),
            ]
        )
    )
    sides = st.integers(1, 4)
    shape = (draw(st.sampled_from([0, 1, 2])), draw(st.integers(1, 2)), *(draw(sides) for _ in range(dims)))
    parameters = {"mode": mode}
    if mode.endswith(("linear", "cubic")):
        parameters["align_corners"] = draw(st.sampled_from([None, False, True]))
    if draw(st.booleans()):
        parameters["size"] = draw(st.one_of(sides, st.tuples(*[sides] * dims)))
    else:
        # No output pixel falls on the border of two input pixels in one precision and not in the other.
        factors = st.sampled_from([1.0, 1.1875, 2.0, 2.625])
        parameters["scale_factor"] = draw(st.one_of(factors, st.tuples(*[factors] * dims)))
        parameters["recompute_scale_factor"] = draw(st.sampled_from([None, False, True]))
    return Call(draw(tensors(shape)), **parameters)


X = tg.ones(1, 1, 3, 3)
LINE = tg.ones(1, 1, 3)
COLUMNS = tg.ones(1, 4, 4)


def refused(call, error, message):
    return Bad(call, error, message)


ROWS = [
    Row(
        "unfold",
        F.unfold,
        unfoldings(),
        unfold,
        (
            refused(Call(tg.ones(3, 3), 2), ValueError, r"unfold: input expects \(N, C, H, W\) or \(C, H, W\)"),
            refused(Call(tg.ones(1, 0, 3, 3), 2), ValueError, "unfold: input expects .* none of C, H, W zero"),
            refused(Call([1.0], 2), TypeError, "unfold: input expects a tensor"),
            refused(Call(X, 4), ValueError, r"unfold: kernel_size \(4, 4\) .* expects to fit into the image \(3, 3\)"),
            refused(Call(X, 2, dilation=3), ValueError, r"unfold: .* with dilation \(3, 3\) expects to fit"),
            refused(Call(X, 0), ValueError, "unfold: kernel_size expects at least 1 but got 0"),
            refused(Call(X, (2,)), ValueError, "unfold: kernel_size expects an int or a pair but got 1 values"),
            refused(Call(X, 2, stride=0), ValueError, "unfold: stride expects at least 1 but got 0"),
            refused(Call(X, 2, padding=-1), ValueError, "unfold: padding expects at least 0 but got -1"),
            refused(Call(X, 2, dilation=0), ValueError, "unfold: dilation expects at least 1 but got 0"),
            refused(Call(X, 2.0), TypeError, "unfold: kernel_size expects an int but got 2.0"),
        ),
    ),
    Row(
        "fold",
        F.fold,
        unfoldings(folding=True),
        fold,
        (
            refused(Call(X, 3, 2), ValueError, r"fold: input expects \(N, C\*kH\*kW, L\)"),
            refused(Call([1.0], 3, 2), TypeError, "fold: input expects a tensor"),
            refused(Call(COLUMNS, 4, 2), ValueError, r"fold: input expects a multiple of 4 rows .* and 9 columns"),
            refused(Call(COLUMNS, 3, 3, 1, 1), ValueError, "fold: input expects a multiple of 9 rows"),
            refused(Call(COLUMNS, 1, 2), ValueError, r"fold: kernel_size \(2, 2\) .* fit into the image \(1, 1\)"),
            refused(Call(COLUMNS, 0, 2), ValueError, "fold: output_size expects at least 1 but got 0"),
            refused(Call(COLUMNS, 3, 2, stride=0), ValueError, "fold: stride expects at least 1 but got 0"),
        ),
    ),
    Row(
        "interpolate",
        F.interpolate,
        resizings(),
        interpolate,
        (
            refused(Call([1.0], 2), TypeError, "interpolate: input expects a tensor"),
            refused(Call(tg.ones(3, 3), 2), ValueError, r"interpolate: input expects \(N, C, L\), .* shape \(3, 3\)"),
            refused(Call(tg.ones(1, 1, 0), 2), ValueError, "interpolate: input expects .* none but N zero"),
            refused(Call(X), ValueError, "interpolate: one of size and scale_factor is expected but got size=None"),
            refused(Call(X, 2, 2.0), ValueError, "interpolate: one of size and scale_factor is expected but got size="),
            refused(Call(X, 0), ValueError, "interpolate: size expects at least 1 but got 0"),
            refused(Call(X, (2, 2.0)), TypeError, "interpolate: size expects an int but got 2.0"),
            refused(Call(X, (2, 2, 2)), ValueError, r"interpolate: size expects 2 value\(s\) but got 3"),
            refused(Call(X, scale_factor=0.2), ValueError, "interpolate: scale_factor 0.2 leaves nothing"),
            refused(Call(X, scale_factor=-1.0), ValueError, "interpolate: scale_factor expects 0 <= scale_factor"),
            refused(Call(X, scale_factor="2x"), TypeError, "interpolate: scale_factor expects a number"),
            refused(Call(X, scale_factor=(2.0,)), ValueError, r"interpolate: scale_factor expects 2 value\(s\)"),
            refused(Call(X, 2, mode="lanczos"), ValueError, "interpolate: mode expects one of nearest, .*'lanczos'"),
            refused(Call(LINE, 2, mode="bilinear"), ValueError, "interpolate: input expects 4 dimensions for mode"),
            refused(Call(X, 2, mode="linear"), ValueError, "interpolate: input expects 3 dimensions for mode"),
            refused(Call(X, 2, antialias=True, mode="bilinear"), ValueError, "interpolate: antialias expects False"),
            refused(Call(X, 2, align_corners=True), ValueError, "interpolate: align_corners expects a linear or cubic"),
            refused(Call(X, 2, recompute_scale_factor=True), ValueError, "recompute_scale_factor expects a scale_fac"),
            refused(
                Call(constant([[1, 2]], dtype=int), 4, mode="linear"),
                TypeError,
                "interpolate: input expects a floating dtype for mode 'linear'",
            ),
        ),
    ),
]
