"""Which dtype comes out of what."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn.testing import broadcastable_shapes

FLOATING = [np.float16, np.float32, np.float64]
INTEGRAL = [np.bool_, np.uint8, np.int32, np.int64]
ARITHMETIC = [tg.add, tg.mul, tg.div, tg.maximum]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(FLOATING, FLOATING)))
@pytest.mark.parametrize("operation", ARITHMETIC, ids=repr)
def test_between_floating_tensors_the_wider_dtype_wins(operation, a, b):
    result = operation(tg.ones(2, dtype=a), tg.ones(2, dtype=b))
    assert result.dtype == max(np.dtype(a), np.dtype(b), key=lambda d: d.itemsize)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(FLOATING, INTEGRAL)))
@pytest.mark.parametrize("operation", [*ARITHMETIC, tg.sub], ids=repr)
def test_integers_take_the_floating_dtype_they_meet(operation, a, b):
    assert operation(tg.ones(2, dtype=a), tg.ones(2, dtype=b)).dtype == a
    assert operation(tg.ones(2, dtype=b), tg.ones(2, dtype=a)).dtype == a
    assert operation(tg.ones(2, dtype=a), np.ones((), b)).dtype == a


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("operation", [tg.exp, tg.log, tg.sqrt, tg.tanh, tg.sigmoid, lambda x: x / 2, lambda x: x / x])
def test_integers_that_yield_fractions_give_float32(operation, dtype):
    assert operation(tg.ones(2, dtype=dtype)).dtype == np.float32


@pytest.mark.parametrize("scalar", [2, 2.5, True, np.float64(2.5), np.int64(2), np.float32(2.5)])
@pytest.mark.parametrize("dtype", FLOATING)
def test_scalars_are_weak(scalar, dtype):
    x = tg.ones(2, dtype=dtype)
    for result in (x + scalar, scalar + x, x * scalar, x / scalar, x**scalar, tg.clamp(x, 0, scalar)):
        assert result.dtype == dtype


def test_a_fraction_makes_an_integer_tensor_float32():
    x = tg.ones(2, dtype=tg.int64)
    assert (x + 1).dtype == np.int64
    assert (x * True).dtype == np.int64
    assert (x + 0.5).dtype == np.float32
    assert (0.5 * x).dtype == np.float32
    assert (x > 0.5).tolist() == [True, True]


@pytest.mark.parametrize("number", [300, -1, np.int64(300)])
@pytest.mark.parametrize("symbol", ["add", "sub", "mul", "pow", "and_", "or_", "xor"])
def test_an_int_that_the_dtype_cannot_hold_is_refused(symbol, number):
    operation, x = getattr(operator, symbol), tg.tensor([1, 2], dtype=tg.uint8)
    with pytest.raises(ValueError, match=f": {number} does not fit into uint8, the dtype of the other operand"):
        operation(x, number)


def test_comparisons_and_fractions_take_every_int():
    x = tg.tensor([1, 2], dtype=tg.uint8)
    assert (x < 300).all()
    assert (x > -1).all()
    assert not (x == 300).any()
    assert (x / 300).dtype == np.float32


@given(broadcastable_shapes(2), st.sampled_from(FLOATING))
def test_selections_keep_the_dtype(shapes, dtype):
    a, b = (tg.ones(*shape, dtype=dtype) for shape in shapes)
    for result in (tg.where(a > 0, a, b), tg.where(a > 0, a, 0), tg.where(a > 0, 1.5, b), F.relu(a)):
        assert result.dtype == dtype


def test_reductions_of_integers():
    x = tg.ones(3, dtype=tg.uint8)
    assert x.sum().dtype == np.int64
    assert (x > 0).sum().dtype == np.int64
    assert x.amax().dtype == np.uint8
    assert x.argmax().dtype == np.int64
    assert x.sum(dtype=tg.float32).dtype == x.mean(dtype=tg.float32).dtype == np.float32
