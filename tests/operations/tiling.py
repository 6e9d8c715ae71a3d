"""Elements over again and in other places."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.definitions import by_index
from operations.row import Bad, Row
from operations.shape import X, drawn
from tinygrad_cnn.ops.tiling import repeat
from tinygrad_cnn.testing import Call, shapes


def times(least):
    return lambda x: st.lists(st.integers(0, 2), min_size=x.ndim if least else 0, max_size=x.ndim + 1).map(tuple)


def tile(x, times):
    ndim = max(x.ndim, len(times))
    times = (1,) * (ndim - len(times)) + tuple(times)
    x = x.reshape((1,) * (ndim - x.ndim) + x.shape)
    shape = [n * k for n, k in zip(x.shape, times, strict=True)]
    return by_index(shape, lambda *i: x[tuple(k % n for k, n in zip(i, x.shape, strict=True))], x.dtype)


@st.composite
def moves(draw, x):
    return draw(st.lists(st.tuples(st.integers(-4, 4), st.integers(-x.ndim, x.ndim - 1)), min_size=1, max_size=3))


def roll(x, shifts, dims):
    if dims == ():
        flat = x.reshape(-1)
        return np.array([flat[(i - shifts) % len(flat)] for i in range(len(flat))], x.dtype).reshape(x.shape)
    total = [sum(s for s, d in zip(shifts, dims, strict=True) if d % x.ndim == axis) for axis in range(x.ndim)]
    return by_index(
        x.shape, lambda *i: x[tuple((k - s) % n for k, s, n in zip(i, total, x.shape, strict=True))], x.dtype
    )


ROWS = [
    Row(
        "tile",
        tg.tile,
        drawn(times(0), shape=shapes(max_dims=2)),
        tile,
        (
            Bad(Call(X, (-1,)), ValueError, r"tile: expected numbers of at least 0 but got \(1, -1\)"),
            Bad(Call(X, 1.5), TypeError, "tile: dims expects an int"),
        ),
    ),
    Row(
        "repeat",
        repeat,
        drawn(times(1), shape=shapes(max_dims=2)),
        tile,
        (
            Bad(Call(X, 2), ValueError, r"repeat: repeats expects at least 2 numbers but got \(2,\)"),
            Bad(Call(X, 2, -1), ValueError, "repeat: expected numbers of at least 0"),
        ),
    ),
    Row(
        "roll",
        tg.roll,
        drawn(lambda x: moves(x), shape=shapes(min_dims=1)).map(
            lambda call: Call(call.args[0], *(tuple(part) for part in zip(*call.args[1], strict=True)))
        ),
        roll,
        (
            Bad(
                Call(X, (1, 2)), ValueError, r"roll: shifts expects a number for each of the dims \(\) but got \(1, 2\)"
            ),
            Bad(Call(X, (), ()), ValueError, "roll: shifts expects a number"),
            Bad(Call(tg.tensor(1.0), 1, 0), IndexError, "roll: dims expects none for a 0-d tensor"),
            Bad(Call(X, 1, 5), IndexError, "roll: dims expects"),
            Bad(Call(X, 1.5, 0), TypeError, "roll: shifts expects an int"),
        ),
    ),
    Row("roll (all)", tg.roll, drawn(lambda x: st.integers(-7, 7), lambda x: st.just(())), roll),
]
