"""Tensors from nothing: a row for each function that makes one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import creation

LIKE = tg.zeros(2, 3, dtype=tg.float64)

# (call, values, dtype)
ROWS = [
    (lambda: tg.zeros(2, 3), np.zeros((2, 3)), tg.float32),
    (lambda: tg.zeros((2, 3), dtype=tg.int64), np.zeros((2, 3)), tg.int64),
    (lambda: tg.zeros(()), 0, tg.float32),
    (lambda: tg.zeros(size=(2, 3)), np.zeros((2, 3)), tg.float32),
    (lambda: tg.ones([2]), [1, 1], tg.float32),
    (lambda: tg.ones(size=[2]), [1, 1], tg.float32),
    (lambda: tg.ones(0, 2), np.ones((0, 2)), tg.float32),
    (lambda: tg.full((2,), 3), [3, 3], tg.int64),
    (lambda: tg.full((2,), 3.0), [3, 3], tg.float32),
    (lambda: tg.full((2,), True), [True, True], tg.bool),
    (lambda: tg.full((), 2, dtype=tg.float64), 2, tg.float64),
    (lambda: tg.full((), np.float64(np.inf)), np.inf, tg.float32),
    (lambda: tg.full((2,), tg.tensor(3)), [3, 3], tg.int64),
    (lambda: tg.empty(size=(0, 3)), np.zeros((0, 3)), tg.float32),
    (lambda: tg.empty(2, 3) * 0 == 1, np.zeros((2, 3), bool), tg.bool),
    (lambda: tg.eye(2), [[1, 0], [0, 1]], tg.float32),
    (lambda: tg.eye(1, 2, dtype=tg.int64), [[1, 0]], tg.int64),
    (lambda: tg.arange(3), [0, 1, 2], tg.int64),
    (lambda: tg.arange(1, 2, 0.5), [1, 1.5], tg.float32),
    (lambda: tg.arange(tg.tensor(1), tg.tensor(3)), [1, 2], tg.int64),
    (lambda: tg.arange(3, 0, -1), [3, 2, 1], tg.int64),
    (lambda: tg.arange(2.0, dtype=tg.float64), [0, 1], tg.float64),
    (lambda: tg.linspace(0, 1, 3), [0, 0.5, 1], tg.float32),
    (lambda: tg.linspace(1, 1, 1), [1], tg.float32),
    (lambda: tg.from_numpy(np.arange(3)), [0, 1, 2], tg.int64),
    (lambda: tg.from_dlpack(np.arange(3)), [0, 1, 2], tg.int64),
    (lambda: tg.zeros_like(LIKE), np.zeros((2, 3)), tg.float64),
    (lambda: tg.ones_like(LIKE, dtype=tg.int64), np.ones((2, 3)), tg.int64),
    (lambda: tg.full_like(LIKE, 5), np.full((2, 3), 5), tg.float64),
    (lambda: tg.full_like(LIKE, math.nan), np.full((2, 3), math.nan), tg.float64),
    (lambda: tg.full_like(LIKE, tg.tensor(2.5), dtype=tg.int64), np.full((2, 3), 2), tg.int64),
    (lambda: tg.empty_like(LIKE).zero_(), np.zeros((2, 3)), tg.float64),
    (lambda: tg.randperm(5).data.sort() or tg.arange(5), np.arange(5), tg.int64),
]
DRAWS = [
    (lambda: tg.rand(20, 50), tg.float32, 0, 1),
    (lambda: tg.rand(size=(20, 50)), tg.float32, 0, 1),
    (lambda: tg.rand_like(tg.zeros(20, 50, dtype=tg.float64)), tg.float64, 0, 1),
    (lambda: tg.randn(20, 50), tg.float32, -6, 6),
    (lambda: tg.randn(size=(20, 50)), tg.float32, -6, 6),
    (lambda: tg.randn_like(tg.zeros(20, 50)), tg.float32, -6, 6),
    (lambda: tg.randint(3, (20, 50)), tg.int64, 0, 2),
    (lambda: tg.randint(3, size=(20, 50)), tg.int64, 0, 2),
    (lambda: tg.randint(high=3, size=(20, 50)), tg.int64, 0, 2),
    (lambda: tg.randint(low=1, high=256, size=(20, 50), dtype=tg.uint8), tg.uint8, 1, 255),
    (lambda: tg.randint(-5, 5, (20, 50), dtype=tg.float32), tg.float32, -5, 4),
]


@pytest.mark.parametrize(("make", "values", "dtype"), ROWS)
def test_values_and_dtypes(make, values, dtype):
    x = make()
    assert x.dtype == dtype
    np.testing.assert_array_equal(x.data, values)
    assert not x.requires_grad


@pytest.mark.parametrize(("make", "dtype", "low", "high"), DRAWS)
def test_draws_come_from_the_seed_and_lie_in_their_range(make, dtype, low, high):
    tg.manual_seed(3)
    x, y = make(), make()
    assert (x.data != y.data).any()
    assert x.dtype == dtype
    assert x.shape == (20, 50)
    assert low <= x.data.min() < x.data.max() <= high
    tg.manual_seed(3)
    np.testing.assert_array_equal(make().data, x.data)


def test_randperm_is_a_permutation_that_the_seed_fixes():
    tg.manual_seed(0)
    order = tg.randperm(50).tolist()
    assert sorted(order) == list(range(50)) != order
    tg.manual_seed(0)
    assert tg.randperm(50).tolist() == order


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: tg.zeros(2, **k),
        lambda **k: tg.ones(2, **k),
        lambda **k: tg.full((2,), 1.0, **k),
        lambda **k: tg.rand(2, **k),
        lambda **k: tg.randn(2, **k),
        lambda **k: tg.eye(2, **k),
        lambda **k: tg.linspace(0, 1, 2, **k),
        lambda **k: tg.arange(0.0, 2.0, **k),
        lambda **k: tg.ones_like(LIKE, **k),
        lambda **k: tg.randn_like(LIKE, **k),
    ],
)
def test_leaves_that_require_gradients_can_be_made_at_once(make):
    x = make(requires_grad=True)
    assert x.requires_grad
    assert x.is_leaf
    with pytest.raises(TypeError):
        make(requires_grad=True, dtype=tg.int64)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tg.zeros(-1), ValueError, "zeros: size expects at least 0 but got -1"),
        (lambda: tg.ones(1.5), TypeError, "ones: size expects an int but got 1.5"),
        (lambda: tg.eye(-1), ValueError, "eye: n expects at least 0"),
        (lambda: tg.arange(0, 3, 0), ValueError, "arange: step expects to lead from 0 to 3 but is 0"),
        (lambda: tg.arange(0, 3, -1), ValueError, "arange: step expects"),
        (lambda: tg.linspace(0, 1, -1), ValueError, "linspace: steps expects at least 0"),
        (lambda: tg.from_numpy([1.0]), TypeError, "from_numpy: ndarray expects a numpy.ndarray but got list"),
        (lambda: tg.from_numpy(np.ones(1, ">f4")), TypeError, "from_numpy: ndarray expects the machine's byte order"),
        (lambda: tg.rand(2, dtype=tg.int64), TypeError, "rand: dtype expects a floating one but got int64"),
        (lambda: tg.randn(2, dtype=tg.bool), TypeError, "randn: dtype expects a floating one"),
        (lambda: tg.randint(0, (2,)), ValueError, "randint: high expects more than low, 0, but is 0"),
        (lambda: tg.randint(1.5, (2,)), TypeError, "randint: high expects an int"),
        (
            lambda: tg.randint(257, (2,), dtype=tg.uint8),
            ValueError,
            "randint: high - 1 expects to fit into uint8",
        ),
        (
            lambda: tg.randint(-1, 3, (2,), dtype=tg.uint8),
            ValueError,
            "randint: low expects to fit into uint8",
        ),
        (lambda: tg.randint(3), TypeError, "randint: size expects an int but got None"),
        (lambda: tg.randperm(-1), ValueError, "randperm: n expects at least 0"),
        (lambda: tg.randperm(257, dtype=tg.uint8), ValueError, "randperm: n - 1 expects to fit into uint8 but is 256"),
        (lambda: tg.randn(2, size=(2,)), TypeError, r"randn: expected size once but got \(2,\) and size=\(2,\)"),
        (
            lambda: tg.full((2,), 300, dtype=tg.uint8),
            ValueError,
            "full: fill_value expects to fit into uint8",
        ),
        (lambda: tg.full((2,), math.nan, dtype=tg.int64), ValueError, "full: fill_value expects to fit into int64"),
        (lambda: tg.full((2,), 2**70), ValueError, "full: fill_value expects to fit into int64"),
        (lambda: tg.full((2,), 1j), TypeError, "full: fill_value expects a number but got 1j"),
        (lambda: tg.full_like(LIKE, -1, dtype=tg.uint8), ValueError, "full_like: fill_value expects to fit into uint8"),
        (lambda: tg.arange("3"), TypeError, "arange: end expects a number but got '3'"),
        (lambda: tg.arange(math.nan), ValueError, "arange: end expects .* but got nan"),
        (lambda: tg.zeros(1, device="cuda"), ValueError, "cuda"),
        (lambda: tg.zeros(1, dtype="complex64"), TypeError, "dtype: expected bool"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_from_numpy_shares_memory():
    array = np.zeros(2)
    tg.from_numpy(array).add_(1)
    assert array.tolist() == [1, 1]


def test_every_function_that_makes_a_tensor_is_at_the_top_level():
    assert all(getattr(tg, name) is getattr(creation, name) for name in creation.__all__)
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in creation.__all__ if f"tg.{name}(" not in text] == []
