"""Borders that repeat what is inside, and the adjoint that adds them to it."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_cnn.kernels import padding
from tinygrad_cnn.kernels.padding import fold, pad, surround

NAMES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
SHAPES = [((3, 4), ((0, 0), (1, 3))), ((2, 3, 5, 4), ((0, 0), (0, 0), (2, 0), (3, 1))), ((4, 3), ((2, 1), (0, 2)))]
LARGE = ((80, 8, 30, 30), ((0, 0), (0, 0), (2, 1), (1, 2)))


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize(("shape", "widths"), [*SHAPES, LARGE])
def test_borders_are_those_of_numpy(mode: str, shape: tuple[int, ...], widths: tuple[tuple[int, int], ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    for array in (x, np.asfortranarray(x)):
        np.testing.assert_array_equal(pad(array, widths, mode), np.pad(x, widths, NAMES[mode]))


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize(("shape", "widths"), [*SHAPES, LARGE])
def test_folding_is_the_adjoint(mode: str, shape: tuple[int, ...], widths: tuple[tuple[int, int], ...]) -> None:
    draws = np.random.default_rng(0)
    x = draws.standard_normal(shape)
    y = pad(x, widths, mode)
    g = draws.standard_normal(y.shape)
    before = g.copy()
    np.testing.assert_allclose(np.vdot(y, g), np.vdot(x, fold(g, widths, mode)), rtol=1e-12)
    np.testing.assert_array_equal(g, before)


@pytest.mark.parametrize("mode", NAMES)
def test_the_memory_layout_stays(mode: str) -> None:
    x = np.zeros((2, 5, 6, 3)).transpose(0, 3, 1, 2)
    widths = ((0, 0), (0, 0), (1, 1), (2, 0))
    y = pad(x, widths, mode)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert fold(y, widths, mode).transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("block", [100, 1 << 19])
@pytest.mark.parametrize(("shape", "widths"), [*SHAPES, LARGE, ((), ()), ((0, 2), ((0, 0), (1, 1)))])
def test_a_value_around_and_the_way_back(monkeypatch, block: int, shape, widths) -> None:
    monkeypatch.setattr(padding, "_COPIED", block)
    x = np.random.default_rng(0).standard_normal(shape)
    back = tuple((-before, -after) for before, after in widths)
    for array in (x, np.array(x, order="F")):
        y = surround(array, widths, 2.5)
        np.testing.assert_array_equal(y, np.pad(x, widths, constant_values=2.5) if x.ndim else x)
        np.testing.assert_array_equal(surround(y, back, 0), x)
