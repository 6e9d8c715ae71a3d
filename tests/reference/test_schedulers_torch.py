"""Every learning-rate scheduler gives PyTorch's rates (and momenta) for 50 steps, to rounding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402
from oracle.values import Array  # noqa: E402

STEPS = 50
SGD = {"lr": 0.1, "momentum": 0.9}

SCHEDULES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 1}, "SGD", SGD),
    ("StepLR", {"step_size": 7, "gamma": 0.5}, "SGD", SGD),
    ("StepLR", {"step_size": 3, "gamma": 0.7}, "Adadelta", {}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 5, "steps_per_epoch": 10}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "pct_start": 0.1}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS, "anneal_strategy": "linear"}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS, "three_phase": True}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS, "cycle_momentum": False}, "SGD", {"lr": 0.1}),
    (
        "OneCycleLR",
        {"max_lr": 0.5, "total_steps": STEPS, "base_momentum": 0.5, "max_momentum": 0.8},
        "SGD",
        SGD,
    ),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS, "div_factor": 5, "final_div_factor": 7}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "total_steps": STEPS}, "SGD", SGD),
    ("OneCycleLR", {"max_lr": 0.01, "total_steps": STEPS}, "Adam", {}),
    (
        "OneCycleLR",
        {"max_lr": 0.01, "total_steps": STEPS, "three_phase": True},
        "AdamW",
        {"betas": (0.8, 0.9)},
    ),
    ("OneCycleLR", {"max_lr": 0.01, "total_steps": STEPS}, "RMSprop", {"momentum": 0.5}),
    ("CosineAnnealingLR", {"T_max": 50}, "SGD", SGD),
    ("CosineAnnealingLR", {"T_max": 10}, "SGD", SGD),
    ("CosineAnnealingLR", {"T_max": 17, "eta_min": 0.01}, "SGD", SGD),
]
IDS = [f"{name} {options} {optimizer}" for name, options, optimizer, _ in SCHEDULES]

BAD_SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("OneCycleLR", {"max_lr": 0.5}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 0}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 2.5}),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 2}),
    ("OneCycleLR", {"max_lr": 0.5, "epochs": 0, "steps_per_epoch": 3}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 10, "pct_start": 1.5}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 10, "pct_start": -0.1}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 10, "anneal_strategy": "square"}),
    ("OneCycleLR", {"max_lr": [0.5, 0.5, 0.5], "total_steps": 10}),
    ("StepLR", {}),
    ("CosineAnnealingLR", {}),
]


def make(library: Library, name: str, options: dict[str, Any], optimizer: str, settings: dict[str, Any]) -> Any:
    """A scheduler over an optimizer with two groups."""
    params = [library.tensor(Array(np.ones(2), requires_grad=True)) for _ in range(2)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.02}]
    made = getattr(library.package.optim, optimizer)(groups, **settings)
    return getattr(library.package.optim.lr_scheduler, name)(made, **options)


def rates(scheduler: Any) -> list[float]:
    found = list(scheduler.get_last_lr())
    for group in scheduler.optimizer.param_groups:
        found += [group["lr"], group.get("momentum", 0.0), *group.get("betas", ())]
    return [float(value) for value in found]


def run(scheduler: Any, steps: int) -> list[list[float]]:
    path = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer took no step before the scheduler's
        for _ in range(steps):
            path.append(rates(scheduler))
            scheduler.optimizer.step()
            scheduler.step()
        path.append(rates(scheduler))
    return path


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_schedule(schedule: Any, pytorch: Library, ours: Library) -> None:
    expected, actual = (run(make(library, *schedule), STEPS - 1) for library in (pytorch, ours))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_state_dict_resumes_the_schedule(schedule: Any, pytorch: Library, ours: Library) -> None:
    expected = run(make(pytorch, *schedule), STEPS - 1)
    first = make(ours, *schedule)
    path = run(first, 20)
    second = make(ours, *schedule)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    path[-1:] = run(second, STEPS - 1 - 20)
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=IDS)
def test_a_schedule_started_late(schedule: Any, pytorch: Library, ours: Library) -> None:
    """`last_epoch` goes on where another scheduler of the same optimizer stopped."""
    paths = []
    for library in (pytorch, ours):
        first = make(library, *schedule)
        run(first, 10)
        name, options, _, _ = schedule
        second = getattr(library.package.optim.lr_scheduler, name)(first.optimizer, **options, last_epoch=10)
        paths.append(run(second, 10))
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "options"), BAD_SCHEDULES, ids=[f"{n} {o}" for n, o in BAD_SCHEDULES])
def test_bad_options_are_rejected(name: str, options: dict[str, Any], pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        with pytest.raises((ValueError, TypeError)):
            make(library, name, options, "SGD", SGD)


def test_one_cycle_ends(pytorch: Library, ours: Library) -> None:
    """One step more than the cycle has is an error."""
    for library in (pytorch, ours):
        scheduler = make(library, "OneCycleLR", {"max_lr": 0.5, "total_steps": 5}, "SGD", SGD)
        run(scheduler, 4)
        scheduler.step()
        with pytest.raises(ValueError, match="5"):
            scheduler.step()


def test_one_cycle_needs_a_momentum_to_cycle(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        with pytest.raises(ValueError, match="momentum"):
            make(library, "OneCycleLR", {"max_lr": 0.5, "total_steps": 5}, "Adagrad", {})


def test_last_epoch_needs_initial_rates(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        with pytest.raises(KeyError):
            make(library, "StepLR", {"step_size": 2, "last_epoch": 5}, "SGD", SGD)
