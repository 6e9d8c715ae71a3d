"""Operations where arrays have no elements, or numbers have no neighbours: nothing, infinity, half precision."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F

RANDOM = np.random.default_rng(0)


# --------------------------------------------------------------------------------------------- nothing


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(6, 4, 0), (0, 5), (3, 0), (2, 3, 0, 7)])
def test_the_cross_entropy_of_nothing_is_0_and_so_is_its_gradient(shape, smoothing):
    samples = (shape[0], *shape[2:])
    for target in (tg.full(samples, -100, dtype=tg.int64), tg.zeros(*shape)):
        x = tg.zeros(*shape, requires_grad=True)
        each = F.cross_entropy(x, target, reduction="none", label_smoothing=smoothing)
        assert each.shape == samples
        assert not each.data.any()
        F.cross_entropy(x, target, reduction="sum", label_smoothing=smoothing).backward()
        assert x.grad.shape == shape


# -------------------------------------------------------------------------------------------- infinity

LARGEST = np.finfo(np.float32).max


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, 2e38])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_smooth_activations_of_the_largest_numbers_are_finite(number, requires_grad):
    x = tg.full((4000,), number, requires_grad=requires_grad)
    limit = max(number, 0.0)
    for function in (F.gelu, lambda x: F.gelu(x, "tanh"), F.silu, F.mish, F.softplus):
        np.testing.assert_allclose(function(x).data, limit, rtol=1e-6)


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, 2e38])
def test_losses_of_the_largest_differences_are_finite(number):
    x, zeros = tg.full((4,), number), tg.zeros(4)
    np.testing.assert_allclose(F.huber_loss(x, zeros, reduction="none", delta=0.5).data, abs(number) / 2, rtol=1e-6)
    np.testing.assert_allclose(F.smooth_l1_loss(x, zeros, reduction="none").data, abs(number), rtol=1e-6)


@pytest.mark.parametrize("weights", [[np.inf, 0.5], [np.nan, -2.0], [-np.inf, 1.0]])
@pytest.mark.parametrize("count", [4, 70_000])
def test_a_weight_of_prelu_that_is_no_number_leaves_positive_numbers_alone(weights, count):
    x = RANDOM.standard_normal((2, 2, count)).astype(np.float32)
    weight = np.array(weights, np.float32)
    y = F.prelu(tg.tensor(x), tg.tensor(weight)).data
    np.testing.assert_array_equal(y, np.where(x > 0, x, weight[:, None] * x))


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("channels", [1, 40])
@pytest.mark.parametrize("shape", [(11, 17), (9, 7)])
@pytest.mark.parametrize(
    "pooled",
    [lambda x: F.adaptive_avg_pool2d(x, (5, 4)), lambda x: F.interpolate(x, (5, 4), mode="area")],
    ids=["adaptive_avg_pool2d", "interpolate"],
)
def test_a_mean_that_is_no_number_is_that_of_its_window_alone(pooled, shape, channels, number):
    x = RANDOM.standard_normal((2, channels, *shape)).astype(np.float32)
    x[0, 0, 3, 5] = number
    y = pooled(tg.tensor(x)).data
    for i in range(5):
        for j in range(4):
            rows, columns = (
                slice(n * size // count, -((n + 1) * size // -count))
                for n, size, count in zip((i, j), shape, (5, 4), strict=True)
            )
            np.testing.assert_allclose(y[:, :, i, j], x[:, :, rows, columns].mean((2, 3)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("shape", [(1, 11, 17), (40, 30, 9), (3, 5, 6)])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "resized",
    [
        F.adaptive_avg_pool2d,
        lambda x, size: F.interpolate(x, size, mode="area"),
        lambda x, size: F.interpolate(x, size, mode="bilinear"),
        lambda x, size: F.interpolate(x, size, mode="nearest"),
    ],
    ids=["adaptive_avg_pool2d", "area", "bilinear", "nearest"],
)
def test_a_cotangent_that_is_no_number_goes_where_its_pixel_came_from(resized, shape, channels_last, number):
    x = tg.zeros(1, *shape, requires_grad=True)
    g = np.zeros((1, 18, 7, shape[0]) if channels_last else (1, shape[0], 18, 7), np.float32)
    g = np.moveaxis(g, -1, 1) if channels_last else g
    y = resized(x, (18, 7))
    g[0, 0, 3, 5] = 1
    (weights,) = tg.autograd.grad(y, x, g, retain_graph=True)
    g[0, 0, 3, 5] = number
    (found,) = tg.autograd.grad(y, x, g)
    np.testing.assert_array_equal(found.data, np.where(weights.data > 0, np.float32(number), 0))


@pytest.mark.parametrize("number", [np.inf, np.nan])
@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("channels", [1, 300])
@pytest.mark.parametrize("size", [4, 7, 12])
def test_pixels_in_their_old_place_are_not_mixed_with_their_neighbours(size, channels, row, number):
    x = np.zeros((1, 4, 4, channels), np.float32)
    x[:, row] = number
    y = F.interpolate(tg.tensor(np.moveaxis(x, -1, 1)), size, mode="bilinear", align_corners=size == 7).data
    kept = slice(1, None, 3) if size == 12 else slice(None, None, size // 3)
    np.testing.assert_array_equal(y[:, :, kept, kept], np.moveaxis(x, -1, 1))
    assert not y[:, :, -1].any() or row == 3
    assert not y[:, :, 0].any() or row == 0


@pytest.mark.parametrize("number", [LARGEST, -2e38])
@pytest.mark.parametrize("size", [4, 100])
@pytest.mark.parametrize("mode", ["bilinear", "area"])
def test_images_of_half_the_size_do_not_overflow(mode, size, number):
    x = tg.full((8, 8, size, size), number)
    np.testing.assert_allclose(F.interpolate(x, scale_factor=0.5, mode=mode).data, number, rtol=1e-6)


@pytest.mark.parametrize("number", [np.inf, np.nan])
@pytest.mark.parametrize("width", [3, 300])
def test_pixels_that_no_output_shows_have_no_gradient_whatever_that_of_others_is(width, number):
    x = tg.zeros(1, 2, 10, width, requires_grad=True)
    g = np.full((1, 2, 5, width), number, np.float32)
    F.interpolate(x, (5, width)).backward(g)
    assert not x.grad.data[:, :, 1::2].any()
    np.testing.assert_array_equal(x.grad.data[:, :, ::2], g)


# -------------------------------------------------------------------------------------- half precision


def half(*shape, scale=1.0):
    return tg.tensor((scale * RANDOM.standard_normal(shape)).astype(np.float16), requires_grad=True)


@pytest.mark.parametrize("shape", [(5000, 3), (5000,), (5, 5000), (2, 5000, 2)])
def test_sums_of_halves_go_on_beyond_2048(shape):
    """There 1 is half of the distance between neighbours: a sum in half precision would stay."""
    x = tg.ones(*shape, dtype=tg.float16, requires_grad=True)
    dim = shape.index(5000)
    assert (x.sum(dim).data == 5000).all()
    assert (x.cumsum(dim).narrow(dim, 4999, 1).data == 5000).all()
    rows = (5000,) + (1,) * (len(shape) - dim - 1)
    (g,) = tg.autograd.grad(x.cumsum(dim), x, np.ones(shape, np.float16))
    np.testing.assert_allclose(g.data, np.broadcast_to(np.arange(5000, 0, -1).reshape(rows), shape), rtol=1e-3)


@pytest.mark.parametrize(
    "repeated",
    [
        lambda x: x + tg.zeros(5000, 3, dtype=tg.float16),
        lambda x: x.expand(5000, 3),
        lambda x: x[np.zeros(5000, int)],
        lambda x: x.gather(0, tg.zeros(5000, 3, dtype=tg.int64)),
        lambda x: tg.scatter_add(
            tg.zeros(1, 3, dtype=tg.float16), 0, tg.zeros(5000, 3, dtype=tg.int64), x.expand(5000, 3)
        ),
    ],
    ids=["add", "expand", "getitem", "gather", "scatter_add"],
)
def test_the_gradient_of_halves_that_are_used_5000_times_is_5000(repeated):
    x = tg.ones(1, 3, dtype=tg.float16, requires_grad=True)
    repeated(x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, 5000)


def test_many_equal_halves_share_the_gradient_of_their_maximum():
    x = tg.ones(70_000, dtype=tg.float16, requires_grad=True)
    x.amax().backward()
    np.testing.assert_array_equal(x.grad.data, np.float16(1 / 70_000))


@pytest.mark.parametrize(
    "function",
    [
        tg.mean,
        lambda x: tg.mean(x, 0),
        tg.var,
        lambda x: tg.std(x, 0),
        tg.norm,
        lambda x: tg.norm(x, 1, 1),
        lambda x: tg.logsumexp(x, (0, 1)),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.layer_norm(x, (5,)),
        lambda x: F.group_norm(x, 5),
        lambda x: F.softmax(x, 0) * 10_000,
        lambda x: F.log_softmax(x, 0),
    ],
)
def test_sums_of_many_or_large_halves_do_not_overflow_on_their_way(function):
    for x in (half(70_000, 5), half(300, 5, scale=100), tg.ones(70_000, 5, dtype=tg.float16, requires_grad=True)):
        wide = x.detach().float().requires_grad_()
        y, expected = function(x), function(wide)
        assert y.dtype == tg.float16
        with np.errstate(over="ignore"):  # results that no half can be are infinite
            np.testing.assert_allclose(y.data, expected.data.astype(np.float16), rtol=2e-3, atol=2e-3)
        y.backward(np.ones(y.shape, np.float16))
        expected.backward(np.ones(y.shape, np.float32))
        assert x.grad.dtype == tg.float16
        np.testing.assert_allclose(x.grad.data, wide.grad.data, rtol=2e-2, atol=2e-3)


def test_running_statistics_of_halves_are_right():
    x = half(70_000, 2, scale=100)
    mean, var = tg.zeros(2, dtype=tg.float16), tg.ones(2, dtype=tg.float16)
    F.batch_norm(x, mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(mean.data, x.data.mean(0, np.float32), atol=1e-2)
    np.testing.assert_allclose(var.data, x.data.var(0, np.float32), rtol=1e-2)


def test_the_cross_entropy_of_an_unlikely_class_among_many_is_finite_in_halves():
    x = np.zeros((3, 100), np.float16)
    x[:, 7] = -10, -20, -1
    exact = np.log(np.exp(x.astype(float)).sum(1)) - x[:, 7]
    losses = F.cross_entropy(tg.tensor(x), tg.full((3,), 7, dtype=tg.int64), reduction="none")
    np.testing.assert_allclose(losses.data, exact, rtol=2e-3)
