"""CIFAR-10, from its binary version: found on this machine, or downloaded."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.download import download
from tinygrad_cnn.data.image_dataset import ImageDataset, Transform, check_flag
from tinygrad_cnn.data.search import find_files, search_folders
from tinygrad_cnn.files import Checksum, FormatError, open_regular

__all__ = ["CIFAR10"]

_FOLDER = "cifar-10-batches-bin"
_ARCHIVE = "cifar-10-binary.tar.gz"
_CHANNELS, _SIDE = 3, 32
_RECORD = 1 + _CHANNELS * _SIDE * _SIDE
# Photographs hardly shrink in a gzip file. What expands more than this is taken for an attack.
_MAX_EXPANSION = 20
_ALWAYS_ALLOWED = 64 << 20
# What Python's readers raise on files that are not what they claim to be.
_ERRORS = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError, OverflowError, RecursionError)


class CIFAR10(ImageDataset):
    """CIFAR-10: 50,000 colour photographs for training and 10,000 for testing, 32x32, of ten classes.

    Sample i is a pair: a uint8 array (32, 32, 3), which `ToTensor` turns into (3, 32, 32), and the label.

    The files of the binary version are looked for in `root`, then in the folder that the environment variable
    ``TINYGRAD_CNN_DATA`` names, then in the user's cache folder (``~/.cache/tinygrad_cnn``): in each of these directly,
    in ``cifar10/``, and in ``cifar-10-batches-bin/`` in either; and then for the archive ``cifar-10-binary.tar.gz``,
    which is read as it is and never unpacked. (The pickles of the Python version are not read.) If they are nowhere the
    archive can be downloaded.

    Parameters
    ----------
    root : str or path-like, optional
        A folder to look in, and to download to.
    train : bool, default True
        Whether to load the training set or the test set.
    transform, target_transform : callable, optional
        Applied to each image, to each label.
    download : bool, default False
        Whether to download what is not found, into `root` or else into the cache folder.

    Raises
    ------
    FileNotFoundError
        If the files are not found and `download` is False.
    DownloadError
        An `OSError`: if the archive can't be downloaded.
    FormatError
        A `ValueError`: if a file or the archive is damaged.
    TypeError
        If an argument has a wrong type.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.
    """

    classes: ClassVar[list[str]] = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    mirrors: ClassVar[tuple[str, ...]] = ("https://www.cs.toronto.edu/~kriz/",)
    timeout: ClassVar[float] = 6.0
    subfolders: ClassVar[tuple[str, ...]] = (_FOLDER, "cifar10", f"cifar10/{_FOLDER}")
    checksum: ClassVar[Checksum] = Checksum(
        170052171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", decompressed=False
    )

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
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] if train else ["test_batch.bin"]
        batches = [self._parse(content, path) for content, path in self._contents(names, root, download)]
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        super().__init__(images, labels, bool(train), transform, target_transform)

    @classmethod
    def _contents(
        cls, names: list[str], root: str | os.PathLike[str] | None, may_download: bool
    ) -> list[tuple[bytes, str]]:
        """Return the bytes of the files, each with what to call it in a message."""
        folders = search_folders(root)
        paths = find_files(names, folders, cls.subfolders, suffixes=("",))
        if paths is not None:
            return [(_read(path), str(path)) for path in paths]
        archives = find_files([_ARCHIVE], folders, cls.subfolders, suffixes=("",))
        if archives is None:
            if not may_download:
                looked_in = ", ".join(map(str, folders))
                raise FileNotFoundError(
                    f"{cls.__name__}: cannot find {_ARCHIVE} nor {', '.join(names)} in {looked_in}: neither directly "
                    f"nor in {', '.join(cls.subfolders)}; pass download=True to get them from the network, or let "
                    "TINYGRAD_CNN_DATA name their folder"
                )
            target = folders[0] if root is not None else folders[-1]
            archives = [download(_ARCHIVE, cls.mirrors, target, cls.checksum, cls.timeout)]
        contents = read_members(archives[0], [f"{_FOLDER}/{name}" for name in names])
        return [(content, f"{archives[0]}/{name}") for content, name in zip(contents, names, strict=True)]

    @classmethod
    def _parse(cls, content: bytes, path: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return images (N, 32, 32, 3) and labels (N,). A record is the label, then the red, green and blue pixels."""
        if not content or len(content) % _RECORD:
            raise FormatError(path, f"is truncated or foreign: it holds {len(content)} bytes, in records of {_RECORD}")
        records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
        labels = records[:, 0]
        if labels.max() >= len(cls.classes):
            position = int(np.argmax(labels >= len(cls.classes)))
            fault = f"expects labels below {len(cls.classes)} but number {position} is {labels[position]}"
            raise FormatError(path, fault)
        channels_first = records[:, 1:].reshape(-1, _CHANNELS, _SIDE, _SIDE)
        return np.ascontiguousarray(channels_first.transpose(0, 2, 3, 1)), labels


class _Bounded:
    """What a gzip file decompresses to, as long as that is not more than `limit` bytes."""

    def __init__(self, stream: gzip.GzipFile, limit: int, path: Path) -> None:
        self._stream, self._left, self._path = stream, limit, path

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes."""
        chunk = self._stream.read(min(size, self._left + 1))
        self._left -= len(chunk)
        if self._left < 0:
            raise FormatError(self._path, f"expands to more than {_MAX_EXPANSION} times its size")
        return chunk


def read_members(path: Path, names: Sequence[str]) -> list[bytes]:
    """Read files out of a ``.tar.gz`` archive. Nothing is unpacked: names, links and modes in it have no effect.

    Sparse files are passed over.

    Raises
    ------
    FormatError
        If it is not such an archive, is truncated or corrupt, lacks one of them, or expands more than twentyfold to
        over 64 MiB.
    OSError
        If it can't be read.
    """
    found: dict[str, bytes] = {}
    with open_regular(path) as stream:
        limit = max(_ALWAYS_ALLOWED, _MAX_EXPANSION * os.fstat(stream.fileno()).st_size)
        with gzip.GzipFile(fileobj=stream) as plain:
            try:
                bounded: Any = _Bounded(plain, limit, path)
                with tarfile.open(fileobj=bounded, mode="r|") as archive:
                    while len(found) < len(names) and (member := archive.next()) is not None:
                        # A sparse file may claim a hole of any size, which takes nothing in the archive.
                        wanted = member.name in names and member.isreg() and not member.issparse()
                        content = archive.extractfile(member) if wanted else None
                        if content is not None:
                            found[member.name] = content.read()
            except FormatError:
                raise
            except _ERRORS as error:
                raise FormatError(path, f"is not a .tar.gz archive, or a truncated or corrupt one ({error})") from None
    missing = [name for name in names if name not in found]
    if missing:
        raise FormatError(path, f"lacks {', '.join(missing)}")
    return [found[name] for name in names]


def _read(path: Path) -> bytes:
    with open_regular(path) as stream:
        return stream.read()
