"""Random affine maps: shift, rotation, scale and shear in one resampling."""

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
    check_range,
    is_bilinear,
    per_channel,
)
from tinygrad_cnn.kernels import resample

__all__ = ["RandomAffine", "RandomRotation"]

Range = Sequence[float] | float


class RandomAffine(PerPicture):
    """Shift, rotate, scale and shear each picture at random, with a single resampling.

    A point p of the picture goes to ``center + translation + scale * R(angle) @ S(shear) @ (p - center)``. All
    are drawn uniformly, for each picture by itself.

    Parameters
    ----------
    degrees : float or (float, float)
        The range of the angle, clockwise; d stands for (-d, d).
    translate : (float, float), optional
        The largest shift, as a fraction of width and of height: whole pixels from ``-translate[0] * W`` to
        ``translate[0] * W``, and the same for the height.
    scale : (float, float), optional
        The range of the factor.
    shear : float, (float, float) or (float, float, float, float), optional
        The ranges of the angles of shear in degrees, along x and then y; s stands for (-s, s), along x alone.
    interpolation : InterpolationMode or str, default "nearest"
        "nearest" or "bilinear".
    fill : float or sequence of float, default 0
        What lies outside the picture; one for all channels, or one for each.
    center : (float, float), optional
        The fixed point, x and y from the upper left corner; by default the centre of the picture.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of a wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> pictures = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    >>> RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation="bilinear")(pictures).shape
    (5, 1, 28, 28)
    """

    def __init__(
        self,
        degrees: Range,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Range | None = None,
        interpolation: InterpolationMode | str = InterpolationMode.NEAREST,
        fill: Range = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        name = type(self).__name__
        self.degrees = _angles(name, "degrees", degrees)
        self.translate = None if translate is None else _pair(name, "translate", translate, 0, 1)
        self.scale = None if scale is None else check_range(name, "scale", scale, np.finfo(float).tiny)
        self.shear = None if shear is None else _shears(name, shear)
        self.interpolation = interpolation
        self._bilinear = is_bilinear(name, interpolation)
        self.fill = check_fill(name, "fill", fill)
        self.center = None if center is None else _pair(name, "center", center)

    def _transform(self, pictures: Array) -> Array:
        fill = per_channel(type(self).__name__, "fill", self.fill, pictures)
        return resample.affine(pictures, self._draw(*pictures.shape), self._bilinear, fill)

    def _draw(self, count: int, channels: int, height: int, width: int) -> Array:
        """Draw the maps (N, 2, 3) from output to input."""
        # A row of draws for each picture: a batch draws what its pictures would draw one after the other.
        draws = random.generator().random((count, 6)).T
        angle = _between(self.degrees, draws[0])
        x_range, y_range = (share * size for share, size in zip(self.translate or (0, 0), (width, height), strict=True))
        translation = np.rint([_between((-x_range, x_range), draws[1]), _between((-y_range, y_range), draws[2])])
        scale = _between(self.scale or (1, 1), draws[3])
        shear = self.shear or (0, 0, 0, 0)
        shear_x, shear_y = _between(shear[:2], draws[4]), _between(shear[2:], draws[5])
        # Pixel 0 reaches from 0 to 1: its centre is at 1/2, where the kernel counts it as 0.
        center = np.subtract((width / 2, height / 2) if self.center is None else self.center, 0.5)
        return inverse_affine(center, angle, translation, scale, (shear_x, shear_y))

    def __repr__(self) -> str:
        return _say(self, "degrees", "translate", "scale", "shear", "interpolation", "fill", "center")


class RandomRotation(RandomAffine):
    """Rotate each picture by a random angle, counter-clockwise; what leaves the frame is cut off.

    Parameters
    ----------
    degrees : float or (float, float)
        The range of the angle; d stands for (-d, d).
    interpolation : InterpolationMode or str, default "nearest"
        "nearest" or "bilinear".
    expand : bool, default False
        Only False: pictures of a batch have one size.
    center : (float, float), optional
        The fixed point, x and y from the upper left corner; by default the centre of the picture.
    fill : float or sequence of float, default 0
        What lies outside the picture; one for all channels, or one for each.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of a wrong type.
    """

    def __init__(
        self,
        degrees: Range,
        interpolation: InterpolationMode | str = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Range = 0,
    ) -> None:
        if expand:
            raise ValueError("RandomRotation: expand expects False: pictures of a batch keep one size")
        super().__init__(degrees, interpolation=interpolation, fill=fill, center=center)

    def _draw(self, count: int, channels: int, height: int, width: int) -> Array:
        angle = -_between(self.degrees, random.generator().random(count))
        center = np.subtract((width / 2, height / 2) if self.center is None else self.center, 0.5)
        nothing = np.zeros(count)
        return inverse_affine(center, angle, np.zeros((2, count)), np.ones(count), (nothing, nothing))

    def __repr__(self) -> str:
        return _say(self, "degrees", "interpolation", "center", "fill")


def inverse_affine(center: Array, angle: Array, translation: Array, scale: Array, shear: tuple[Array, Array]) -> Array:
    """Return the maps (N, 2, 3) that undo: shear, rotate clockwise, scale, all about `center`, then translate.

    Angles (N,) are in degrees; translation is (2, N). The shear maps (x, y) to ``(x - tan(a) y, y)`` with the angle a
    along x, and then turns the y axis alone by the angle along y, as in torchvision.
    """
    rotation, along_x, along_y = np.radians(angle), np.radians(shear[0]), np.radians(shear[1])
    a = np.cos(rotation - along_y) / np.cos(along_y)
    b = -a * np.tan(along_x) - np.sin(rotation)
    c = np.sin(rotation - along_y) / np.cos(along_y)
    d = -c * np.tan(along_x) + np.cos(rotation)
    inverse = np.array([[d, -b], [-c, a]]) / scale  # of a matrix with determinant 1
    moved = center[:, np.newaxis] + translation
    offset = center[:, np.newaxis] - np.einsum("ijn,jn->in", inverse, moved)
    return np.concatenate([inverse, offset[:, np.newaxis]], axis=1).transpose(2, 0, 1)


def _between(limits: Sequence[float], draws: Array) -> Array:
    low, high = limits
    return low + (high - low) * draws


def _pair(name: str, argument: str, value: Any, least: float = -float("inf"), most: float = float("inf")) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
        raise ValueError(f"{name}: {argument} expects two numbers but got {value!r}")
    return tuple(check_finite(name, argument, number, least, most) for number in value)


def _angles(name: str, argument: str, value: Any) -> Any:
    if isinstance(value, Sequence | np.ndarray):
        return check_range(name, argument, value)
    limit = check_finite(name, argument, value, 0)
    return -limit, limit


def _shears(name: str, value: Any) -> Any:
    if isinstance(value, Sequence | np.ndarray) and len(value) == 4:
        return *check_range(name, "shear", value[:2]), *check_range(name, "shear", value[2:])
    return *_angles(name, "shear", value), 0.0, 0.0


def _say(transform: PerPicture, *names: str) -> str:
    given = [f"{name}={_text(getattr(transform, name))}" for name in names if getattr(transform, name) is not None]
    return f"{type(transform).__name__}({', '.join(given)})"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
