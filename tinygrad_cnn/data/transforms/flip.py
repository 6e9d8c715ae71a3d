"""Random mirror images."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.data.transforms.per_picture import Array, PerPicture
from tinygrad_cnn.errors import check_float

__all__ = ["RandomHorizontalFlip", "RandomVerticalFlip"]


class RandomHorizontalFlip(PerPicture):
    """Mirror each picture, left to right, with probability `p`.

    Parameters
    ----------
    p : float, default 0.5

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].
    """

    _axis: ClassVar[int] = 3

    def __init__(self, p: float = 0.5) -> None:
        self.p = check_float(type(self).__name__, "p", p, 0, 1)

    def _transform(self, pictures: Array) -> Array:
        flipped = random.generator().random(len(pictures)) < self.p
        result = pictures.copy()
        result[flipped] = np.flip(pictures[flipped], self._axis)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomVerticalFlip(RandomHorizontalFlip):
    """Mirror each picture, top to bottom, with probability `p`; the rest is as with `RandomHorizontalFlip`."""

    _axis: ClassVar[int] = 2
