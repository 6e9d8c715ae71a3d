"""Pooling, its derivatives and their adjoints, against loops over windows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import integers_array, laid_out, layouts

from tinygrad_cnn.kernels.pool import (
    are_tiles,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_positions,
    max_pool2d_scatter,
    max_pool2d_scatter_tiles,
    max_pool2d_winners,
)
from tinygrad_cnn.kernels.shapes import output_size
from tinygrad_cnn.kernels.windows import Cover, axes


def windows(size, kernel, stride, padding, dilation, ceil_mode):
    """The positions inside the input that each window sees, and the ends of the window."""
    count = output_size(size, kernel, stride, (padding, padding), dilation, ceil_mode)
    starts = [i * stride - padding for i in range(count)]
    return [[p for p in range(s, s + dilation * kernel, dilation) if 0 <= p < size] for s in starts], starts


@st.composite
def pool_cases(draw, dilated=True):
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    if draw(st.booleans()):
        kernel = stride = draw(pair(1, 3))
    else:
        kernel, stride = draw(pair(1, 3)), draw(pair(1, 3))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(pair(1, 2)) if dilated else (1, 1)
    size = [
        max(1, (k - 1) * d + 1 - p) + draw(st.integers(0, 5)) for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    shape = (draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 3, 9])), *size)
    x = integers_array(shape, draw(st.integers(0, 1000)), draw(st.sampled_from([np.float32, np.float64])), low=0)
    if draw(st.booleans()):
        x[np.random.default_rng(0).random(shape) < 0.1] = np.nan
    return laid_out(x, draw(layouts)), kernel, stride, padding, dilation, draw(st.booleans())


def naive_max(x, kernel, stride, padding, dilation, ceil_mode):
    """Maxima and their indices by PyTorch's rule: a later element wins if it is larger or NaN."""
    (rows, _), (columns, _) = (
        windows(*arguments, ceil_mode) for arguments in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for n, c, p, q in np.ndindex(*y.shape):
        best = -np.inf
        for h, w in itertools.product(rows[p], columns[q]):
            value = x[n, c, h, w]
            if value > best or np.isnan(value):
                best, indices[n, c, p, q] = value, h * x.shape[3] + w
        y[n, c, p, q] = best
    return y, indices


@given(pool_cases())
def test_max_pooling_is_its_definition(case):
    y, indices = naive_max(*case)
    x, windows = case[0], axes("max_pool2d", case[0].shape, *case[1:])
    maxima, winners = max_pool2d_winners(x, *windows)
    for found in (max_pool2d(x, *windows), maxima):
        np.testing.assert_array_equal(found, y)
        assert found.dtype == x.dtype
    np.testing.assert_array_equal(max_pool2d(x - 2, *windows, rectified=True), np.maximum(y - 2, 0))
    np.testing.assert_array_equal(max_pool2d_positions(winners, *windows), indices)


@given(pool_cases(), layouts, layouts)
def test_gather_picks_and_scatter_adds_at_the_indices(case, first, second):
    x = case[0]
    windows = axes("max_pool2d", x.shape, *case[1:])
    y, winners = max_pool2d_winners(x, *windows)
    indices = max_pool2d_positions(winners, *windows)
    planes = indices.reshape(*y.shape[:2], y.shape[2] * y.shape[3])
    v = laid_out(integers_array(x.shape, 1, x.dtype.type), first)
    g = laid_out(integers_array(y.shape, 2, x.dtype.type), second)
    seen = np.isfinite(y) | np.isnan(y)  # a window may lie in the padding altogether
    gathered = np.take_along_axis(v.reshape(*x.shape[:2], x.shape[2] * x.shape[3]), planes, 2).reshape(y.shape)
    np.testing.assert_array_equal(max_pool2d_gather(v, winners, *windows), np.where(seen, gathered, 0))
    scattered = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]), x.dtype)
    for n, c, p, q in np.ndindex(*y.shape):
        if seen[n, c, p, q]:
            scattered[n, c, indices[n, c, p, q]] += g[n, c, p, q]
    np.testing.assert_array_equal(max_pool2d_scatter(g, winners, *windows), scattered.reshape(x.shape))
    if are_tiles(x.dtype, *windows):
        np.testing.assert_array_equal(max_pool2d_scatter_tiles(g, x, y, *windows), scattered.reshape(x.shape))
        kept = max_pool2d_scatter(np.where(y > 2, g, 0), winners, *windows)
        by_positive = max_pool2d_scatter_tiles(g, x - 2, np.maximum(y - 2, 0), *windows, rectified=True)
        np.testing.assert_array_equal(by_positive, kept)


@st.composite
def covers(draw):
    """An image, and windows that cover it, evenly spaced or not."""
    n, c, h, w = (draw(st.integers(low, high)) for low, high in ((0, 2), (1, 3), (1, 13), (1, 13)))
    x = integers_array((n, c, h, w), draw(st.integers(0, 999)), np.float32)
    if draw(st.booleans()):
        x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    return laid_out(x, draw(layouts)), (Cover(h, draw(st.integers(0, 15))), Cover(w, draw(st.integers(0, 15))))


@given(covers())
def test_covers_have_the_first_maximum_of_each_window_or_its_last_nan(case):
    x, windows = case
    h, w = x.shape[2:]
    y, winners = max_pool2d_winners(x, *windows)
    indices = max_pool2d_positions(winners, *windows)
    np.testing.assert_array_equal(max_pool2d(x, *windows), y)
    for n, c, i, j in np.ndindex(*y.shape):
        rows, columns = (
            range(k * each.size // each.count, -((k + 1) * each.size // -each.count))
            for k, each in zip((i, j), windows, strict=True)
        )
        best, place = -np.inf, 0
        for r, s in itertools.product(rows, columns):
            if x[n, c, r, s] > best or np.isnan(x[n, c, r, s]):
                best, place = x[n, c, r, s], r * w + s
        np.testing.assert_array_equal(y[n, c, i, j], best)
        assert indices[n, c, i, j] == place
    assert max_pool2d_scatter(np.ones_like(y), winners, *windows).sum() == y.size
    plane = np.broadcast_to(np.arange(h * w, dtype=np.float32).reshape(h, w), x.shape)
    np.testing.assert_array_equal(max_pool2d_gather(plane, winners, *windows), indices)


def test_points_of_large_windows_need_more_than_a_byte():
    x = np.zeros((1, 1, 20, 20), np.float32)
    x[0, 0, 19, 3] = 1
    windows = axes("max_pool2d", x.shape, (20, 20), (1, 1), (0, 0), (1, 1), False)
    y, winners = max_pool2d_winners(x, *windows)
    assert max_pool2d_positions(winners, *windows).item() == 19 * 20 + 3
    assert y.item() == 1


@given(pool_cases())
def test_max_pooling_commutes_with_monotone_functions(case):
    x = case[0]
    windows = axes("max_pool2d", x.shape, *case[1:])
    np.testing.assert_array_equal(max_pool2d(2 * x + 1, *windows), 2 * max_pool2d(x, *windows) + 1)


@given(pool_cases(dilated=False), st.booleans(), st.sampled_from([None, None, 3, -2]))
def test_average_pooling_is_its_definition(case, count_include_pad, override):
    x, kernel, stride, padding, _, ceil_mode = case
    (rows, tops), (columns, lefts) = (
        windows(*arguments, 1, ceil_mode) for arguments in zip(x.shape[2:], kernel, stride, padding, strict=True)
    )
    y = avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, override)
    assert y.shape == (*x.shape[:2], len(rows), len(columns))
    assert y.dtype == x.dtype
    for p, q in itertools.product(range(len(rows)), range(len(columns))):
        if override is not None:
            count = override
        elif count_include_pad:
            height = min(tops[p] + kernel[0], x.shape[2] + padding[0]) - tops[p]
            count = height * (min(lefts[q] + kernel[1], x.shape[3] + padding[1]) - lefts[q])
        else:
            count = len(rows[p]) * len(columns[q])
        total = x[:, :, rows[p]][:, :, :, columns[q]].sum(axis=(2, 3))
        np.testing.assert_allclose(y[:, :, p, q], total / count, rtol=1e-6)


@given(pool_cases(dilated=False), st.booleans(), layouts)
def test_average_pooling_gradient_is_its_adjoint(case, count_include_pad, layout):
    x, kernel, stride, padding, _, ceil_mode = case
    x = np.nan_to_num(x).astype(np.float64)
    arguments = (kernel, stride, padding, ceil_mode, count_include_pad, None)
    y = avg_pool2d(x, *arguments)
    g = laid_out(integers_array(y.shape, 3), layout)
    gx = avg_pool2d_grad(g, x.shape, *arguments)
    assert gx.shape == x.shape
    np.testing.assert_allclose(np.sum(x * gx), np.sum(y * g), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_integers(dtype):
    x = np.arange(9, dtype=dtype).reshape(1, 1, 3, 3)
    arguments = ((2, 2), (1, 1), (0, 0), (1, 1), False)
    windows = axes("max_pool2d", x.shape, *arguments)
    y, winners = max_pool2d_winners(x, *windows)
    assert y.dtype == dtype
    assert y.tolist() == max_pool2d(x, *windows).tolist() == [[[[4, 5], [7, 8]]]]
    assert max_pool2d_positions(winners, *windows).tolist() == [[[[4, 5], [7, 8]]]]
    assert max_pool2d_gather(x, winners, *windows).tolist() == y.tolist()
    assert max_pool2d_scatter(y, winners, *windows).tolist() == [[[[0, 0, 0], [0, 4, 5], [0, 7, 8]]]]
    mean = avg_pool2d(x, (2, 2), (1, 1), (0, 0), False, True, None)
    assert mean.dtype == np.float32
    assert mean.tolist() == [[[[2, 3], [5, 6]]]]


def test_output_size_drops_windows_that_start_after_the_input():
    assert output_size(3, 2, 2, (1, 1), ceil_mode=True) == 2
    assert output_size(5, 2, 2, (0, 0), ceil_mode=True) == 3
    assert output_size(2, 3, 1, (0, 0)) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ((4, 2), (1, 1), (0, 0), (1, 1), False),
        ((2, 2), (0, 1), (0, 0), (1, 1), False),
        ((2, 2), (1, 1), (-1, 0), (1, 1), False),
        ((2, 2), (1, 1), (0, 0), (1, 3), False),
    ],
)
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError, match="max_pool2d: "):
        axes("max_pool2d", (1, 1, 3, 3), *arguments)


def test_wrong_shapes_are_refused():
    x = np.zeros((1, 1, 4, 4))
    y = np.zeros((1, 1, 2, 2))
    arguments = ((2, 2), (2, 2), (0, 0), (1, 1), False)
    windows = axes("max_pool2d", x.shape, *arguments)
    _, winners = max_pool2d_winners(x, *windows)
    with pytest.raises(ValueError, match="4 dimensions"):
        axes("max_pool2d", x[0].shape, *arguments)
    with pytest.raises(ValueError, match="gradient expects"):
        max_pool2d_scatter(x, winners, *windows)
    with pytest.raises(ValueError, match="values expects"):
        max_pool2d_gather(y, winners, *windows)
    with pytest.raises(ValueError, match="winners expects"):
        max_pool2d_gather(x, winners[..., 1:], *windows)
    with pytest.raises(ValueError, match="input expects"):
        max_pool2d_winners(y, *windows)
    for arguments in ((y, y, y), (y, x, x), (x, x, y)):
        with pytest.raises(ValueError, match=r"max_pool2d_scatter_tiles: .* expects"):
            max_pool2d_scatter_tiles(*arguments, *windows)
    with pytest.raises(ValueError, match="gradient expects"):
        avg_pool2d_grad(x, x.shape, (2, 2), (2, 2), (0, 0), False, True, None)
    with pytest.raises(ValueError, match="divisor_override"):
        avg_pool2d(x, (2, 2), (2, 2), (0, 0), False, True, 0)
