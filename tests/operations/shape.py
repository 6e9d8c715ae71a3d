"""Operations that arrange elements anew, and selections by position."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from operations.definitions import by_index, normalized
from operations.reduction import dims
from operations.row import Bad, Row, array, constant, leaf
from tinygrad_cnn.ops import indexing
from tinygrad_cnn.testing import Call, broadcastable_shapes, shapes, tensors

X = leaf([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])


def drawn(*parameters, **options):
    """Calls of a tensor and parameters that are drawn for it."""
    return tensors(**options).flatmap(lambda x: st.tuples(*(p(x) for p in parameters)).map(lambda rest: Call(x, *rest)))


@st.composite
def reshapes(draw):
    x = draw(tensors())
    shape = draw(st.permutations(list(x.shape)))
    if draw(st.booleans()):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    if draw(st.booleans()) and x.numel():
        shape = [-1] if not shape else [-1, *shape[1:]]
    return Call(x, *shape) if draw(st.booleans()) and shape else Call(x, tuple(shape))


@st.composite
def flattens(draw):
    x = draw(tensors())
    room = max(x.ndim, 1)
    start = draw(st.integers(0, room - 1))
    end = draw(st.integers(start, room - 1))
    return Call(x, start, draw(st.sampled_from([end, end - room])))


def flatten(x, start, end):
    if x.ndim == 0:
        return x.reshape(1)
    end %= x.ndim
    return np.array(x).reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def permute(x, order):
    order = [d % x.ndim for d in order]
    shape = [x.shape[d] for d in order]
    return by_index(shape, lambda *i: x[tuple(i[order.index(d)] for d in range(x.ndim))], x.dtype)


def transpose(x, a, b):
    order = list(range(x.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return permute(x, order)


@st.composite
def expansions(draw):
    """A shape, and a shape that it broadcasts to."""
    small, other = draw(broadcastable_shapes(2))
    return small, np.broadcast_shapes(small, other)


def expand(x, shape):
    added = len(shape) - x.ndim
    return by_index(
        shape, lambda *i: x[tuple(0 if n == 1 else k for k, n in zip(i[added:], x.shape, strict=True))], x.dtype
    )


def sum_to_size(x, shape):
    y = np.zeros(shape, x.dtype)
    added = x.ndim - len(shape)
    for i in np.ndindex(*x.shape):
        y[tuple(0 if n == 1 else k for k, n in zip(i[added:], shape, strict=True))] += x[i]
    return y


@st.composite
def joins(draw, new):
    """Lists of tensors of shapes that fit, and a dimension."""
    shape = draw(shapes(min_dims=0 if new else 1, max_side=2))
    dim = draw(dims(len(shape) + new, several=False))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        part = list(shape)
        if not new:
            part[dim] = draw(st.integers(0, 2))
        parts.append(draw(tensors(tuple(part))))
    if draw(st.booleans()):
        parts.append(parts[0])
    return Call(parts, dim)


def cat(parts, dim):
    rows = [row for part in parts for row in np.moveaxis(part, dim, 0)]
    shape = list(parts[0].shape)
    shape[dim] = len(rows)
    y = np.zeros(np.moveaxis(np.empty(shape), dim, 0).shape)
    for i, row in enumerate(rows):
        y[i] = row
    return np.moveaxis(y, 0, dim)


def stack(parts, dim):
    return cat([np.expand_dims(x, dim) for x in parts], dim)


def indices(x):
    """Basic, integer-array and boolean indices, and mixtures."""
    options = [hnp.basic_indices(x.shape, allow_newaxis=True), hnp.arrays(np.bool_, x.shape)]
    if x.ndim and x.numel():
        rows = st.integers(-x.shape[0], x.shape[0] - 1)
        options += [
            hnp.integer_array_indices(x.shape),
            st.lists(rows, max_size=3),
            st.tuples(st.just(Ellipsis), st.lists(st.integers(0, x.shape[-1] - 1), min_size=1, max_size=2)),
            hnp.arrays(np.int64, 3, elements=rows).map(tg.Tensor),
            hnp.arrays(np.bool_, x.shape[0]).map(tg.Tensor),
        ]
    return st.one_of(options)


@st.composite
def ints_and_arrays(draw):
    """A tensor of four dimensions or five, an index of its third (integers, or a mask), and one of its first."""
    x = draw(tensors(shapes(4, 5, min_side=1)))
    n = x.shape[2]
    rows = draw(st.one_of(hnp.arrays(np.int64, (2, 2), elements=st.integers(-n, n - 1)), hnp.arrays(np.bool_, n)))
    return Call(x, rows, draw(st.integers(-x.shape[0], x.shape[0] - 1)))


def as_numpy_index(index):
    if isinstance(index, tuple):
        return tuple(map(as_numpy_index, index))
    return np.array(index, np.int64) if isinstance(index, list) else index


@st.composite
def gathers(draw):
    x = draw(tensors(shapes(max_side=3)))
    dim = draw(dims(x.ndim, several=False))
    size = x.shape[dim] if x.ndim else 1
    shape = [draw(st.integers(0, n)) for n in x.shape]
    if x.ndim:
        shape[dim] = draw(st.integers(0, 3)) if size else 0
    index = np.random.default_rng(draw(st.integers(0, 999))).integers(0, max(size, 1), shape)
    return Call(x, dim, np.asarray(index))


def gather(x, dim, index):
    if x.ndim == 0:
        return np.array(x)
    dim %= x.ndim
    return by_index(index.shape, lambda *i: x[(*i[:dim], index[i], *i[dim + 1 :])], x.dtype)


@st.composite
def additions(draw):
    """What `gathers` draws, and a source that is as large as the index, or larger."""
    x, dim, index = draw(gathers()).args
    larger = draw(st.booleans()) and x.ndim and index.size
    return Call(x, dim, index, draw(tensors(tuple(n + bool(larger) for n in index.shape))))


def scatter_add(x, dim, index, src):
    y = np.array(x)
    for i in np.ndindex(*index.shape):
        y[(*i[: dim % x.ndim], index[i], *i[dim % x.ndim + 1 :]) if x.ndim else ()] += src[i]
    return y


@st.composite
def fillings(draw):
    first, second = draw(broadcastable_shapes(2))
    value = draw(st.one_of(st.sampled_from([1, 0.5]), tensors(())))
    return Call(draw(tensors(first)), draw(tensors(second, np.bool_)), value)


def one_hot(classes, count=-1):
    count = classes.max() + 1 if count == -1 else count
    return by_index((*classes.shape, count), lambda *i: int(classes[i[:-1]] == i[-1]), np.int64)


@st.composite
def labels(draw):
    x = draw(tensors(shapes(min_side=1), np.uint8))
    return Call(tg.Tensor(x.data.astype(np.int64)), draw(st.sampled_from([-1, 4, 5])))


def out_of_range(name, *arguments, argument="dim"):
    return Bad(Call(X, *arguments), IndexError, f"{name}: {argument} expects -[23] <= {argument} < [23] .* but got 5")


FIRST = constant([0, 1, 2], dtype=int)
MASK = constant([True, False, True], [False, True, False], dtype=bool)

ROWS = [
    Row(
        "reshape",
        tg.reshape,
        reshapes(),
        lambda x, *shape: np.array(list(x.flat), x.dtype).reshape(*shape),
        (
            Bad(Call(X, 4), ValueError, r"reshape: shape \(4,\) expects 4 elements but input \(2, 3\) has 6"),
            Bad(Call(X, -1, 4), ValueError, r"reshape: shape \(-1, 4\) expects a multiple of 4 elements"),
            Bad(Call(X, -1, -1), ValueError, r"reshape: shape expects one -1 at most, .* but got \(-1, -1\)"),
            Bad(Call(X, -1, 0), ValueError, r"reshape: shape expects .* none beside a 0, but got \(-1, 0\)"),
            Bad(Call(X, 2, 1.5), TypeError, "reshape: shape expects an int but got 1.5"),
        ),
    ),
    Row(
        "flatten",
        tg.flatten,
        flattens(),
        flatten,
        (
            out_of_range("flatten", 5, argument="start_dim"),
            out_of_range("flatten", 0, 5, argument="end_dim"),
            Bad(Call(X, 1, 0), ValueError, "flatten: start_dim expects to be at most end_dim"),
        ),
    ),
    Row(
        "permute",
        tg.permute,
        drawn(lambda x: st.permutations(range(-x.ndim, 0)).map(tuple)),
        permute,
        (
            out_of_range("permute", 0, 5, argument="dims"),
            Bad(Call(X, 0, 0), ValueError, "permute: dims expects each of the 2 dimensions once"),
            Bad(Call(X, 0), ValueError, "permute: dims expects each of the 2 dimensions once"),
        ),
    ),
    Row(
        "transpose",
        tg.transpose,
        drawn(lambda x: dims(x.ndim, False), lambda x: dims(x.ndim, False)),
        transpose,
        (out_of_range("transpose", 5, 0, argument="dim0"), out_of_range("transpose", 0, 5, argument="dim1")),
    ),
    Row(
        "squeeze",
        tg.squeeze,
        drawn(lambda x: dims(x.ndim)),
        lambda x, dim: np.array(x).reshape(
            [n for i, n in enumerate(x.shape) if n != 1 or (dim == () or i not in normalized(dim, x.ndim))]
        ),
        (out_of_range("squeeze", 5),),
    ),
    Row(
        "unsqueeze",
        tg.unsqueeze,
        drawn(lambda x: dims(x.ndim + 1, False)),
        np.expand_dims,
        (out_of_range("unsqueeze", 5),),
    ),
    Row(
        "expand",
        tg.expand,
        expansions().flatmap(lambda pair: tensors(pair[0]).map(lambda x: Call(x, pair[1]))),
        expand,
        (
            Bad(Call(X, 2, 4), ValueError, r"expand: size expects to extend input \(2, 3\) but got \(2, 4\)"),
            Bad(Call(X, 3), ValueError, "expand: size expects to extend input"),
            Bad(Call(X, -1, 2, 3), ValueError, "expand: size expects to extend input"),
        ),
    ),
    Row(
        "expand (-1)",
        lambda x: tg.expand(x, 2, -1, -1),
        drawn(shape=(2, 1)),
        lambda x: np.stack([x, x]),
        public=tg.expand,
    ),
    Row(
        "sum_to_size",
        tg.sum_to_size,
        expansions().flatmap(lambda pair: tensors(pair[1]).map(lambda x: Call(x, pair[0]))),
        sum_to_size,
        (
            Bad(Call(X, 2), ValueError, r"sum_to_size: size expects to broadcast to \(2, 3\) but is \(2,\)"),
            Bad(Call(X, 1, 2, 3), ValueError, "sum_to_size: size expects to broadcast"),
        ),
    ),
    Row(
        "cat",
        tg.cat,
        joins(new=False),
        cat,
        (
            Bad(Call([]), ValueError, "cat: tensors expects at least one tensor but got none"),
            Bad(Call([leaf(1), constant([1], [2])]), ValueError, r"cat: tensor 1 expects shape \(1,\)"),
            Bad(Call([X, leaf([1.0])]), ValueError, r"cat: tensor 1 expects shape \(2, 3\) but for dimension 0"),
            Bad(Call([tg.tensor(1.0)]), ValueError, r"cat: .* 0-d one; stack\(\) joins those"),
            Bad(Call([X], 5), IndexError, "cat: dim expects"),
        ),
    ),
    Row(
        "stack",
        tg.stack,
        joins(new=True),
        stack,
        (
            Bad(Call([]), ValueError, "stack: tensors expects at least one tensor but got none"),
            Bad(Call([X, leaf([1.0])]), ValueError, r"stack: tensor 1 expects shape \(2, 3\) but has \(1, 1\)"),
            Bad(Call([X], 5), IndexError, "stack: dim expects"),
        ),
    ),
    Row(
        "flip",
        tg.flip,
        drawn(lambda x: st.lists(st.integers(0, x.ndim - 1), unique=True).map(tuple) if x.ndim else st.just(())),
        lambda x, over: by_index(
            x.shape,
            lambda *i: x[tuple(n - 1 - k if d in over else k for d, (k, n) in enumerate(zip(i, x.shape, strict=True)))],
            x.dtype,
        ),
        (out_of_range("flip", 5, argument="dims"), Bad(Call(X, 0, 0), ValueError, "flip: dims expects different")),
    ),
    Row(
        "getitem",
        lambda x, index: indexing.getitem(x, index),
        drawn(indices),
        lambda x, index: x[as_numpy_index(index)],
        (
            Bad(Call(X, 2), IndexError, r"getitem: .*\(input \(2, 3\)\)"),
            Bad(Call(X, (0, 0, 0)), IndexError, "getitem: "),
            Bad(Call(X, "a"), IndexError, "getitem: "),
            Bad(Call(X, slice(0.5)), TypeError, "getitem: slice expects an int"),
        ),
        points=((Call(leaf(1, 2, 3), [0, 0, 2]), (array(2, 0, 1),)),),
        public=indexing.getitem,
    ),
    Row(
        "getitem (ints and arrays)",
        lambda x, rows, number: indexing.getitem(x, (number, slice(1, None), None, rows, ..., 0)),
        ints_and_arrays(),
        lambda x, rows, number: x[number, 1:, ..., 0][:, None, rows],
        public=indexing.getitem,
    ),
    Row(
        "gather",
        tg.gather,
        gathers(),
        gather,
        (
            Bad(Call(X, 0, X), TypeError, "gather: index expects dtype int64 but has float64"),
            Bad(Call(X, 0, FIRST[0]), ValueError, r"gather: index expects 2 dimension\(s\)"),
            Bad(Call(X, 0, FIRST), IndexError, "gather: index expects 0 <= index < 2 along dim 0 but holds 0 to 2"),
            Bad(
                Call(X, 1, constant(*[[0]] * 3, dtype=int)),
                ValueError,
                r"gather: index \(3, 1\) expects to be no larger",
            ),
        ),
        points=((Call(leaf(1, 2, 3), 0, tg.tensor(2)), (array(0, 0, 1),)),),
    ),
    Row(
        "scatter_add",
        tg.scatter_add,
        additions(),
        scatter_add,
        (
            Bad(Call(X, 0, X, X), TypeError, "scatter_add: index expects dtype int64 but has float64"),
            Bad(Call(X, 0, FIRST, X), IndexError, "scatter_add: index expects 0 <= index < 2 along dim 0"),
            Bad(Call(X, 1, FIRST, tg.zeros(1, 3)), TypeError, "scatter_add: src expects dtype float64, like input"),
            Bad(
                Call(X, 1, FIRST, X[:, :2]),
                ValueError,
                r"scatter_add: index \(1, 3\) expects to be nowhere larger than src \(2, 2\)",
            ),
            Bad(Call(X, 5, FIRST, X), IndexError, "scatter_add: dim expects"),
        ),
        points=((Call(leaf(1, 2, 3), 0, tg.tensor(2), leaf(4)[0].detach()), (array(1, 1, 1),)),),
    ),
    Row(
        "masked_fill",
        tg.masked_fill,
        fillings(),
        lambda x, mask, value: by_index(
            np.broadcast_shapes(x.shape, mask.shape),
            lambda *i: (
                value
                if np.broadcast_to(mask, np.broadcast_shapes(x.shape, mask.shape))[i]
                else np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape))[i]
            ),
            x.dtype,
        ),
        (
            Bad(Call(X, X, 1), TypeError, "masked_fill: mask expects a boolean tensor but got float64"),
            Bad(Call(X, MASK, leaf(1, 2)), ValueError, r"masked_fill: value expects .* but has shape \(2,\)"),
            Bad(Call(X, MASK, "1"), TypeError, "masked_fill: value expects a number but got '1'"),
            Bad(
                Call(FIRST, MASK, tg.tensor(1.0, requires_grad=True)),
                TypeError,
                "value requires a gradient, which int64",
            ),
            Bad(
                Call(tg.zeros(2, 3, dtype=tg.uint8), MASK, 300),
                ValueError,
                "masked_fill: value expects to fit into uint8 but is 300",
            ),
            Bad(Call(leaf(1, 2), MASK, 0), ValueError, r"where: \(2, 3\), \(\) and \(2,\)"),
        ),
    ),
    Row(
        "one_hot",
        F.one_hot,
        labels(),
        one_hot,
        (
            Bad(Call(X), TypeError, "one_hot: tensor expects dtype int64 but has float64"),
            Bad(Call(FIRST, 2), ValueError, "one_hot: tensor expects 0 <= class < 2 but holds 0 to 2"),
            Bad(Call(-FIRST), ValueError, "one_hot: tensor expects 0 <= class"),
            Bad(Call(tg.zeros(0, dtype=tg.int64)), ValueError, "one_hot: num_classes must be given"),
        ),
    ),
]
