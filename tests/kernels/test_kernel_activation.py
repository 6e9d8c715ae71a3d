"""Accuracy of activations whose formulas are approximations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_cnn.kernels import activation
from tinygrad_cnn.kernels.elementwise import blockwise

X = np.concatenate([np.linspace(-9, 9, 20_001), [20, -20, 1e5, -1e5, 1e30, -1e30, 1e-12, -1e-12, 1e-42, 0.0]])


def normal(x):
    return np.array([math.erfc(-v * math.sqrt(0.5)) / 2 for v in x])


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_gelu_is_x_times_the_normal_distribution(dtype, error):
    x = X.astype(dtype)
    exact = x.astype(float) * normal(x.astype(float))
    y = blockwise(activation.gelu, x)
    assert y.dtype == dtype
    assert np.max(np.abs(y - exact) / np.maximum(1, np.abs(exact))) <= error


def test_gelu_keeps_its_digits_for_negative_numbers_in_single_precision():
    x = np.linspace(-3, -1e-3, 1001, dtype=np.float32)
    exact = x.astype(float) * normal(x.astype(float))
    np.testing.assert_allclose(blockwise(activation.gelu, x), exact, rtol=2e-5)


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 5e-7), (np.float64, 2e-15)])
def test_the_slope_of_gelu_follows_from_its_value(dtype, error):
    x = X.astype(dtype)
    g = np.full_like(x, 2)
    with np.errstate(invalid="raise", divide="raise"):
        slope = blockwise(activation.gelu_grad, g, x, blockwise(activation.gelu, x))
    exact = x.astype(float)
    density = np.exp(-0.5 * np.minimum(np.abs(exact), 50) ** 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(slope, 2 * (normal(exact) + exact * density), atol=2 * error, rtol=0)
