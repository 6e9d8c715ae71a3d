"""What PyTorch has no operator samples for: `lp_pool2d` and `fold`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402
from oracle.values import Array  # noqa: E402

CORNERS: dict[str, Any] = {
    "positive": np.linspace(0.5, 2, 2 * 30).reshape(1, 2, 5, 6),
    "both signs": np.cos(np.arange(60)).reshape(2, 1, 6, 5),
    "zeros": np.zeros((1, 4, 4)),
    "some zeros": np.kron(np.eye(3), np.ones((2, 2)))[None, None],
    "sums of zero": np.tile([[1.0, -1.0], [-2.0, 2.0]], (2, 2))[None],
}


@pytest.mark.parametrize("p", [1, 2, 2.0, 3, 4, 1.5, -2, math.inf, -math.inf])
@pytest.mark.parametrize("values", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("window", [(2,), (3, 2), ((2, 3), (1, 2), True)], ids=str)
def test_lp_pool2d(p: float, values: np.ndarray, window: tuple[Any, ...], pytorch: Library, ours: Library) -> None:
    found = []
    for library in (pytorch, ours):
        x = library.tensor(Array(values, requires_grad=True))
        with np.errstate(all="ignore"):
            y = library.resolve("F.lp_pool2d")(x, p, *window)
            gradient = library.grad([y], [x], [library.tensor(Array(np.ones(tuple(y.shape))))], again=False)[0]
        found.append((library.array(y), library.array(gradient)))
    for actual, expected in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


FOLDS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 12, 6), {"output_size": (4, 3), "kernel_size": 2}),
    ((2, 12, 20), {"output_size": (4, 3), "kernel_size": 2, "padding": 1}),
    ((12, 4), {"output_size": 4, "kernel_size": (2, 3), "stride": 2, "padding": (0, 1)}),
    ((0, 4, 4), {"output_size": 4, "kernel_size": 2, "stride": 2}),
    ((1, 9, 4), {"output_size": 6, "kernel_size": 3, "dilation": 2}),
    ((1, 8, 9), {"output_size": [4, 4], "kernel_size": [2, 2]}),
]
BAD_FOLDS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 5, 9), {"output_size": 4, "kernel_size": 2}),
    ((1, 4, 8), {"output_size": 4, "kernel_size": 2}),
    ((1, 4, 9, 1), {"output_size": 4, "kernel_size": 2}),
    ((9,), {"output_size": 4, "kernel_size": 2}),
    ((1, 0, 9), {"output_size": 4, "kernel_size": 2}),
    ((1, 4, 9), {"output_size": (4,), "kernel_size": 2}),
    ((1, 4, 9), {"output_size": (4, 4, 4), "kernel_size": 2}),
    ((1, 4, 9), {"output_size": 4, "kernel_size": 0}),
    ((1, 4, 9), {"output_size": 4, "kernel_size": 2, "stride": 0}),
    ((1, 4, 9), {"output_size": 4, "kernel_size": 2, "dilation": 0}),
    ((1, 4, 9), {"output_size": 4, "kernel_size": 2, "padding": -1}),
    ((1, 4, 9), {"output_size": 1, "kernel_size": 2}),
    ((1, 4, 9), {"output_size": 4.0, "kernel_size": 2}),
]


@pytest.mark.parametrize(("shape", "window"), FOLDS)
def test_fold(shape: tuple[int, ...], window: dict[str, Any], pytorch: Library, ours: Library) -> None:
    found = []
    for library in (pytorch, ours):
        x = library.tensor(Array(np.random.default_rng(0).standard_normal(shape), requires_grad=True))
        y = library.resolve("F.fold")(x, **window)
        g = library.tensor(Array(np.random.default_rng(1).standard_normal(tuple(y.shape))))
        found.append((library.array(y), library.array(library.grad([y], [x], [g], again=False)[0])))
    for actual, expected in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("shape", "window"), BAD_FOLDS)
def test_bad_folds(shape: tuple[int, ...], window: dict[str, Any], pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            library.resolve("F.fold")(library.tensor(Array(np.ones(shape))), **window)
