"""Einstein's summation."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import tinygrad_cnn as tg
from operations.row import Bad, Row, leaf
from operations.shape import X
from tinygrad_cnn.testing import Call, shapes, tensors

EQUATIONS = (
    "ij,jk->ik", "ij,jk", "ji,kj->ki", "bij,bjk->bik", "bij,bkj->bik", "ij,ij->i", "ij,ij->", "i,j->ij", "i,j->ji",
    "ij->ji", "ij->i", "ij->", "ii->i", "ii", "iij->j", "iii->i", "ij,j->ij", "bi,ijk,bk->bj", "ij,jk,kl->il",
    "i,i,i->i", "ij,ik->ijk", "Ba,aC", "aB", ",ij->ij", "ij,kl->il", "ijk,jil->kl",
)  # fmt: skip
WITH_DOTS = ("...ij,...jk->...ik", "...i->...", "i...->i...", "...,i->...i", "...ii->...i", "i...j,j->...i", "...ij,jk")


@st.composite
def contractions(draw):
    """Operands whose sizes fit; now and then a size of one, which broadcasts."""
    equation = draw(st.sampled_from(EQUATIONS))
    sizes = {letter: draw(st.integers(0 if draw(st.integers(0, 9)) == 0 else 1, 3)) for letter in equation}
    operands = []
    for part in equation.partition("->")[0].split(","):
        shape = [sizes[letter] for letter in part]
        alone = [i for i, letter in enumerate(part) if part.count(letter) == 1]
        if alone and draw(st.integers(0, 5)) == 0:
            shape[draw(st.sampled_from(alone))] = 1
        operands.append(draw(tensors(tuple(shape))))
    return Call(equation, *operands)


@st.composite
def batches(draw):
    equation = draw(st.sampled_from(WITH_DOTS))
    operands = []
    for part in equation.partition("->")[0].split(","):
        before, dots, after = part.partition("...")
        batch = draw(shapes(max_dims=2, min_side=2, max_side=2)) if dots else ()
        if batch and draw(st.booleans()):
            batch = (1, *batch[1:])
        operands.append(draw(tensors((3,) * len(before) + batch + (3,) * len(after))))
    return Call(equation, *operands)


def refused(message, equation, *operands, error=ValueError):
    return Bad(Call(equation, *operands), error, f"einsum: .*{message}")


V = leaf(1.0, 2.0)

ROWS = [
    Row(
        "einsum",
        tg.einsum,
        contractions(),
        lambda equation, *operands: np.asarray(np.einsum(equation, *operands)),
        (
            refused("at least one tensor", "ij"),
            refused(r"expects 2 operand\(s\) but got 1", "ij,jk", X),
            refused(r"expects 1 operand\(s\) but got 2", "ij", X, X),
            refused("another number of dimensions than operand 0 has, 2", "i", X),
            refused("another number of dimensions", "ijk", X),
            refused("another number of dimensions", "...ijk", X),
            refused("letters and at most one '...' but got 'i1'", "i1", X),
            refused("letters", "i.j", X),
            refused("letters", "......", X),
            refused("letters", "ij->i->j", X),
            refused("expects each letter once", "ij->ii", X),
            refused("expects each letter once, and from the operands", "ij->ik", X),
            refused("'i' expects equal sizes but appears in operand 0 with 2 and 3", "ii", X),
            refused("'j' has size 2 in operand 1 but 3 before", "ij,jk", X, X),
            refused("operand 0 expects a tensor", "ij", [[1.0]], error=TypeError),
            refused("list of dimensions after an operand", V, V, error=TypeError),
            refused("a number from 0 to 51 but is 52", V, [52]),
        ),
    ),
    Row(
        "einsum (dots)",
        tg.einsum,
        batches(),
        lambda equation, *operands: np.asarray(np.einsum(equation, *operands)),
    ),
    Row(
        "einsum (numbers)",
        lambda a, b: tg.einsum(a, [..., 1], b, [1, 2], [2, ...]) + tg.einsum("ij,jk->ki", [a, b]),
        st.tuples(tensors((2, 3)), tensors((3, 2))).map(lambda pair: Call(*pair)),
        lambda a, b: 2 * (a @ b).T,
        public=tg.einsum,
    ),
    Row(
        "outer",
        tg.outer,
        st.tuples(*(tensors(shapes(min_dims=1, max_dims=1)),) * 2).map(lambda pair: Call(*pair)),
        lambda a, b: np.array([[x * y for y in b] for x in a]).reshape(len(a), len(b)),
        (
            Bad(Call(X, V), ValueError, r"outer: input expects 1 dimension but has shape \(2, 3\)"),
            Bad(Call(V, X), ValueError, "outer: vec2 expects 1 dimension"),
        ),
    ),
]
