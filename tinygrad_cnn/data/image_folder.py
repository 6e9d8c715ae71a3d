"""Labelled pictures in folders, one for each class."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsIndex

from tinygrad_cnn.data.dataset import Dataset
from tinygrad_cnn.data.image_dataset import Transform
from tinygrad_cnn.data.picture import EXTENSIONS, read_rgb

__all__ = ["ImageFolder"]

Loader = Callable[[str], Any]


class ImageFolder(Dataset):
    """Pictures in folders: ``root/CLASS/anything/picture.png``.

    Sample i is a pair: the picture, a uint8 array (H, W, 3), and the position of its class in `classes`; each put
    through its transform. (Where torchvision gives a Pillow image, this gives an array.) Pictures of several sizes need
    a transform or a `loader` that makes them alike: a batch has one shape. Needs Pillow (extra ``images``).

    Parameters
    ----------
    root : str or path-like
        The folder whose subfolders are the classes.
    transform, target_transform : callable, optional
        Applied to each picture, to each label.
    loader : callable, optional
        Makes a sample out of a path; by default `tinygrad_cnn.data.picture.read_rgb`.
    is_valid_file : callable, optional
        Tells of a path whether it is a sample; by default, what ends in .png, .jpg, .jpeg, .gif, .bmp, .webp, .ppm,
        .pgm, .pbm or .pnm, in small letters or capitals, is.
    allow_empty : bool, default False
        Whether classes may have no sample.

    Attributes
    ----------
    classes : list of str
        The names of the subfolders, sorted.
    class_to_idx : dict
        From the name of a class to its position.
    samples : list of (str, int)
        Path and class of each sample, sorted by class and then by path.
    targets : list of int
        The classes alone.

    Raises
    ------
    FileNotFoundError
        If `root` does not exist or has no subfolder, or a class has no sample.
    TypeError
        If an argument has a wrong type.
    FormatError, ImportError
        When a sample is asked for: if its file is not a picture (the message names it), or Pillow is not installed.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        loader: Loader = read_rgb,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        if not isinstance(root, str | os.PathLike):
            raise TypeError(f"ImageFolder: root expects a path but got {type(root).__name__}")
        options = {"transform": transform, "target_transform": target_transform, "is_valid_file": is_valid_file}
        for name, value in {"loader": loader, **options}.items():
            if not callable(value) and (value is not None or name == "loader"):
                raise TypeError(f"ImageFolder: {name} expects a callable but got {type(value).__name__}")
        self.root = os.fspath(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        folder = Path(os.path.expanduser(root))
        self.classes = _subfolders(folder)
        self.class_to_idx = {name: position for position, name in enumerate(self.classes)}
        is_sample = _has_known_extension if is_valid_file is None else is_valid_file
        self.samples = [
            (path, position)
            for name, position in self.class_to_idx.items()
            for path in _files(folder / name, is_sample)
        ]
        self.targets = [position for _, position in self.samples]
        empty = set(self.classes) - {self.classes[position] for position in self.targets}
        if empty and not allow_empty:
            expected = f"; expected {', '.join(EXTENSIONS)}" if is_valid_file is None else ""
            raise FileNotFoundError(f"ImageFolder: no picture of {', '.join(sorted(empty))} in {folder}{expected}")

    @property
    def imgs(self) -> list[tuple[str, int]]:
        """The `samples`, by another name that torchvision has for them."""
        return self.samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        path, target = self.samples[operator.index(index)]
        sample, label = self.loader(path), target
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        lines = ["Dataset ImageFolder", f"    Number of datapoints: {len(self)}", f"    Root location: {self.root}"]
        if self.transform is not None:
            lines.append(f"    Transform: {self.transform!r}".replace("\n", "\n    "))
        return "\n".join(lines)


def _subfolders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    if not names:
        raise FileNotFoundError(f"ImageFolder: no class folder in {root}")
    return names


def _files(folder: Path, is_sample: Callable[[str], bool]) -> list[str]:
    """Return the samples in a folder and the folders in it, links included, in the order of torchvision."""
    visits = sorted((place, names) for place, _, names in os.walk(folder, followlinks=True))
    paths = (os.path.join(place, name) for place, names in visits for name in sorted(names))
    return [path for path in paths if is_sample(path)]


def _has_known_extension(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS)
