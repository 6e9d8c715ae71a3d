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


@pytest.fixture(autouse=True, params=[8, 1 << 18])
def _limits(request):
    """Take arrays for large from so many elements on, and cut them into parts of a third; sums by products alike."""
    large, part = request.param, request.param // 3
    sizes = {"_LARGE": large, "_BLOCK": part, "_STEPS_BLOCK": part, "_WORTH_A_PRODUCT": large, "_SUM_BLOCK": part}
    with mock.patch.multiple(reduction, **sizes):
        yield


@given(case=cases(), keepdims=st.booleans())
def test_reductions_in_parts_are_those_of_the_whole(case, keepdims):
    x, axes = case
    for ufunc in (np.add, np.maximum, np.minimum):
        result = reduce(ufunc, x, axes, keepdims)
        assert result.dtype == x.dtype
        np.testing.assert_allclose(result, ufunc.reduce(x, axis=axes, keepdims=keepdims), rtol=1e-4, atol=1e-5)


@given(case=cases(), layout=layouts)
def test_sums_of_channels_are_exact_for_whole_numbers(case, layout):
    x = laid_out(np.rint(3 * case[0]), layout)
    np.testing.assert_array_equal(reduce(np.add, x, (0, 2, 3), keepdims=False), x.sum(axis=(0, 2, 3)))
    np.testing.assert_array_equal(reduce(np.add, x, (0, 2, 3)), x.sum(axis=(0, 2, 3), keepdims=True))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_sum_of_channels_is_not_finite_where_its_channel_is_not(number):
    x = laid_out(np.ones((4, 3, 20, 20), np.float32), "channels_last")
    x[1, 2, 3, 4] = number
    np.testing.assert_array_equal(reduce(np.add, x, (0, 2, 3), keepdims=False), [1600, 1600, number])


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


@pytest.mark.parametrize("level", [np.inf, -np.inf, 1000.0, -1000.0])
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
