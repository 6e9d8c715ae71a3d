"""Elementwise kernels and matrix products, on both sides of the line between small and large."""

from __future__ import annotations

from functools import partial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import laid_out, layouts

from tinygrad_cnn.kernels import blas, buffers, elementwise, gemm
from tinygrad_cnn.kernels.elementwise import (
    apply,
    blockwise,
    blockwise_sum,
    masked,
    number,
    relu,
    relu_grad,
    where,
)
from tinygrad_cnn.kernels.gemm import matmul

dtypes = st.sampled_from([np.float16, np.float32, np.float64, np.longdouble, np.int64, np.int32, np.int8])
limits = pytest.mark.parametrize("large", [8, 1 << 18])


def limit(large):
    """Take arrays from `large` elements on for large, and cut them into blocks of a third."""
    return mock.patch.multiple(
        elementwise,
        _MIDDLE=min(8, large),
        _LARGE=large,
        _BLOCK=max(1, large // 3),
        _STEPS_BLOCK=large,
        _SUM_BLOCK=large,
    )


@st.composite
def images(draw):
    dtype = draw(dtypes)
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=4, max_size=4)))
    x = np.random.default_rng(draw(st.integers(0, 99))).integers(-3, 4, shape).astype(dtype)
    if np.dtype(dtype).kind == "f" and draw(st.booleans()):
        special = [np.nan, np.inf, -np.inf, -0.0]
        x.reshape(-1)[::3] = np.resize(special, x.reshape(-1)[::3].shape)
    return laid_out(x, draw(layouts))


@limits
@given(x=images())
def test_relu_is_max_with_zero(large, x):
    with limit(large):
        y = relu(x)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, np.maximum(x, 0))


@limits
@given(y=images(), layout=layouts)
def test_relu_gradient_selects_exactly(large, y, layout):
    g = np.arange(1, y.size + 1).astype(y.dtype).reshape(y.shape)
    if g.dtype.kind == "f":
        g[..., :1] = np.inf
        g[..., 1:2] = np.nan
    g = laid_out(g, layout)
    with limit(large):
        result = relu_grad(g, y)
    assert result.dtype == g.dtype
    np.testing.assert_array_equal(result, np.where(y > 0, g, 0))


@limits
@given(x=images(), layout=layouts)
def test_apply_is_the_ufunc(large, x, layout):
    other = laid_out(np.ones(x.shape, np.float32), layout)
    with limit(large), np.errstate(all="ignore"):
        for function, arrays in [(np.square, (x,)), (np.add, (x, other)), (np.add, (x, x)), (np.sin, (x,))]:
            expected = function(*arrays)
            result = apply(function, *arrays)
            assert result.dtype == expected.dtype
            np.testing.assert_array_equal(result, expected)


@limits
@given(x=images(), sizes=st.tuples(*[st.booleans()] * 4), layout=layouts)
def test_apply_broadcasts(large, x, sizes, layout):
    other = laid_out(x[tuple(slice(None) if whole else slice(1) for whole in sizes)], layout)
    with limit(large), mock.patch.object(buffers, "SMALLEST", large), np.errstate(all="ignore"):
        for a, b in [(x, other), (other, x), (x, 2), (2, x), (x, other.reshape(-1)[:1].reshape(()))] if x.size else []:
            for function in (np.add, np.maximum, np.less):
                expected = function(a, b)
                result = apply(function, a, b)
                assert result.dtype == expected.dtype
                np.testing.assert_array_equal(result, expected)


def test_numbers_keep_their_sign():
    for value in (0.0, -0.0, 0, 1.5):
        assert np.signbit(number(value, np.dtype(np.float32))) == np.signbit(value)


@limits
@given(x=images(), layout=layouts)
def test_where_chooses_exactly(large, x, layout):
    with np.errstate(invalid="ignore"):
        condition, other = laid_out(x > 0, layout), laid_out(x + x, layout)
    with limit(large):
        for a, b in [(x, other), (x, x.dtype.type(3)), (0, x), (x.reshape(-1)[:1].reshape(-1, 1), other)]:
            if np.size(a):
                np.testing.assert_array_equal(where(condition, a, b), np.where(condition, a, b))
        np.testing.assert_array_equal(where(condition, 1.5, 2), np.where(condition, 1.5, 2))


def _steps(x, y, out, *, factor):
    """``x exp(y) factor``, in steps, the last of which uses `out`."""
    yield np.exp, y, out
    yield np.multiply, out, x, out
    yield partial(np.multiply, out, factor, out=out)


@limits
@given(x=images(), layout=layouts)
def test_functions_of_several_steps_block_by_block(large, x, layout):
    if x.dtype.kind == "f":
        y = laid_out(np.abs(np.nan_to_num(x, posinf=1, neginf=1)), layout)
        with limit(large), np.errstate(all="ignore"):
            for first in (x, x.dtype.type(2), np.broadcast_to(x[:, :1], x.shape)):
                result = blockwise(_steps, first, y, factor=0.5)
                assert result.dtype == x.dtype
                np.testing.assert_allclose(result, first * np.exp(y) * 0.5, rtol=4 * np.finfo(x.dtype).eps)


@limits
@given(x=images(), layout=layouts)
def test_the_sum_of_several_steps_block_by_block(large, x, layout):
    if x.dtype.kind == "f" and x.dtype != np.float16:
        x = np.nan_to_num(x, posinf=1, neginf=1)
        y = laid_out(x + 1, layout)
        with limit(large):
            result = blockwise_sum(_steps, x, y, factor=0.5)
        assert result.dtype == x.dtype
        np.testing.assert_allclose(result, np.sum(x * np.exp(y) * 0.5), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,), (2, 0, 3), (1 << 19,), (1, 1, 600, 600)])
def test_every_number_of_dimensions(shape):
    x = np.random.default_rng(0).standard_normal(shape, np.float32) if shape else np.asarray(np.float32(-1))
    assert relu(x).shape == shape
    np.testing.assert_array_equal(relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(relu_grad(x, x), np.where(x > 0, x, 0))
    np.testing.assert_array_equal(apply(np.negative, x), -x)


@limits
def test_layout_is_kept(large):
    x = laid_out(np.ones((4, 3, 5, 5), np.float32), "channels_last")
    with limit(large):
        for y in (relu(x), relu_grad(x, x), apply(np.exp, x), apply(np.add, x, x)):
            assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@given(
    st.tuples(st.integers(0, 40), st.integers(0, 40) | st.integers(100, 400), st.integers(0, 40)),
    st.sampled_from(["", "a", "b", "ab"]),
    st.sampled_from([np.float32, np.float64, np.int64]),
    st.booleans(),
    st.sampled_from([10, 500]),
)
def test_matmul_is_the_product(sizes, transposed, dtype, with_out, locked):
    m, k, n = sizes
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype(dtype) for shape in ((m, k), (k, n)))
    if "a" in transposed:
        a = np.ascontiguousarray(a.T).T
    if "b" in transposed:
        b = np.ascontiguousarray(b.T).T
    expected = np.einsum("ik,kj->ij", a, b)
    with (
        mock.patch.multiple(gemm, SMALL_WORK=500, LOCKED=locked, shares_of=lambda work: work // 100 + 1),
        mock.patch.object(blas, "LOCKED", locked),
    ):
        out = np.empty((m, n), dtype) if with_out else None
        result = matmul(a, b, out=out)
    assert out is None or result is out
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("locked", [0, 500])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((20, 30), (30,)),
        ((30,), (1, 30, 9)),
        ((30,), (4, 30, 9)),
        ((1, 5, 30), (30,)),
        ((6, 30), (30, 7)),
        ((1, 30), (1, 30, 9)),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_products_that_let_others_run_are_the_same(a, b, transposed, locked):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in (a, b))
    if transposed and a.ndim > 1:
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
    expected = np.matmul(a, b)
    out, dots = np.empty_like(expected), np.empty(a.shape[:-1], np.float32)
    with mock.patch.object(blas, "LOCKED", locked):
        blas.product(a, b, out)()
        blas.dot_products(a, a, dots)()
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(dots, (a * a).sum(-1))


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((5, 1, 20, 30), (6, 30, 2)), ((80,), (80,))],
)
def test_other_products_are_numpys(a, b):
    a, b = np.arange(np.prod(a)).reshape(a), np.arange(np.prod(b)).reshape(b)
    np.testing.assert_array_equal(matmul(a, b), np.matmul(a, b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((6, 20, 30), (6, 30, 7)),
        ((5, 1, 20, 30), (6, 30, 2)),
        ((5, 20, 30), (30, 9)),
        ((20, 30), (7, 30, 9)),
        ((1, 1, 20, 30), (30, 9)),
        ((2, 0, 30), (30, 9)),
        ((40, 1), (1, 50)),
        ((3, 40, 1), (3, 1, 50)),
        ((4, 1, 40, 1), (3, 1, 50)),
        ((5, 1), (3, 1, 300)),
        ((2, 0, 1), (1, 50)),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_stacks_of_matrices_are_multiplied_one_by_one(a, b, transposed):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in (a, b))
    if transposed:
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
    with mock.patch.multiple(gemm, SMALL_WORK=500, _LARGE=500, shares_of=lambda work: work // 100 + 1):
        for out in (None, np.empty(np.matmul(a, b).shape, np.float32)):
            result = matmul(a, b, out=out)
            assert out is None or result is out
            np.testing.assert_array_equal(result, np.matmul(a, b))


def test_mixed_dtypes_and_wrong_shapes():
    a, b = np.ones((100, 100), np.float32), np.ones((100, 100), np.float64)
    assert matmul(a, b).dtype == np.float64
    with pytest.raises(ValueError, match="matmul"):
        matmul(a, np.ones((99, 100), np.float32))
    with pytest.raises(ValueError, match="matmul"):
        matmul(a, np.ones((9, 1), np.float32))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (70, 90, 100)])
def test_masked_keeps_what_a_mask_says_and_nothing_of_the_rest(dtype, shape):
    x = np.full(shape, np.nan if dtype.startswith("float") else 1).astype(dtype)
    keep = np.tri(*shape[-2:], dtype=bool)
    for array in (x, np.asfortranarray(x)):
        y = masked(array, keep)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, np.where(keep, x, x.dtype.type(0)))
