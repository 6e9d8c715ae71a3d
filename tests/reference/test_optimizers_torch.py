"""Every optimizer follows PyTorch's trajectory for 50 steps, to rounding, with each of its options."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402
from oracle.values import Array  # noqa: E402

STEPS = 50
Factory = Callable[[Any, Any], Any]

OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {},
    "SGD lr": {"lr": 0.1},
    "SGD momentum": {"lr": 0.05, "momentum": 0.9},
    "SGD dampening": {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
    "SGD nesterov": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    "SGD weight_decay": {"lr": 0.05, "weight_decay": 0.1},
    "SGD maximize": {"lr": 0.01, "maximize": True},
    "SGD everything": {"lr": 0.01, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01, "maximize": True},
    "Adam": {},
    "Adam lr": {"lr": 0.1},
    "Adam betas eps": {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3},
    "Adam weight_decay": {"lr": 0.05, "weight_decay": 0.1},
    "Adam amsgrad": {"lr": 0.2, "betas": (0.5, 0.6), "amsgrad": True},
    "Adam maximize": {"lr": 0.02, "maximize": True, "amsgrad": True, "weight_decay": 0.1},
    "Adam decoupled_weight_decay": {"lr": 0.05, "weight_decay": 0.3, "decoupled_weight_decay": True},
    "AdamW": {},
    "AdamW lr": {"lr": 0.1},
    "AdamW weight_decay": {"lr": 0.05, "weight_decay": 0.3, "betas": (0.8, 0.95)},
    "AdamW amsgrad": {"lr": 0.2, "betas": (0.5, 0.6), "amsgrad": True},
    "AdamW eps": {"lr": 0.02, "eps": 0.1},
    "AdamW maximize": {"lr": 0.02, "maximize": True},
    "NAdam": {},
    "NAdam lr": {"lr": 0.1},
    "NAdam betas eps": {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3},
    "NAdam weight_decay": {"lr": 0.05, "weight_decay": 0.1},
    "NAdam momentum_decay": {"lr": 0.05, "momentum_decay": 0.5},
    "NAdam decoupled_weight_decay": {"lr": 0.05, "weight_decay": 0.3, "decoupled_weight_decay": True},
    "NAdam maximize": {"lr": 0.02, "maximize": True, "weight_decay": 0.1, "betas": (0, 0.5)},
    "Adagrad": {},
    "Adagrad lr": {"lr": 0.5},
    "Adagrad lr_decay": {"lr": 0.5, "lr_decay": 0.1},
    "Adagrad weight_decay": {"lr": 0.5, "weight_decay": 0.1, "eps": 1e-4},
    "Adagrad initial_accumulator_value": {"lr": 0.5, "initial_accumulator_value": 0.7},
    "Adagrad eps": {"lr": 0.5, "eps": 0.1},
    "Adagrad maximize": {"lr": 0.05, "maximize": True},
    "Adadelta": {},
    "Adadelta rho": {"lr": 0.5, "rho": 0.7, "eps": 1e-3},
    "Adadelta weight_decay": {"weight_decay": 0.1},
    "Adadelta maximize": {"lr": 0.1, "maximize": True},
    "RMSprop": {},
    "RMSprop lr alpha": {"lr": 0.05, "alpha": 0.8, "eps": 1e-4},
    "RMSprop momentum": {"lr": 0.02, "momentum": 0.9},
    "RMSprop centered": {"lr": 0.02, "centered": True},
    "RMSprop centered momentum": {"lr": 0.02, "centered": True, "momentum": 0.5, "weight_decay": 0.1},
    "RMSprop weight_decay": {"lr": 0.02, "weight_decay": 0.3},
    "RMSprop maximize": {"lr": 0.02, "maximize": True},
}
# The arguments of PyTorch's groups that have to do with its GPUs and compiler.
MACHINERY = {"foreach", "fused", "capturable", "differentiable"}

NAMES = ("SGD", "Adam", "AdamW", "NAdam", "Adagrad", "Adadelta", "RMSprop")
BAD_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *[(name, {"lr": -0.1}) for name in NAMES],
    *[(name, {"weight_decay": -1.0}) for name in NAMES],
    *[(name, {"eps": -1e-8}) for name in NAMES[1:]],
    *[(name, {"no_such_option": 1}) for name in NAMES],
    ("SGD", {"momentum": -0.1}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}),
    ("AdamW", {"betas": (0.9, 1.0)}),
    ("NAdam", {"betas": (-0.1, 0.9)}),
    ("NAdam", {"momentum_decay": -0.1}),
    ("Adagrad", {"lr_decay": -0.1}),
    ("Adagrad", {"initial_accumulator_value": -0.1}),
    ("Adadelta", {"rho": 1.1}),
    ("RMSprop", {"alpha": -0.1}),
    ("RMSprop", {"momentum": -0.1}),
]


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """PyTorch keeps `mu_product` of NAdam in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_option_has_its_trajectory(ours: Library) -> None:
    for name in NAMES:
        known = set(make(ours, name, parameters(ours), {}).defaults)
        tried = set().union(*(options for key, options in OPTIONS.items() if key.split()[0] == name))
        # AdamW is Adam with this option.
        assert known - tried - ({"decoupled_weight_decay"} if name == "AdamW" else set()) == set(), name


def initial(dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((4, 3), (3,), (), (2, 2))]


def parameters(library: Library, dtype: str = "float64") -> list[Any]:
    return [library.tensor(Array(values, requires_grad=True)) for values in initial(dtype)]


def set_gradients(library: Library, params: list[Any], step: int) -> None:
    """A gradient that depends on the parameter and the step; now and then none, and now and then zero."""
    for k, p in enumerate(params):
        values = library.array(p)
        gradient = (1 + k) * values + np.sin(3 * values + step)
        if k == 3 and step % 5 == 2:
            p.grad = None
        else:
            p.grad = library.tensor(Array(np.asarray(gradient * (step % 7 != 3), dtype=values.dtype)))


def walk(library: Library, params: list[Any], optimizer: Any, steps: range = range(STEPS)) -> list[np.ndarray]:
    """The parameters after each step, one after the other."""
    path = []
    for step in steps:
        set_gradients(library, params, step)
        optimizer.step()
        path.append(np.concatenate([np.array(library.array(p)).ravel() for p in params]))
    return path


def make(library: Library, name: str, params: Any, options: dict[str, Any]) -> Any:
    return getattr(library.package.optim, name.split()[0])(params, **options)


def assert_same_path(actual: list[np.ndarray], expected: list[np.ndarray], rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(np.array(actual), np.array(expected), rtol=rtol, atol=rtol * 1e-2)


@pytest.mark.parametrize("name", OPTIONS)
def test_trajectory(name: str, pytorch: Library, ours: Library) -> None:
    paths = []
    for library in (pytorch, ours):
        params = parameters(library)
        paths.append(walk(library, params, make(library, name, params, OPTIONS[name])))
    assert_same_path(paths[1], paths[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_float32_stays_float32(name: str, pytorch: Library, ours: Library) -> None:
    paths = []
    for library in (pytorch, ours):
        params = parameters(library, "float32")
        paths.append(walk(library, params, make(library, name, params, OPTIONS[name]), range(10)))
    assert paths[1][0].dtype == np.float32
    assert_same_path(paths[1], paths[0], rtol=2e-3)


@pytest.mark.parametrize("name", OPTIONS)
def test_parameter_groups(name: str, pytorch: Library, ours: Library) -> None:
    """Options of a group's own, defaults for the rest, and a group that comes later."""
    paths = []
    for library in (pytorch, ours):
        params = parameters(library)
        groups = [{"params": params[:2], "lr": 0.03, "weight_decay": 0.05}, {"params": params[2]}]
        optimizer = make(library, name, groups, OPTIONS[name])
        path = walk(library, params, optimizer, range(5))
        optimizer.add_param_group({"params": [params[3]], "lr": 0.07})
        assert [group["lr"] for group in optimizer.param_groups][::2] == [0.03, 0.07]
        paths.append(path + walk(library, params, optimizer, range(5, 20)))
    assert_same_path(paths[1], paths[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_state_dict_resumes_the_trajectory(name: str, pytorch: Library, ours: Library) -> None:
    params = parameters(pytorch)
    expected = walk(pytorch, params, make(pytorch, name, params, OPTIONS[name]))

    params = parameters(ours)
    optimizer = make(ours, name, params, OPTIONS[name])
    path = walk(ours, params, optimizer, range(20))
    resumed = make(ours, name, params, {"lr": 123.0})
    resumed.load_state_dict(optimizer.state_dict())
    assert_same_path(path + walk(ours, params, resumed, range(20, STEPS)), expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_state_dict_looks_like_pytorchs(name: str, pytorch: Library, ours: Library) -> None:
    states = []
    for library in (pytorch, ours):
        params = parameters(library)
        optimizer = make(library, name, params, OPTIONS[name])
        walk(library, params, optimizer, range(3))
        states.append(optimizer.state_dict())
    expected, actual = states
    assert list(actual) == list(expected)
    assert sorted(actual["state"]) == sorted(expected["state"])
    for key, state in expected["state"].items():
        kept = {entry for entry, value in state.items() if value is not None}
        assert {entry for entry, value in actual["state"][key].items() if value is not None} == kept
    for theirs, group in zip(expected["param_groups"], actual["param_groups"], strict=True):
        assert {k: v for k, v in group.items() if k not in MACHINERY} == {
            k: v for k, v in theirs.items() if k not in MACHINERY
        }


@pytest.mark.parametrize("name", OPTIONS)
def test_pytorchs_state_can_be_loaded(name: str, pytorch: Library, ours: Library) -> None:
    """A run begun by PyTorch goes on here, from its state dict's arrays."""
    theirs = parameters(pytorch)
    optimizer = make(pytorch, name, theirs, OPTIONS[name])
    walk(pytorch, theirs, optimizer, range(20))
    saved = optimizer.state_dict()
    saved["state"] = {k: {e: _move(ours, v) for e, v in s.items()} for k, s in saved["state"].items()}
    saved["param_groups"] = [{k: v for k, v in group.items() if k not in MACHINERY} for group in saved["param_groups"]]
    params = [ours.tensor(Array(np.array(pytorch.array(p)), requires_grad=True)) for p in theirs]
    resumed = make(ours, name, params, OPTIONS[name])
    resumed.load_state_dict(saved)
    actual = walk(ours, params, resumed, range(20, 30))
    assert_same_path(actual, walk(pytorch, theirs, optimizer, range(20, 30)))


def _move(library: Library, value: Any) -> Any:
    return library.tensor(Array(value.numpy().copy())) if isinstance(value, torch.Tensor) else value


def test_state_dict_is_a_snapshot_of_hyperparameters(ours: Library) -> None:
    params = parameters(ours)
    optimizer = make(ours, "SGD", params, {"lr": 0.5})
    saved = optimizer.state_dict()
    optimizer.param_groups[0]["lr"] = 0.25
    assert saved["param_groups"][0]["lr"] == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_step_with_closure(name: str, pytorch: Library, ours: Library) -> None:
    """`step(closure)` recomputes the loss with gradients on, even under no_grad, and returns it."""
    ends = []
    for library in (pytorch, ours):
        params = parameters(library)
        optimizer = make(library, name, params, {"lr": 0.1})

        def closure(params: list[Any] = params, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = sum((p**2).sum() for p in params)
            loss.backward()
            return loss

        with library.package.no_grad():
            losses = [optimizer.step(closure).item() for _ in range(10)]
        ends.append(losses + [np.array(library.array(p)).sum() for p in params])
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-10)


@pytest.mark.parametrize(("name", "options"), BAD_OPTIONS, ids=[f"{n} {o}" for n, o in BAD_OPTIONS])
def test_bad_options_are_rejected(name: str, options: dict[str, Any], pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        with pytest.raises((ValueError, TypeError)):
            make(library, name, parameters(library), options)


BAD_PARAMETERS: dict[str, Callable[[Library], Any]] = {
    "none": lambda library: [],
    "a tensor": lambda library: parameters(library)[0],
    "not tensors": lambda library: [1.0],
    "in two groups": lambda library: [{"params": (p := parameters(library))}, {"params": p[:1]}],
    "not a leaf": lambda library: [parameters(library)[0] * 2],
    "a set": lambda library: [{"params": set(parameters(library))}],
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters_are_rejected(case: str, pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        with pytest.raises((ValueError, TypeError)):
            make(library, "SGD", BAD_PARAMETERS[case](library), {"lr": 0.1})


@pytest.mark.parametrize("groups", [[2], [1, 1]])
def test_a_state_dict_of_other_groups_is_rejected(groups: list[int], pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        params = parameters(library)
        saved = make(library, "SGD", params, {"lr": 0.1}).state_dict()
        bounds = np.cumsum([0, *groups])
        chunks = [{"params": params[a:b]} for a, b in itertools.pairwise(bounds)]
        with pytest.raises(ValueError, match=r"."):
            make(library, "SGD", chunks, {"lr": 0.1}).load_state_dict(saved)


def test_zero_grad(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        params = parameters(library)
        optimizer = make(library, "SGD", params, {"lr": 0.1})
        set_gradients(library, params, 1)
        optimizer.zero_grad(set_to_none=False)
        assert all(not library.array(p.grad).any() for p in params)
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)
