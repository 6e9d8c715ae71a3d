"""Resampling is what its definition says, pixel by pixel, whatever the shape, the dtype and the number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.kernels import resample
from tinygrad_cnn.kernels.threads import get_num_threads, set_num_threads

SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
DTYPES = st.sampled_from([np.uint8, np.int32, np.float16, np.float32, np.float64])


def read(image, x, y, bilinear, fill):
    """The definition: one value of one channel (H, W) at one place."""
    height, width = image.shape

    def pixel(column, row):
        return float(image[row, column]) if 0 <= row < height and 0 <= column < width else fill

    if not bilinear:
        return pixel(round(x), round(y))  # Python rounds half to even
    left, top = math.floor(x), math.floor(y)
    across, down = x - left, y - top
    upper = (1 - across) * pixel(left, top) + across * pixel(left + 1, top)
    lower = (1 - across) * pixel(left, top + 1) + across * pixel(left + 1, top + 1)
    return (1 - down) * upper + down * lower


def by_definition(images, places, bilinear, fill):
    """Resample at places (N, 2, H, W), pixel by pixel."""
    result = np.empty(images.shape)
    for n, c, row, column in np.ndindex(images.shape):
        result[n, c, row, column] = read(images[n, c], *places[n, :, row, column], bilinear, fill)
    return np.rint(result) if images.dtype.kind in "iu" else result


def drawn(seed, shape, dtype):
    generator = np.random.default_rng(seed)
    values = generator.random(shape) if np.dtype(dtype).kind == "f" else generator.integers(0, 100, shape)
    return values.astype(dtype), generator


@given(st.integers(0, 99), SHAPES, DTYPES, st.booleans(), st.sampled_from([0, 7]))
def test_an_affine_map_is_its_definition(seed, shape, dtype, bilinear, fill):
    images, generator = drawn(seed, shape, dtype)
    # Eighths are exact: no place lies on this side of a pixel's edge for one dtype and beyond it for another.
    matrices = generator.integers(-16, 17, (shape[0], 2, 3)) / 8
    y, x = np.mgrid[: shape[2], : shape[3]]
    places = np.einsum("nij,jhw->nihw", matrices, np.stack([x, y, np.ones_like(x)]))
    result = resample.affine(images, matrices, bilinear, fill)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, by_definition(images, places, bilinear, fill), rtol=2e-3, atol=1e-3)


@given(st.integers(0, 99), SHAPES, DTYPES, st.booleans())
def test_a_displacement_is_its_definition(seed, shape, dtype, bilinear):
    images, generator = drawn(seed, shape, dtype)
    displacements = generator.integers(-32, 33, (shape[0], 2, *shape[2:])).astype(np.float32) / 8
    y, x = np.mgrid[: shape[2], : shape[3]]
    expected = by_definition(images, displacements + np.stack([x, y]), bilinear, 0)
    np.testing.assert_allclose(resample.displace(images, displacements, bilinear), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("bilinear", [True, False])
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e6, 1e6, width=32)))
def test_the_identity_is_exact(bilinear, images):
    identity = np.broadcast_to(np.eye(2, 3), (len(images), 2, 3))
    assert np.array_equal(resample.affine(images, identity, bilinear), images)
    assert np.array_equal(resample.displace(images, np.zeros((len(images), 2, *images.shape[2:]))), images)


@pytest.mark.parametrize("far", [1e3, 1e12, 1e30])
def test_far_outside_is_the_filling(far):
    images = np.ones((1, 2, 3, 3), np.float32)
    fill = np.array([5, 6], np.float32)[:, None, None]
    for sign in (1, -1):
        result = resample.affine(images, np.array([[[1, 0, sign * far], [0, 1, 0]]]), True, fill)
        assert np.array_equal(result, np.broadcast_to(fill, images.shape))


def test_layout_and_number_of_threads_change_nothing():
    generator = np.random.default_rng(0)
    images = generator.random((700, 3, 12, 17), np.float32)
    matrices = np.eye(2, 3) + generator.normal(0, 0.2, (700, 2, 3))
    displacements = generator.normal(0, 1, (700, 2, 12, 17)).astype(np.float32)
    maps = [resample.gaussian_matrix(size, 2.0, np.float32) for size in (12, 17)]
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    def results(of):
        return [
            resample.affine(of, matrices),
            resample.affine(of, matrices, False, 1),
            resample.displace(of, displacements),
            resample.smooth(of, *maps),
        ]

    before = get_num_threads()
    try:
        set_num_threads(1)
        expected = results(images)
        for threads in (1, 2, 3):
            set_num_threads(threads)
            assert all(map(np.array_equal, results(images), expected))
            assert all(map(np.array_equal, results(channels_last)[:3], expected))
    finally:
        set_num_threads(before)


@given(st.integers(1, 9), st.floats(0.1, 3))
def test_a_gaussian_matrix_is_a_convolution_with_mirrored_ends(size, sigma):
    signal = np.random.default_rng(0).random(size)
    radius = int(8 * sigma + 1) // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    mirrored = np.pad(signal, radius, mode="reflect")
    expected = np.convolve(mirrored, weights / weights.sum(), mode="valid")
    matrix = resample.gaussian_matrix(size, sigma, np.float64)
    np.testing.assert_allclose(matrix @ signal, expected, rtol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_no_smoothness_filters_nothing():
    assert np.array_equal(resample.gaussian_matrix(5, 0, np.float32), np.eye(5))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3))
def test_smoothing_maps_both_axes(height, width, count):
    generator = np.random.default_rng(0)
    fields = generator.random((count, 2, height, width))
    vertical, horizontal = generator.random((height, height)), generator.random((width, width))
    expected = np.einsum("ij,ncjk,lk->ncil", vertical, fields, horizontal)
    np.testing.assert_allclose(resample.smooth(fields, vertical, horizontal), expected)
