"""A summary counts what can be counted by hand, and leaves the model as it was."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.summary import summary


def test_lenet_by_hand():
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10),
    )  # fmt: skip
    table = summary(model, (2, 1, 28, 28))
    assert table.total_params == table.trainable_params == 61_706
    assert table.non_trainable_params == 0
    assert [row.output_shape for row in table.rows][:4] == [
        (2, 6, 28, 28),
        (2, 6, 28, 28),
        (2, 6, 14, 14),
        (2, 16, 10, 10),
    ]
    by_hand = 6 * 25 * 784 + 16 * 150 * 100 + 400 * 120 + 120 * 84 + 84 * 10
    assert table.mult_adds == 2 * by_hand
    assert sum(row.params for row in table.rows) == table.total_params
    assert [row.name for row in table.rows] == [str(i) for i in range(10)]
    text = str(table)
    assert text.splitlines()[2].split() == ["0", "(Conv2d)", "(2,", "6,", "28,", "28)", "156", "235,200"]
    assert "parameters: 61,706 (61,706 trainable)" in text


def test_groups_and_transposed_convolutions():
    table = summary(nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(6, 4, 3, groups=2)), (1, 4, 5, 5))
    assert [row.mult_adds for row in table.rows] == [6 * 9 * 2 * 9, 6 * 9 * 2 * 9]


@pytest.mark.parametrize("shape", [(1, 2, 8), (2, 8)])
def test_one_dimensional_convolutions(shape):
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(18, 4))
    table = summary(model, shape)
    assert table.input_shape == (1, 2, 8)
    assert [row.output_shape for row in table.rows] == [(1, 3, 6), (1, 18), (1, 4)]
    assert [row.mult_adds for row in table.rows] == [18 * 6, 0, 18 * 4]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2)
    ).double()
    model[1].eval()
    before = {key: tensor.data.copy() for key, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    tg.manual_seed(1)
    state = tg.random.get_state()
    summary(model, (3, 1, 4, 4))
    assert tg.random.get_state() == state
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.data, before[key])


def test_shared_layers_count_their_parameters_once_and_their_work_each_time():
    layer = nn.Linear(4, 4)
    layer.bias.requires_grad_(False)
    table = summary(nn.Sequential(layer, nn.Sequential(layer)), (3, 4))
    assert [(row.name, row.params, row.mult_adds) for row in table.rows] == [("0", 20, 48), ("0", 0, 48)]
    assert (table.total_params, table.trainable_params) == (20, 16)


def test_lazy_layers_learn_their_sizes():
    model = nn.Sequential(nn.LazyConv2d(2, 3), nn.Flatten(), nn.LazyLinear(2))
    table = summary(model, (1, 1, 4, 4))
    assert table == summary(model, (1, 1, 4, 4))
    assert [row.layer for row in table.rows] == ["Conv2d", "Flatten", "Linear"]


def test_own_parameters_unusual_outputs_and_layers_never_called():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(tg.ones(3))
            self.unused = nn.Linear(2, 2)
            self.relu = nn.ReLU()

        def forward(self, x):
            return {"y": self.relu(x)}

    class Two(nn.Module):
        def forward(self, x):
            return x, [x]

    table = summary(Odd(), (1, 3))
    assert [(row.name, row.layer, row.output_shape, row.params) for row in table.rows] == [
        ("relu", "ReLU", (1, 3), 0),
        ("", "Odd", None, 3),
        ("unused", "Linear", None, 6),
    ]
    assert "unused (Linear)  not called" in repr(table)
    assert "Odd              no tensor " in repr(table)
    assert summary(Two(), [1, 3]).rows[0].output_shape == ((1, 3), ((1, 3),))


def test_what_does_not_fit_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    with pytest.raises(TypeError, match=r"model expects an nn.Module but got int"):
        summary(3, (1, 3))
    with pytest.raises(TypeError, match="input_shape expects a tuple of integers but got 3"):
        summary(model, 3)
    with pytest.raises(TypeError, match=r"input_shape expects integers but got 1.5"):
        summary(model, (1.5, 3))
    with pytest.raises(ValueError, match="positive sizes"):
        summary(model, (0, 3))
    with pytest.raises(ValueError, match=r"^0: conv2d: ") as caught:
        summary(model, (1, 2, 5, 5))
    assert "the shape includes the batch" in caught.value.__notes__[0]
    assert model.training
    assert not model[0]._forward_hooks
