"""The error function, beside Python's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_cnn.kernels.elementwise import blockwise, ready
from tinygrad_cnn.kernels.erf import erf

# The seams at 1 and 6, the whole range in between, and every order of magnitude.
SEAMS = np.concatenate([np.nextafter(x, [0, x, 9]) for x in (1.0, 6.0)])
POSITIVE = np.concatenate([SEAMS, np.linspace(0, 7, 40_001), np.logspace(-300, 300, 601)])
X = np.concatenate([-POSITIVE, POSITIVE])


def ulps(y, x):
    """How far `y` is from the error function of `x`, in units in the last place of the exact value."""
    exact = np.array([math.erf(v) for v in x])
    return np.abs(y - exact) / np.spacing(np.abs(exact.astype(y.dtype)))


def test_double_precision_is_right_to_two_units_in_the_last_place():
    assert np.max(ulps(blockwise(erf, X), X)) <= 2


def test_single_precision_is_right_to_four_units_in_the_last_place():
    x = X[(np.abs(X) > 1e-37) & (np.abs(X) < 1e38) | (X == 0)].astype(np.float32)
    y = blockwise(erf, x)
    assert y.dtype == np.float32
    assert np.max(ulps(y, x.astype(float))) <= 4
    assert np.mean(ulps(y, x.astype(float))) <= 0.55


def test_half_precision_is_rounded_once():
    x = np.linspace(-4, 4, 1001).astype(np.float16)
    y = blockwise(erf, x)
    assert y.dtype == np.float16
    assert np.max(ulps(y, x.astype(float))) <= 0.51


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_limits_and_nan(dtype):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype)
    np.testing.assert_array_equal(blockwise(erf, x), np.array([1, -1, np.nan, 0, 0], dtype))
    assert np.signbit(blockwise(erf, x)).tolist()[3:] == [False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_may_be_computed_in_place(dtype):
    x = np.linspace(-3, 3, 101).astype(dtype)
    expected = blockwise(erf, x)
    for step in erf(x, x):
        ready(step)()
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_odd_and_grows(dtype):
    x = np.linspace(-8, 8, 4001).astype(dtype)
    y = blockwise(erf, x)
    np.testing.assert_array_equal(y, -blockwise(erf, -x))
    assert np.all(np.diff(y) >= -2 * np.spacing(np.abs(y[1:])))
