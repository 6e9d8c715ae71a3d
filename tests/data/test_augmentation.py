"""Random transforms: what they do to pictures, how they draw, and that a batch is its pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn import random
from tinygrad_cnn.data import DataLoader, datasets
from tinygrad_cnn.data.batching import batch_transform
from tinygrad_cnn.data.transforms import (
    Compose,
    ElasticTransform,
    InterpolationMode,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
    ToTensor,
)
from tinygrad_cnn.tensor import Tensor

SIDES = st.integers(1, 7)
BATCHES = hnp.arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 3), SIDES, SIDES))
MODES = pytest.mark.parametrize("mode", ["nearest", "bilinear"])

ALL = [
    RandomAffine(30, (0.2, 0.3), (0.5, 2), (5, 10, -5, 5), "bilinear", fill=3),
    RandomAffine((10, 20)),
    RandomRotation(45, "bilinear"),
    ElasticTransform(20.0, 1.5),
    ElasticTransform((20.0, 0.0), (1.0, 0.0), "nearest"),
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    RandomCrop((3, 4), padding=3),
    RandomCrop(10, padding_mode="edge", pad_if_needed=True),
    RandomErasing(),
    RandomErasing(0.7, value=9),
]
every_transform = pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)


def pictures(count=50, channels=1, height=9, width=9, dtype=np.float32, seed=0):
    values = np.random.default_rng(seed).random((count, channels, height, width)) * 200
    return values.astype(dtype)


# --- all of them


@every_transform
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_batch_is_its_pictures_drawn_one_after_the_other(transform, dtype):
    batch = pictures(6, 2, 8, 7, dtype)
    random.manual_seed(1)
    together = transform.on_batch(batch)
    random.manual_seed(1)
    assert np.array_equal(transform(batch), together)
    random.manual_seed(1)
    single = np.stack([transform(picture) for picture in batch])
    assert single.dtype == together.dtype == dtype
    np.testing.assert_allclose(single, together, rtol=1e-5, atol=1e-4)  # GEMM of another size, another last bit


@every_transform
def test_grey_pictures_need_no_channel(transform):
    grey = pictures(4, 1, 8, 7)[:, 0]
    random.manual_seed(2)
    expected = transform.on_batch(grey[:, None])
    random.manual_seed(2)
    assert np.array_equal(transform.on_batch(grey), expected[:, 0])
    assert transform(grey[0]).ndim == 2


@every_transform
def test_the_input_stays_as_it_is_and_tensors_stay_tensors(transform):
    batch = pictures(20, 3, 8, 7)
    before = batch.copy()
    result = transform(Tensor(batch))
    assert isinstance(result, Tensor)
    assert not np.shares_memory(result.data, batch)
    assert result.dtype == np.float32
    assert np.array_equal(batch, before)
    assert isinstance(transform(batch[0]), np.ndarray)


@every_transform
def test_channels_move_together_and_pictures_by_themselves(transform):
    batch = np.repeat(pictures(1, 1, 8, 8), 3, axis=1).repeat(40, axis=0)
    result = transform(batch)
    assert np.array_equal(result[:, 0], result[:, 1])
    assert np.array_equal(result[:, 0], result[:, 2])
    assert len(np.unique(result.reshape(40, -1), axis=0)) > 1


@every_transform
def test_the_seed_fixes_the_draws(transform):
    batch = pictures(40)
    random.manual_seed(3)
    first, second = transform(batch), transform(batch)
    random.manual_seed(3)
    assert np.array_equal(transform(batch), first)
    assert not np.array_equal(first, second)


@every_transform
@pytest.mark.parametrize(
    ("picture", "error"),
    [
        ([[1.0]], TypeError),
        (np.zeros((2, 2), complex), TypeError),
        (np.zeros(3), ValueError),
        (np.zeros((1, 1, 1, 1, 1)), ValueError),
    ],
)
def test_what_is_no_picture_is_refused(transform, picture, error):
    for call in (transform, transform.on_batch):
        with pytest.raises(error, match=f"{type(transform).__name__}: picture expects"):
            call(picture)


@every_transform
def test_colours_come_first(transform):
    """Pictures as CIFAR10 and ImageFolder hold them are refused: their last dimension is no width."""
    photographs = np.zeros((2, 8, 9, 3), np.uint8)
    for call, pictures in ((transform, photographs[0]), (transform, photographs), (transform.on_batch, photographs)):
        with pytest.raises(ValueError, match=f"{type(transform).__name__}: picture expects .* put ToTensor before it"):
            call(pictures)


def test_they_work_in_a_loader_on_whole_batches(monkeypatch):
    def refuse(self, index):
        raise AssertionError("asked for one sample")

    digits = datasets.Digits(train=False, transform=Compose([ToTensor(), *ALL[:7]]))
    assert batch_transform(digits.transform) is not None
    monkeypatch.setattr(datasets.ImageDataset, "__getitem__", refuse)
    assert next(iter(DataLoader(digits, 64)))[0].shape == (64, 1, 28, 28)


def test_they_look_like_torchvisions():
    assert repr(RandomAffine(10, (0.1, 0.1))) == (
        "RandomAffine(degrees=(-10.0, 10.0), translate=(0.1, 0.1), interpolation=nearest, fill=0)"
    )
    assert repr(RandomRotation(5)) == "RandomRotation(degrees=(-5.0, 5.0), interpolation=nearest, fill=0)"
    assert repr(RandomCrop(3, 4)) == "RandomCrop(size=(3, 3), padding=(4, 4, 4, 4), padding_mode=constant)"
    assert repr(RandomHorizontalFlip()) == "RandomHorizontalFlip(p=0.5)"
    assert repr(RandomErasing()) == "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0)"
    assert repr(ElasticTransform()) == (
        "ElasticTransform(alpha=(50.0, 50.0), sigma=(5.0, 5.0), interpolation=bilinear, fill=0)"
    )


# --- affine maps


@MODES
@given(BATCHES, st.sampled_from([np.uint8, np.float32]))
def test_an_affine_map_without_parameters_is_the_identity(mode, batch, dtype):
    batch = batch.astype(dtype)
    assert np.array_equal(RandomAffine(0, interpolation=mode)(batch), batch)
    assert np.array_equal(RandomAffine(0, (0, 0), (1, 1), 0, InterpolationMode(mode))(batch), batch)
    assert np.array_equal(RandomRotation(0, mode)(batch), batch)


@MODES
def test_a_shift_is_a_roll_with_the_filling(mode):
    batch, fill = pictures(200, 1, 10, 8), 5
    shifted = RandomAffine(0, (0.5, 0.2), interpolation=mode, fill=fill)(batch)
    padded = np.pad(batch, ((0, 0), (0, 0), (2, 2), (4, 4)), constant_values=fill)
    found = set()
    for before, after in zip(padded, shifted, strict=True):
        shifts = [
            (dx, dy)
            for dx in range(-4, 5)
            for dy in range(-2, 3)
            if np.array_equal(np.roll(before, (dy, dx), (1, 2))[:, 2:-2, 4:-4], after)
        ]
        found.add(*shifts[:1])
        assert shifts
    assert {abs(dx) for dx, _ in found} == {0, 1, 2, 3, 4}
    assert {abs(dy) for _, dy in found} == {0, 1, 2}


@MODES
@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
@pytest.mark.parametrize("size", [8, 9])
def test_quarter_turns_are_rot90(mode, quarters, size):
    batch = pictures(3, 2, size, size)
    expected = np.rot90(batch, quarters, (2, 3))
    turned = RandomRotation((90 * quarters, 90 * quarters), mode)(batch)
    np.testing.assert_allclose(turned, expected, rtol=1e-4)
    clockwise = RandomAffine((-90 * quarters, -90 * quarters), interpolation=mode)(batch)
    assert np.array_equal(clockwise, turned)


def test_twice_as_large_about_a_corner_doubles_each_pixel():
    batch = pictures(2, 1, 6, 6)
    doubled = RandomAffine(0, scale=(2, 2), center=(0, 0))(batch)
    assert np.array_equal(doubled, batch[:, :, :3, :3].repeat(2, 2).repeat(2, 3))


def test_a_shear_moves_rows_by_their_distance_from_the_centre():
    batch = pictures(2, 1, 7, 15)
    sheared = RandomAffine(0, shear=(45, 45))(batch)  # x - tan(45°) y
    expected = np.zeros_like(batch)
    for row in range(7):
        shift = 3 - row
        padded = np.pad(batch[:, :, row], ((0, 0), (0, 0), (3, 3)))
        expected[:, :, row] = padded[..., 3 - shift : 18 - shift]
    assert np.array_equal(sheared, expected)


def test_bilinear_keeps_a_plane_inside():
    y, x = np.mgrid[:12, :12].astype(np.float32)
    plane = 2 * x + 3 * y + 1
    turned = RandomAffine((30, 30), interpolation="bilinear", fill=np.nan)(plane)
    angle = np.radians(30)
    u, v = x - 5.5, y - 5.5
    inside = ~np.isnan(turned)
    expected = 2 * (np.cos(angle) * u + np.sin(angle) * v + 5.5) + 3 * (np.cos(angle) * v - np.sin(angle) * u + 5.5) + 1
    assert inside.sum() > 70
    np.testing.assert_allclose(turned[inside], expected[inside], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [({"degrees": (20, 50)}, 20, 50), ({"degrees": 15}, -15, 15)],
)
def test_angles_are_uniform(options, low, high):
    matrices = RandomAffine(**options)._draw(4000, 1, 5, 5)
    angles = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    assert_uniform(angles, low, high)


def test_scales_and_shears_are_uniform():
    matrices = RandomAffine(0, scale=(0.5, 2))._draw(4000, 1, 5, 5)
    assert_uniform(1 / matrices[:, 0, 0], 0.5, 2)
    forward = np.linalg.inv(RandomAffine(0, shear=(-30, 10))._draw(4000, 1, 5, 5)[:, :, :2])
    assert_uniform(np.degrees(np.arctan(-forward[:, 0, 1])), -30, 10)
    forward = np.linalg.inv(RandomAffine(0, shear=(0, 0, 5, 25))._draw(4000, 1, 5, 5)[:, :, :2])
    assert_uniform(np.degrees(np.arctan(-forward[:, 1, 0])), 5, 25)


def assert_uniform(values, low, high):
    """Kolmogorov and Smirnov's distance, with 4,000 seeded values; 0.04 has a probability of 10^-5."""
    values = np.sort((values - low) / (high - low))
    assert values[0] >= -1e-6
    assert values[-1] <= 1 + 1e-6
    assert np.abs(values - np.arange(len(values)) / len(values)).max() < 0.04


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"degrees": -1}, ValueError, "degrees expects 0 <= degrees"),
        ({"degrees": "a"}, (TypeError, ValueError), "degrees expects"),
        ({"degrees": (1, 2, 3)}, ValueError, "degrees expects two numbers"),
        ({"degrees": (2, 1)}, ValueError, "degrees expects the lower number first"),
        ({"degrees": float("inf")}, ValueError, "degrees expects a finite number but got inf"),
        ({"scale": (1, float("inf"))}, ValueError, "scale expects a finite number"),
        ({"center": (0, -float("inf"))}, ValueError, "center expects a finite number"),
        ({"translate": (0.5, 1.5)}, ValueError, "translate expects"),
        ({"translate": 0.5}, ValueError, "translate expects two numbers"),
        ({"scale": (0, 1)}, ValueError, "scale expects"),
        ({"shear": -3}, ValueError, "shear expects"),
        ({"shear": (1, 2, 3)}, ValueError, "shear expects two numbers"),
        ({"interpolation": "bicubic"}, ValueError, "interpolation expects 'nearest' or 'bilinear' but got 'bicubic'"),
        ({"fill": "red"}, ValueError, "fill expects a number"),
        ({"center": (1,)}, ValueError, "center expects two numbers"),
        ({"center": (1, None)}, TypeError, "center expects a number"),
    ],
)
def test_bad_arguments_of_affine_maps(arguments, error, message):
    with pytest.raises(error, match=f"RandomAffine: {message}"):
        RandomAffine(**{"degrees": 0, **arguments})


def test_fills_fit_the_pictures():
    batch = pictures(2, 3, dtype=np.uint8)
    away = {"degrees": (180, 180), "center": (100, 100)}
    assert np.array_equal(RandomAffine(**away, fill=(1, 2, 3))(batch)[1, :, 0, 0], [1, 2, 3])
    for fill, message in (((1, 2), "a number or 3, one a channel, but got 2"), (256, "uint8"), (0.5, "uint8")):
        with pytest.raises(ValueError, match=f"RandomAffine: fill expects .*{message}"):
            RandomAffine(**away, fill=fill)(batch)
    with pytest.raises(ValueError, match="RandomRotation: expand expects False"):
        RandomRotation(3, expand=True)


# --- elastic distortion


@given(BATCHES)
def test_elastic_without_strength_is_the_identity(batch):
    assert np.array_equal(ElasticTransform(0.0)(batch), batch)


def test_displacements_have_the_strength_and_smoothness_that_were_asked_for(monkeypatch):
    fields = []
    monkeypatch.setattr(
        "tinygrad_cnn.kernels.resample.displace", lambda images, moves, *_: fields.append(moves) or images
    )
    ElasticTransform((60.0, 30.0), (3.0, 0.0))(pictures(300, 1, 40, 40))
    [(x, y)] = [moves.transpose(1, 0, 2, 3)[:, :, 15:25, 15:25] for moves in fields]
    # Uniform noise has variance 1/3; a Gaussian filter leaves 1 / (4 pi sigma^2) of it.
    assert x.std() == pytest.approx(30 * np.sqrt(1 / 3 / (4 * np.pi * 9)), rel=0.05)
    assert y.std() == pytest.approx(15 * np.sqrt(1 / 3), rel=0.05)
    assert abs(x.mean()) < 0.2
    neighbours = np.corrcoef(x[..., 1:].ravel(), x[..., :-1].ravel())[0, 1]
    assert neighbours == pytest.approx(np.exp(-1 / (4 * 9)), abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -1}, "sigma expects 0 <= sigma"),
        ({"sigma": float("inf")}, "sigma expects a finite number but got inf"),
        ({"alpha": -float("inf")}, "alpha expects a finite number but got -inf"),
        ({"alpha": (1, 2, 3)}, "alpha expects a number or two"),
        ({"interpolation": 3}, "interpolation expects"),
        ({"fill": None}, "fill expects"),
    ],
)
def test_bad_arguments_of_elastic_distortion(arguments, message):
    with pytest.raises(ValueError, match=f"ElasticTransform: {message}"):
        ElasticTransform(**arguments)


# --- flips


@pytest.mark.parametrize(("flip", "axis"), [(RandomHorizontalFlip, -1), (RandomVerticalFlip, -2)])
def test_a_flip_is_a_mirror_image_and_twice_it_is_nothing(flip, axis):
    batch = pictures(5, 2, 3, 4)
    always = flip(1.0)
    assert np.array_equal(always(batch), np.flip(batch, axis))
    assert np.array_equal(always(always(batch)), batch)
    assert np.array_equal(flip(0.0)(batch), batch)


def test_flips_happen_as_often_as_they_should():
    batch = pictures(1, 1, 2, 2).repeat(4000, 0)
    flipped = (RandomHorizontalFlip(0.3)(batch) != batch).any(axis=(1, 2, 3))
    assert flipped.mean() == pytest.approx(0.3, abs=0.03)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="RandomHorizontalFlip: p expects"):
            RandomHorizontalFlip(p)


# --- crops


@given(BATCHES, st.integers(0, 3), st.sampled_from(["constant", "edge", "reflect", "symmetric"]), st.data())
def test_a_crop_is_a_piece_of_the_padded_picture(batch, padding, mode, data):
    height, width = (data.draw(st.integers(1, size + 2 * padding)) for size in batch.shape[2:])
    result = RandomCrop((height, width), padding, padding_mode=mode)(batch)
    assert result.shape == (*batch.shape[:2], height, width)
    padded = np.pad(batch, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode)
    for whole, piece in zip(padded, result, strict=True):
        tops, lefts = (size - part + 1 for size, part in zip(whole.shape[1:], piece.shape[1:], strict=True))
        places = np.ndindex(tops, lefts)
        assert any(np.array_equal(whole[:, i : i + height, j : j + width], piece) for i, j in places)


def test_every_place_is_as_likely():
    marked = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4).repeat(9000, 0)
    corners = RandomCrop((3, 2))(marked)[:, 0, 0, 0]
    assert np.unique(corners).tolist() == [0, 1, 2, 4, 5, 6]
    assert np.abs(np.bincount(corners)[[0, 1, 2, 4, 5, 6]] / 9000 - 1 / 6).max() < 0.02


def test_padding_goes_left_top_right_bottom():
    picture = np.ones((1, 2, 2), np.uint8)
    assert np.array_equal(RandomCrop((3, 4), (1, 1, 1, 0))(picture)[0], np.pad(picture[0], ((1, 0), (1, 1))))
    assert np.array_equal(RandomCrop((2, 4), (1, 0), fill=7)(picture)[0, 0], [7, 1, 1, 7])
    assert RandomCrop(5, pad_if_needed=True)(picture).shape == (1, 5, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ValueError, "size expects at least 1"),
        ({"size": 1.5}, TypeError, "size expects an int"),
        ({"padding": (1, 2, 3)}, ValueError, "padding expects 1, 2 or 4 numbers"),
        ({"padding": -1}, ValueError, "padding expects at least 0"),
        ({"padding_mode": "wrap"}, ValueError, "padding_mode expects one of"),
        ({"size": 9}, ValueError, r"picture expects at least \(9, 9\) pixels but got 8 x 8"),
    ],
)
def test_bad_arguments_of_crops(arguments, error, message):
    with pytest.raises(error, match=f"RandomCrop: {message}"):
        RandomCrop(**{"size": 3, **arguments})(np.zeros((8, 8)))


# --- erasing


def rectangles(erased):
    """The boxes (top, left, height, width) of the boolean masks (N, H, W), which must be full."""
    boxes = []
    for mask in erased:
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            boxes.append((rows[0], columns[0], len(rows), len(columns)))
            assert mask.sum() == len(rows) * len(columns)
            assert np.ptp(rows) + 1 == len(rows)
            assert np.ptp(columns) + 1 == len(columns)
    return np.array(boxes)


def test_erasing_takes_rectangles_of_the_right_sizes_everywhere():
    batch = np.ones((2000, 2, 20, 24), np.float32)
    result = RandomErasing(0.6, (0.05, 0.2), (0.5, 2))(batch)
    assert np.array_equal(result[:, 0], result[:, 1])
    boxes = rectangles(result[:, 0] == 0)
    assert len(boxes) / 2000 == pytest.approx(0.6, abs=0.05)
    top, left, height, width = boxes.T
    area = height * width / (20 * 24)
    assert area.min() > 0.03
    assert area.max() < 0.23
    assert area.mean() == pytest.approx(0.125, abs=0.01)
    assert (height / width).max() < 2.5
    assert np.log(height / width).mean() == pytest.approx(0, abs=0.05)
    assert (top.min(), left.min(), (top + height).max(), (left + width).max()) == (0, 0, 20, 24)
    assert (top / (20 - height)).mean() == pytest.approx(0.5, abs=0.05)


def test_what_never_fits_is_left_alone():
    batch = pictures(50, 1, 4, 4)
    assert np.array_equal(RandomErasing(1.0, (1, 1), (1, 1))(batch), batch)
    assert np.array_equal(RandomErasing(0.0)(batch), batch)


def test_erased_values():
    batch = np.zeros((300, 2, 10, 10), np.float32)
    noise = RandomErasing(1.0, value="random")(batch)
    assert noise[noise != 0].std() == pytest.approx(1, abs=0.05)
    coloured = RandomErasing(1.0, value=np.array([3, 4]))(batch)
    assert np.unique(coloured[:, 0]).tolist() == [0, 3]
    assert np.unique(coloured[:, 1]).tolist() == [0, 4]
    with pytest.raises(TypeError, match="RandomErasing: picture expects floats"):
        RandomErasing(value="random")(batch.astype(np.uint8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 2}, "p expects"),
        ({"scale": (0, 2)}, "scale expects"),
        ({"scale": (0.5, 0.1)}, "scale expects the lower number first"),
        ({"ratio": (0, 1)}, "ratio expects"),
        ({"ratio": (1, float("inf"))}, "ratio expects a finite number"),
        ({"value": "noise"}, "value expects a number"),
    ],
)
def test_bad_arguments_of_erasing(arguments, message):
    with pytest.raises(ValueError, match=f"RandomErasing: {message}"):
        RandomErasing(**arguments)
