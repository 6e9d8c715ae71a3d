"""Initial weights have PyTorch's distributions: the same bounds, means and variances, from other random bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402
from oracle.values import Array  # noqa: E402

# Large enough for a sample's moments to be within two percent of the distribution's.
LAYERS: dict[str, Callable[[Any], Any]] = {
    "Conv2d": lambda nn: nn.Conv2d(40, 4000, 3),
    "Conv2d groups": lambda nn: nn.Conv2d(40, 8000, 3, groups=4),
    "ConvTranspose2d": lambda nn: nn.ConvTranspose2d(30, 6000, (3, 2)),
    "Linear": lambda nn: nn.Linear(50, 6000),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(7),
}
SHAPE = (300, 120, 3, 2)

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "uniform_": lambda init, t: init.uniform_(t),
    "uniform_ a b": lambda init, t: init.uniform_(t, a=-0.3, b=0.9),
    "normal_": lambda init, t: init.normal_(t),
    "normal_ mean std": lambda init, t: init.normal_(t, mean=2.0, std=0.1),
    "constant_": lambda init, t: init.constant_(t, 0.3),
    "ones_": lambda init, t: init.ones_(t),
    "zeros_": lambda init, t: init.zeros_(t),
    "xavier_uniform_": lambda init, t: init.xavier_uniform_(t),
    "xavier_uniform_ gain": lambda init, t: init.xavier_uniform_(t, gain=2.0),
    "xavier_normal_": lambda init, t: init.xavier_normal_(t, gain=0.5),
    "kaiming_uniform_": lambda init, t: init.kaiming_uniform_(t),
    "kaiming_uniform_ a": lambda init, t: init.kaiming_uniform_(t, a=5**0.5),
    "kaiming_uniform_ fan_out relu": lambda init, t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"),
    "kaiming_normal_": lambda init, t: init.kaiming_normal_(t, nonlinearity="tanh"),
    "kaiming_normal_ fan_out": lambda init, t: init.kaiming_normal_(t, mode="fan_out", a=0.1),
}
BAD: dict[str, Callable[[Any, Any, Any], Any]] = {
    "kaiming of a vector": lambda init, t, v: init.kaiming_uniform_(v),
    "xavier of a vector": lambda init, t, v: init.xavier_normal_(v),
    "unknown mode": lambda init, t, v: init.kaiming_normal_(t, mode="fan_sideways"),
    "unknown nonlinearity": lambda init, t, v: init.kaiming_normal_(t, nonlinearity="nonsense"),
    "unknown gain": lambda init, t, v: init.calculate_gain("nonsense"),
    "slope that is no number": lambda init, t, v: init.calculate_gain("leaky_relu", "steep"),
}
GAINS = ["linear", "conv2d", "conv_transpose2d", "sigmoid", "tanh", "relu", "leaky_relu"]


def assert_same_distribution(actual: np.ndarray, expected: np.ndarray, name: str) -> None:
    assert actual.shape == expected.shape, name
    assert actual.dtype == expected.dtype, name
    scale = float(expected.std())
    if expected.min() == expected.max():
        np.testing.assert_array_equal(actual, expected, err_msg=name)
        return
    assert float(actual.mean()) == pytest.approx(float(expected.mean()), abs=0.05 * scale), name
    assert float(actual.std()) == pytest.approx(scale, rel=0.03), name
    quantiles = np.linspace(0, 1, 11)[1:-1]
    np.testing.assert_allclose(
        np.quantile(actual, quantiles), np.quantile(expected, quantiles), atol=0.08 * scale, err_msg=name
    )
    if np.abs(expected - expected.mean()).max() < 2 * scale:  # bounded: uniform
        np.testing.assert_allclose(
            [actual.min(), actual.max()], [expected.min(), expected.max()], atol=0.01 * scale, err_msg=name
        )


@pytest.mark.parametrize("name", LAYERS)
def test_default_initialisation(name: str, pytorch: Library, ours: Library) -> None:
    states = []
    for library in (pytorch, ours):
        library.package.manual_seed(0)
        layer = LAYERS[name](library.package.nn)
        states.append({key: np.array(library.array(value)) for key, value in layer.state_dict().items()})
    assert list(states[1]) == list(states[0])
    for key, value in states[0].items():
        assert_same_distribution(states[1][key], value, f"{name} {key}")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_init_functions(name: str, pytorch: Library, ours: Library) -> None:
    """They fill a parameter in place, without recording, and return it."""
    values = []
    for library in (pytorch, ours):
        library.package.manual_seed(0)
        parameter = library.package.nn.Parameter(library.tensor(Array(np.zeros(SHAPE, np.float32))))
        assert FUNCTIONS[name](library.package.nn.init, parameter) is parameter
        assert parameter.is_leaf
        assert parameter.requires_grad
        values.append(np.array(library.array(parameter)))
    assert_same_distribution(values[1], values[0], name)


@pytest.mark.parametrize("nonlinearity", GAINS)
def test_gains(nonlinearity: str, pytorch: Library, ours: Library) -> None:
    gains = [library.package.nn.init.calculate_gain(nonlinearity) for library in (pytorch, ours)]
    assert gains[1] == pytest.approx(gains[0], rel=1e-15)


@pytest.mark.parametrize("slope", [0, 0.2, 1, -0.5])
def test_gain_of_a_slope(slope: float, pytorch: Library, ours: Library) -> None:
    gains = [library.package.nn.init.calculate_gain("leaky_relu", slope) for library in (pytorch, ours)]
    assert gains[1] == pytest.approx(gains[0], rel=1e-15)


@pytest.mark.parametrize("case", BAD)
def test_what_pytorch_rejects_is_rejected(case: str, pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        matrix, vector = (library.tensor(Array(np.zeros(shape, np.float32))) for shape in ((3, 2), (3,)))
        with pytest.raises((ValueError, TypeError)):
            BAD[case](library.package.nn.init, matrix, vector)
