"""Writing into a tensor: the underscore methods, augmented assignment, and when they refuse."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import tinygrad_cnn as tg


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda x: x.copy_(tg.tensor([5, 6])), [5, 6]),
        (lambda x: x.fill_(7), [7, 7]),
        (lambda x: x.zero_(), [0, 0]),
        (lambda x: x.add_(1, alpha=3), [4, 5]),
        (lambda x: x.sub_(tg.ones(2), alpha=2), [-1, 0]),
        (lambda x: x.mul_(tg.tensor([2.0, 3.0])), [2, 6]),
        (lambda x: x.div_(2), [0.5, 1]),
        (lambda x: x.clamp_(1.5), [1.5, 2]),
        (lambda x: x.clamp_(max=1.5), [1, 1.5]),
        (lambda x: x.__setitem__(0, 9) or x, [9, 2]),
        (lambda x: x.__setitem__(tg.tensor([False, True]), 9) or x, [1, 9]),
        (lambda x: x.__iadd__(1), [2, 3]),
        (lambda x: x.__isub__(tg.ones(2)), [0, 1]),
        (lambda x: x.__imul__(np.array([2, 3])), [2, 6]),
        (lambda x: x.__itruediv__(2), [0.5, 1]),
    ],
)
def test_writing_in_place(write, expected):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    memory = x.data
    with tg.no_grad():
        assert write(x) is x
    assert x.data is memory
    assert x.dtype == np.float32
    assert x.tolist() == expected


def test_ints_select_before_arrays():
    x = tg.zeros(2, 3, 4)
    x[1, :, [0, 2]] = tg.arange(6).reshape(3, 2)
    assert x[1].tolist() == [[0, 0, 1, 0], [2, 0, 3, 0], [4, 0, 5, 0]]
    assert not x[0].any()
    x[-1, ..., x[0, 0] == 0] = 7
    assert (x[1] == 7).all()


def test_writing_to_a_part_writes_to_the_whole():
    x = tg.zeros(2, 2)
    x[0].fill_(1)
    x[1][1].add_(5)
    x.T[0] += 10
    assert x.tolist() == [[11, 1], [10, 5]]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.add_(1),
        lambda x: x.zero_(),
        lambda x: x.copy_(tg.ones(2)),
        lambda x: x.uniform_(),
        lambda x: x.normal_(),
        lambda x: x.clamp_(0),
        lambda x: x.__setitem__(0, 1),
        lambda x: tg.zeros(2).copy_(x),
        lambda x: tg.zeros(2).__setitem__(0, x[0]),
        lambda x: tg.zeros(2).add_(x),
        lambda x: (x * 2).mul_(2),
    ],
)
def test_nothing_is_written_while_recording_what_requires_a_gradient(write):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"do it under no_grad\(\)"):
        write(x)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("assign", [operator.iadd, operator.isub, operator.imul, operator.itruediv])
def test_augmented_assignment(assign):
    """In place on a leaf under no_grad; an error on a leaf that is recorded; else the name is bound anew."""
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient cannot be changed in place"):
        assign(x, 2)
    y = original = x * 1
    y = assign(y, 2)
    assert y is not original
    assert original.tolist() == [1, 2]
    assert y.requires_grad
    with tg.no_grad():
        assert assign(x, 2) is x


def test_in_place_never_changes_the_dtype():
    x = tg.ones(2, dtype=tg.int64)
    with pytest.raises(TypeError, match="Cannot cast"):
        x.add_(0.5)
    with pytest.raises(TypeError, match="just floating tensors can be filled with draws"):
        x.uniform_()
    assert tg.ones(2).add_(np.float64(1)).dtype == np.float32


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda x: x.fill_(300), ValueError, "fill_: value expects to fit into uint8 but is 300"),
        (lambda x: x.fill_(math.nan), ValueError, "fill_: value expects to fit into uint8 but is nan"),
        (lambda x: x.fill_("a"), TypeError, "fill_: value expects a number but got 'a'"),
        (lambda x: x.fill_(tg.ones(2)), ValueError, r"fill_: value expects .* but has shape \(2,\)"),
        (lambda x: x.add_(300), ValueError, "add_: .*300 out of bounds for uint8"),
        (lambda x: x.add_(tg.ones(3, dtype=tg.uint8)), ValueError, r"add_: .*shape \(2,\)"),
        (lambda x: x.mul_(1.5), TypeError, "mul_: Cannot cast"),
        (lambda x: x.copy_(tg.ones(3)), ValueError, "copy_: could not broadcast"),
        (lambda x: x.clamp_(2, 300), ValueError, "clamp_: max expects to fit into uint8 but is 300"),
        (lambda x: x.clamp_(2, np.ones(3, np.uint8)), ValueError, "clamp_: "),
        (lambda x: x.normal_(), TypeError, "normal_: just floating tensors"),
        (lambda x: x.uniform_(), TypeError, "uniform_: just floating tensors"),
        (lambda x: x.__setitem__(2, 1), IndexError, "setitem: index 2 is out of bounds"),
        (lambda x: x.__setitem__(0, 300), ValueError, "setitem: .*300 out of bounds for uint8"),
        (lambda x: x.expand(2, 2).zero_(), ValueError, "zero_: .*read-only"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name_and_changes_nothing(write, error, message):
    x = tg.tensor([1, 2], dtype=tg.uint8)
    version = x._version[0]
    with pytest.raises(error, match=message):
        write(x)
    assert x.tolist() == [1, 2]
    assert x._version[0] == version


@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1.5), (1, 1.001), (3, 3)])
def test_uniform_draws_stay_below_their_limit(dtype, low, high):
    """In half precision one number in 4096 would be rounded up to 1."""
    tg.manual_seed(0)
    x = tg.empty(20000, dtype=dtype).uniform_(low, high)
    assert (x >= low).all()
    assert (x < high).all() or low == high
    with pytest.raises(ValueError, match="uniform_: to - from_ expects to fit into"):
        x.uniform_(-1e308, 1e308)


def test_draws_in_place():
    x = tg.empty(2000)
    assert -1 <= x.uniform_(-1, 3).data.min() < -0.9
    assert 2.9 < x.data.max() <= 3
    x.normal_(5, 0.1)
    assert abs(x.data.mean() - 5) < 0.02
    assert abs(x.data.std() - 0.1) < 0.02
    with pytest.raises(ValueError, match="uniform_: from_ expects to be at most to"):
        x.uniform_(1, 0)
    with pytest.raises(ValueError, match="normal_: std expects"):
        x.normal_(0, -1)
    with pytest.raises(ValueError, match="clamp_: expected min, max or both"):
        x.clamp_()


@pytest.mark.parametrize(
    ("copy", "shape"),
    [
        (lambda x: x.flip(0), (3,)),
        (lambda x: x.repeat(1), (3,)),
        (lambda x: x.repeat(2, 1), (1, 3)),
        (lambda x: x.tile(1), (3,)),
        (lambda x: x.roll(0), (3,)),
        (lambda x: x.sort(0).values, ()),
        (lambda x: x.topk(1).values, ()),
        (lambda x: x.max(0).values, ()),
        (lambda x: x.cumsum(0), ()),
        (lambda x: x.clone(), (3,)),
    ],
)
def test_copies_have_memory_of_their_own(copy, shape):
    """Writing into what is no view leaves the input alone, even where nothing had to move."""
    x = tg.ones(shape)
    y = copy(x)
    y.fill_(5)
    assert (x.data == 1).all()
    assert (y.data == 5).all()
