"""Stochastic pooling: what is drawn, how often, and where the gradient goes."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn

WINDOW = np.array([[1.0, 2.0], [0.0, 5.0]], np.float32)
DRAWS = 4000


def copies(window):
    """The window `DRAWS` times, as a batch of images."""
    return tg.tensor(np.broadcast_to(window, (DRAWS, 1, *window.shape)).copy())


def test_the_frequencies_are_the_activations():
    tg.manual_seed(0)
    y = F.stochastic_pool2d(copies(WINDOW), 2, training=True).data.reshape(-1)
    values = WINDOW[WINDOW > 0]
    observed = np.array([(y == value).sum() for value in values])
    expected = DRAWS * values / values.sum()
    assert observed.sum() == DRAWS
    chi_square = ((observed - expected) ** 2 / expected).sum()
    assert chi_square < 9.21  # two degrees of freedom: one seed in a hundred would be further off


def test_evaluation_is_the_expectation_of_training():
    tg.manual_seed(1)
    x = tg.rand(1, 3, 8, 8)
    window = {"kernel_size": 3, "stride": 2, "padding": 1}
    repeated = x.expand(DRAWS, 3, 8, 8)
    drawn = F.stochastic_pool2d(repeated, **window, training=True).data
    error = drawn.std(0) / np.sqrt(DRAWS)
    assert (np.abs(drawn.mean(0) - F.stochastic_pool2d(x, **window).data[0]) < 5 * error + 1e-6).all()


def test_the_gradient_goes_to_the_drawn_element_alone():
    tg.manual_seed(2)
    x = tg.rand(4, 2, 6, 6).requires_grad_()
    y = F.stochastic_pool2d(x, 2, training=True)
    y.backward(tg.arange(float(y.numel())).reshape(y.shape) + 1)
    gradient = x.grad.data.reshape(4, 2, 3, 2, 3, 2)
    assert ((gradient != 0).sum((3, 5)) == 1).all()
    np.testing.assert_array_equal(gradient.sum((3, 5)), np.arange(y.numel()).reshape(y.shape) + 1)
    np.testing.assert_array_equal((gradient != 0).astype(np.float32).reshape(x.shape) * x.data, _spread(y, gradient))


def _spread(y, gradient):
    return (y.data[:, :, :, None, :, None] * (gradient != 0)).reshape(4, 2, 6, 6)


def test_in_evaluation_the_gradient_is_that_of_the_formula():
    a = tg.tensor(WINDOW.astype(np.float64), requires_grad=True)
    b = tg.tensor(WINDOW.astype(np.float64), requires_grad=True)
    F.stochastic_pool2d(a.reshape(1, 2, 2), 2).sum().backward()
    ((b * b).sum() / b.sum()).backward()
    expected = np.where(WINDOW > 0, b.grad.data, 0)  # at 0 it passes as little as relu
    np.testing.assert_allclose(a.grad.data, expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("window", [np.zeros((2, 2)), -np.ones((2, 2))], ids=["zeros", "negative"])
def test_a_window_without_a_positive_element_gives_nothing(window, training):
    x = tg.tensor(window.reshape(1, 2, 2), requires_grad=True)
    y = F.stochastic_pool2d(x, 2, training=training)
    y.sum().backward()
    assert y.item() == 0
    assert not x.grad.data.any()


@pytest.mark.parametrize("training", [False, True])
def test_negative_elements_count_as_zeros(training):
    tg.manual_seed(3)
    x = tg.randn(2, 3, 9, 9)
    tg.manual_seed(4)
    y = F.stochastic_pool2d(x, 3, 2, training=training)
    tg.manual_seed(4)
    np.testing.assert_array_equal(F.stochastic_pool2d(F.relu(x), 3, 2, training=training).data, y.data)


def test_the_same_seed_draws_the_same():
    x = tg.rand(2, 3, 8, 8)
    found = []
    for seed in (5, 5, 6):
        tg.manual_seed(seed)
        found.append(F.stochastic_pool2d(x, 2, training=True).tolist())
    assert found[0] == found[1] != found[2]


def test_the_layer_draws_in_training_mode_alone():
    layer, x = nn.StochasticPool2d(2), tg.rand(2, 3, 8, 8)
    assert layer(x).tolist() != layer(x).tolist()
    layer.eval()
    assert layer(x).tolist() == layer(x).tolist() == F.stochastic_pool2d(x, 2).tolist()
    assert repr(layer) == "StochasticPool2d(kernel_size=2, stride=2, padding=0, ceil_mode=False)"
