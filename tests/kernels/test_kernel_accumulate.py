"""Products, cumulative sums and norms of long arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_cnn.kernels.accumulate import cumulative_sum, product


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
