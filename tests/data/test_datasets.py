from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn.data import DataLoader, datasets, default_collate, transforms, write_idx
from tinygrad_cnn.data.digits import _enlarge
from tinygrad_cnn.files import FormatError
from tinygrad_cnn.tensor import Tensor

PREFIX = {True: "train", False: "t10k"}


def put(folder: Path, images, labels, train=True, suffix=".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / f"{PREFIX[train]}-images-idx3-ubyte{suffix}", images)
    write_idx(folder / f"{PREFIX[train]}-labels-idx1-ubyte{suffix}", labels)


def images_of(value: int, count: int = 3):
    return np.full((count, 28, 28), value, np.uint8)


LABELS = np.array([5, 0, 4], np.uint8)


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """Nothing is found but what a test has put into its own folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.MNIST, "mirrors", ())
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ())
    monkeypatch.setattr(datasets.KMNIST, "mirrors", ())


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("place", ["root", "data", "cache/tinygrad_cnn"])
@pytest.mark.parametrize("subfolder", ["", "mnist", "MNIST/raw"])
def test_files_are_found_in_every_place(tmp_path, place, subfolder, train, suffix):
    put(tmp_path / place / subfolder, images_of(7), LABELS, train, suffix)
    mnist = datasets.MNIST(tmp_path / "root", train)
    assert len(mnist) == 3
    assert mnist.train is train
    assert mnist.data.dtype == np.uint8
    assert mnist.data.shape == (3, 28, 28)
    assert mnist.targets.dtype == np.int64
    assert mnist.targets.data.tolist() == [5, 0, 4]


@pytest.mark.parametrize(
    ("cls", "subfolder"),
    [
        (datasets.FashionMNIST, "fashion-mnist"),
        (datasets.FashionMNIST, "FashionMNIST/raw"),
        (datasets.KMNIST, "kmnist"),
        (datasets.KMNIST, "KMNIST/raw"),
    ],
)
def test_its_kin_have_their_own_folders(tmp_path, cls, subfolder):
    put(tmp_path / "mnist", images_of(1), LABELS)
    put(tmp_path / subfolder, images_of(2), LABELS)
    assert cls(tmp_path).data.data.max() == 2
    assert datasets.MNIST(str(tmp_path)).data.data.max() == 1


def test_root_comes_before_the_variable_and_that_before_the_cache(tmp_path):
    for value, place in enumerate(["cache/tinygrad_cnn/mnist", "data/mnist", "root/MNIST/raw"]):
        put(tmp_path / place, images_of(value), LABELS)
        assert datasets.MNIST(tmp_path / "root").data.data.max() == value


def test_images_and_labels_come_from_one_place(tmp_path):
    put(tmp_path / "root", images_of(1), LABELS)
    os.unlink(tmp_path / "root" / "train-labels-idx1-ubyte.gz")
    put(tmp_path / "data", images_of(2), LABELS)
    assert datasets.MNIST(tmp_path / "root").data.data.max() == 2


def test_an_empty_variable_is_not_the_current_folder(tmp_path, monkeypatch):
    put(tmp_path, images_of(1), LABELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGRAD_CNN_DATA", "")
    with pytest.raises(FileNotFoundError):
        datasets.MNIST()


def test_without_files_the_error_tells_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=True") as caught:
        datasets.MNIST(tmp_path / "root")
    for place in ("root", "data", "cache/tinygrad_cnn"):
        assert str(tmp_path / place) in str(caught.value)


def test_a_tilde_is_the_home_of_a_user_or_else_a_letter(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "home" / "mine", images_of(1), LABELS)
    put(tmp_path / "~nobody-of-this-name", images_of(2), LABELS)
    assert datasets.MNIST("~/mine").data.data.max() == 1
    assert datasets.MNIST("~nobody-of-this-name").data.data.max() == 2
    monkeypatch.setenv("TINYGRAD_CNN_DATA", "~nobody-of-this-name/nowhere")
    with pytest.raises(FileNotFoundError, match="~nobody-of-this-name/nowhere"):
        datasets.MNIST()


def test_the_relative_cache_folder_is_ignored_as_xdg_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / ".cache" / "tinygrad_cnn", images_of(1), LABELS)
    assert len(datasets.MNIST()) == 3


@pytest.mark.parametrize(
    ("images", "labels", "fault"),
    [
        (images_of(0, 4), LABELS, "holds 4 images but .* 3 labels"),
        (images_of(0), np.array([1, 10, 2], np.uint8), "labels below 10 but number 1 is 10"),
        (images_of(0), LABELS.astype(np.int32), r"labels, uint8 \(N,\), but holds int32"),
        (images_of(0), LABELS[:, None], "labels, uint8"),
        (images_of(0).astype(np.float32), LABELS, r"images, uint8 \(N, 28, 28\), but holds float32"),
        (images_of(0)[:, :9], LABELS, "images, uint8"),
        (LABELS, LABELS, "images, uint8"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, images, labels, fault):
    put(tmp_path, images, labels)
    with pytest.raises(FormatError, match=fault) as caught:
        datasets.MNIST(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_damaged_file_is_an_error_and_not_skipped(tmp_path):
    put(tmp_path / "root", images_of(1), LABELS)
    put(tmp_path / "data", images_of(1), LABELS)
    path = tmp_path / "root" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="truncated"):
        datasets.MNIST(tmp_path / "root")


@pytest.mark.parametrize("cls", [datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST])
def test_wrong_arguments(cls, tmp_path):
    for arguments in ({"train": "test"}, {"download": 1}, {"root": 3}):
        with pytest.raises(TypeError, match=f"{cls.__name__}: {next(iter(arguments))} expects"):
            cls(**arguments)
    put(tmp_path, images_of(1), LABELS)
    with pytest.raises(TypeError, match="transform expects a callable"):
        cls(tmp_path, transform=3)


def test_samples_and_classes(tmp_path):
    put(tmp_path, images_of(9), LABELS)
    mnist = datasets.MNIST(tmp_path)
    image, label = mnist[-1]
    assert type(image) is np.ndarray
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert type(label) is int
    assert label == 4
    assert len(mnist.classes) == 10
    assert mnist.classes[5] == "5 - five"
    assert datasets.FashionMNIST.classes[9] == "Ankle boot"
    with pytest.raises(IndexError):
        mnist[3]
    assert [label for _, label in mnist] == [5, 0, 4]
    with pytest.raises(TypeError):
        mnist[0:2]


def test_a_sample_shares_no_memory_with_the_data():
    def darken(image):
        image //= 2
        return image

    digits = datasets.Digits(transform=darken)
    before = digits.data.numpy().copy()
    first = digits[0][0]
    assert (first == before[0] // 2).all()
    assert (digits[0][0] == first).all()
    assert (digits.data.numpy() == before).all()


def test_an_index_is_an_integer():
    digits = datasets.Digits()
    assert digits[np.int64(-1)][1] == digits[Tensor(np.array(-1))][1] == digits[len(digits) - 1][1]
    with pytest.raises(TypeError, match="Digits: index expects an int but got slice"):
        digits[:3]


def test_target_transforms_apply_to_samples_and_batches(tmp_path):
    put(tmp_path, images_of(9), LABELS)
    mnist = datasets.MNIST(tmp_path, transform=transforms.ToTensor(), target_transform=lambda label: 9 - label)
    assert mnist[0][1] == 4
    [(_, targets)] = DataLoader(mnist, batch_size=3)
    assert targets.data.tolist() == [4, 9, 5]


def test_the_data_may_be_filtered_as_with_torchvision(tmp_path):
    put(tmp_path, images_of(9), LABELS)
    mnist = datasets.MNIST(tmp_path)
    keep = mnist.targets.numpy() > 3
    mnist.data, mnist.targets = mnist.data[keep], mnist.targets.numpy()[keep]
    [(images, targets)] = DataLoader(mnist, batch_size=9)
    assert images.shape == (2, 28, 28)
    assert targets.data.tolist() == [5, 4]


@pytest.mark.parametrize(
    "targets",
    [np.arange(6) / 4, np.float32([0, 0.1, 1, 2, 3, 4]), np.arange(6) > 2, np.eye(6, dtype=np.float32), list(range(6))],
    ids=str,
)
def test_targets_may_be_replaced_by_others(targets):
    digits = datasets.Digits()
    digits.data, digits.targets = digits.data[:6], targets
    [(_, batch)] = DataLoader(digits, batch_size=6)
    assert np.array_equal(batch.data, targets)
    assert batch.dtype == np.asarray(targets).dtype
    collated = default_collate([digits[index][1] for index in range(6)])
    assert np.array_equal(collated.data, targets)
    assert collated.dtype == batch.dtype


def test_repr_shows_size_split_and_transform():
    digits = datasets.Digits(train=False, transform=transforms.Compose([transforms.ToTensor()]))
    assert repr(digits) == (
        "Dataset Digits\n    Number of datapoints: 297\n    Split: Test\n"
        "    Transform: Compose(\n        ToTensor()\n    )"
    )


def test_digits_are_there_without_files():
    train, test = datasets.Digits(), datasets.Digits(train=False)
    assert (len(train), len(test)) == (1500, 297)
    for part in (train, test):
        assert part.data.shape[1:] == (28, 28)
        assert part.data.dtype == np.uint8
        assert set(part.targets.data.tolist()) == set(range(10))
    assert train.data.data.min() == 0
    assert train.data.data.max() == 255
    assert np.array_equal(train.data.data, datasets.Digits(True).data.data)
    with pytest.raises(TypeError, match="Digits: train expects a bool"):
        datasets.Digits("data")


def test_the_shipped_file_is_small_and_says_where_it_is_from():
    folder = Path(datasets.__file__).parent
    assert (folder / "digits.npz").stat().st_size < 150_000
    with np.load(folder / "digits.npz") as archive:
        assert archive["images"].shape == (1797, 8, 8)
        assert "CC BY 4.0" in str(archive["attribution"])
    assert "10.24432/C50P49" in (folder / "digits.txt").read_text()


def test_enlargement_is_bilinear():
    small = np.random.default_rng(0).integers(0, 17, (5, 8, 8)).astype(np.uint8)
    at = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    rows = np.stack([[np.interp(at, range(8), row) for row in image] for image in small])
    both = np.stack([[np.interp(at, range(8), column) for column in image.T] for image in rows])
    expected = both.swapaxes(1, 2) * 255 / 16
    assert np.abs(_enlarge(small) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("value", range(17))
def test_enlargement_keeps_constants(value):
    assert np.unique(_enlarge(np.full((1, 8, 8), value, np.uint8))) == int(value * 255 / 16 + 0.5)


def test_data_sets_by_name(tmp_path):
    put(tmp_path / "mnist", images_of(1), LABELS, train=False)
    put(tmp_path / "fashion-mnist", images_of(2), LABELS)
    assert type(datasets.load("mnist", tmp_path, train=False)) is datasets.MNIST
    assert type(datasets.load("fashion-mnist", tmp_path)) is datasets.FashionMNIST
    put(tmp_path / "kmnist", images_of(2), LABELS)
    assert type(datasets.load("kmnist", tmp_path)) is datasets.KMNIST
    assert len(datasets.load("digits", train=False)) == 297
    for name in ("cifar10", "MNIST ", None):
        with pytest.raises(ValueError, match=r"load: name expects 'mnist', .* or 'digits' but got"):
            datasets.load(name)


needs_real_data = pytest.mark.skipif("TINYGRAD_CNN_DATA" not in os.environ, reason="TINYGRAD_CNN_DATA is not set")
REAL = Path(os.environ.get("TINYGRAD_CNN_DATA", ""))


@needs_real_data
@pytest.mark.parametrize("cls", [datasets.MNIST, datasets.FashionMNIST])
def test_the_real_test_sets(cls):
    if not (REAL / cls.subfolders[0]).exists():
        pytest.skip(f"{cls.__name__} is not in TINYGRAD_CNN_DATA")
    data = cls(REAL, train=False)
    assert len(data) == 10_000
    assert np.bincount(data.targets.data).min() > 850
    assert isinstance(data.data, Tensor)


@needs_real_data
def test_one_data_set_is_not_taken_for_the_other():
    if not (REAL / "mnist").exists():
        pytest.skip("MNIST is not in TINYGRAD_CNN_DATA")
    with pytest.raises(FormatError, match="labels of FashionMNIST but holds those of MNIST"):
        datasets.FashionMNIST(REAL / "mnist", train=False)


def test_one_data_set_is_not_taken_for_the_other_by_checksum(tmp_path, monkeypatch):
    put(tmp_path, images_of(1), LABELS, suffix="")
    content = (tmp_path / "train-labels-idx1-ubyte").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    checksums = dict(datasets.MNIST.checksums)
    checksums["train-labels-idx1-ubyte"] = checksums["train-labels-idx1-ubyte"]._replace(sha256=digest)
    monkeypatch.setattr(datasets.MNIST, "checksums", checksums)
    assert len(datasets.MNIST(tmp_path)) == 3
    with pytest.raises(FormatError, match="labels of FashionMNIST but holds those of MNIST"):
        datasets.FashionMNIST(tmp_path)


def test_kmnist_is_recognised_by_its_gzipped_file(tmp_path, monkeypatch):
    put(tmp_path, images_of(1), LABELS)
    digest = hashlib.sha256((tmp_path / "train-labels-idx1-ubyte.gz").read_bytes()).hexdigest()
    checksums = dict(datasets.KMNIST.checksums)
    checksums["train-labels-idx1-ubyte"] = checksums["train-labels-idx1-ubyte"]._replace(sha256=digest)
    monkeypatch.setattr(datasets.KMNIST, "checksums", checksums)
    assert len(datasets.KMNIST(tmp_path)) == 3
    with pytest.raises(FormatError, match="labels of MNIST but holds those of KMNIST"):
        datasets.MNIST(tmp_path)
