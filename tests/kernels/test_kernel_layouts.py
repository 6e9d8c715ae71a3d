"""Copies into another memory layout: the same elements, wherever they lie."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.kernels import buffers, layouts
from tinygrad_cnn.kernels.layouts import contiguous, copied, copied_in_order, copying, joined, reshaped


@pytest.fixture(autouse=True, params=["small", "large"])
def _limits(request):
    """Take arrays of a few elements for large, in a cache of a few lines."""
    if request.param == "small":
        yield
        return
    sizes = {"_LARGE": 16, "_PART": 10, "_LINE": 4, "_LINES": 4, "_PERIOD": 64, "_STRIP": 3, "_LEAST": 8, "_FEW": 2}
    with mock.patch.multiple(layouts, **sizes), mock.patch.object(buffers, "SMALLEST", 8):
        yield


@st.composite
def arranged(draw):
    """An array of any dtype whose axes lie in memory in any order, with gaps, backwards, or repeated."""
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4)))
    order = draw(st.permutations(range(len(shape))))
    step = draw(st.sampled_from([1, -1, 2]))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]))
    memory = np.arange(math.prod(shape) * abs(step) ** len(shape)).astype(dtype)
    memory = memory.reshape([shape[axis] * abs(step) for axis in order])
    x = memory[(slice(None, None, step),) * len(shape)].transpose(np.argsort(order).astype(int))
    return np.broadcast_to(x[..., :1], x.shape) if shape and draw(st.booleans()) else x


@given(x=arranged())
def test_a_copy_in_order_has_the_same_elements_in_row_major_memory(x):
    copy = copied_in_order(x)
    assert copy.flags.c_contiguous
    assert copy.dtype == x.dtype
    assert not np.may_share_memory(copy, x)
    np.testing.assert_array_equal(copy, x)


@given(x=arranged(), y=arranged())
def test_copying_into_memory_of_any_layout(x, y):
    if y.flags.writeable:
        source = np.resize(x, y.shape).astype(y.dtype) if x.size else np.ones(y.shape, y.dtype)
        for call in copying(source, y):
            call()
        np.testing.assert_array_equal(y, source)


@given(x=arranged(), order=st.permutations(range(4)))
def test_a_copy_is_equal_and_looks_at_other_memory(x, order):
    order = [axis for axis in order if axis < x.ndim]
    other = np.empty([x.shape[axis] for axis in order]).transpose(np.argsort(order).astype(int))
    for copy, like in ((copied(x), x), (copied(x, other), other)):
        assert copy.dtype == x.dtype
        assert not np.may_share_memory(copy, x)
        np.testing.assert_array_equal(copy, x)
        if copy.nbytes >= buffers.SMALLEST and like is other:
            assert copy.transpose(order).flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_copies_keep_every_bit(dtype):
    x = np.resize(np.array([-0.0, np.nan, -np.nan, np.inf, 5e-324, 1], dtype), (300, 500)).T
    for copy in (copied(x), copied_in_order(x)):
        assert copy.tobytes("C") == x.tobytes("C")


@given(x=arranged())
def test_contiguous_keeps_what_is_contiguous(x):
    assert (contiguous(x) is x) == x.flags.c_contiguous


@given(x=arranged())
def test_reshaped_is_a_view_where_numpy_makes_one(x):
    shapes = [(-1,), x.shape[::-1], (1, *x.shape)] if x.size else [x.shape[::-1]]
    for shape in shapes:
        result, expected = reshaped(x, shape), x.reshape(shape)
        np.testing.assert_array_equal(result, expected)
        assert np.shares_memory(result, x) == np.shares_memory(expected, x)


@given(x=arranged(), data=st.data())
def test_joined_arrays_are_side_by_side(x, data):
    if x.ndim:
        axis = data.draw(st.integers(0, x.ndim - 1))
        lengths = data.draw(st.lists(st.integers(0, x.shape[axis]), min_size=1, max_size=4))
        arrays = [x[(slice(None),) * axis + (slice(n),)] for n in lengths]
        np.testing.assert_array_equal(joined(arrays, axis), np.concatenate(arrays, axis))


@pytest.mark.parametrize("shape", [(1024, 512), (700, 900), (64, 196, 64), (3, 300, 400), (2, 40_000, 3)])
def test_large_transposed_arrays(shape):
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    for axes in (range(x.ndim)[::-1], (*range(x.ndim)[1:], 0), (x.ndim - 1, *range(x.ndim - 1))):
        np.testing.assert_array_equal(contiguous(x.transpose(axes)), x.transpose(axes))


def test_a_reshape_that_does_not_fit_is_refused():
    for x in (np.ones((3, 4)), np.ones((600, 400)).T):
        with pytest.raises(ValueError, match="reshape"):
            reshaped(x, (5, 5))
