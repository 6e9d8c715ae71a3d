"""Elastic distortion: pixels move as if the picture were printed on rubber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.data.transforms.per_picture import (
    Array,
    InterpolationMode,
    PerPicture,
    check_fill,
    check_finite,
    is_bilinear,
    per_channel,
)
from tinygrad_cnn.kernels import resample

__all__ = ["ElasticTransform"]


class ElasticTransform(PerPicture):
    """Move each pixel by a random displacement that changes smoothly over the picture.

    Each picture has two fields of numbers drawn uniformly from (-1, 1), one for x and one for y. Smoothed by a Gaussian
    of standard deviation `sigma` and multiplied by ``alpha / 2`` they are the displacements in pixels. (The half is
    torchvision's: it counts in units of half the picture.)

    Parameters
    ----------
    alpha : float or (float, float), default 50.0
        The strength, for both directions or for x and y.
    sigma : float or (float, float), default 5.0
        The smoothness in pixels, of both fields or of those for x and y; 0 smooths nothing.
    interpolation : InterpolationMode or str, default "bilinear"
        "nearest" or "bilinear".
    fill : float or sequence of float, default 0
        What lies outside the picture; one for all channels, or one for each.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of a wrong type.

    References
    ----------
    P. Simard, D. Steinkraus, J. Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", ICDAR 2003, section 2. There, for MNIST, sigma = 4 and displacements of ``34 * field``: ``alpha=68``.

    Examples
    --------
    >>> import numpy as np
    >>> ElasticTransform(alpha=68.0, sigma=4.0)(np.ones((3, 1, 28, 28), np.float32)).shape
    (3, 1, 28, 28)
    """

    def __init__(
        self,
        alpha: Sequence[float] | float = 50.0,
        sigma: Sequence[float] | float = 5.0,
        interpolation: InterpolationMode | str = InterpolationMode.BILINEAR,
        fill: Sequence[float] | float = 0,
    ) -> None:
        self.alpha = _for_x_and_y("alpha", alpha, -float("inf"))
        self.sigma = _for_x_and_y("sigma", sigma, 0)
        self.interpolation = interpolation
        self._bilinear = is_bilinear("ElasticTransform", interpolation)
        self.fill = check_fill("ElasticTransform", "fill", fill)

    def _transform(self, pictures: Array) -> Array:
        count, _, height, width = pictures.shape
        fill = per_channel("ElasticTransform", "fill", self.fill, pictures)
        dtype = np.float64 if pictures.dtype == np.float64 else np.float32
        # A filter is linear and keeps constants, so the draws are taken from (0, 1) to (-1, 1) after it.
        fields = random.generator().random((count, 2, height, width), dtype)
        for axis, (alpha, sigma) in enumerate(zip(self.alpha, self.sigma, strict=True)):
            vertical, horizontal = (resample.gaussian_matrix(size, sigma, dtype) for size in (height, width))
            smoothed = resample.smooth(fields[:, axis], vertical, horizontal)
            smoothed -= dtype(0.5)
            np.multiply(smoothed, dtype(alpha), out=fields[:, axis])
        return resample.displace(pictures, fields, self._bilinear, fill)

    def __repr__(self) -> str:
        return (
            f"ElasticTransform(alpha={self.alpha}, sigma={self.sigma}, interpolation={self.interpolation}, "
            f"fill={self.fill})"
        )


def _for_x_and_y(argument: str, value: Any, least: float) -> tuple[float, float]:
    values = value if isinstance(value, Sequence | np.ndarray) else (value, value)
    if isinstance(values, str) or len(values) not in (1, 2):
        raise ValueError(f"ElasticTransform: {argument} expects a number or two but got {value!r}")
    numbers = [check_finite("ElasticTransform", argument, number, least) for number in values]
    return numbers[0], numbers[-1]
