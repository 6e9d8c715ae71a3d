"""Convolution is the trilinear form of its definition, in every configuration and memory layout."""

from __future__ import annotations

import contextlib
import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import conv_cases, integers_array, laid_out, layouts

from tinygrad_cnn.kernels import gemm, geometry, patches
from tinygrad_cnn.kernels.conv import (
    bias_grad,
    conv2d,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
)
from tinygrad_cnn.kernels.geometry import Geometry


def naive(x, w, bias, stride, padding, dilation, groups, output_shape):
    """The definition: a loop over output positions and kernel taps, one image and channel after the other."""
    y = np.zeros(output_shape, x.dtype)
    (top, bottom), (left, right) = padding
    frame = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    per_group, outputs = w.shape[1], w.shape[0] // groups
    for o, p, q in itertools.product(range(y.shape[1]), range(y.shape[2]), range(y.shape[3])):
        first = o // outputs * per_group
        for i, j in itertools.product(range(w.shape[2]), range(w.shape[3])):
            seen = frame[:, first : first + per_group, p * stride[0] + i * dilation[0], q * stride[1] + j * dilation[1]]
            y[:, o, p, q] += seen @ w[o, :, i, j]
        y[:, o, p, q] += bias[o]
    return y


def dot(a, b):
    return float(np.sum(a.astype(np.float64) * b))


block_sizes = pytest.mark.parametrize("block_bytes", [geometry.BLOCK_BYTES, 512])


@contextlib.contextmanager
def blocks_of(nbytes):
    """Cut work into blocks of another size, so that small images are cut into bands, and products into pieces, too."""
    small = nbytes < geometry.BLOCK_BYTES
    sizes = {"_FEWEST_POSITIONS": 4, "_ENOUGH_IMAGES": 100} if small else {}
    product = 500 if small else gemm.SMALL_PRODUCT
    with (
        mock.patch.multiple(geometry, BLOCK_BYTES=nbytes, **sizes),
        mock.patch.object(patches, "SMALL_PRODUCT", product),
        mock.patch.object(gemm, "SMALL_PRODUCT", product),
    ):
        Geometry.of.cache_clear()  # and with it all that is derived from shapes once
        yield
        Geometry.of.cache_clear()


@block_sizes
@given(case=conv_cases())
def test_convolution_is_its_definition(block_bytes, case):
    expected = naive(case.x, case.w, case.bias, *case.parameters, case.output_shape)
    with blocks_of(block_bytes):
        np.testing.assert_array_equal(conv2d(case.x, case.w, case.bias, *case.parameters), expected)
        np.testing.assert_array_equal(
            conv2d(case.x, case.w, None, *case.parameters), expected - case.bias[:, None, None]
        )


@block_sizes
@given(case=conv_cases(), layout=layouts)
def test_three_faces_of_one_form(block_bytes, case, layout):
    # <conv2d(x, w), g> = <x, input_grad(g, w)> = <w, weight_grad(g, x)>, exactly, for whole numbers; x, w and g are
    # arbitrary, so this determines both gradients.
    g = laid_out(integers_array(case.output_shape, 7), layout)
    with blocks_of(block_bytes):
        y = conv2d(case.x, case.w, None, *case.parameters)
        gx = conv2d_input_grad(g, case.w, case.x.shape, *case.parameters)
        gw = conv2d_weight_grad(g, case.x, case.w.shape, *case.parameters)
    assert gx.shape == case.x.shape
    assert gw.shape == case.w.shape
    assert gw.flags.c_contiguous
    assert dot(y, g) == dot(case.x, gx) == dot(case.w, gw)
    # ... one entry at a time
    for index in itertools.islice(np.ndindex(*case.w.shape), 0, None, max(1, case.w.size // 4)):
        unit = np.zeros(case.w.shape)
        unit[index] = 1
        assert dot(conv2d(case.x, unit, None, *case.parameters), g) == gw[index]
    for index in itertools.islice(np.ndindex(*case.x.shape), 0, None, max(1, case.x.size // 4)):
        unit = np.zeros(case.x.shape)
        unit[index] = 1
        assert dot(conv2d(unit, case.w, None, *case.parameters), g) == gx[index]


@given(conv_cases(), st.sampled_from([np.float32, np.int64, np.int32]))
def test_dtype_is_kept(case, dtype):
    x, w, bias = (array.astype(dtype) for array in (case.x, case.w, case.bias))
    y = conv2d(x, w, bias, *case.parameters)
    gx = conv2d_input_grad(y, w, x.shape, *case.parameters)
    gw = conv2d_weight_grad(y, x, w.shape, *case.parameters)
    assert y.dtype == gx.dtype == gw.dtype == bias_grad(y).dtype == dtype
    np.testing.assert_array_equal(y, conv2d(case.x, case.w, case.bias, *case.parameters))


@given(conv_cases(), layouts)
def test_bias_gradient_is_a_sum(case, layout):
    g = laid_out(integers_array(case.output_shape, 5), layout)
    np.testing.assert_array_equal(bias_grad(g), g.sum(axis=(0, 2, 3)))


@block_sizes
@given(case=conv_cases(), layout=layouts)
def test_the_gradients_of_all_parameters_are_those_of_each(block_bytes, case, layout):
    g = laid_out(integers_array(case.output_shape, 5), layout)
    with blocks_of(block_bytes):
        by_weight, by_bias = conv2d_parameter_grads(g, case.x, case.w.shape, *case.parameters)
    np.testing.assert_array_equal(by_weight, conv2d_weight_grad(g, case.x, case.w.shape, *case.parameters))
    np.testing.assert_array_equal(by_bias, bias_grad(g))
    assert by_weight.dtype == by_bias.dtype == case.x.dtype


@given(conv_cases())
def test_inputs_are_only_read(case):
    g = integers_array(case.output_shape, 5)
    copies = case.x.copy(), case.w.copy(), g.copy()
    for array in (case.x, case.w, case.bias, g):
        array.flags.writeable = False
    conv2d(case.x, case.w, case.bias, *case.parameters)
    conv2d_input_grad(g, case.w, case.x.shape, *case.parameters)
    conv2d_weight_grad(g, case.x, case.w.shape, *case.parameters)
    conv2d_parameter_grads(g, case.x, case.w.shape, *case.parameters)
    for array, copy in zip((case.x, case.w, g), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("shape", [(40, 3, 28, 28), (24, 32, 20, 20), (1, 16, 70, 70), (3, 64, 9, 9)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_many_blocks_agree_with_one_image_at_a_time(shape, kernel):
    x = laid_out(integers_array(shape, 0), "channels_last")
    w = integers_array((8, shape[1], kernel, kernel), 1)
    parameters = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y = conv2d(x, w, None, *parameters)
    np.testing.assert_array_equal(y, np.concatenate([conv2d(image[None], w, None, *parameters) for image in x]))
    gx = conv2d_input_grad(y, w, x.shape, *parameters)
    assert dot(x, gx) == dot(y, y) == dot(w, conv2d_weight_grad(y, x, w.shape, *parameters))


@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 4), st.integers(1, 4), layouts)
def test_a_kernel_of_the_inputs_size_is_a_product(n, c, h, w, layout):
    kernel = integers_array((5, c, h, w), 1)
    g = laid_out(integers_array((n, 5, 1, 1), 2), layout)
    gx = conv2d_input_grad(g, kernel, (n, c, h, w), (2, 1), ((0, 0), (0, 0)), (1, 1), 1)
    np.testing.assert_array_equal(gx, np.tensordot(g[:, :, 0, 0], kernel, 1))


@pytest.mark.parametrize(
    ("x", "w", "arguments"),
    [
        ((1, 2, 5, 5), (3, 1, 3, 3), ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
        ((1, 2, 5, 5), (3, 1, 3, 3), ((1, 1), ((0, 0), (0, 0)), (1, 1), 2)),
        ((1, 2, 5, 5), (3, 2, 6, 3), ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
        ((1, 2, 5, 5), (3, 2, 3, 3), ((1, 1), ((0, 0), (0, 0)), (1, 3), 1)),
        ((1, 2, 5, 5), (3, 2, 3, 3), ((0, 1), ((0, 0), (0, 0)), (1, 1), 1)),
        ((1, 2, 5, 5), (3, 2, 3, 3), ((1, 1), ((0, -1), (0, 0)), (1, 1), 1)),
        ((1, 2, 5, 5), (3, 2, 0, 3), ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
        ((2, 5, 5), (3, 2, 3, 3), ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
    ],
)
def test_nonsense_is_refused(x, w, arguments):
    with pytest.raises(ValueError, match="conv2d: "):
        conv2d(np.zeros(x), np.zeros(w), None, *arguments)
    with pytest.raises(ValueError, match="conv2d_input_grad: "):
        conv2d_input_grad(np.zeros((1, 3, 3, 3)), np.zeros(w), x, *arguments)
    with pytest.raises(ValueError, match="conv2d_weight_grad: "):
        conv2d_weight_grad(np.zeros((1, 3, 3, 3)), np.zeros(x), w, *arguments)


def test_wrong_gradient_and_bias_are_refused():
    plain = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    x, w, g = np.zeros((1, 2, 5, 5)), np.zeros((3, 2, 3, 3)), np.zeros((1, 3, 3, 4))
    with pytest.raises(ValueError, match="bias expects shape"):
        conv2d(x, w, np.zeros(2), *plain)
    with pytest.raises(ValueError, match="gradient expects"):
        conv2d_input_grad(g, w, x.shape, *plain)
    with pytest.raises(ValueError, match="gradient expects"):
        conv2d_weight_grad(g, x, w.shape, *plain)
