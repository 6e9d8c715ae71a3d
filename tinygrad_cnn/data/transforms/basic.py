"""Transforms that are the same for every picture: `ToTensor`, `Normalize`, and how to put several together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.batching import batch_transform
from tinygrad_cnn.data.transforms.per_picture import array_of
from tinygrad_cnn.tensor import Tensor

__all__ = ["Compose", "Lambda", "Normalize", "ToTensor"]


class Compose:
    """Apply several transforms, one after the other.

    Parameters
    ----------
    transforms : sequence of callable
        Kept in the attribute `transforms`.

    Raises
    ------
    TypeError
        If they are no sequence, or one of them is not callable.

    Examples
    --------
    >>> Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    Compose(
        ToTensor()
        Normalize(mean=(0.1307,), std=(0.3081,))
    )
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        if not hasattr(transforms, "__iter__"):
            raise TypeError(f"Compose: transforms expects a sequence but got {type(transforms).__name__}")
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose: transforms expects callables but got {type(transform).__name__}")

    def __call__(self, sample: Any) -> Any:
        """Transform one sample."""
        for transform in self.transforms:
            sample = transform(sample)
        return sample

    @property
    def on_batch(self) -> Callable[[Any], Any] | None:
        """What applies all of them to a stack of samples; None if one of them takes only single samples."""
        stages = [stage for stage in map(batch_transform, self.transforms) if stage is not None]
        if len(stages) < len(self.transforms):
            return None

        def apply(samples: Any) -> Any:
            for stage in stages:
                samples = stage(samples)
            return samples

        return apply

    def __repr__(self) -> str:
        return "\n".join(["Compose(", *(f"    {transform}" for transform in self.transforms), ")"])


class ToTensor:
    """Turn a picture, (H, W) or (H, W, C), into a tensor (C, H, W).

    uint8 becomes float32 in [0, 1]; other dtypes keep type and values, as in torchvision. A Pillow image of black and
    white (mode "1") becomes float32 too.

    The picture is an ndarray, or anything that NumPy takes for one (such as a Pillow image).

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it does not have two or three dimensions.
    """

    def __call__(self, picture: Any) -> Tensor:
        """Turn one picture into a tensor."""
        if isinstance(picture, Tensor) or not hasattr(picture, "__array_interface__"):
            raise TypeError(f"ToTensor: picture expects an array or image but got {type(picture).__name__}")
        values = np.asarray(picture)
        if getattr(picture, "mode", None) == "1":  # a Pillow image of black and white, which is no mask
            values = values.astype(np.float32)
        batch = self.on_batch(values[np.newaxis])
        return Tensor(batch.data[0])

    def on_batch(self, pictures: NDArray[Any]) -> Tensor:
        """Turn pictures (N, H, W) or (N, H, W, C) into a tensor (N, C, H, W)."""
        if not isinstance(pictures, np.ndarray):
            raise TypeError(f"ToTensor: picture expects an array but got {type(pictures).__name__}")
        if pictures.ndim not in (3, 4):
            raise ValueError(f"ToTensor: picture expects 2 or 3 dimensions but got {pictures.shape[1:]}")
        channels_first = pictures[:, np.newaxis] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)
        if pictures.dtype == np.uint8:
            return Tensor(np.divide(channels_first, np.float32(255), dtype=np.float32))
        return Tensor(channels_first.copy())

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """Subtract the mean and divide by the standard deviation, channel by channel: ``y = (x - mean) / std``.

    Parameters
    ----------
    mean, std : sequence of float
        One for each channel, or a single one for all.
    inplace : bool, default False
        Whether to write into the tensor that was given.

    Raises
    ------
    TypeError
        If the picture is not a floating tensor or array.
    ValueError
        If `std` contains a zero, or the picture is not (..., C, H, W) with the right C.
    RuntimeError
        If the picture is a tensor that requires a gradient, while operations are recorded.
    """

    def __init__(self, mean: Sequence[float] | float, std: Sequence[float] | float, inplace: bool = False) -> None:
        for name, value in (("mean", mean), ("std", std)):
            if np.asarray(value).dtype.kind not in "iuf" or np.ndim(value) > 1 or np.size(value) == 0:
                raise ValueError(f"Normalize: {name} expects a number for each channel but got {value!r}")
        if not np.all(std):
            raise ValueError(f"Normalize: std expects no zero but got {std!r}")
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def __call__(self, picture: Any) -> Any:
        """Normalize one picture (..., C, H, W)."""
        return self._normalize(picture, 3)

    def on_batch(self, pictures: Any) -> Any:
        """Normalize pictures (N, C, H, W)."""
        return self._normalize(pictures, 4)

    def _normalize(self, picture: Any, least_ndim: int) -> Any:
        values = array_of("Normalize", picture)
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            found = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
            raise TypeError(f"Normalize: picture expects a floating tensor but got {found}; ToTensor() makes one")
        if values.ndim < least_ndim:
            raise ValueError(f"Normalize: picture expects (..., C, H, W) but got shape {values.shape}")
        mean, std = self._per_channel("mean", values), self._per_channel("std", values)
        if not std.all():
            raise ValueError(f"Normalize: std expects no zero but {self.std!r} is one in {values.dtype}")
        result = np.subtract(values, mean, out=values if self.inplace else None)
        result /= std
        if not isinstance(picture, Tensor):
            return result
        if not self.inplace:
            return Tensor(result)
        picture.bump_version()
        return picture

    def _per_channel(self, name: str, pictures: NDArray[Any]) -> NDArray[Any]:
        values = np.atleast_1d(np.asarray(getattr(self, name), pictures.dtype))
        channels = pictures.shape[-3]
        if len(values) not in (1, channels):
            raise ValueError(f"Normalize: {name} expects {channels} channel(s) but got {len(values)}")
        return values[:, np.newaxis, np.newaxis]

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Lambda:
    """Apply a function of one's own to each sample.

    Raises
    ------
    TypeError
        If `lambd` is not callable.
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Lambda: lambd expects a callable but got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, sample: Any) -> Any:
        """Transform one sample."""
        return self.lambd(sample)

    def __repr__(self) -> str:
        return "Lambda()"
