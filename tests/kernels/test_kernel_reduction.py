"""Reductions in parts are the reductions of the whole, whichever axis is cut."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import laid_out, layouts

from tinygrad_cnn.kernels import reduction
from tinygrad_cnn.kernels.reduction import log_sum_exp, reduce, sum_of_powers, variation


@st.composite
def cases(draw):
    """Images, and some of their dimensions."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=4, max_size=4)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(dtype)
    return laid_out(x, draw(layouts)), tuple(sorted(draw(st.sets(st.integers(0, 3)))))


_LIMITS = {name: value for name, value in vars(reduction).items() if name.isupper() and isinstance(value, int)}


@pytest.fixture(autouse=True, params=[8, 1 << 18])
def _limits(request):
    """Take arrays for large from so many elements on, and cut them into parts of a third."""
    large, part = request.param, request.param // 3
    limits = {"_MIDDLE": 8, "_PLAIN": 24, "_LARGE": large, "_BLOCK": part, "_STEPS_LARGE": large, "_STEPS_BLOCK": part}
    # Runs, products and blocks of columns short enough that arrays of a few elements need all of them.
    lengths = {
        "_MOST_TERMS": 5,
        "_LONG": 12,
        "_LEAST_PRODUCT": 12,
        "_FEW": 4,
        "_FEW_FACTORS": 5,
        "_MANY": 7,
        "_COLUMNS_BLOCK": 16,
        "_FEW_RUNS": 2,
        "_FOLD": 2,
    }
    with mock.patch.multiple(reduction, **limits, **lengths):
        yield


@given(case=cases(), keepdims=st.booleans())
def test_reductions_in_parts_are_those_of_the_whole(case, keepdims):
    x, axes = case
    for ufunc in (np.add, np.maximum, np.minimum, np.multiply):
        result = reduce(ufunc, x, axes, keepdims)
        assert result.dtype == x.dtype
        np.testing.assert_allclose(result, ufunc.reduce(x, axis=axes, keepdims=keepdims), rtol=1e-4, atol=1e-5)


@given(case=cases())
def test_sums_of_functions_of_the_elements(case):
    x, axes = case
    kept = {"axis": axes, "keepdims": True}
    mean = np.mean(x, **kept)
    for result, expected in [
        (variation(x, mean, axes), np.sum((x - mean) ** 2, **kept)),
        (log_sum_exp(x, axes), np.log(np.sum(np.exp(x), **kept))),
        *((sum_of_powers(x, p, axes), np.sum(np.abs(x) ** p, **kept)) for p in (1, 2, 3.5)),
    ]:
        assert result.dtype == x.dtype
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [np.inf, -np.inf, 1000.0, -1000.0, 60.0, -20.0, 0.0])
def test_the_logarithm_of_a_sum_of_exponentials_does_not_overflow(level):
    x = np.full((10, 10), level, np.float32)
    np.testing.assert_allclose(log_sum_exp(x, (0,)), np.full((1, 10), level + np.log(10)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.bool_])
def test_other_dtypes_are_reduced_as_numpy_does(dtype):
    x = np.ones((20, 30), dtype)
    for ufunc in (np.add, np.maximum):
        result, expected = reduce(ufunc, x, (1,)), ufunc.reduce(x, axis=1, keepdims=True)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(3, 40, 700), (1, 3000, 7), (400, 24, 24), (5000, 30), (7, 3001), (2, 1, 9000)])
@pytest.mark.parametrize("ufunc", [np.add, np.maximum, np.multiply])
def test_infinities_and_nan_go_where_they_belong(shape, ufunc):
    x = np.random.default_rng(0).uniform(0.99, 1.01, shape).astype(np.float32)
    x.flat[[5, 900, -2]] = np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        for axis in range(len(shape)):
            np.testing.assert_allclose(reduce(ufunc, x, (axis,)), ufunc.reduce(x, axis=axis, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n", [3, 16, 20, 32])
def test_short_rows_with_gaps_are_reduced_by_columns(n, dtype):
    x = np.random.default_rng(0).standard_normal((50, 2 * n)).astype(dtype)
    for rows in (x[:, :n], x[:, ::2], x[:, ::-2]):
        out = np.empty(50, dtype)
        for call in reduction.by_columns(np.maximum, rows, out):
            call()
        np.testing.assert_array_equal(out, rows.max(1))


def test_long_sums_stay_exact():
    x = np.random.default_rng(0).random((4, 300_000), np.float32)
    for array in (x, np.asfortranarray(x)):
        with mock.patch.multiple(reduction, **_LIMITS):
            result = reduce(np.add, array, (1,))
        np.testing.assert_allclose(result, x.sum(1, np.float64, keepdims=True), rtol=3e-6)
