"""Accuracy of activations whose formulas are approximations."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.kernels import activation
from tinygrad_cnn.kernels.elementwise import blockwise, blockwise_pair
from tinygrad_cnn.nn import functional

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
    with np.errstate(invalid="raise", divide="raise"):
        y, slope = blockwise_pair(activation.gelu_slope, x)
    np.testing.assert_array_equal(y, blockwise(activation.gelu, x))
    exact = x.astype(float)
    density = np.exp(-0.5 * np.minimum(np.abs(exact), 50) ** 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(slope, normal(exact) + exact * density, atol=error, rtol=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("value", "both", "parameters"),
    [
        (activation.silu, activation.silu_slope, {}),
        (activation.mish, activation.mish_slope, {}),
        (activation.gelu, activation.gelu_slope, {}),
        (activation.gelu_tanh, activation.gelu_tanh_slope, {}),
        (activation.log_sigmoid, activation.log_sigmoid_slope, {}),
        (activation.hardswish, activation.hardswish_slope, {}),
        (activation.softplus, activation.softplus_slope, {"beta": 1.0, "threshold": 20.0}),
        (activation.softplus, activation.softplus_slope, {"beta": 2.0, "threshold": 5.0}),
        (activation.elu, activation.elu_slope, {"alpha": 1.0, "scale": 1.0}),
        (activation.elu, activation.elu_slope, {"alpha": 1.7, "scale": 1.1}),
    ],
)
def test_what_is_recorded_has_the_same_value_and_a_finite_slope(dtype, value, both, parameters):
    x = np.clip(X, -5e4, 5e4).astype(dtype)
    with np.errstate(invalid="raise", divide="raise", under="ignore"):
        y, slope = blockwise_pair(both, x, **parameters)
    assert y.dtype == slope.dtype == dtype
    np.testing.assert_array_equal(y, blockwise(value, x, **parameters))
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() < 2


def test_the_value_does_not_depend_on_whether_it_is_recorded():
    for shape in ((7, 5), (600, 1000)):
        x = tg.randn(*shape)
        for function in (functional.silu, functional.gelu, functional.mish, functional.selu, functional.hardswish):
            plain = function(x).data
            recorded = function(x.clone().requires_grad_()).data
            np.testing.assert_array_equal(plain, recorded)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_slope_of_hardswish_jumps_at_its_kinks_alone(dtype):
    three, inside = dtype(3), np.nextafter(dtype(3), dtype(0))
    x = np.array([-np.inf, -4, -three, -inside, 0, inside, three, 4, np.inf, np.nan], dtype)
    with np.errstate(invalid="ignore"):
        slope = blockwise_pair(activation.hardswish_slope, x)[1]
    np.testing.assert_allclose(slope, [0, 0, 0, -0.5, 0.5, 1.5, 1, 1, 1, np.nan], rtol=1e-6)
