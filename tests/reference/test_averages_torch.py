"""Averaged models, clipped gradients and vectors of parameters are PyTorch's, to rounding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402
from oracle.values import Array  # noqa: E402

# The keyword arguments of AveragedModel, made from `swa_utils`.
AVERAGES = {
    "even": lambda swa: {},
    "even, one by one": lambda swa: {"avg_fn": swa.get_swa_avg_fn()},
    "even, all at once": lambda swa: {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
    "exponential": lambda swa: {"avg_fn": swa.get_ema_avg_fn(0.7)},
    "exponential, all at once": lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.7)},
    "exponential, buffers": lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    "exponential, one by one, buffers": lambda swa: {"avg_fn": swa.get_ema_avg_fn(), "use_buffers": True},
    "even, buffers": lambda swa: {"use_buffers": True},
    "one's own": lambda swa: {"avg_fn": lambda averaged, current, n: 0.5 * averaged + current * (n + 1)},
    "the newest": lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.0)},
    "the oldest": lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(1.0)},
}


def model_of(library: Library) -> Any:
    nn = library.package.nn
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    fill(library, model, 0)
    return model


def fill(library: Library, model: Any, seed: int) -> None:
    """Set parameters and buffers to values that depend on `seed` alone."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = library.tensor(Array(np.array(7 * seed)))
        else:
            state[name] = library.tensor(Array(rng.uniform(0.5, 1.5, tuple(tensor.shape)).astype(np.float32)))
    model.load_state_dict(state)


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((5, 1, 4, 4), dtype=np.float32)


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_model(name: str, pytorch: Library, ours: Library) -> None:
    states = []
    for library in (pytorch, ours):
        model = model_of(library)
        swa = library.package.optim.swa_utils
        averaged = swa.AveragedModel(model, **AVERAGES[name](swa))
        seen = []
        for seed in range(1, 6):
            fill(library, model, seed)
            averaged.update_parameters(model)
            seen.append({key: np.array(library.array(value)) for key, value in averaged.state_dict().items()})
        with library.package.no_grad():
            seen.append({"output": library.array(averaged.eval()(library.tensor(Array(images(0)))))})
        states.append(seen)
    for expected, actual in zip(*states, strict=True):
        assert list(actual) == list(expected)
        for key in expected:
            np.testing.assert_allclose(actual[key], expected[key], rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("with_labels", [False, True])
def test_update_bn(with_labels: bool, pytorch: Library, ours: Library) -> None:
    states = []
    for library in (pytorch, ours):
        model = model_of(library).eval()
        batches = [library.tensor(Array(images(seed))) for seed in range(4)]
        loader = [(batch, 0) for batch in batches] if with_labels else batches
        library.package.optim.swa_utils.update_bn(loader, model)
        assert not model.training
        assert model[1].momentum == 0.1
        states.append({key: np.array(library.array(value)) for key, value in model.state_dict().items()})
    for key, expected in states[0].items():
        np.testing.assert_allclose(states[1][key], expected, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("p", [0, 1, 2, 2.0, 3, 0.5, -1, -2.5, float("inf"), float("-inf"), "inf"])
@pytest.mark.parametrize("limit", [0.0, 0.5, 1e6, float("inf")])
def test_clip_grad_norm(p: Any, limit: float, pytorch: Library, ours: Library) -> None:
    shapes: list[tuple[int, ...]] = [(4, 3), (3,), (), (2, 3, 2)]
    found = []
    for library in (pytorch, ours):
        rng = np.random.default_rng(0)
        params = [library.tensor(Array(np.ones(shape), requires_grad=True)) for shape in shapes]
        for param, shape in zip(params[:3], shapes, strict=False):
            param.grad = library.tensor(Array(np.asarray(rng.standard_normal(shape))))
        total = library.package.nn.utils.clip_grad_norm_(params, limit, p, foreach=False)
        found.append([total.item(), *(x for q in params[:3] for x in np.ravel(library.array(q.grad)))])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_total_norm_of_two_dtypes_and_of_nothing(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        tensors = [library.tensor(Array(np.ones(3, dtype))) for dtype in ("float32", "float64")]
        total = library.package.nn.utils.get_total_norm(tensors)
        assert library.array(total).dtype == np.float64
        np.testing.assert_allclose(total.item(), np.sqrt(6))
        assert library.array(library.package.nn.utils.get_total_norm([])) == np.float32(0)


def test_clip_grad_value(pytorch: Library, ours: Library) -> None:
    found = []
    for library in (pytorch, ours):
        param = library.tensor(Array(np.ones(6), requires_grad=True))
        param.grad = library.tensor(Array(np.array([-3.0, -0.5, 0.0, 0.5, np.inf, np.nan])))
        library.package.nn.utils.clip_grad_value_(param, 1.5)
        found.append(np.array(library.array(param.grad)))
    np.testing.assert_array_equal(found[1], found[0])


def test_errors_and_warnings(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        param = library.tensor(Array(np.ones(2), requires_grad=True))
        param.grad = library.tensor(Array(np.array([1.0, np.nan])))
        utils = library.package.nn.utils
        with pytest.raises(RuntimeError, match="non-finite"):
            utils.clip_grad_norm_(param, 1.0, error_if_nonfinite=True)
        with pytest.warns(UserWarning, match="empty generator"):
            utils.clip_grad_norm_((p for p in ()), 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            utils.clip_grad_norm_([], 1.0)
        for decay in (-0.1, 1.1):
            for make in ("get_ema_avg_fn", "get_ema_multi_avg_fn"):
                with pytest.raises(ValueError, match="decay"):
                    getattr(library.package.optim.swa_utils, make)(decay)
        with pytest.raises(TypeError):
            utils.vector_to_parameters([1.0, 2.0], [param])
