"""Picking along a dimension, and adding there, are what NumPy does with an index for each dimension."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.kernels import gather as kernels
from tinygrad_cnn.kernels.gather import add_at, places, take


@pytest.fixture(autouse=True, params=[1, 15, 1 << 18])
def _limits(request):
    """Take arrays for large from so many elements on."""
    with mock.patch.object(kernels, "_LARGE", request.param):
        yield


@st.composite
def cases(draw):
    """An array, a dimension, and an index that is nowhere larger but there."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    dim = draw(st.integers(0, len(shape) - 1))
    size = [draw(st.integers(0, n if i != dim else 9)) for i, n in enumerate(shape)]
    index = np.random.default_rng(draw(st.integers(0, 99))).integers(0, shape[dim], size)
    index = index.astype(draw(st.sampled_from([np.int64, np.int32])))
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    if draw(st.booleans()):
        x, index = np.asfortranarray(x), np.asfortranarray(index)
    return x, dim, index


def _places(dim, index):
    places = list(np.indices(index.shape))
    places[dim] = index
    return tuple(places)


@given(case=cases())
def test_what_is_picked_and_where_it_is_added(case):
    x, dim, index = case
    flat = places(index, dim, x.shape)
    picked = take(x, flat)
    assert picked.dtype == x.dtype
    np.testing.assert_array_equal(picked, x[_places(dim, index)])
    whole, expected = x.copy(order="C"), x.copy(order="C")
    add_at(whole, flat, picked)
    np.add.at(expected, _places(dim, index), picked)
    np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_index_out_of_range_has_no_place(wrong):
    index = np.zeros((3, 4), np.int64)
    index[2, 1] = wrong
    assert places(index, 0, (3, 4)) is None
