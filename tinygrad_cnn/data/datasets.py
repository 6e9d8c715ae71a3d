"""The data sets: those of 28x28 grey images, 0 for the background, by class and by name; CIFAR-10; folders."""

from __future__ import annotations

import os

from tinygrad_cnn.data.cifar import CIFAR10
from tinygrad_cnn.data.digits import Digits
from tinygrad_cnn.data.image_dataset import ImageDataset, Transform
from tinygrad_cnn.data.image_folder import ImageFolder
from tinygrad_cnn.data.mnist import KMNIST, MNIST, FashionMNIST

__all__ = ["CIFAR10", "KMNIST", "MNIST", "Digits", "FashionMNIST", "ImageDataset", "ImageFolder", "load"]

_FROM_FILES = {"mnist": MNIST, "fashion-mnist": FashionMNIST, "kmnist": KMNIST}


def load(
    name: str,
    root: str | os.PathLike[str] | None = None,
    train: bool = True,
    transform: Transform | None = None,
    target_transform: Transform | None = None,
    download: bool = False,
) -> ImageDataset:
    """Return the data set called ``"mnist"``, ``"fashion-mnist"``, ``"kmnist"`` or ``"digits"``.

    The other arguments are those of `MNIST`; `Digits` needs neither `root` nor `download`, and they do not
    matter to it.

    Raises
    ------
    ValueError
        If there is no data set of this name. Further errors are those of `MNIST`.

    Examples
    --------
    >>> load("digits", train=False)
    Dataset Digits
        Number of datapoints: 297
        Split: Test
    """
    if name == "digits":
        return Digits(train, transform, target_transform)
    if name not in _FROM_FILES:
        names = ", ".join(map(repr, _FROM_FILES))
        raise ValueError(f"load: name expects {names} or 'digits' but got {name!r}")
    return _FROM_FILES[name](root, train, transform, target_transform, download)
