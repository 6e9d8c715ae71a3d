"""MNIST, Fashion-MNIST and KMNIST: found on this machine, or downloaded."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.download import download
from tinygrad_cnn.data.idx import read_idx
from tinygrad_cnn.data.image_dataset import ImageDataset, Transform, check_flag
from tinygrad_cnn.data.search import find_file, find_files, search_folders
from tinygrad_cnn.files import Checksum, FormatError

__all__ = ["KMNIST", "MNIST", "FashionMNIST"]


class MNIST(ImageDataset):
    """The MNIST handwritten digits: 60,000 images for training and 10,000 for testing, 28x28.

    The files, gzipped or plain, are looked for in `root`, then in the folder that the environment variable
    ``TINYGRAD_CNN_DATA`` names, then in the user's cache folder (``~/.cache/tinygrad_cnn``): in each of these
    directly, in ``mnist/``, and in ``MNIST/raw/``, where torchvision keeps them. If they are nowhere they can
    be downloaded.

    Parameters
    ----------
    root : str or path-like, optional
        A folder to look in, and to download to.
    train : bool, default True
        Whether to load the training set or the test set.
    transform, target_transform : callable, optional
        Applied to each image, to each label.
    download : bool, default False
        Whether to download what is not found, into ``MNIST/raw/`` in `root` or else in the cache folder.

    Raises
    ------
    FileNotFoundError
        If the files are not found and `download` is False.
    DownloadError
        An `OSError`: if they can't be downloaded.
    FormatError
        A `ValueError`: if a file is damaged, or images and labels do not fit together.
    TypeError
        If an argument has a wrong type.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", CC BY-SA 3.0.
    """

    classes: ClassVar[list[str]] = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]
    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    timeout: ClassVar[float] = 6.0
    subfolders: ClassVar[tuple[str, str]] = ("mnist", "MNIST/raw")
    checksums: ClassVar[dict[str, Checksum]] = {
        "train-images-idx3-ubyte": Checksum(
            47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": Checksum(60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        "t10k-images-idx3-ubyte": Checksum(7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        "t10k-labels-idx1-ubyte": Checksum(10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    }

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        if root is not None and not isinstance(root, str | os.PathLike):
            raise TypeError(f"{type(self).__name__}: root expects a path but got {type(root).__name__}")
        check_flag(type(self).__name__, "train", train)
        check_flag(type(self).__name__, "download", download)
        prefix = "train" if train else "t10k"
        names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
        images, labels = self._read(*self._paths(names, root, download))
        super().__init__(images, labels, bool(train), transform, target_transform)

    @classmethod
    def _paths(cls, names: list[str], root: str | os.PathLike[str] | None, may_download: bool) -> list[Path]:
        folders = search_folders(root)
        found = find_files(names, folders, cls.subfolders)
        if found is not None:
            return found
        if not may_download:
            looked_in = ", ".join(map(str, folders))
            raise FileNotFoundError(
                f"{cls.__name__}: cannot find {names[0]} and {names[1]} (plain or .gz) in {looked_in}: "
                f"neither directly nor in {' or '.join(cls.subfolders)}; pass download=True "
                "to get them from the network, or let TINYGRAD_CNN_DATA name their folder"
            )
        target = (folders[0] if root is not None else folders[-1]) / cls.subfolders[-1]
        return [
            find_file(target, name) or download(f"{name}.gz", cls.mirrors, target, cls.checksums[name], cls.timeout)
            for name in names
        ]

    @classmethod
    def _read(cls, images_path: Path, labels_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        labels = read_idx(labels_path)
        if labels.dtype != np.uint8 or labels.ndim != 1:
            raise FormatError(labels_path, f"expects labels, uint8 (N,), but holds {labels.dtype} {labels.shape}")
        if labels.size and labels.max() >= len(cls.classes):
            position = int(np.argmax(labels >= len(cls.classes)))
            fault = f"expects labels below {len(cls.classes)} but number {position} is {labels[position]}"
            raise FormatError(labels_path, fault)
        _check_not_another(cls, labels, labels_path)
        images = read_idx(images_path)
        if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
            fault = f"expects images, uint8 (N, 28, 28), but holds {images.dtype} {images.shape}"
            raise FormatError(images_path, fault)
        if len(images) != len(labels):
            raise FormatError(images_path, f"holds {len(images)} images but {labels_path} {len(labels)} labels")
        return images, labels


class FashionMNIST(MNIST):
    """Fashion-MNIST: 60,000 pictures of clothes for training and 10,000 for testing, 28x28.

    Everything is as with `MNIST`; the folders are ``fashion-mnist/`` and ``FashionMNIST/raw/``.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", arXiv:1708.07747, 2017. MIT licence, Zalando SE.
    """

    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    mirrors: ClassVar[tuple[str, ...]] = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",)
    subfolders: ClassVar[tuple[str, str]] = ("fashion-mnist", "FashionMNIST/raw")
    checksums: ClassVar[dict[str, Checksum]] = {
        "train-images-idx3-ubyte": Checksum(
            47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": Checksum(60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        "t10k-images-idx3-ubyte": Checksum(7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        "t10k-labels-idx1-ubyte": Checksum(10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    }


class KMNIST(MNIST):
    """Kuzushiji-MNIST: 60,000 images of cursive Japanese characters for training and 10,000 for testing, 28x28.

    Everything is as with `MNIST`; the folders are ``kmnist/`` and ``KMNIST/raw/``.

    References
    ----------
    T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha, "Deep Learning for Classical Japanese
    Literature", arXiv:1812.01718, 2018. CC BY-SA 4.0, created by the ROIS-DS Center for Open Data in the Humanities.
    """

    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    mirrors: ClassVar[tuple[str, ...]] = ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    subfolders: ClassVar[tuple[str, str]] = ("kmnist", "KMNIST/raw")
    checksums: ClassVar[dict[str, Checksum]] = {
        "train-images-idx3-ubyte": Checksum(
            18165135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4", decompressed=False
        ),
        "train-labels-idx1-ubyte": Checksum(
            29497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17", decompressed=False
        ),
        "t10k-images-idx3-ubyte": Checksum(
            3041136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5", decompressed=False
        ),
        "t10k-labels-idx1-ubyte": Checksum(
            5120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c", decompressed=False
        ),
    }


def _check_not_another(cls: type[MNIST], labels: NDArray[np.uint8], path: Path) -> None:
    """Refuse one data set's files where the other's are expected: all use the same names."""
    content = struct.pack(">II", 0x801, len(labels)) + labels.tobytes()
    digests = {hashlib.sha256(data).hexdigest() for data in (content, path.read_bytes())}
    for other in (MNIST, FashionMNIST, KMNIST):
        known = {checksum.sha256 for checksum in other.checksums.values()}
        if other.checksums is not cls.checksums and digests & known:
            raise FormatError(path, f"expects the labels of {cls.__name__} but holds those of {other.__name__}")
