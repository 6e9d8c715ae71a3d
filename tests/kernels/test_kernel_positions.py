"""Reading and writing at positions, and the drawing and finding of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import integers_array, laid_out, layouts

from tinygrad_cnn.kernels.positions import add, put, take, take_last
from tinygrad_cnn.kernels.stochastic_pool import stochastic_positions


@st.composite
def placements(draw):
    """Images, positions in them, and values for the positions."""
    n, c, h, w, oh, ow = (draw(st.integers(low, 4)) for low in (0, 1, 1, 1, 0, 1))
    seed = draw(st.integers(0, 999))
    positions = np.random.default_rng(seed).integers(0, h * w, (n, c, oh, ow))
    x = laid_out(integers_array((n, c, h, w), seed), draw(layouts))
    return x, laid_out(positions, draw(layouts)), laid_out(integers_array(positions.shape, seed + 1), draw(layouts))


@given(placements())
def test_take_reads_at_the_positions(case):
    x, positions, _ = case
    y = take(x, positions)
    for n, c, i, j in np.ndindex(*positions.shape):
        assert y[n, c, i, j] == x[n, c].reshape(-1)[positions[n, c, i, j]]


@given(placements())
def test_add_is_the_adjoint_of_take(case):
    x, positions, values = case
    assert (take(x, positions) * values).sum() == (x * add(values, positions, x.shape[2:])).sum()


@given(placements())
def test_put_leaves_the_last_value_and_take_last_is_its_adjoint(case):
    x, positions, values = case
    expected = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]))
    for n, c, i, j in np.ndindex(*positions.shape):
        expected[n, c, positions[n, c, i, j]] = values[n, c, i, j]
    y = put(values, positions, x.shape[2:])
    np.testing.assert_array_equal(y, expected.reshape(x.shape))
    assert (y * x).sum() == (values * take_last(x, positions)).sum()


@given(st.integers(0, 999), layouts)
def test_drawn_is_the_element_where_the_running_sum_passes_the_draw(seed, layout):
    x = laid_out(integers_array((2, 3, 5, 4), seed, low=0), layout)
    draws = np.random.default_rng(seed).random((2, 3, 3, 3))
    found = stochastic_positions(x, draws, (3, 2), (2, 1), (1, 0), True)
    for n, c, i, j in np.ndindex(*found.shape):
        places = [(r, s) for r in range(2 * i - 1, 2 * i + 2) for s in range(j, j + 2) if 0 <= r < 5 and s < 4]
        values = np.array([x[n, c, r, s] for r, s in places])
        assert found[n, c, i, j] in [4 * r + s for r, s in places]
        if values.any():
            drawn = int(np.argmax(np.cumsum(values) > draws[n, c, i, j] * values.sum()))
            assert divmod(found[n, c, i, j], 4) == places[drawn]


def test_a_window_that_holds_nan_gives_nan():
    x = np.array([[[[1.0, np.nan], [2.0, 3.0]]]])
    for draw in (0.0, 0.5, 0.99):
        assert stochastic_positions(x, np.full((1, 1, 1, 1), draw), (2, 2), (2, 2), (0, 0), False).item() == 1


def test_wrong_shapes_of_draws_are_refused():
    with pytest.raises(ValueError, match="stochastic_positions: draws expects shape"):
        stochastic_positions(np.ones((1, 1, 4, 4)), np.ones((1, 1, 4, 4)), (2, 2), (2, 2), (0, 0), False)
