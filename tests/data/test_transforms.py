from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.autograd import no_grad
from tinygrad_cnn.data.batching import batch_transform
from tinygrad_cnn.data.transforms import Compose, Lambda, Normalize, RandomCrop, ToTensor
from tinygrad_cnn.tensor import Tensor

GREY = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
COLOUR = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


@given(GREY | COLOUR)
def test_to_tensor_scales_to_one_and_puts_channels_first(picture):
    result = ToTensor()(picture)
    assert isinstance(result, Tensor)
    assert result.dtype == np.float32
    expected = np.moveaxis(np.atleast_3d(picture), -1, 0).astype(np.float32) / np.float32(255)
    assert result.shape == expected.shape
    assert np.array_equal(result.data, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.bool_])
def test_to_tensor_keeps_other_dtypes_and_copies(dtype):
    picture = np.ones((2, 3), dtype)
    result = ToTensor()(picture)
    assert result.dtype == dtype
    assert result.shape == (1, 2, 3)
    result.data[...] = 0
    assert picture.all()


class Picture:
    """What Pillow's images offer."""

    __array_interface__ = np.arange(6, dtype=np.uint8).reshape(2, 3).__array_interface__


def test_to_tensor_takes_what_numpy_takes_for_an_array():
    assert ToTensor()(Picture()).shape == (1, 2, 3)


def test_to_tensor_takes_black_and_white_for_numbers():
    image = pytest.importorskip("PIL.Image").fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1")
    tensor = ToTensor()(image)
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [[[0, 1, 0]]]


@pytest.mark.parametrize("picture", [[[1, 2]], 3, "picture", Tensor(np.zeros((2, 2)))])
def test_to_tensor_refuses_what_is_no_picture(picture):
    with pytest.raises(TypeError, match="ToTensor: picture expects"):
        ToTensor()(picture)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4), ()])
def test_to_tensor_refuses_other_dimensions(shape):
    with pytest.raises(ValueError, match="ToTensor: picture expects 2 or 3 dimensions"):
        ToTensor()(np.zeros(shape))


@given(st.integers(1, 3), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_normalize_shifts_and_scales_each_channel(channels, dtype, wrapped):
    mean, std = np.arange(1.0, channels + 1), np.arange(2.0, channels + 2)
    picture = np.random.default_rng(0).random((channels, 4, 5)).astype(dtype)
    result = Normalize(mean.tolist(), std.tolist())(Tensor(picture) if wrapped else picture)
    assert isinstance(result, Tensor if wrapped else np.ndarray)
    assert result.dtype == dtype
    expected = (picture - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(np.asarray(result.data if wrapped else result), expected, rtol=1e-6)


def test_normalize_leaves_its_input_alone_unless_asked():
    picture = Tensor(np.ones((1, 2, 2), np.float32))
    Normalize(0.5, 0.5)(picture)
    assert picture.data.max() == 1
    array = picture.data
    assert Normalize((3,), (1,), inplace=True)(picture) is picture
    assert array.max() == -2
    assert Normalize(0, 1, inplace=True)(array) is array


@pytest.mark.parametrize(("mean", "std"), [((0,), (0,)), (0.5, [1, 0]), ("a", 1), ((), 1), ([[1]], 1), (1, None)])
def test_normalize_refuses_bad_statistics(mean, std):
    with pytest.raises(ValueError, match=r"Normalize: (mean|std) expects"):
        Normalize(mean, std)


def test_normalize_refuses_bad_pictures():
    normalize = Normalize((0.1, 0.2), (1, 1))
    with pytest.raises(ValueError, match=r"mean expects 3 channel\(s\) but got 2"):
        normalize(np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match=r"mean expects 1 channel\(s\) but got 2"):
        normalize(np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match=r"expects \(..., C, H, W\)"):
        normalize(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="std expects no zero but 1e-50 is one in float32"):
        Normalize(0, 1e-50)(np.zeros((1, 4, 4), np.float32))
    for picture in (np.zeros((2, 4, 4), np.uint8), [[[1.0]]], Tensor(np.zeros((2, 4, 4), np.int64))):
        with pytest.raises(TypeError, match=r"floating tensor .* ToTensor\(\) makes one"):
            normalize(picture)


@pytest.mark.parametrize("transform", [Normalize(0.5, 0.5), Normalize(0.5, 0.5, inplace=True), RandomCrop(2)])
def test_no_gradient_is_lost_without_a_word(transform):
    picture = Tensor(np.ones((1, 3, 3), np.float32), requires_grad=True)
    with pytest.raises(RuntimeError, match="picture requires a gradient, which a transform would lose"):
        transform(picture)
    assert (picture.data == 1).all()
    with no_grad():
        transform(picture)


def test_compose_applies_in_order():
    assert Compose([lambda x: x + 1, lambda x: x * 10])(1) == 20
    assert Compose([])(5) == 5


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3)))
def test_a_batch_is_its_samples(pictures):
    transform = Compose([ToTensor(), Compose([Normalize((0.1307,), (0.3081,))])])
    on_batch = batch_transform(transform)
    batch, samples = on_batch(pictures), np.stack([transform(picture).data for picture in pictures])
    assert np.array_equal(batch.data, samples)
    assert batch.dtype == np.float32


@pytest.mark.parametrize(
    ("transform", "samples", "error"),
    [
        (Compose([ToTensor(), ToTensor()]), np.zeros((2, 3, 3), np.uint8), TypeError),
        (ToTensor(), np.zeros((2, 3)), ValueError),
        (Normalize(0, 1), np.zeros((2, 3, 3)), ValueError),
        (Normalize(0, 1), np.zeros((2, 1, 3, 3), np.uint8), TypeError),
        (Compose([ToTensor(), Normalize((0, 0), (1, 1))]), np.zeros((2, 3, 3), np.uint8), ValueError),
    ],
)
def test_a_batch_is_refused_as_its_samples_are(transform, samples, error):
    with pytest.raises(error):
        transform(samples[0])
    with pytest.raises(error):
        batch_transform(transform)(samples)


class Inverted(Normalize):
    def __call__(self, picture):
        return Tensor(1 - picture.data)


class Doubled:
    def __call__(self, x):
        return 2 * x

    def on_batch(self, x):
        return 2 * x


def test_who_works_on_batches():
    assert batch_transform(None)(3) == 3
    assert batch_transform(Compose([ToTensor(), Doubled()])) is not None
    assert batch_transform(Compose([])) is not None
    for alone in (
        Lambda(abs),
        abs,
        Inverted(0, 1),
        Compose([ToTensor(), Lambda(abs)]),
        Compose([Inverted(0, 1)]),
    ):
        assert batch_transform(alone) is None


def test_transforms_look_like_torchvisions():
    assert repr(Compose([ToTensor(), Normalize((0.1307,), (0.3081,)), Lambda(abs)])) == (
        "Compose(\n    ToTensor()\n    Normalize(mean=(0.1307,), std=(0.3081,))\n    Lambda()\n)"
    )


def test_what_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="Compose: transforms expects a sequence but got ToTensor"):
        Compose(ToTensor())
    with pytest.raises(TypeError, match="Compose: transforms expects callables but got int"):
        Compose([ToTensor(), 3])
    with pytest.raises(TypeError, match="Lambda: lambd expects a callable"):
        Lambda(3)
    assert Lambda(lambda x: x + 1)(1) == 2
