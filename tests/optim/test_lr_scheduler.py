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
from tinygrad_cnn.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


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


@given(st.lists(st.integers(0, 20), max_size=5), st.floats(0.1, 1.0))
def test_multi_step_lr_falls_at_every_milestone(milestones, gamma):
    expected = [0.5 * gamma ** sum(m <= t for m in milestones) for t in range(20)]
    np.testing.assert_allclose(rates(MultiStepLR(sgd(0.5), milestones, gamma), 20), expected, rtol=1e-12)


@given(st.floats(0.5, 1.0))
def test_exponential_lr_is_a_power(gamma):
    expected = [0.5 * gamma**t for t in range(20)]
    np.testing.assert_allclose(rates(ExponentialLR(sgd(0.5), gamma), 20), expected, rtol=1e-12)


@given(st.floats(0.01, 1.0), st.floats(0, 1.0), st.integers(1, 12))
def test_linear_lr_is_a_line_and_then_constant(start, end, total_iters):
    expected = [0.5 * (start + (end - start) * min(t, total_iters) / total_iters) for t in range(20)]
    np.testing.assert_allclose(rates(LinearLR(sgd(0.5), start, end, total_iters), 20), expected, atol=1e-10)


@given(st.floats(0.01, 1.0), st.integers(1, 50))
def test_a_line_to_0_ends_there(start, total_iters):
    """And not a rounding error below, where no optimizer takes its own state again."""
    history = rates(LinearLR(sgd(0.5), start, 0.0, total_iters), total_iters + 2)
    assert min(history[:total_iters]) > 0
    assert history[total_iters:] == [0, 0]


@given(st.just(0.0) | st.floats(1e-6, 1.0), st.integers(1, 12))
def test_constant_lr_is_a_step(factor, total_iters):
    expected = [0.5 * (factor if t < total_iters else 1) for t in range(20)]
    np.testing.assert_allclose(rates(ConstantLR(sgd(0.5), factor, total_iters), 20), expected, rtol=1e-12)


@given(st.integers(1, 6), st.integers(1, 3), st.floats(0, 0.1))
def test_warm_restarts_begin_cosines_anew(first, factor, eta_min):
    expected, length = [], first
    while len(expected) < 40:
        cosine = [(1 + math.cos(math.pi * t / length)) / 2 for t in range(length)]
        expected += [eta_min + (0.5 - eta_min) * height for height in cosine]
        length *= factor
    scheduler = CosineAnnealingWarmRestarts(sgd(0.5), first, factor, eta_min)
    np.testing.assert_allclose(rates(scheduler, 40), expected[:40], rtol=1e-12)
    scheduler.optimizer.step()
    for t in range(40):
        scheduler.step(t)
        assert scheduler.get_last_lr()[0] == pytest.approx(expected[t])


def test_lambda_lr_is_any_function():
    scheduler = LambdaLR(sgd(0.5, 0.1), [lambda t: 1 / (1 + t), lambda t: t])
    for t in range(5):
        assert scheduler.get_last_lr() == pytest.approx([0.5 / (1 + t), 0.1 * t])
        scheduler.optimizer.step()
        scheduler.step()


def test_a_plateau_is_waited_for():
    scheduler = ReduceLROnPlateau(sgd(0.8), factor=0.5, patience=2, cooldown=1, min_lr=0.3)
    history = []
    for loss in [3, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]:
        scheduler.step(tg.tensor(float(loss)))
        history.append(scheduler.get_last_lr()[0])
    assert history == [0.8] * 4 + [0.4] * 4 + [0.3] * 12
    assert scheduler.best == 1
    with pytest.raises(TypeError, match=r"ReduceLROnPlateau.step: metrics expects a number but got 'loss'"):
        scheduler.step("loss")
    assert scheduler.last_epoch == 20


# ------------------------------------------------------------------------------------------------ combinations


def flat(optimizer):
    return SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.1), CosineAnnealingLR(optimizer, 10), ExponentialLR(optimizer, 0.9)],
        [5, 15],
    )


def nested(optimizer):
    inner = SequentialLR(optimizer, [CosineAnnealingLR(optimizer, 10), ExponentialLR(optimizer, 0.9)], [10])
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.1), inner], [5])


def nested_first(optimizer):
    inner = SequentialLR(optimizer, [LinearLR(optimizer, 0.1), CosineAnnealingLR(optimizer, 10)], [5])
    return SequentialLR(optimizer, [inner, ExponentialLR(optimizer, 0.9)], [15])


def chained_ones(optimizer):
    first, second = LinearLR(optimizer, 0.1), CosineAnnealingLR(optimizer, 10)
    return SequentialLR(
        optimizer,
        [ChainedScheduler([first]), ChainedScheduler([second]), ChainedScheduler([ExponentialLR(optimizer, 0.9)])],
        [5, 15],
    )


@pytest.mark.parametrize("make", [nested, nested_first, chained_ones])
def test_combinations_may_be_nested(make):
    expected = rates(flat(sgd(0.5)), 30)
    np.testing.assert_allclose(
        expected[:15],
        [*(0.05 + 0.09 * t for t in range(5)), *(0.5 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(10))],
    )
    np.testing.assert_allclose(rates(make(sgd(0.5)), 30), expected, rtol=1e-12)


def test_chained_schedulers_take_over_together():
    optimizer = sgd(1.0)
    chain = ChainedScheduler([ExponentialLR(optimizer, 0.5), ConstantLR(optimizer, 0.1, 2)])
    path = rates(SequentialLR(optimizer, [StepLR(optimizer, 1, 0.3), chain], [3]), 7)
    np.testing.assert_allclose(path, [1, 0.3, 0.09, 0.1, 0.05, 0.25, 0.125])


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
        lambda optimizer, **k: MultiStepLR(optimizer, [2, 7, 7], **k),
        lambda optimizer, **k: ConstantLR(optimizer, total_iters=7, **k),
        lambda optimizer, **k: LinearLR(optimizer, total_iters=7, **k),
        lambda optimizer, **k: ExponentialLR(optimizer, 0.9, **k),
        lambda optimizer, **k: CosineAnnealingWarmRestarts(optimizer, 3, 2, **k),
        lambda optimizer, **k: LambdaLR(optimizer, lambda t: 1 / (1 + t), **k),
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


@pytest.mark.parametrize("make", [flat, nested, nested_first, chained_ones])
@pytest.mark.parametrize("steps", [0, 3, 5, 10, 17])
def test_a_restored_combination_goes_on_as_if_nothing_had_happened(make, steps, tmp_path):
    scheduler = make(sgd(0.5))
    rates(scheduler, steps)
    tg.save({"s": scheduler.state_dict(), "o": scheduler.optimizer.state_dict()}, tmp_path / "state.npz")
    saved = tg.load(tmp_path / "state.npz")
    restored = make(sgd(0.5))
    restored.load_state_dict(saved["s"])
    restored.optimizer.load_state_dict(saved["o"])
    assert rates(restored, 20) == rates(scheduler, 20)


@pytest.mark.parametrize(
    ("make", "other", "error", "message"),
    [
        (flat, nested, ValueError, "SequentialLR.load_state_dict: _schedulers expects 3 entries but has 2"),
        (nested, nested_first, ValueError, "LinearLR.load_state_dict: state_dict expects the keys"),
        (
            lambda o: LambdaLR(o, abs),
            lambda o: StepLR(o, 3),
            ValueError,
            "LambdaLR.load_state_dict: state_dict expects",
        ),
    ],
)
def test_the_state_of_another_combination_changes_nothing(make, other, error, message):
    scheduler, stranger = make(sgd(0.5)), other(sgd(0.5))
    rates(scheduler, 3)
    before = scheduler.state_dict()
    with pytest.raises(error, match=message):
        scheduler.load_state_dict(stranger.state_dict())
    assert scheduler.state_dict() == before


def test_a_function_whose_state_is_none():
    scheduler = LambdaLR(sgd(0.5), abs)
    with pytest.raises(TypeError, match="lr_lambdas expects None or a dict"):
        scheduler.load_state_dict({**scheduler.state_dict(), "lr_lambdas": [3]})


@pytest.mark.parametrize(("make", "key"), [(flat, "_schedulers"), (lambda o: LambdaLR(o, abs), "lr_lambdas")])
def test_a_state_that_should_be_a_list(make, key):
    scheduler = make(sgd(0.5))
    state = scheduler.state_dict()
    with pytest.raises(TypeError, match=f"{key} expects a list but got int"):
        scheduler.load_state_dict({**state, key: 3})
    with pytest.raises(ValueError, match=f"{key} expects . entries but has 0"):
        scheduler.load_state_dict({**state, key: []})


def test_a_scheduler_that_runs_ahead_of_its_optimizer_warns_once():
    scheduler = StepLR(sgd(0.5), 3)
    with pytest.warns(UserWarning, match=r"called before optimizer.step\(\)"):
        scheduler.step()
    scheduler.step()


def test_a_group_that_was_added_later_has_its_own_rate_or_is_missed():
    def grown(make, *options):
        optimizer = sgd(0.5)
        scheduler = make(optimizer, *options)
        optimizer.add_param_group({"params": [nn.Parameter(tg.ones(1))], "lr": 0.25})
        optimizer.step()
        return scheduler

    scheduler = grown(StepLR, 1)
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.05, 0.025])
    message = "expects one learning rate for each of 2 groups but has 1; was a group added"
    for make, *options in ((LambdaLR, lambda t: 0.9**t), (CosineAnnealingWarmRestarts, 5), (CosineAnnealingLR, 1)):
        scheduler = grown(make, *options)
        with pytest.raises(RuntimeError, match=f"{make.__name__}: {message}"):
            rates(scheduler, 2)


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
        (lambda: MultiStepLR(sgd(1), [1.5]), TypeError, "MultiStepLR: milestones expects an int"),
        (lambda: MultiStepLR(sgd(1), [-1]), ValueError, "milestones expects at least 0"),
        (lambda: ConstantLR(sgd(1), 1.5), ValueError, "ConstantLR: factor expects 0 <= factor <= 1"),
        (lambda: LinearLR(sgd(1), 0.0), ValueError, "LinearLR: start_factor expects more than 0"),
        (lambda: LinearLR(sgd(1), total_iters=-1), ValueError, "total_iters expects at least 0"),
        (lambda: LambdaLR(sgd(1), 3), TypeError, "LambdaLR: lr_lambda expects a function but got int"),
        (
            lambda: LambdaLR(sgd(1), [abs, abs]),
            ValueError,
            "lr_lambda expects one value for each of 1 groups but got 2",
        ),
        (lambda: CosineAnnealingWarmRestarts(sgd(1), 0), ValueError, "T_0 expects a positive integer"),
        (lambda: CosineAnnealingWarmRestarts(sgd(1), 1, 0), ValueError, "T_mult expects a positive integer"),
        (lambda: CosineAnnealingWarmRestarts(sgd(1), 1).step(math.inf), ValueError, "epoch expects"),
        (lambda: ReduceLROnPlateau(sgd(1), "x"), ValueError, "mode expects 'min' or 'max' but got 'x'"),
        (lambda: ReduceLROnPlateau(sgd(1), threshold_mode="x"), ValueError, "threshold_mode expects 'rel' or 'abs'"),
        (lambda: ReduceLROnPlateau(sgd(1), factor=1), ValueError, "factor expects less than 1"),
        (lambda: ReduceLROnPlateau(sgd(1), patience=-1), ValueError, "patience expects at least 0"),
        (lambda: ReduceLROnPlateau(None), TypeError, "optimizer expects an Optimizer"),
        (lambda: SequentialLR(sgd(1), [], []), ValueError, "expects at least one scheduler"),
        (lambda: SequentialLR(sgd(1), [3], []), TypeError, r"schedulers\[0\] expects a scheduler but got int"),
        (lambda: ChainedScheduler([ReduceLROnPlateau(sgd(1))]), ValueError, "whose step needs a metric"),
        (
            lambda: SequentialLR((o := sgd(1)), [StepLR(o, 1)] * 3, [5, 2]),
            ValueError,
            r"milestones expects steps in order but got \[5, 2\]",
        ),
        (lambda: SequentialLR((o := sgd(1)), [StepLR(o, 1)], [5]), ValueError, "milestones expects one fewer"),
        (lambda: SequentialLR(sgd(1), [StepLR(sgd(1), 1)], []), ValueError, "expects the same optimizer"),
    ):
        with pytest.raises(error, match=message):
            call()
