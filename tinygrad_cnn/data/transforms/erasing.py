"""Random erasing: a rectangle of each picture is overwritten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.data.transforms.per_picture import Array, PerPicture, check_fill, check_range, per_channel
from tinygrad_cnn.errors import check_float

__all__ = ["RandomErasing"]

_ATTEMPTS = 10


class RandomErasing(PerPicture):
    """Overwrite a rectangle of each picture with probability `p`.

    Area and aspect ratio are drawn, at most ten times, until the rectangle is smaller than the picture in both
    directions; if it never is, the picture stays as it is. Its place is then drawn uniformly.

    Parameters
    ----------
    p : float, default 0.5
    scale : (float, float), default (0.02, 0.33)
        The range of the area, as a fraction of the picture's.
    ratio : (float, float), default (0.3, 3.3)
        The range of height by width; its logarithm is uniform.
    value : float, sequence of float or "random", default 0
        One for all channels, or one for each; or numbers of a normal distribution, for floating pictures.
    inplace : bool, default False
        Accepted, without effect.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of a wrong type.

    References
    ----------
    Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang, "Random Erasing Data Augmentation", arXiv:1708.04896, 2017,
    algorithm 1.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Sequence[float] | float | str = 0,
        inplace: bool = False,
    ) -> None:
        self.p = check_float("RandomErasing", "p", p, 0, 1)
        self.scale = check_range("RandomErasing", "scale", scale, 0, 1)
        self.ratio = check_range("RandomErasing", "ratio", ratio, np.finfo(float).tiny)
        self._is_noise = isinstance(value, str) and value == "random"
        self.value = value if self._is_noise else check_fill("RandomErasing", "value", value)
        self.inplace = bool(inplace)

    def _transform(self, pictures: Array) -> Array:
        if self._is_noise and pictures.dtype.kind != "f":
            raise TypeError(f"RandomErasing: picture expects floats for value='random' but got {pictures.dtype}")
        count, _, height, width = pictures.shape
        top, left, bottom, right = self._draw(count, height, width)[..., np.newaxis]
        rows, columns = np.arange(height), np.arange(width)
        inside_rows = (top <= rows) & (rows < bottom)
        inside_columns = (left <= columns) & (columns < right)
        erased = (inside_rows[:, :, np.newaxis] & inside_columns[:, np.newaxis])[:, np.newaxis]
        return np.where(erased, self._values(pictures), pictures)

    def _draw(self, count: int, height: int, width: int) -> Array:
        """Draw rectangles (4, N): top, left, bottom, right; empty ones where nothing is erased."""
        draws = random.generator().random((count, 3 + 2 * _ATTEMPTS))
        area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * draws[:, 3::2])
        low, high = np.log(self.ratio)
        aspect = np.exp(low + (high - low) * draws[:, 4::2])
        heights, widths = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        fits = (heights < height) & (widths < width)
        first = np.arange(count), fits.argmax(axis=1)
        happens = (draws[:, 0] < self.p) & fits[first]
        tall, wide = heights[first] * happens, widths[first] * happens
        top = np.floor(draws[:, 1] * (height - tall + 1))
        left = np.floor(draws[:, 2] * (width - wide + 1))
        return np.array([top, left, top + tall, left + wide])

    def _values(self, pictures: Array) -> Array:
        if not self._is_noise:
            return per_channel("RandomErasing", "value", self.value, pictures)
        dtype = np.float64 if pictures.dtype == np.float64 else np.float32
        noise = random.generator().standard_normal(pictures.shape, dtype)
        return noise.astype(pictures.dtype, copy=False)

    def __repr__(self) -> str:
        return f"RandomErasing(p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value})"
