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
    ("MultiStepLR", {"milestones": [3, 12, 12, 30]}, "SGD", SGD),
    ("MultiStepLR", {"milestones": (0, 20), "gamma": 0.3}, "Adam", {}),
    ("ExponentialLR", {"gamma": 0.9}, "SGD", SGD),
    ("LinearLR", {}, "SGD", SGD),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.8, "total_iters": 30}, "SGD", SGD),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 20}, "AdamW", {}),
    ("LinearLR", {"start_factor": 0.5, "total_iters": 0}, "SGD", SGD),
    ("ConstantLR", {}, "SGD", SGD),
    ("ConstantLR", {"factor": 0.3, "total_iters": 17}, "RMSprop", {}),
    ("ConstantLR", {"factor": 0.3, "total_iters": 0}, "SGD", SGD),
    ("ConstantLR", {"factor": 0, "total_iters": 60}, "SGD", SGD),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}, "SGD", SGD),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2}, "SGD", SGD),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 3, "eta_min": 0.01}, "NAdam", {}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}, "SGD", SGD),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: t // 10]}, "SGD", SGD),
]
# Schedulers of schedulers: the inner ones by name and options.
COMBINED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("SequentialLR", {"schedulers": [("StepLR", {"step_size": 4})], "milestones": []}, "SGD", SGD),
    (
        "SequentialLR",
        {"schedulers": [("LinearLR", {"start_factor": 0.1}), ("CosineAnnealingLR", {"T_max": 45})], "milestones": [5]},
        "SGD",
        SGD,
    ),
    (
        "SequentialLR",
        {
            "schedulers": [
                ("ConstantLR", {"factor": 0.1, "total_iters": 20}),
                ("ExponentialLR", {"gamma": 0.9}),
                ("MultiStepLR", {"milestones": [0, 4]}),
                ("LinearLR", {"total_iters": 3}),
            ],
            "milestones": [9, 20, 35],
        },
        "Adam",
        {},
    ),
    (
        "SequentialLR",
        {
            "schedulers": [
                ("LambdaLR", {"lr_lambda": lambda t: (t + 1) / 7}),
                ("CosineAnnealingWarmRestarts", {"T_0": 6, "T_mult": 2}),
                ("StepLR", {"step_size": 2, "gamma": 0.5}),
            ],
            "milestones": [7, 30],
        },
        "SGD",
        SGD,
    ),
    (
        "SequentialLR",
        {"schedulers": [("StepLR", {"step_size": 3}), ("ExponentialLR", {"gamma": 0.5})], "milestones": [0]},
        "SGD",
        SGD,
    ),
    (
        "SequentialLR",
        {
            "schedulers": [
                ("StepLR", {"step_size": 3}),
                ("ExponentialLR", {"gamma": 0.5}),
                ("ConstantLR", {"total_iters": 4}),
            ],
            "milestones": [8, 8],
        },
        "SGD",
        SGD,
    ),
    (
        "SequentialLR",
        {
            "schedulers": [("ConstantLR", {}), ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS})],
            "milestones": [6],
        },
        "SGD",
        SGD,
    ),
    (
        "SequentialLR",
        {"schedulers": [("LinearLR", {}), ("SWALR", {"swa_lr": 0.01, "anneal_epochs": 8})], "milestones": [20]},
        "SGD",
        SGD,
    ),
    ("ChainedScheduler", {"schedulers": [("StepLR", {"step_size": 4})]}, "SGD", SGD),
    (
        "ChainedScheduler",
        {"schedulers": [("ConstantLR", {"factor": 0.1, "total_iters": 20}), ("ExponentialLR", {"gamma": 0.9})]},
        "SGD",
        SGD,
    ),
    (
        "ChainedScheduler",
        {
            "schedulers": [
                ("LinearLR", {"total_iters": 9}),
                ("MultiStepLR", {"milestones": [20, 30]}),
                ("CosineAnnealingLR", {"T_max": 30}),
                ("StepLR", {"step_size": 13, "gamma": 0.7}),
            ]
        },
        "AdamW",
        {},
    ),
]
IDS = [f"{name} {options} {optimizer}" for name, options, optimizer, _ in SCHEDULES]
COMBINED_IDS = [f"{name} of {len(options['schedulers'])} {i}" for i, (name, options, _, _) in enumerate(COMBINED)]

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
    ("MultiStepLR", {}),
    ("ExponentialLR", {}),
    ("LinearLR", {"start_factor": 0}),
    ("LinearLR", {"start_factor": 1.1}),
    ("LinearLR", {"end_factor": 1.1}),
    ("LinearLR", {"end_factor": -0.1}),
    ("ConstantLR", {"factor": 1.1}),
    ("ConstantLR", {"factor": -0.1}),
    ("CosineAnnealingWarmRestarts", {}),
    ("CosineAnnealingWarmRestarts", {"T_0": 0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 1.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "eta_min": "0"}),
    ("LambdaLR", {"lr_lambda": [abs]}),
    ("LambdaLR", {"lr_lambda": 3}),
    ("ReduceLROnPlateau", {"factor": 1.0}),
    ("ReduceLROnPlateau", {"mode": "least"}),
    ("ReduceLROnPlateau", {"threshold_mode": "none"}),
    ("ReduceLROnPlateau", {"min_lr": [0.1]}),
    ("SequentialLR", {"schedulers": [], "milestones": []}),
    ("SequentialLR", {"schedulers": [("StepLR", {"step_size": 4})], "milestones": [3]}),
    ("SequentialLR", {"schedulers": [("ReduceLROnPlateau", {})], "milestones": []}),
    ("ChainedScheduler", {"schedulers": []}),
    ("ChainedScheduler", {"schedulers": [("ReduceLROnPlateau", {})]}),
    ("SWALR", {}),
    ("SWALR", {"swa_lr": [0.1]}),
    ("SWALR", {"swa_lr": 0.1, "anneal_strategy": "square"}),
    ("SWALR", {"swa_lr": 0.1, "anneal_epochs": -1}),
]

# Whatever a scheduler may be told of a run: it goes well, stands still, goes well again, is NaN once.
METRICS = [5.0, 4.0, 3.0, 3.0, 3.1, 3.0, 2.9999, 2.9, *[2.9] * 12, 2.0, float("nan"), *[2.5] * 14, *[1.0] * 12]
PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3},
    {"patience": 1, "mode": "max"},
    {"patience": 1, "mode": "max", "threshold_mode": "abs", "threshold": 0.2},
    {"patience": 2, "threshold": 0.1},
    {"patience": 2, "threshold_mode": "abs", "threshold": 0.05},
    {"patience": 1, "min_lr": 0.004},
    {"patience": 1, "min_lr": [0.03, 0.0], "factor": 0.3},
    {"patience": 1, "eps": 0.01},
]


def make(library: Library, name: str, options: dict[str, Any], optimizer: str, settings: dict[str, Any]) -> Any:
    """A scheduler over an optimizer with two groups."""
    params = [library.tensor(Array(np.ones(2), requires_grad=True)) for _ in range(2)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.02}]
    made = getattr(library.package.optim, optimizer)(groups, **settings)
    return schedule_of(library, made, name, options)


def schedule_of(library: Library, optimizer: Any, name: str, options: dict[str, Any]) -> Any:
    module = library.package.optim.swa_utils if name == "SWALR" else library.package.optim.lr_scheduler
    if "schedulers" in options:
        inner = [schedule_of(library, optimizer, *each) for each in options["schedulers"]]
        options = {**options, "schedulers": inner, "optimizer": optimizer}
        return getattr(module, name)(**options)
    return getattr(module, name)(optimizer, **options)


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


@pytest.mark.parametrize("schedule", SCHEDULES + COMBINED, ids=IDS + COMBINED_IDS)
def test_schedule(schedule: Any, pytorch: Library, ours: Library) -> None:
    expected, actual = (run(make(library, *schedule), STEPS - 1) for library in (pytorch, ours))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES + COMBINED, ids=IDS + COMBINED_IDS)
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


def watch(scheduler: Any, metrics: list[float]) -> list[list[float]]:
    path = []
    for metric in metrics:
        scheduler.optimizer.step()
        scheduler.step(metric)
        path.append([*rates(scheduler), scheduler.best, scheduler.num_bad_epochs, scheduler.cooldown_counter])
    return path


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateau(options: dict[str, Any], pytorch: Library, ours: Library) -> None:
    first, expected = (make(library, "ReduceLROnPlateau", options, "SGD", SGD) for library in (ours, pytorch))
    path = watch(first, METRICS[:20])
    second = make(ours, "ReduceLROnPlateau", options, "SGD", SGD)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    path += watch(second, METRICS[20:])
    np.testing.assert_allclose(path, watch(expected, METRICS), rtol=1e-12)


def test_plateau_takes_a_tensor_and_learns_of_new_groups(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        scheduler = make(library, "ReduceLROnPlateau", {"patience": 0, "factor": 0.5}, "SGD", SGD)
        scheduler.optimizer.add_param_group({"params": [library.tensor(Array(np.ones(2), requires_grad=True))]})
        scheduler.step(library.package.tensor(1.0))
        scheduler.step(library.package.tensor(1.0))
        assert scheduler.get_last_lr() == [0.05, 0.01, 0.05]
        scheduler = make(library, "ReduceLROnPlateau", {"patience": 0, "min_lr": [0.1, 0.2]}, "SGD", SGD)
        scheduler.optimizer.add_param_group({"params": [library.tensor(Array(np.ones(2), requires_grad=True))]})
        scheduler.step(1.0)
        with pytest.raises(RuntimeError, match="min_lrs"):
            scheduler.step(1.0)


@pytest.mark.parametrize("options", [{"T_0": 6}, {"T_0": 4, "T_mult": 2, "eta_min": 0.01}], ids=str)
def test_warm_restarts_in_parts_of_an_epoch(options: dict[str, Any], pytorch: Library, ours: Library) -> None:
    paths = []
    for library in (pytorch, ours):
        scheduler = make(library, "CosineAnnealingWarmRestarts", options, "SGD", SGD)
        scheduler.optimizer.step()
        path = []
        for batch in range(4 * 30):
            scheduler.step(batch / 4)
            path.append(rates(scheduler))
        for epoch in (26, None, None, 3, None):
            scheduler.step(epoch)
            path.append([*rates(scheduler), scheduler.T_cur, scheduler.T_i, scheduler.last_epoch])
        with pytest.raises(ValueError, match="epoch"):
            scheduler.step(-1)
        paths.append(np.concatenate([np.array(row) for row in path]))
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-12)


def test_a_combination_needs_one_optimizer(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        first, second = (make(library, "StepLR", {"step_size": 2}, "SGD", SGD) for _ in range(2))
        kinds = library.package.optim.lr_scheduler
        with pytest.raises(ValueError, match="optimizer"):
            kinds.SequentialLR(first.optimizer, [first, second], [3])
        with pytest.raises(ValueError, match="optimizer"):
            kinds.ChainedScheduler([first, second])


def test_functions_are_not_saved(pytorch: Library, ours: Library) -> None:
    class Decay:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        def __call__(self, t: int) -> float:
            return float(self.rate**t)

    for library in (pytorch, ours):
        saved = make(library, "LambdaLR", {"lr_lambda": [lambda t: 1.0, Decay(0.5)]}, "SGD", SGD).state_dict()
        assert saved["lr_lambdas"] == [None, {"rate": 0.5}]
        other = make(library, "LambdaLR", {"lr_lambda": [lambda t: 2.0, Decay(0.1)]}, "SGD", SGD)
        other.load_state_dict(saved)
        other.optimizer.step()
        other.step()
        assert other.get_last_lr() == [0.2, 0.01]


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
