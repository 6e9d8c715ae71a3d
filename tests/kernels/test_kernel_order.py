"""Positions in order are those of a stable sort, in which NaN is the largest."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.kernels import order as kernels
from tinygrad_cnn.kernels.order import first_extreme, order, top

_DTYPES = [np.float16, np.float32, np.float64, np.int64, np.int32, np.uint8, np.int8, np.bool_]
_VALUES = [0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan, -np.nan, 1e-40, -1e-40, 3e38, -3e38]


@st.composite
def arrays(draw):
    """Few values, so that many are equal; and NaN with either sign."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(_DTYPES))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    with np.errstate(over="ignore"):
        x = random.choice(_VALUES, shape).astype(dtype) if np.dtype(dtype).kind == "f" else None
    x = random.integers(0, 2 if dtype is np.bool_ else 100, shape).astype(dtype) if x is None else x
    x = np.asfortranarray(x) if draw(st.booleans()) else x
    return x, draw(st.integers(0, x.ndim - 1))


@pytest.fixture(autouse=True, params=[(0, 5, 2), (5, 5, 6), (1 << 10, 1 << 16, 64)])
def _limits(request):
    """Take arrays for large from so many elements on, in blocks of so many, and rows of so many for short."""
    large, block, few = request.param
    with mock.patch.multiple(
        kernels, _LARGE=large, _BLOCK=block, _FEW=few, _VERY_FEW=few // 2, _LARGER=4 * large, _MUCH=large, _PART=block
    ):
        yield


def _expected(x, axis, descending):
    """By Python's own stable sort."""

    def positions(row):
        sign = -1 if descending else 1
        values = [(sign * int(np.isnan(v)), sign * float(np.nan_to_num(v, posinf=np.inf, neginf=-np.inf))) for v in row]
        return sorted(range(len(row)), key=values.__getitem__)

    return np.apply_along_axis(positions, axis, x.astype(np.float64))


@given(case=arrays(), descending=st.booleans(), data=st.data())
def test_the_first_of_a_stable_order(case, descending, data):
    x, axis = case
    expected = _expected(x, axis, descending)
    result = order(x, axis, descending)
    assert result.dtype == np.int64
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, expected)
    k = data.draw(st.integers(0, x.shape[axis]))
    _check_top(x, k, axis, descending, np.take(expected, np.arange(k), axis))


def _check_top(x, k, axis, largest, expected):
    result = top(x, k, axis, largest)
    assert result.shape == expected.shape
    # Which of several equal elements come in is open.
    np.testing.assert_array_equal(*(np.take_along_axis(x, positions, axis) for positions in (result, expected)))


@pytest.mark.parametrize("shape", [(200, 1000), (100_000,), (3, 5, 70), (0, 3), (3, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_large_and_empty_arrays(shape, dtype):
    x = np.random.default_rng(0).integers(-1000, 1000, shape).astype(dtype)
    for axis in range(x.ndim):
        expected = np.argsort(x, axis, kind="stable")
        np.testing.assert_array_equal(order(x, axis, False), expected)
        k = min(10, x.shape[axis])
        _check_top(x, k, axis, False, np.take(expected, np.arange(k), axis))
        _check_top(-x, k, axis, True, np.take(expected, np.arange(k), axis))


@given(case=arrays())
def test_first_extremes_are_numpys(case):
    x, axis = case
    for find in (np.argmax, np.argmin):
        result = first_extreme(find, x, axis)
        assert result.dtype == np.int64
        np.testing.assert_array_equal(result, find(x, axis, keepdims=True))
