"""Products, cumulative sums and norms of long arrays."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.kernels import accumulate
from tinygrad_cnn.kernels.accumulate import cumulative_sum, product
from tinygrad_cnn.kernels.threads import get_num_threads, set_num_threads


@pytest.mark.parametrize("length", [0, 1, 2, 16, 17, 31, 32, 33, 67, 1000])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_product_multiplies_every_element_once(length: int, axis: int) -> None:
    x = np.random.default_rng(0).choice([0.5, 1.0, -1.0, 2.0], (length, 3) if axis == 0 else (3, length))
    np.testing.assert_array_equal(product(x, axis), np.prod(x, axis=axis, keepdims=True))


@pytest.mark.parametrize("axis", [0, 1])
def test_products_of_large_arrays(axis: int) -> None:
    x = np.random.default_rng(0).choice([1.0, -1.0], (600, 500))
    np.testing.assert_array_equal(product(x, axis), np.prod(x, axis=axis, keepdims=True))


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.int64, np.float16])
def test_products_keep_the_dtype(dtype: type) -> None:
    result = product(np.ones((20, 600), dtype), 1)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.ones((20, 1), dtype))


@pytest.mark.parametrize("shape", [(1 << 18,), (600, 500), (3, 2, 60_000), (2, 300, 400)])
def test_sums_so_far_of_large_arrays(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(-5, 5, shape).astype(np.int32)
    for axis in range(len(shape)):
        for array in (x, np.asfortranarray(x)):
            sums = cumulative_sum(array, axis)
            assert sums.dtype == np.int32
            np.testing.assert_array_equal(sums, np.cumsum(x, axis=axis))


@st.composite
def arrays(draw):
    """Whole numbers, whose sums are exact in every order, with axes in any order in memory, and one axis."""
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=3)))
    order = draw(st.permutations(range(len(shape))))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    x = np.random.default_rng(draw(st.integers(0, 99))).integers(-9, 10, [shape[i] for i in order]).astype(dtype)
    return x.transpose(np.argsort(order)), draw(st.integers(0, len(shape) - 1))


def cumsum(x: np.ndarray, axis: int, from_end: bool) -> np.ndarray:
    return np.flip(np.cumsum(np.flip(x, axis), axis), axis) if from_end else np.cumsum(x, axis)


@pytest.mark.parametrize("least_run", [1, 3])
@given(case=arrays(), from_end=st.booleans())
def test_sums_so_far_however_they_are_found(least_run, case, from_end):
    x, axis = case
    sizes = {"_LARGE": 4, "_THREADS": 20, "_PART": 16, "_TERMS": 3, "_SHORT": 4, "_LEAST_RUN": least_run, "_LONG": 6}
    with mock.patch.multiple(accumulate, **sizes):
        sums = cumulative_sum(x, axis, from_end)
    assert sums.dtype == x.dtype
    np.testing.assert_array_equal(sums, cumsum(x, axis, from_end))


@pytest.mark.parametrize("shape", [(300, 1000), (2000, 24), (1500, 24, 8)])
@pytest.mark.parametrize("from_end", [False, True])
def test_what_is_not_finite_spoils_just_the_sums_after_it(shape, from_end):
    x = np.random.default_rng(0).integers(-9, 10, shape).astype(np.float32)
    x[3, 11], x[5, 0], x[7, -1], x[9, 2], x[9, 4], x[11, 6] = np.inf, -np.inf, np.nan, np.inf, -np.inf, 3e38
    x[11, 7] = 3e38
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(cumulative_sum(x, 1, from_end), cumsum(x, 1, from_end))


def test_overflow_is_no_secret():
    x = np.full((2000, 24), 3e38, np.float32)
    with pytest.warns(RuntimeWarning, match="overflow"):
        cumulative_sum(x, 1)


@pytest.mark.parametrize("shape", [(300, 1000), (500, 1024), (2000, 40), (60, 40, 40, 5)])
def test_sums_so_far_are_as_exact_as_plain_ones_and_do_not_depend_on_threads(shape):
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    exact, plain = np.cumsum(x, 1, np.float64), np.cumsum(x, 1)
    results, before = [], get_num_threads()
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            results.append(cumulative_sum(x, 1))
    finally:
        set_num_threads(before)
    assert abs(results[0] - exact).max() <= 1.2 * abs(plain - exact).max()
    for result in results:
        np.testing.assert_array_equal(result, results[0])
