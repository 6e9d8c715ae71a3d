"""Normalisation in many blocks: what it computes is what plain NumPy computes, whatever the layout."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tinygrad_cnn.kernels import layer_norm, normalize, plain_norm, small_arrays
from tinygrad_cnn.kernels.threads import get_num_threads, set_num_threads

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True, params=["plain", "blocks"])
def small_blocks(monkeypatch, request):
    """Plain NumPy, or blocks so small that every array here is several."""
    if request.param == "plain":
        return
    monkeypatch.setattr(plain_norm, "MOST", 0)
    for module in (small_arrays, layer_norm):
        monkeypatch.setattr(module, "_BLOCK", 64)
    monkeypatch.setattr(small_arrays, "_SMALL", 0)
    monkeypatch.setattr(normalize, "_ONCE", 300)
    monkeypatch.setattr(small_arrays, "_TILE", 40)
    monkeypatch.setattr(small_arrays, "_OWN_TILE", 40)
    monkeypatch.setattr(small_arrays, "_LONG_RUN", 6)
    monkeypatch.setattr(small_arrays, "_VECTOR", 2)
    monkeypatch.setattr(small_arrays, "_layout", functools.lru_cache(small_arrays.Layout))


def array(shape, layout, offset=0.0):
    """Normal numbers, row-major, channels last, or with gaps."""
    x = RANDOM.standard_normal(shape) + offset
    if layout == "channels last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "gaps":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x


LAYOUTS = ["row-major", "channels last", "gaps"]
# Which axes are reduced, and along which the weights differ: batch, instance, group and layer normalisation.
KINDS = [((0, 2, 3), (1,)), ((2, 3), (1,)), ((2, 3), (1, 2)), ((1, 2, 3), (1, 2, 3)), ((3,), (3,)), ((0, 1, 2, 3), ())]
SHAPES = [(7, 3, 5, 4), (2, 40, 3, 3), (37, 2, 1, 3), (1, 2, 50, 3)]


def definition(x, weight, bias, axes):
    mean = x.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)
    return mean, rstd, (x - mean) * rstd * weight + bias


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("axes", "own"), KINDS)
@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["centred", "far from 0"])
def test_normalisation_and_its_gradient(layout, shape, axes, own, offset):
    x, g = array(shape, layout, offset), array(shape, layout)
    small = tuple(n if axis in own else 1 for axis, n in enumerate(shape))
    weight, bias = RANDOM.standard_normal((2, *small))
    mean, rstd, y = definition(x, weight, bias, axes)
    found_mean, found_var = normalize.moments(x, axes)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found_var, rstd**-2.0 - 1e-5, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(normalize.normalize(x, mean, rstd, weight, bias), y, rtol=1e-9, atol=1e-10)
    together = normalize.standardize(x, axes, 1e-5, weight, bias)
    for actual, wanted in zip(together, (y, mean, found_var), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-9, atol=1e-9)
    z, h = (x - mean) * rstd, g * weight
    by_x = rstd * (h - h.mean(axes, keepdims=True) - z * (h * z).mean(axes, keepdims=True))
    repeated = tuple(axis for axis in range(4) if axis not in own)
    expected = by_x, (g * z).sum(repeated, keepdims=True), g.sum(repeated, keepdims=True)
    found = normalize.normalize_grad(g, x, mean, rstd, weight)
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-9, atol=1e-9)


def test_a_large_mean_costs_the_variance_no_digits():
    x = (RANDOM.standard_normal((50, 4)) + 1000).astype(np.float32)
    for axes in ((0,), (1,)):
        np.testing.assert_allclose(normalize.moments(x, axes)[1], x.astype(float).var(axes, keepdims=True), rtol=1e-5)
    constant = np.full((6, 50), 0.1, np.float32)
    mean, var = normalize.moments(constant, (1,))
    y = normalize.normalize(
        constant, mean, 1 / np.sqrt(var + np.float32(1e-5)), np.ones((1, 1), "f"), np.zeros((1, 1), "f")
    )
    assert np.abs(y).max() < 1e-4


@pytest.mark.parametrize("axes", [(0, 2, 3), (2, 3)], ids=["channels", "images"])
def test_statistics_that_are_not_numbers_do_not_change_the_others(axes):
    x, g = RANDOM.standard_normal((2, 6, 3, 9, 9)).astype(np.float32)
    x += 1000
    spoilt = x.copy()
    spoilt[:, 0] = np.nan
    weight, bias = np.ones((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    results = []
    for values in (x, spoilt):
        y, mean, var = normalize.standardize(values, axes, 1e-5, weight, bias)
        statistics = mean, 1 / np.sqrt(var + np.float32(1e-5))
        again = normalize.normalize(values, *statistics, weight, bias)
        by_x = normalize.normalize_grad(g, values, *statistics, weight)[0]
        results.append([each[:, 1:] for each in (y, mean, var, again, by_x)])
    for clean, beside in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, beside)


def test_squares_that_overflow_leave_the_variance_finite():
    x = (1e20 + 1e16 * RANDOM.standard_normal((8, 3, 5))).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        var = normalize.moments(x, (0, 2))[1]
    np.testing.assert_allclose(var, x.astype(float).var((0, 2), keepdims=True), rtol=1e-2)


def test_bits_do_not_depend_on_the_number_of_threads():
    x, g = RANDOM.standard_normal((2, 64, 8, 12, 12)).astype(np.float32)
    weight = RANDOM.standard_normal((1, 8, 1, 1)).astype(np.float32)
    before, results = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            mean, var = normalize.moments(x, (0, 2, 3))
            rstd = 1 / np.sqrt(var)
            results.append([mean, var, *normalize.normalize_grad(g, x, mean, rstd, weight)])
            for axes in ((2, 3), (1, 2, 3)):  # each block has statistics of its own
                results[-1] += normalize.standardize(x, axes, 1e-5, weight, weight)
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
