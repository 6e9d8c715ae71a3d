"""Initial values have the distribution that was asked for, come from the seed, and stay in their dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import init

SHAPE = (64, 32, 5, 5)  # fan_in 800, fan_out 1600


def spread(tensor):
    return tensor.data.astype(np.float64).std(), np.abs(tensor.data).max()


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (init.xavier_uniform_, math.sqrt(2 / 2400)),
        (init.xavier_normal_, math.sqrt(2 / 2400)),
        (lambda t: init.xavier_normal_(t, gain=3), 3 * math.sqrt(2 / 2400)),
        (init.kaiming_uniform_, math.sqrt(2 / 800)),
        (init.kaiming_normal_, math.sqrt(2 / 800)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 1600)),
        (lambda t: init.kaiming_uniform_(t, nonlinearity="tanh"), 5 / 3 / math.sqrt(800)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 3 / 800)),
        (lambda t: init.normal_(t, 0, 0.3), 0.3),
        (lambda t: init.uniform_(t, -1, 1), math.sqrt(1 / 3)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standard_deviations(fill, std, dtype):
    tg.manual_seed(0)
    tensor = nn.Parameter(np.empty(SHAPE, dtype))
    assert fill(tensor) is tensor
    assert tensor.dtype == dtype
    assert tensor.is_leaf
    assert tensor.data.std(dtype=np.float64) == pytest.approx(std, rel=0.02)
    assert abs(tensor.data.mean()) < 0.02 * std
    tg.manual_seed(0)
    np.testing.assert_array_equal(fill(nn.Parameter(np.empty(SHAPE, dtype))).data, tensor.data)


def test_uniform_draws_stay_in_their_bounds():
    x = init.uniform_(tg.empty(1000), 2.0, 3.0)
    assert 2 <= x.min().item() < 2.05
    assert 2.95 < x.max().item() <= 3


def test_constants():
    x = tg.empty(3)
    assert init.ones_(x).tolist() == [1, 1, 1]
    assert init.zeros_(x).tolist() == [0, 0, 0]
    assert init.constant_(x, 2.5).tolist() == [2.5, 2.5, 2.5]


@pytest.mark.parametrize("layer", [nn.Linear(300, 200), nn.Conv2d(12, 100, 5), nn.ConvTranspose2d(50, 12, 5)])
def test_layers_start_uniformly_within_one_over_the_root_of_fan_in(layer):
    bound = 1 / math.sqrt(300)
    for parameter in layer.parameters():
        _, largest = spread(parameter)
        assert 0.6 * bound < largest <= bound * (1 + 1e-6)


def test_empty_layers_are_left_alone():
    assert nn.Linear(0, 3)(tg.ones(2, 0)).shape == (2, 3)
    assert init.xavier_uniform_(tg.empty(0, 0)).shape == (0, 0)
    assert init.kaiming_normal_(tg.empty(2, 0)).shape == (2, 0)


@pytest.mark.parametrize(
    ("args", "gain"),
    [
        (("linear",), 1),
        (("conv2d",), 1),
        (("sigmoid",), 1),
        (("tanh",), 5 / 3),
        (("relu",), math.sqrt(2)),
        (("selu",), 0.75),
        (("leaky_relu",), math.sqrt(2 / 1.0001)),
        (("leaky_relu", 1), 1),
    ],
)
def test_gains(args, gain):
    assert init.calculate_gain(*args) == pytest.approx(gain)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="nonlinearity expects"):
        init.calculate_gain("gelu?")
    with pytest.raises(ValueError, match="param expects a negative slope but got True"):
        init.calculate_gain("leaky_relu", True)
    with pytest.raises(ValueError, match=r"xavier_uniform_: tensor expects at least 2 dimensions but got shape \(3,\)"):
        init.xavier_uniform_(tg.empty(3))
    with pytest.raises(ValueError, match="mode expects 'fan_in' or 'fan_out' but got 'fan'"):
        init.kaiming_normal_(tg.empty(3, 3), mode="fan")
    with pytest.raises(ValueError, match="uniform_: a expects at most b=0"):
        init.uniform_(tg.empty(3), 1, 0)
    with pytest.raises(ValueError, match="normal_: std expects"):
        init.normal_(tg.empty(3), 0, -1)
    with pytest.raises(TypeError, match="normal_: tensor expects a floating dtype but got int64"):
        init.normal_(tg.tensor([1]))


@pytest.mark.parametrize(
    "fill",
    [
        *(init.uniform_, init.normal_, init.ones_, init.zeros_),
        *(init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_),
    ],
)
def test_an_array_is_filled_like_a_tensor(fill):
    weight, other = tg.full((2, 3), 5.0), tg.full((2, 3), 5.0)
    tg.manual_seed(0)
    assert fill(weight.data) is weight.data
    tg.manual_seed(0)
    assert weight.tolist() == fill(other).tolist()
    with pytest.raises(TypeError, match=f"^{fill.__name__}: tensor expects a tensor or an array but got list$"):
        fill([[1.0]])


def test_a_constant_goes_into_tensors_and_arrays():
    assert init.constant_(np.zeros(2), 1.0).tolist() == [1, 1]
    with pytest.raises(TypeError, match=r"^constant_: tensor expects a tensor or an array but got float"):
        init.constant_(0.0, 1.0)
