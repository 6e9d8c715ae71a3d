"""Averaged models: what is averaged, what is copied, and what must not change."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.optim.swa_utils import (
    SWALR,
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def set_weight(model, value):
    with tg.no_grad():
        model.weight.copy_(tg.Tensor(np.asarray(value, model.weight.dtype)))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_the_even_average_is_the_mean(path):
    model = nn.Linear(1, 1, bias=False).double()
    averaged = AveragedModel(model)
    for value in path:
        set_weight(model, [[value]])
        averaged.update_parameters(model)
    assert averaged.module.weight.item() == pytest.approx(np.mean(path), abs=1e-12)
    assert averaged.n_averaged.item() == len(path)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.floats(0, 1))
def test_the_exponential_average_follows_its_recurrence(path, decay):
    model = nn.Linear(1, 1, bias=False).double()
    twins = [AveragedModel(model, avg_fn=get_ema_avg_fn(decay))]
    twins.append(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)))
    expected = path[0]
    for i, value in enumerate(path):
        set_weight(model, [[value]])
        for averaged in twins:
            averaged.update_parameters(model)
        expected = decay * expected + (1 - decay) * value if i else value
    for averaged in twins:
        assert averaged.module.weight.item() == pytest.approx(expected, abs=1e-10)


def test_large_weights_are_averaged_in_blocks():
    model = nn.Linear(300, 500)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(model)
    before = averaged.module.weight.data.copy()
    set_weight(model, weights(500, 300))
    averaged.update_parameters(model)
    np.testing.assert_allclose(
        averaged.module.weight.data, 0.9 * before + 0.1 * model.weight.data, rtol=1e-4, atol=1e-6
    )
    assert averaged.module.weight.dtype == np.float32


def test_the_copy_is_independent_and_called_like_the_model():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    averaged = AveragedModel(model)
    assert all(a is not b for a, b in zip(averaged.module.parameters(), model.parameters(), strict=True))
    x = tg.Tensor(weights(4, 3))
    np.testing.assert_array_equal(averaged(x).data, model(x).data)
    averaged.module[0].weight.data[...] = 0
    assert model[0].weight.data.all()


def test_a_shared_parameter_is_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    averaged = AveragedModel(model)
    assert averaged.module[1].weight is averaged.module[0].weight
    for value in (1.0, 2.0, 6.0):
        set_weight(model[0], np.full((2, 2), value))
        averaged.update_parameters(model)
    assert averaged.module[1].weight.tolist() == [[3, 3], [3, 3]]


def test_integer_buffers_are_averaged_without_their_fractions():
    model = nn.BatchNorm1d(2)
    averaged = AveragedModel(model, multi_avg_fn=get_swa_multi_avg_fn(), use_buffers=True)
    for count in (1, 4):
        model.num_batches_tracked.data[...] = count
        model.running_mean.data[...] = count
        averaged.update_parameters(model)
    assert averaged.module.num_batches_tracked.item() == 2
    assert averaged.module.running_mean.tolist() == [2.5, 2.5]


def test_the_state_dict_goes_on(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    assert set(averaged.state_dict()) == {"n_averaged", *(f"module.{key}" for key in model.state_dict())}
    tg.save(averaged.state_dict(), tmp_path / "averaged.npz")
    other = AveragedModel(copy.deepcopy(model))
    other.load_state_dict(tg.load(tmp_path / "averaged.npz"))
    set_weight(model[0], np.ones((2, 3)))
    for each in (averaged, other):
        each.update_parameters(model)
    for key, value in averaged.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key].data, value.data)


def test_another_model_is_refused_and_nothing_changes():
    averaged = AveragedModel(nn.Linear(3, 2))
    before = averaged.module.weight.data.copy()
    for other in (nn.Linear(3, 2, bias=False), nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))):
        with pytest.raises(ValueError, match="model expects parameters of the shapes"):
            averaged.update_parameters(other)
    np.testing.assert_array_equal(averaged.module.weight.data, before)
    assert averaged.n_averaged.item() == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match="avg_fn or multi_avg_fn but got both"):
        AveragedModel(nn.Linear(1, 1), avg_fn=get_ema_avg_fn(), multi_avg_fn=get_ema_multi_avg_fn())
    with pytest.raises(ValueError, match="cuda"):
        AveragedModel(nn.Linear(1, 1), device="cuda")
    for make in (get_ema_avg_fn, get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="decay expects"):
            make(1.5)
    model = nn.Linear(1, 1)
    averaged = AveragedModel(model, avg_fn=lambda averaged, current, num_averaged: 1.0)
    averaged.update_parameters(model)
    with pytest.raises(TypeError, match="avg_fn expects to return a Tensor but got float"):
        averaged.update_parameters(model)
    optimizer = optim.SGD(nn.Linear(1, 1).parameters())
    for options, error in (
        ({"swa_lr": 0.1, "anneal_strategy": "x"}, ValueError),
        ({"swa_lr": 0.1, "anneal_epochs": 1.5}, TypeError),
        ({"swa_lr": [0.1, 0.2]}, ValueError),
    ):
        with pytest.raises(error, match="SWALR"):
            SWALR(optimizer, **options)
    with pytest.raises(TypeError, match="SWALR: optimizer expects an Optimizer"):
        SWALR(None, 0.1)


def test_running_statistics_become_those_of_the_data():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[2].eval()
    data = [tg.Tensor(weights(10, 4, seed=seed)) for seed in range(3)]
    update_bn(data, model)
    np.testing.assert_allclose(model[1].running_mean.data, np.mean([x.data for x in data], axis=(0, 1)), atol=1e-6)
    expected = np.mean([x.data.var(axis=0, ddof=1) for x in data], axis=0)
    np.testing.assert_allclose(model[1].running_var.data, expected, rtol=1e-5)
    assert model[1].momentum == 0.1
    assert [module.training for module in model.modules()] == [True, True, True, False]


def test_nothing_is_run_without_batch_normalisation():
    def loader():
        raise AssertionError
        yield

    update_bn(loader(), nn.Linear(2, 2))


def test_the_statistics_of_instance_normalisation_go_on_as_in_training():
    data = [tg.Tensor(3 * weights(2, 1, 4, 4, seed=i)) for i in range(3)]
    model = nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True), nn.BatchNorm2d(1))
    trained = copy.deepcopy(model)
    for images in data:
        trained(images)
    update_bn(data, model)
    np.testing.assert_array_equal(model[0].running_var.data, trained[0].running_var.data)
    update_bn(data, model)  # they don't begin anew
    assert model[0].running_var.item() > trained[0].running_var.item()


def test_settings_come_back_after_an_error():
    model = nn.Sequential(nn.BatchNorm1d(4)).eval()
    with pytest.raises(ValueError, match="BatchNorm1d"):
        update_bn([tg.zeros(2, 4, 4, 4)], model)
    assert model[0].momentum == 0.1
    assert not model[0].training


@pytest.mark.parametrize("strategy", ["linear", "cos"])
@pytest.mark.parametrize("epochs", [0, 1, 5])
def test_the_rate_goes_to_its_end_and_stays(strategy, epochs):
    optimizer = optim.SGD([{"params": nn.Linear(1, 1).parameters(), "lr": 0.5}], lr=0.5)
    scheduler = SWALR(optimizer, 0.1, epochs, strategy)
    optimizer.step()
    for t in range(8):
        part = min(1, t / epochs) if epochs else 1.0
        part = part if strategy == "linear" else (1 - np.cos(np.pi * part)) / 2
        assert scheduler.get_last_lr()[0] == pytest.approx(0.1 * part + 0.5 * (1 - part))
        scheduler.step()
