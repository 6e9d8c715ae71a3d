"""Convolution and its transpose, pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.row import Bad, Row
from tinygrad_cnn.testing import Call, conv2d_cases, tensors


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def borders(padding, kernel, dilation):
    """Rows before, rows after, columns before, columns after."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
    rows, columns = pair(padding)
    return rows, rows, columns, columns


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    if x.ndim == 3:
        return conv2d(x[None], w, b, stride, padding, dilation, groups)[0]
    (outputs, per_group, kh, kw), (sh, sw), (dh, dw) = w.shape, pair(stride), pair(dilation)
    top, bottom, left, right = borders(padding, (kh, kw), (dh, dw))
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + top + bottom, width + left + right), x.dtype)
    padded[:, :, top : top + height, left : left + width] = x
    oh = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1
    ow = (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, outputs, oh, ow), x.dtype)
    for o in range(outputs):
        first = o // (outputs // groups) * per_group
        for i in range(oh):
            for j in range(ow):
                for c in range(per_group):
                    window = padded[:, first + c, i * sh : i * sh + dh * kh : dh, j * sw : j * sw + dw * kw : dw]
                    y[:, o, i, j] += (window[:, :kh, :kw] * w[o, c]).sum((1, 2))
        y[:, o] += 0 if b is None else b[o]
    return y


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    if x.ndim == 3:
        return conv_transpose2d(x[None], w, b, stride, padding, output_padding, groups, dilation)[0]
    (channels, per_group, kh, kw), (sh, sw), (dh, dw) = w.shape, pair(stride), pair(dilation)
    (ph, pw), (eh, ew) = pair(padding), pair(output_padding)
    n, _, height, width = x.shape
    rows, columns = (height - 1) * sh + dh * (kh - 1) + 1 + eh, (width - 1) * sw + dw * (kw - 1) + 1 + ew
    y = np.zeros((n, per_group * groups, rows, columns), x.dtype)
    for c in range(channels):
        first = c // (channels // groups) * per_group
        for o in range(per_group):
            for i in range(height):
                for j in range(width):
                    for a in range(kh):
                        for k in range(kw):
                            y[:, first + o, i * sh + a * dh, j * sw + k * dw] += x[:, c, i, j] * w[c, o, a, k]
    y = y[:, :, ph : rows - ph, pw : columns - pw]
    return y if b is None else y + b[:, None, None]


def conv1d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    flat = lambda value, other: (other, value) if isinstance(value, int) else (other, *value)  # noqa: E731
    pads = padding if isinstance(padding, str) else flat(padding, 0)
    y = conv2d(x[..., None, :], w[:, :, None], b, flat(stride, 1), pads, flat(dilation, 1), groups)
    return y[..., 0, :]


@st.composite
def conv1d_cases(draw):
    groups, kernel = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    stride, dilation, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    reach = dilation * (kernel - 1) + 1
    length = max(1, reach - 2 * padding) + draw(st.integers(0, 3))
    named = draw(st.sampled_from([None, None, "valid", "same"]))
    if named:
        padding, stride, length = named, 1 if named == "same" else stride, max(length, reach)
    one = lambda value: draw(st.sampled_from([value, (value,)])) if isinstance(value, int) else value  # noqa: E731
    batch = draw(st.sampled_from([(), (1,), (2,), (0,)]))
    x, w = draw(tensors((*batch, inputs, length))), draw(tensors((outputs, inputs // groups, kernel)))
    b = draw(st.one_of(st.none(), tensors((outputs,))))
    return Call(x, w, b, one(stride), one(padding), one(dilation), groups)


X, W = tg.ones(1, 2, 3, 3), tg.ones(4, 2, 2, 2)


def refused(name, channels):
    def bad(error, message, *args, **kwargs):
        return Bad(Call(*args, **kwargs), error, f"{name}: {message}")

    return (
        bad(ValueError, r"input expects \(N, C, H, W\) or \(C, H, W\) but has shape \(3, 3\)", tg.ones(3, 3), W),
        bad(ValueError, r"input expects at least one pixel but has shape \(1, 2, 3, 0\)", tg.ones(1, 2, 3, 0), W),
        bad(ValueError, "weight expects 4 dimensions", X, tg.ones(4, 2, 2)),
        bad(ValueError, "weight expects a kernel of at least 1 x 1", X, tg.ones(2, 2, 0, 1)),
        bad(ValueError, channels, X, tg.ones(3, 3, 2, 2)),
        bad(ValueError, r"bias expects shape \(2,\) but has \(3,\)", X, tg.ones(2, 2, 2, 2), tg.ones(3)),
        bad(ValueError, "stride expects at least 1 but got 0", X, W, stride=0),
        bad(ValueError, "stride expects at least 1 but got -1", X, W, stride=(1, -1)),
        bad(ValueError, "stride expects an int or a pair but got 3 values", X, W, stride=(1, 1, 1)),
        bad(TypeError, "stride expects an int but got 1.0", X, W, stride=1.0),
        bad(TypeError, "stride expects an int but got 1.0", X, W, stride=(1.0, 1)),
        bad(TypeError, "stride expects an int but got True", X, W, stride=(True, 1)),
        bad(ValueError, "dilation expects at least 1 but got 0", X, W, dilation=0),
        bad(ValueError, "padding expects at least 0 but got -1", X, W, padding=-1),
        bad(ValueError, "groups expects at least 1 but got 0", X, W, groups=0),
        bad(TypeError, "weight expects the dtype of input, float32, but has float64", X, tg.ones(2, 2, 1, 1).double()),
        bad(TypeError, "input expects a tensor but got .*list", [1.0], W),
    )


LINE, TAPS = tg.ones(1, 2, 5), tg.ones(2, 2, 2)

ROWS = [
    Row(
        "conv1d",
        tg.conv1d,
        conv1d_cases(),
        conv1d,
        (
            Bad(
                Call(tg.ones(5), TAPS),
                ValueError,
                r"conv1d: input expects \(N, C, L\) .* but has shape \(5,\)",
            ),
            Bad(Call([1.0], TAPS), TypeError, "conv1d: input expects a tensor"),
            Bad(Call(LINE, tg.ones(2, 2)), ValueError, "conv1d: weight expects 3 dimensions"),
            Bad(Call(LINE, tg.ones(2, 2, 0)), ValueError, "conv1d: weight expects a kernel of at least 1 but"),
            Bad(
                Call(LINE, tg.ones(2, 3, 2)), ValueError, r"conv1d: weight expects 3 input channel\(s\) but input has 2"
            ),
            Bad(
                Call(LINE, tg.ones(3, 1, 2), groups=2), ValueError, "conv1d: groups expects to divide 3 output channel"
            ),
            Bad(Call(LINE, tg.ones(2, 2, 6)), ValueError, "conv1d: kernel expects to fit .* its width 6 exceeds 5"),
            Bad(Call(LINE, TAPS, tg.ones(3)), ValueError, r"conv1d: bias expects shape \(2,\) but has \(3,\)"),
            Bad(Call(LINE, TAPS.double()), TypeError, "conv1d: weight expects the dtype of input"),
            Bad(Call(LINE, TAPS, stride=(1, 1)), ValueError, "conv1d: stride expects one int but got 2 values"),
            Bad(Call(LINE, TAPS, stride=0), ValueError, "conv1d: stride expects at least 1 but got 0"),
            Bad(Call(LINE, TAPS, padding=-1), ValueError, "conv1d: padding expects at least 0 but got -1"),
            Bad(Call(LINE, TAPS, padding="full"), ValueError, "conv1d: padding expects an int, .*'valid' or 'same'"),
            Bad(Call(LINE, TAPS, padding="same", stride=2), ValueError, "conv1d: padding 'same' expects stride 1"),
            Bad(Call(LINE, TAPS, dilation=1.0), TypeError, "conv1d: dilation expects an int but got 1.0"),
            Bad(Call(tg.ones(1, 2, 0), TAPS, padding=2), ValueError, "conv1d: input expects at least one pixel"),
        ),
    ),
    Row(
        "conv2d",
        tg.conv2d,
        conv2d_cases(),
        conv2d,
        (
            *refused("conv2d", r"weight expects 3 input channel\(s\) but input has 2"),
            Bad(
                Call(X, tg.ones(3, 1, 1, 1), groups=2), ValueError, "conv2d: groups expects to divide 3 output channel"
            ),
            Bad(Call(X, tg.ones(4, 2, 4, 1)), ValueError, "conv2d: kernel expects to fit .* its height 4 exceeds 3"),
            Bad(Call(X, W, dilation=(1, 3)), ValueError, "conv2d: kernel expects to fit .* its width 4 exceeds 3"),
            Bad(Call(X, W, padding="full"), ValueError, "conv2d: padding expects an int, a pair, 'valid' or 'same'"),
            Bad(Call(X, W, padding="same", stride=2), ValueError, "conv2d: padding 'same' expects stride 1"),
        ),
    ),
    Row(
        "conv_transpose2d",
        tg.conv_transpose2d,
        conv2d_cases(transposed=True),
        conv_transpose2d,
        (
            *refused("conv_transpose2d", r"weight expects 3 input channel\(s\) but input has 2"),
            Bad(
                Call(tg.ones(1, 3, 2, 2), tg.ones(3, 1, 1, 1), groups=2), ValueError, "groups expects to divide 3 input"
            ),
            Bad(
                Call(X, tg.ones(2, 1, 2, 2), output_padding=1), ValueError, "output_padding expects less than stride 1"
            ),
            Bad(Call(X, tg.ones(2, 1, 2, 2), padding=2), ValueError, "padding 2 leaves nothing of the output"),
            Bad(
                Call(X, tg.ones(2, 1, 2, 2), padding="same"),
                TypeError,
                "padding expects an int or a pair but got 'same'",
            ),
        ),
    ),
]
