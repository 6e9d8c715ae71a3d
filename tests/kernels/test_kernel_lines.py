"""What is computed along lines, in many blocks, is what plain NumPy computes, whatever the layout."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_cnn.kernels import cross_entropy, lines, softmax, unit_vectors
from tinygrad_cnn.kernels.threads import get_num_threads, set_num_threads

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks so small that every array here is several."""
    sizes = {
        "_BLOCK": 64,
        "_SMALL": 0,
        "_THREADS": 0,
        "_LEAST_COPY": 0,
        "_NARROW": 6,
        "LONG_RUN": 8,
    }
    for name, size in sizes.items():
        monkeypatch.setattr(lines, name, size)


def array(shape, layout, dtype=float):
    """Normal numbers, row-major, channels last, or with gaps."""
    x = RANDOM.standard_normal(shape).astype(dtype)
    if layout == "channels last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "gaps":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return x


LAYOUTS = ["row-major", "channels last", "gaps"]
SHAPES = [(30, 5), (40, 12), (7, 3, 5, 4), (2, 40, 3, 3), (37, 2, 1, 3), (1, 2, 50, 3)]
# Scores that need no shift, and such that do: in some blocks, or everywhere.
OFFSETS = {
    "near 0": lambda x: x * 3,
    "one large": lambda x: np.where(np.arange(x.size).reshape(x.shape) == x.size // 2, 100, x),
    "far below 0": lambda x: x - 1000,
    "far apart": lambda x: x * 1000,
}


def log_softmax(x, dim):
    shifted = x - x.max(dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "dim"), [((2, 9, 20, 7), 0), ((2, 9, 20, 7), 1), ((2, 9, 20, 7), 2), ((40, 12), 1)])
def test_softmax_and_its_gradient(shape, dim, layout, offset):
    x, g = OFFSETS[offset](array(shape, layout)), array(shape, layout)
    logarithms = log_softmax(x, dim)
    y = np.exp(logarithms)
    close(softmax.softmax(x, dim), y)
    close(softmax.log_softmax(x, dim), logarithms)
    close(softmax.softmax_grad(g, y, dim), y * (g - (g * y).sum(dim, keepdims=True)))
    close(softmax.log_softmax_grad(g, logarithms, dim), g - y * g.sum(dim, keepdims=True))


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_with_classes_and_its_gradient(shape, layout, offset):
    x = OFFSETS[offset](array(shape, layout))
    g, own, rest = RANDOM.standard_normal((3, shape[0], *shape[2:]))
    classes, shares = RANDOM.integers(0, shape[1], g.shape), RANDOM.random(shape[1])
    positions, along = np.expand_dims(classes, 1), shares.reshape((-1,) + (1,) * (len(shape) - 2))
    logarithms = log_softmax(x, 1)
    for keep in (True, False):
        at_class, even, (powers, total) = cross_entropy.class_losses(x, classes, shares, keep)
        close(at_class, -np.take_along_axis(logarithms, positions, 1)[:, 0])
        close(even, -(along * logarithms).sum(1))
        assert powers is not None or not keep
    powers, total = cross_entropy.class_losses(x, classes, None, True)[2]
    chosen = np.zeros(shape)
    np.put_along_axis(chosen, positions, np.expand_dims(own, 1), 1)
    without = np.expand_dims(g, 1) * np.exp(logarithms) - chosen
    close(cross_entropy.class_losses_grad(g, own, g, None, classes, powers, total), without)
    found = cross_entropy.class_losses_grad(g, own, rest, shares, classes, powers, total)
    close(found, without - np.expand_dims(rest, 1) * along)
    number = np.float64(2)
    alike = cross_entropy.class_losses_grad(number, number, number, shares, classes, powers, total)
    each = np.full(classes.shape, 2.0)
    np.testing.assert_array_equal(
        alike, cross_entropy.class_losses_grad(each, each, each, shares, classes, powers, total)
    )
    np.testing.assert_array_equal(cross_entropy.pick(x, classes), np.take_along_axis(x, positions, 1)[:, 0])
    np.testing.assert_array_equal(cross_entropy.put_back(own, x, classes), chosen)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_with_distributions_and_its_gradient(shape, layout, offset):
    x, q = OFFSETS[offset](array(shape, layout)), np.abs(array(shape, layout))
    g, height = RANDOM.standard_normal((2, shape[0], *shape[2:]))
    logarithms = log_softmax(x, 1)
    for keep in (True, False):
        losses, weight, (powers, total) = cross_entropy.distribution_losses(x, q, keep)
        np.testing.assert_allclose(losses, -(q * logarithms).sum(1), rtol=1e-9)
        close(weight, q.sum(1))
    powers, total = cross_entropy.distribution_losses(x, q, True)[2]
    expected = np.expand_dims(height, 1) * np.exp(logarithms) - np.expand_dims(g, 1) * q
    close(cross_entropy.distribution_losses_grad(height, g, q, powers, total), expected)


def test_a_single_class_is_certain_wherever_its_axis_lies_in_memory():
    x = array((2, 2, 1, 4), "row-major").transpose(3, 2, 0, 1)
    classes, q = np.zeros((4, 2, 2), int), np.ones(x.shape)
    number = np.float64(1)
    losses, _, (powers, total) = cross_entropy.class_losses(x, classes, None, True)
    close(losses, 0)
    close(cross_entropy.class_losses_grad(number, number, number, None, classes, powers, total), 0)
    losses, _, (powers, total) = cross_entropy.distribution_losses(x, q, True)
    close(losses, 0)
    close(cross_entropy.distribution_losses_grad(np.ones((4, 2, 2)), number, q, powers, total), 0)


@pytest.mark.parametrize("scores", [[-np.inf, 0.0, 1.0], [-np.inf, -np.inf, 3.0], [-200.0, 0.0, 1.0]])
def test_what_has_no_weight_costs_nothing_even_if_it_is_impossible(scores):
    x = np.array([scores, [0.0, 1.0, 2.0]] * 20, np.float32)
    logarithms = log_softmax(x[:1], 1)[0]
    shares, classes = np.array([0.0, 0.0, 0.5], np.float32), np.full(40, 2)
    even = cross_entropy.class_losses(x, classes, shares, False)[1]
    np.testing.assert_allclose(even[0], -0.5 * logarithms[2], rtol=1e-5, atol=1e-7)
    losses = cross_entropy.distribution_losses(x, np.broadcast_to(shares, x.shape), False)[0]
    np.testing.assert_allclose(losses[0], -0.5 * logarithms[2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("top", [1.0, 5.0, 15.0, 30.0, 80.0, 1e4])
def test_the_loss_of_what_is_certain_is_never_negative_and_keeps_its_digits(top):
    x = np.full((50, 10), -top, np.float32)
    x[:, 3] = top
    x[:, 4] = top - 20 - np.arange(50, dtype=np.float32) / 7
    classes = np.full(50, 3)
    exact = -log_softmax(x.astype(float), 1)[:, 3]
    losses = cross_entropy.class_losses(x, classes, None, False)[0]
    assert (losses >= 0).all()
    np.testing.assert_allclose(losses, exact, rtol=3e-7, atol=2e-7)
    for _ in range(20):
        x = (RANDOM.standard_normal((50, 10)) * top).astype(np.float32)
        losses = cross_entropy.class_losses(x, x.argmax(1), None, False)[0]
        assert (losses >= 0).all()
        np.testing.assert_allclose(losses, -log_softmax(x.astype(float), 1).max(1), rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_rows_of_nan_and_infinity_stay_among_themselves(dtype):
    x = RANDOM.standard_normal((60, 5)).astype(dtype)
    good = softmax.softmax(x, 1)
    x[7, 2], x[20] = np.nan, -np.inf
    x[33, 1] = np.inf
    with pytest.warns(RuntimeWarning, match="invalid value"):
        y = softmax.softmax(x, 1)
    bad = [7, 20, 33]
    assert np.isnan(y[bad]).any(1).all()
    np.testing.assert_allclose(np.delete(y, bad, 0), np.delete(good, bad, 0), rtol=5 * np.finfo(dtype).eps)
    assert y.dtype == np.dtype(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "dim"), [((2, 9, 20, 7), 0), ((2, 9, 20, 7), 1), ((40, 12), 1), ((40, 5), 1)])
def test_unit_vectors_and_their_gradient(shape, dim, layout):
    x, g = array(shape, layout), array(shape, layout)
    length = np.sqrt((x * x).sum(dim, keepdims=True))
    least = np.median(length)
    y, found = unit_vectors.unit_vectors(x, dim, least)
    close(found, length)
    close(y, x / np.maximum(length, least))
    along = np.where(length > least, (g * y).sum(dim, keepdims=True), 0)
    close(unit_vectors.unit_vectors_grad(g, y, length, dim, least), (g - y * along) / np.maximum(length, least))


def test_bits_do_not_depend_on_the_number_of_threads():
    x, q = RANDOM.standard_normal((2, 64, 8, 12, 12)).astype(np.float32)
    x[::3] *= 100
    classes, shares = RANDOM.integers(0, 8, (64, 12, 12)), RANDOM.random(8).astype(np.float32)
    before, results = get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            one, even, kept = cross_entropy.class_losses(x, classes, shares, True)
            results.append([one, even, cross_entropy.class_losses_grad(one, one, even, shares, classes, *kept)])
            losses, weight, kept = cross_entropy.distribution_losses(x, q, True)
            results[-1] += [losses, weight, cross_entropy.distribution_losses_grad(weight, losses, q, *kept)]
            results[-1] += [softmax.softmax(x, 1), softmax.log_softmax(x, 1)]
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)
