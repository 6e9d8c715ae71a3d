"""Padding with a value, and with what is inside."""

from __future__ import annotations

from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.definitions import by_index
from operations.row import Bad, Row, leaf
from operations.shape import X
from tinygrad_cnn.testing import Call, shapes, tensors


@st.composite
def pads(draw):
    x = draw(tensors())
    widths = []
    for n in reversed(x.shape[draw(st.integers(0, x.ndim)) :]):
        before = draw(st.integers(-min(n, 2), 2))
        widths += [before, draw(st.integers(-min(n - max(-before, 0), 2), 2))]
    return Call(x, widths, value=draw(st.sampled_from([None, 0.5])))


def pad(x, widths, value):
    before = [0] * x.ndim
    shape = list(x.shape)
    for k in range(len(widths) // 2):
        before[-1 - k] = widths[2 * k]
        shape[-1 - k] += widths[2 * k] + widths[2 * k + 1]

    def at(*index):
        source = tuple(i - b for i, b in zip(index, before, strict=True))
        inside = all(0 <= i < n for i, n in zip(source, x.shape, strict=True))
        return x[source] if inside else value or 0

    return by_index(shape, at, x.dtype)


@st.composite
def extensions(draw, mode):
    """Images with or without a batch, one to three dimensions of them padded, or cropped where that is harmless."""
    count = draw(st.integers(1, 3))
    size = 3 if count < 3 else 2
    shape = draw(shapes(count + 1, count + 2, min_side=2, max_side=size))
    widths = []
    for n in reversed(shape[-count:]):
        most = {"reflect": n - 1, "circular": n}.get(mode, 2)
        least = -1 if n > 2 and mode != "circular" else 0
        widths += [draw(st.integers(least, most)), draw(st.integers(0, most))]
    return Call(draw(tensors(shape)), widths, mode)


def extend(x, widths, mode):
    def source(i, n, before):
        i -= before
        if mode == "replicate":
            return min(max(i, 0), n - 1)
        return i % n if mode == "circular" else -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    pairs = [(0, 0)] * x.ndim
    for k in range(len(widths) // 2):
        pairs[-1 - k] = tuple(widths[2 * k : 2 * k + 2])
    shape = [n + sum(pair) for n, pair in zip(x.shape, pairs, strict=True)]
    return by_index(
        shape,
        lambda *index: x[tuple(source(i, n, b) for i, n, (b, _) in zip(index, x.shape, pairs, strict=True))],
        x.dtype,
    )


def refused(mode, error, message, *arguments):
    return Bad(Call(*arguments[:2], mode, *arguments[2:]), error, message)


ROWS = [
    Row(
        "pad",
        F.pad,
        pads(),
        pad,
        (
            Bad(Call(X, 1), TypeError, "pad: pad expects a sequence of widths but got 1"),
            Bad(Call(X, (1,)), ValueError, "pad: pad expects up to 2 pairs of widths but got"),
            Bad(Call(X, (0,) * 6), ValueError, "pad: pad expects up to 2 pairs of widths but got"),
            Bad(Call(X, (-2, -2)), ValueError, r"pad: pad \(-2, -2\) crops more than input \(2, 3\) has"),
            Bad(Call(X, (4, -4)), ValueError, "crops more than input"),
            Bad(Call(X, (1, 1), "mirror"), ValueError, "pad: mode expects 'constant', 'reflect', .* but got 'mirror'"),
        ),
    ),
    *(
        Row(
            f"pad ({mode})",
            F.pad,
            extensions(mode),
            extend,
            (
                refused(mode, ValueError, "pad: pad expects up to 2 pairs of widths but got", X, (1,)),
                refused(
                    mode, ValueError, "pad: input expects 1 or 2 dimensions more than the 2 padded", X, (1, 1, 1, 1)
                ),
                refused(mode, ValueError, "pad: input expects 1 or 2 dimensions more than the 0 padded", X, ()),
                refused(mode, ValueError, "pad: value expects None in mode", X, (1, 1), 2.0),
                *(
                    [refused(mode, ValueError, rf"pad: pad expects at most {most} for size 3", X, (most + 1, 0))]
                    if (most := {"reflect": 2, "circular": 3}.get(mode))
                    else [refused(mode, ValueError, "pad: input expects no empty dimension", tg.zeros(2, 0), (1, 1))]
                ),
                *(
                    [refused(mode, ValueError, r"crops more than input \(2, 3\) has", X, (-2, -1))]
                    if mode != "circular"
                    else []
                ),
            ),
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    Row(
        "pad (circular, cropped first)",
        lambda x: F.pad(x, (-1, 2), "circular"),
        st.just(Call(leaf([1.0, 2.0, 3.0, 4.0]))),
        lambda x: x[:, [1, 2, 3, 1, 2]],
        public=F.pad,
    ),
]
