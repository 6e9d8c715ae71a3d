"""Pieces, slices and triangles."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.definitions import by_index
from operations.reduction import dims
from operations.row import Bad, Row, array, constant, leaf
from operations.shape import X, drawn
from tinygrad_cnn.operators import Operators
from tinygrad_cnn.ops.parts import unbind
from tinygrad_cnn.testing import Call, shapes, tensors

SCALAR = tg.tensor(1.0)


@st.composite
def cuts(draw, lists):
    x = draw(tensors(shapes(min_dims=1, max_side=4)))
    dim = draw(dims(x.ndim, several=False))
    n = x.shape[dim]
    if not lists:
        return Call(x, draw(st.integers(1, 5)), dim)
    places = sorted(draw(st.lists(st.integers(0, n), max_size=2)))
    return Call(x, [b - a for a, b in zip([0, *places], [*places, n], strict=True)], dim)


def pieces(x, sizes, dim):
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return [np.take(x, range(start, start + n), dim) for start, n in zip(starts, sizes, strict=True)]


def split(x, size, dim):
    n = x.shape[dim]
    if isinstance(size, list):
        return pieces(x, size, dim)
    return pieces(x, [min(size, n - start) for start in range(0, max(n, 1), size)], dim)


def chunk(x, count, dim):
    n = x.shape[dim]
    return split(x, math.ceil(n / count), dim) if n else pieces(x, [0] * count, dim)


@st.composite
def slabs(draw):
    x = draw(tensors(shapes(min_dims=1)))
    dim = draw(dims(x.ndim, several=False))
    n = x.shape[dim]
    start = draw(st.integers(0, n))
    length = draw(st.integers(0, n - start))
    return Call(x, dim, draw(st.sampled_from([start, np.array(start), start - n if start < n else start])), length)


def narrow(x, dim, start, length):
    start = int(start) % max(x.shape[dim], 1) if int(start) < 0 else int(start)
    return np.take(x, range(start, start + length), dim)


def triangle(inside):
    return lambda x, diagonal: by_index(x.shape, lambda *i: x[i] if inside(i[-1] - i[-2], diagonal) else 0, x.dtype)


def matrices(**options):
    return drawn(lambda x: st.integers(-3, 3), shape=shapes(min_dims=2, **options))


def triangular(name, inside):
    return Row(
        name,
        getattr(tg, name),
        matrices(max_side=4),
        triangle(inside),
        (
            Bad(Call(leaf(1, 2)), ValueError, rf"{name}: input expects at least 2 dimensions but has shape \(2,\)"),
            Bad(Call(X, 0.5), TypeError, f"{name}: diagonal expects an int"),
        ),
        ((Call(leaf([math.nan, math.nan], [math.nan, math.nan])), (array([1, inside(1, 0)], [inside(-1, 0), 1]),)),),
    )


ROWS = [
    Row(
        "split",
        tg.split,
        st.one_of(cuts(False), cuts(True)),
        split,
        (
            Bad(Call(SCALAR, 1), ValueError, "split: input expects at least 1 dimension but got a 0-d tensor"),
            Bad(Call(X, 0), ValueError, "split: split_size_or_sections expects at least 1 but got 0"),
            Bad(Call(X, [1, 2]), ValueError, r"split: .* sizes that add up to 2, .* but got \(1, 2\)"),
            Bad(Call(X, [-1, 3]), ValueError, "split: split_size_or_sections expects at least 0 but got -1"),
            Bad(Call(X, 1.5), TypeError, "split: split_size_or_sections expects an int but got 1.5"),
            Bad(Call(X, 1, 5), IndexError, "split: dim expects"),
        ),
    ),
    Row("split (method)", Operators.split, cuts(False), split),
    Row(
        "chunk",
        tg.chunk,
        cuts(False),
        chunk,
        (
            Bad(Call(SCALAR, 1), ValueError, "chunk: input expects at least 1 dimension"),
            Bad(Call(X, 0), ValueError, "chunk: chunks expects at least 1 but got 0"),
            Bad(Call(X, 1, 5), IndexError, "chunk: dim expects"),
        ),
    ),
    Row(
        "unbind",
        unbind,
        drawn(lambda x: dims(x.ndim, several=False), shape=shapes(min_dims=1)),
        lambda x, dim: list(np.moveaxis(x, dim, 0)),
        (
            Bad(Call(SCALAR), IndexError, "unbind: input expects at least 1 dimension"),
            Bad(Call(X, 2), IndexError, "unbind: dim expects"),
        ),
    ),
    Row(
        "narrow",
        tg.narrow,
        slabs(),
        narrow,
        (
            Bad(Call(SCALAR, 0, 0, 1), ValueError, "narrow: input expects at least 1 dimension"),
            Bad(Call(X, 0, 3, 0), IndexError, "narrow: start expects -2 <= start <= 2 but is 3"),
            Bad(Call(X, 0, 1, 2), ValueError, r"narrow: start \+ length expects at most 2 but is 1 \+ 2"),
            Bad(Call(X, 0, 0, -1), ValueError, "narrow: length expects at least 0 but got -1"),
            Bad(Call(X, 0, constant(1.0), 1), ValueError, "narrow: start expects an int or a 0-d integer tensor"),
        ),
    ),
    triangular("tril", lambda offset, diagonal: offset <= diagonal),
    triangular("triu", lambda offset, diagonal: offset >= diagonal),
]
