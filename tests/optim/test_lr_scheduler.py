"""Schedulers follow their closed formulas."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, StepLR


def sgd(*rates, momentum=0.9):
    groups = [{"params": [nn.Parameter(tg.ones(1))], "lr": rate} for rate in rates]
    return optim.SGD(groups, momentum=momentum)


def rates(scheduler, steps):
    """Return the learning rate of the first group before each of so many steps."""
    history = []
    for _ in range(steps):
        history.append(scheduler.get_last_lr()[0])
        assert history[-1] == scheduler.optimizer.param_groups[0]["lr"]
        scheduler.optimizer.step()
        scheduler.step()
    return history


@given(st.integers(1, 7), st.floats(0.1, 1.0))
def test_step_lr_is_a_staircase(step_size, gamma):
    expected = [0.5 * gamma ** (t // step_size) for t in range(20)]
    np.testing.assert_allclose(rates(StepLR(sgd(0.5), step_size, gamma), 20), expected, rtol=1e-12)


@given(st.integers(1, 12), st.floats(0, 0.1))
def test_cosine_annealing_is_a_cosine(t_max, eta_min):
    expected = [eta_min + (0.5 - eta_min) * (1 + math.cos(math.pi * t / t_max)) / 2 for t in range(40)]
    np.testing.assert_allclose(rates(CosineAnnealingLR(sgd(0.5), t_max, eta_min), 40), expected, atol=1e-10)


def test_groups_are_scheduled_each_from_its_own_rate():
    optimizer = sgd(0.5, 0.1)
    scheduler = StepLR(optimizer, 1, 0.5)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.25, 0.05]
    assert scheduler.base_lrs == [0.5, 0.1]


def test_two_schedulers_multiply():
    optimizer = sgd(1.0)
    first, second = StepLR(optimizer, 1, 0.5), StepLR(optimizer, 2, 0.1)
    for _ in range(2):
        optimizer.step()
        first.step()
        second.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


# ------------------------------------------------------------------------------------------------ one cycle


def anneal(strategy, start, end, part):
    if strategy == "cos":
        return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
    return start + (end - start) * part


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("adam", [False, True])
def test_one_cycle_goes_through_its_turning_points(strategy, three_phase, adam):
    parameter = nn.Parameter(tg.ones(1))
    optimizer = optim.Adam([parameter]) if adam else optim.SGD([parameter], momentum=0.1)
    group = optimizer.param_groups[0]
    scheduler = OneCycleLR(
        optimizer, 1.0, total_steps=50, pct_start=0.4, anneal_strategy=strategy, three_phase=three_phase
    )
    low, end = 1 / 25, 1 / 25 / 1e4
    points = [(0, low, 0.95), (19, 1.0, 0.85), (49, end, 0.95)]
    if three_phase:
        points.insert(2, (38, low, 0.95))
    for t in range(50):
        (t0, lr0, m0), (t1, lr1, m1) = next(pair for pair in itertools.pairwise(points) if t <= pair[1][0])
        part = (t - t0) / (t1 - t0)
        assert scheduler.get_last_lr()[0] == pytest.approx(anneal(strategy, lr0, lr1, part))
        momentum = group["betas"][0] if adam else group["momentum"]
        assert momentum == pytest.approx(anneal(strategy, m0, m1, part))
        optimizer.step()
        scheduler.step()
    if adam:
        assert group["betas"][1] == 0.999
    with pytest.raises(ValueError, match="step expects at most total_steps=50 steps but got 51"):
        scheduler.step()


def test_one_cycle_takes_one_value_for_each_group_and_may_leave_momentum_alone():
    optimizer = sgd(0.1, 0.1)
    scheduler = OneCycleLR(optimizer, [1.0, 2.0], epochs=2, steps_per_epoch=10, cycle_momentum=False, div_factor=10)
    assert scheduler.total_steps == 20
    assert scheduler.get_last_lr() == pytest.approx([0.1, 0.2])
    assert optimizer.param_groups[0]["momentum"] == 0.9


# ------------------------------------------------------------------------------------------------ state


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer, **k: StepLR(optimizer, 3, **k),
        lambda optimizer, **k: CosineAnnealingLR(optimizer, 7, **k),
        lambda optimizer, **k: OneCycleLR(optimizer, 0.3, total_steps=20, **k),
    ],
)
def test_a_restored_scheduler_goes_on_as_if_nothing_had_happened(make, tmp_path):
    scheduler = make(sgd(0.5))
    rates(scheduler, 5)
    tg.save({"s": scheduler.state_dict(), "o": scheduler.optimizer.state_dict()}, tmp_path / "state.npz")
    saved = tg.load(tmp_path / "state.npz")
    restored = make(sgd(0.5))
    restored.load_state_dict(saved["s"])
    restored.optimizer.load_state_dict(saved["o"])
    resumed = sgd(0.5)
    resumed.load_state_dict(saved["o"])
    before = resumed.param_groups[0]["lr"]
    again = make(resumed, last_epoch=scheduler.last_epoch - 1)
    assert again.last_epoch == scheduler.last_epoch
    assert before == pytest.approx(scheduler.get_last_lr()[0])
    assert rates(restored, 8) == rates(scheduler, 8)
    assert "optimizer" not in scheduler.state_dict()
    with pytest.raises(ValueError, match="state_dict expects the keys"):
        scheduler.load_state_dict({"last_epoch": 3})


def test_a_scheduler_that_runs_ahead_of_its_optimizer_warns_once():
    scheduler = StepLR(sgd(0.5), 3)
    with pytest.warns(UserWarning, match=r"called before optimizer.step\(\)"):
        scheduler.step()
    scheduler.step()


def test_an_optimizer_with_a_step_of_its_own_is_not_suspected():
    class Own(optim.SGD):
        def step(self, closure=None):
            return None

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StepLR(Own([nn.Parameter(tg.ones(1))]), 3).step()


def test_what_does_not_fit_is_refused():
    for call, error, message in (
        (lambda: StepLR(3, 1), TypeError, "StepLR: optimizer expects an Optimizer but got int"),
        (lambda: StepLR(sgd(1), 0), ValueError, "StepLR: step_size expects a positive integer but got 0"),
        (lambda: CosineAnnealingLR(sgd(1), 0), ValueError, "T_max expects a positive integer"),
        (lambda: StepLR(sgd(1), 1, last_epoch=3), KeyError, "'initial_lr' in every parameter group"),
        (lambda: OneCycleLR(None, 1, 1), TypeError, "OneCycleLR: optimizer expects an Optimizer"),
        (lambda: OneCycleLR(sgd(1), 1), ValueError, "expects total_steps, or both epochs and steps_per_epoch"),
        (lambda: OneCycleLR(sgd(1), 1, 0), ValueError, "total_steps expects a positive integer"),
        (lambda: OneCycleLR(sgd(1), 1, epochs=1.5, steps_per_epoch=1), ValueError, "epochs expects"),
        (lambda: OneCycleLR(sgd(1), 1, epochs=1, steps_per_epoch=-1), ValueError, "steps_per_epoch expects"),
        (lambda: OneCycleLR(sgd(1), 1, 5, pct_start=1.5), ValueError, "pct_start expects"),
        (lambda: OneCycleLR(sgd(1), 1, 5, anneal_strategy="exp"), ValueError, "'cos' or 'linear' but got 'exp'"),
        (lambda: OneCycleLR(sgd(1), [1, 2], 5), ValueError, "max_lr expects one value for each of 1 groups but got 2"),
        (
            lambda: OneCycleLR(optim.Adagrad([nn.Parameter(tg.ones(1))]), 1, 5),
            ValueError,
            "cycle_momentum expects an optimizer with momentum or betas",
        ),
        (lambda: LRScheduler(sgd(1)), NotImplementedError, None),
    ):
        with pytest.raises(error, match=message):
            call()
