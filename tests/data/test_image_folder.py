"""Pictures in folders."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tinygrad_cnn.data import DataLoader, datasets, transforms
from tinygrad_cnn.data.picture import read_rgb
from tinygrad_cnn.files import FormatError
from tinygrad_cnn.tensor import Tensor

Image = pytest.importorskip("PIL.Image")


def save(path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def picture(value, height=4, width=5):
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def root(tmp_path):
    for value, name in enumerate(["dog/b.png", "dog/a.PNG", "dog/puppies/c.png", "cat/z.png", "cat/y.bmp"]):
        save(tmp_path / "root" / name, picture(10 * value))
    (tmp_path / "root" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "root" / "readme.png").write_text("not in a class")
    return tmp_path / "root"


def test_classes_and_samples_are_sorted(root):
    folder = datasets.ImageFolder(root)
    assert folder.classes == ["cat", "dog"]
    assert folder.class_to_idx == {"cat": 0, "dog": 1}
    names = ["cat/y.bmp", "cat/z.png", "dog/a.PNG", "dog/b.png", "dog/puppies/c.png"]
    assert folder.samples == [(str(root / name), int(name.startswith("dog"))) for name in names]
    assert folder.imgs == folder.samples
    assert folder.targets == [0, 0, 1, 1, 1]
    assert len(folder) == 5


def test_samples_are_arrays_in_colours(root):
    image, label = datasets.ImageFolder(str(root))[2]
    assert np.array_equal(image, picture(10))
    assert image.dtype == np.uint8
    assert label == 1
    image[...] = 0  # a copy, not Pillow's memory
    assert [label for _, label in datasets.ImageFolder(root)] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches(root, workers):
    folder = datasets.ImageFolder(root, transforms.ToTensor(), lambda label: -label)
    [(images, labels)] = DataLoader(folder, 8, num_workers=workers)
    assert isinstance(images, Tensor)
    assert images.shape == (5, 3, 4, 5)
    assert labels.tolist() == [0, 0, -1, -1, -1]
    assert images.data[:, 0, 0, 0] * 255 == pytest.approx([40, 30, 10, 0, 20])


def test_pictures_of_several_sizes_need_a_transform(root):
    save(root / "dog" / "large.png", picture(7, 9, 9))
    with pytest.raises(ValueError, match=r"one shape but got \(3, 4, 5\), \(3, 9, 9\)"):
        list(DataLoader(datasets.ImageFolder(root, transforms.ToTensor()), 8))
    alike = transforms.Compose([transforms.ToTensor(), transforms.RandomCrop(4)])
    [(images, _)] = DataLoader(datasets.ImageFolder(root, alike), 8)
    assert images.shape == (6, 3, 4, 4)


def test_an_own_loader_and_an_own_choice_of_files(root):
    folder = datasets.ImageFolder(root, loader=len, is_valid_file=lambda path: path.endswith(".txt"), allow_empty=True)
    assert folder.samples == [(str(root / "cat" / "notes.txt"), 0)]
    assert folder[0] == (len(str(root / "cat" / "notes.txt")), 0)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_other_kinds_of_pictures_become_red_green_and_blue(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.fromarray(picture(255)).convert(mode).save(tmp_path / f"x.{suffix}")
    result = read_rgb(tmp_path / f"x.{suffix}")
    assert result.shape == (4, 5, 3)
    assert result.min() > 250


def test_bad_files_are_named(root):
    path = root / "dog" / "a.PNG"
    whole = path.read_bytes()
    for content in (b"", b"no picture", whole[:-30], whole[:20]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="is not a picture") as caught:
            datasets.ImageFolder(root)[2]
        assert caught.value.path == str(path)
    Image.fromarray(np.full((3, 3), 40_000, np.uint16)).save(path)
    with pytest.raises(FormatError, match="more than 8 bits"):
        datasets.ImageFolder(root)[2]
    path.unlink()
    folder = datasets.ImageFolder(root)
    (root / "cat" / "y.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"y\.bmp"):
        folder[0]


def test_folders_without_pictures(root, tmp_path):
    (root / "bird").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no picture of bird in .*; expected \.png"):
        datasets.ImageFolder(root)
    assert datasets.ImageFolder(root, allow_empty=True).classes == ["bird", "cat", "dog"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no class folder in"):
        datasets.ImageFolder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="missing"):
        datasets.ImageFolder(tmp_path / "missing")


@pytest.mark.parametrize(
    "arguments", [{"root": 3}, {"transform": 3}, {"target_transform": 3}, {"loader": None}, {"is_valid_file": ".png"}]
)
def test_wrong_arguments(root, arguments):
    with pytest.raises(TypeError, match=f"ImageFolder: {next(iter(arguments))} expects"):
        datasets.ImageFolder(**{"root": root, **arguments})


@pytest.mark.parametrize("index", [slice(0, 2), 1.0, [0]])
def test_an_index_is_an_integer(root, index):
    with pytest.raises(TypeError, match="interpreted as an integer"):
        datasets.ImageFolder(root)[index]


def test_without_pillow_the_error_says_what_to_install(root, monkeypatch):
    def missing(name):
        raise ImportError(name)

    folder = datasets.ImageFolder(root)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"tinygrad_cnn\[images\]"):
        folder[0]


def test_it_shows_itself(root):
    assert repr(datasets.ImageFolder(root, transforms.ToTensor())) == (
        f"Dataset ImageFolder\n    Number of datapoints: 5\n    Root location: {root}\n    Transform: ToTensor()"
    )
