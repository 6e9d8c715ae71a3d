"""Windows as columns, and resampling: each is a linear map with its adjoint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import conv_cases, integers_array, laid_out, layouts

from tinygrad_cnn.kernels.conv import conv2d
from tinygrad_cnn.kernels.interpolate import Taps, apply_maps
from tinygrad_cnn.kernels.unfold import fold, unfold


@given(conv_cases(depthwise=False), layouts)
def test_fold_is_the_adjoint_of_unfold(case, layout):
    kernel, (rows, columns) = case.w.shape[2:], case.padding
    padding = (rows[0], columns[0])
    window = (kernel, case.dilation, padding, case.stride)
    reach = [d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel, case.dilation, padding, strict=True)]
    if any(n < r for n, r in zip(case.x.shape[2:], reach, strict=True)):
        return
    y = unfold(case.x, *window)
    g = laid_out(integers_array((*y.shape, 1), 1), layout)[..., 0]
    assert (y * g).sum() == (case.x * fold(g, case.x.shape[2:], *window)).sum()


@given(conv_cases(depthwise=False))
def test_convolution_is_unfolding_and_a_product(case):
    (top, bottom), (left, right) = case.padding
    x = np.pad(case.x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    groups, (o, per_group) = case.groups, case.w.shape[:2]
    columns = unfold(x, case.w.shape[2:], case.dilation, (0, 0), case.stride)
    columns = columns.reshape(len(x), groups, columns.shape[1] // groups, columns.shape[2])
    weight = case.w.reshape(groups, o // groups, per_group * case.w.shape[2] * case.w.shape[3])
    y = (weight @ columns).reshape(len(x), o, columns.shape[3]) + case.bias[:, None]
    # Whole numbers: sums are exact in every order.
    np.testing.assert_array_equal(y.reshape(case.output_shape), conv2d(case.x, case.w, case.bias, *case.parameters))


def test_a_fold_of_another_number_of_columns_is_refused():
    with pytest.raises(ValueError, match="fold: columns expects shape"):
        fold(np.ones((1, 4, 5)), (3, 3), (2, 2), (1, 1), (0, 0), (1, 1))


@st.composite
def maps(draw, dims):
    """For each axis a map with random taps and small whole weights."""
    found = []
    for _ in range(dims):
        size, outputs, taps = (draw(st.integers(1, 5)) for _ in range(3))
        random = np.random.default_rng(draw(st.integers(0, 999)))
        weights = random.integers(-1, 3, (taps, outputs)).astype(float)
        found.append(Taps(size, random.integers(0, size, (taps, outputs)), weights))
    return found


@st.composite
def resamplings(draw):
    found = draw(maps(draw(st.integers(1, 3))))
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *(taps.size for taps in found))
    x = integers_array(shape, draw(st.integers(0, 999)))
    if draw(st.booleans()):
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return x, found


def matrix(taps):
    result = np.zeros((taps.indices.shape[1], taps.size))
    for indices, weights in zip(taps.indices, taps.weights, strict=True):
        np.add.at(result, (np.arange(len(indices)), indices), weights)
    return result


@given(resamplings())
def test_resampling_multiplies_each_axis_by_a_matrix(case):
    x, found = case
    y = x
    for axis, taps in enumerate(found, start=2):
        y = np.moveaxis(np.tensordot(matrix(taps), y, (1, axis)), 0, axis)
    np.testing.assert_array_equal(apply_maps(x, found), y)


@given(st.integers(1, 24), st.integers(1, 4), st.sampled_from([1, 2, 3]), st.booleans())
def test_rows_of_many_numbers_are_read_in_place(size, factor, neighbours, shrinks):
    """Evenly spaced outputs with the same weights are a run; there are few runs, and many outputs in each."""
    outputs = size * factor
    first = np.maximum(np.arange(outputs) // factor - 1, 0)
    indices = np.minimum(first + np.arange(neighbours)[:, None], size - 1)
    weights = 1.0 + (np.arange(outputs) % factor + 10 * np.arange(neighbours)[:, None])
    taps = Taps(size, indices, weights)
    taps = taps.transposed if shrinks else taps
    x = integers_array((2, 50, taps.size, 7), size)
    x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    same = Taps(7, np.arange(7)[None], np.ones((1, 7)))
    expected = np.einsum("oh,nchw->ncow", matrix(taps), x)
    np.testing.assert_allclose(apply_maps(x, [taps, same]), expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
@given(*[st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 4]), st.booleans())] * 2, layouts)
def test_tiles_are_added_up_or_averaged(transposed, down, across, layout):
    found = []
    for outputs, size, averages in (down, across):
        indices = np.arange(outputs * size).reshape(outputs, size).T
        taps = Taps(outputs * size, indices, np.full(indices.shape, 1 / size if averages else 1.0))
        assert taps.tiles == (size, size if averages else 1)
        found.append(taps.transposed if transposed else taps)
    x = laid_out(integers_array((2, 3, *(taps.size for taps in found)), 0), layout)
    expected = np.einsum("oh,nchw,pw->ncop", matrix(found[0]), x, matrix(found[1]))
    np.testing.assert_array_equal(apply_maps(x, found), expected)


def test_means_of_half_precision_do_not_overflow():
    halves = Taps(4, np.arange(4).reshape(2, 2).T, np.full((2, 2), 0.5))
    x = np.full((1, 1, 4, 4), 60000, np.float16)
    np.testing.assert_array_equal(apply_maps(x, [halves, halves]), x[..., :2, :2])


@given(maps(1))
def test_the_transpose_of_a_map_is_that_of_its_matrix(found):
    taps = found[0]
    np.testing.assert_array_equal(taps.matrix, matrix(taps))
    # Weights may cancel, to what rounding leaves of them.
    np.testing.assert_allclose(taps.transposed.matrix, matrix(taps).T, rtol=1e-12, atol=1e-12)
    assert taps.transposed.transposed is taps


@pytest.mark.parametrize("channels_last", [False, True])
def test_large_images_are_cut_into_blocks(channels_last):
    x = integers_array((16, 8, 40, 40), 0, np.float32)
    x = laid_out(x, "channels_last") if channels_last else x
    twice = Taps(40, np.repeat(np.arange(40), 2)[None], np.ones((1, 80)))
    y = apply_maps(x, [twice, twice])
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(2, 3))
    assert y.strides[1] == (4 if channels_last else 4 * 80 * 80)  # the layout is kept
    np.testing.assert_array_equal(apply_maps(y, [twice.transposed] * 2), 4 * x)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16])
def test_windows_of_any_dtype(dtype):
    x = np.arange(4).reshape(1, 1, 2, 2).astype(dtype)
    window = ((2, 2), (1, 1), (1, 1), (1, 1))
    columns = unfold(x, *window)
    assert columns.dtype == dtype
    np.testing.assert_array_equal(columns[0, 0], np.pad(x[0, 0], ((1, 0), (1, 0))).reshape(-1))
    assert fold(columns, (2, 2), *window).dtype == dtype


def test_weights_are_written_out_once_unless_that_takes_much_memory():
    taps = Taps(4, np.array([[0, 1, 2], [1, 2, 3]]), np.full((2, 3), 0.5))
    short = taps.written_out(5, np.dtype(np.float32))
    np.testing.assert_array_equal(short, np.full((2, 15), 0.5))
    assert taps.written_out(5, np.dtype(np.float32)) is short
    long = taps.written_out(1 << 20, np.dtype(np.float32))
    assert taps.written_out(1 << 20, np.dtype(np.float32)) is not long
    assert taps.written_out(5, np.dtype(np.float32)) is short
