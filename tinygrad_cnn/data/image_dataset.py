"""Labelled images in memory: what MNIST and its kin, CIFAR-10 and the shipped digits have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.batching import batch_transform
from tinygrad_cnn.data.collate import as_tensor, default_collate
from tinygrad_cnn.data.dataset import Dataset
from tinygrad_cnn.errors import check_int
from tinygrad_cnn.tensor import Tensor

__all__ = ["ImageDataset", "Transform", "check_flag"]

Transform = Callable[[Any], Any]


class ImageDataset(Dataset):
    """Labelled images in memory.

    Sample i is a pair: the image, a uint8 array (H, W) or (H, W, C), and the label, an int; each put through its
    transform. (Where torchvision gives a Pillow image, this gives an array.) `DataLoader` takes whole batches
    by array indexing as long as the transforms are the library's own (see `tinygrad_cnn.data.transforms`).

    Attributes
    ----------
    data : Tensor
        The images, uint8 (N, H, W) or (N, H, W, C).
    targets : Tensor
        The labels, int64 (N,).
    classes : list of str
        The names of the classes.
    transform, target_transform : callable or None
        Applied to an image and to a label.
    train : bool
        Whether this is the training set or the test set.
    """

    classes: ClassVar[list[str]] = []

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        train: bool,
        transform: Transform | None,
        target_transform: Transform | None,
    ) -> None:
        for name, value in (("transform", transform), ("target_transform", target_transform)):
            if value is not None and not callable(value):
                raise TypeError(f"{type(self).__name__}: {name} expects a callable but got {type(value).__name__}")
        self.data = Tensor(images)
        self.targets = Tensor(labels.astype(np.int64))
        self.train = train
        self.transform = transform
        self.target_transform = target_transform

    @property
    def class_to_idx(self) -> dict[str, int]:
        """From the name of a class to its label."""
        return {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        position = check_int(type(self).__name__, "index", index)
        image: Any = np.array(_array(self.data)[position])  # a copy: transforms may write into it
        target: Any = _array(self.targets)[position]
        target = int(target) if target.ndim == 0 and target.dtype.kind in "iu" else target.copy()
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def fetch_batch(self, indices: NDArray[np.intp]) -> list[Any]:
        """Return images and labels at `indices` (N,), sample by sample if a transform wants that."""
        transform = batch_transform(self.transform)
        target_transform = batch_transform(self.target_transform)
        if transform is None or target_transform is None:
            batch: list[Any] = default_collate([self[index] for index in indices.tolist()])
            return batch
        images = transform(_array(self.data)[indices])
        targets = target_transform(_array(self.targets)[indices])
        return [as_tensor(images), as_tensor(targets)]

    def __repr__(self) -> str:
        lines = [
            f"Dataset {type(self).__name__}",
            f"    Number of datapoints: {len(self)}",
            f"    Split: {'Train' if self.train else 'Test'}",
        ]
        if self.transform is not None:
            lines.append(f"    Transform: {self.transform!r}".replace("\n", "\n    "))
        return "\n".join(lines)


def check_flag(owner: str, name: str, value: object) -> None:
    """Refuse what is not a bool: ``MNIST("folder", "test")`` would load the training set."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{owner}: {name} expects a bool but got {type(value).__name__}")


def _array(values: Any) -> NDArray[Any]:
    """Return the array behind `data` or `targets`, where users may have put tensors or arrays."""
    return values.data if isinstance(values, Tensor) else np.asarray(values)
