"""What the random transforms share: a draw for each picture, and which pictures they take."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.autograd import is_grad_enabled
from tinygrad_cnn.errors import check_float
from tinygrad_cnn.tensor import Tensor

__all__ = [
    "Array",
    "InterpolationMode",
    "PerPicture",
    "array_of",
    "check_fill",
    "check_finite",
    "check_range",
    "is_bilinear",
    "per_channel",
]

Array = NDArray[Any]


class InterpolationMode(enum.StrEnum):
    """How a value between pixels is found; the strings "nearest" and "bilinear" do as well."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"


class PerPicture:
    """A random transform of pictures, tensors or arrays (H, W) or (C, H, W): after `ToTensor`, that is.

    A batch (N, C, H, W) is taken too, and each of its pictures has a draw of its own. What is returned is new, of the
    kind and dtype of what was given.

    Subclasses define ``_transform(pictures)`` from (N, C, H, W) arrays to new ones.
    """

    def __call__(self, picture: Any) -> Any:
        """Transform one picture (H, W) or (C, H, W), or each of a batch (N, C, H, W)."""
        values = self._checked(picture, (2, 3, 4))
        if values is picture and values.ndim > 2:
            self._check_channels_first(values)
        result = self._transform(values.reshape((1,) * (4 - values.ndim) + values.shape))
        return _like(picture, result.reshape(values.shape[:-2] + result.shape[-2:]))

    def on_batch(self, pictures: Any) -> Any:
        """Transform each of the pictures (N, H, W) or (N, C, H, W)."""
        values = self._checked(pictures, (3, 4))
        if values is pictures and values.ndim == 4:
            self._check_channels_first(values)
        result = self._transform(values if values.ndim == 4 else values[:, np.newaxis])
        return _like(pictures, result if values.ndim == 4 else result[:, 0])

    def _checked(self, pictures: Any, ndims: tuple[int, ...]) -> Array:
        name = type(self).__name__
        values = array_of(name, pictures)
        if not isinstance(values, np.ndarray):
            raise TypeError(f"{name}: picture expects a tensor or an array but got {type(values).__name__}")
        if values.dtype.kind not in "buif":
            raise TypeError(f"{name}: picture expects real numbers but got dtype {values.dtype}")
        if values.ndim not in ndims:
            raise ValueError(f"{name}: picture expects (H, W), (C, H, W) or (N, C, H, W) but got shape {values.shape}")
        return values

    def _check_channels_first(self, values: Array) -> None:
        """Refuse colour pictures as data sets hold them: a mirror image would swap red and blue."""
        if values.shape[-1] in (3, 4) and values.shape[-3] > 4:
            raise ValueError(
                f"{type(self).__name__}: picture expects channels first, (C, H, W) or (N, C, H, W), but got shape "
                f"{values.shape}; put ToTensor before it"
            )

    def _transform(self, pictures: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} does not define _transform")


def array_of(name: str, picture: Any) -> Any:
    """Return the array behind a tensor, and anything else as it is; `name` is the transform that asks.

    Raises
    ------
    RuntimeError
        If what is done with it should be recorded: transforms are not differentiable.
    """
    if not isinstance(picture, Tensor):
        return picture
    if picture.requires_grad and is_grad_enabled():
        raise RuntimeError(f"{name}: picture requires a gradient, which a transform would lose; use detach()")
    return picture.data


def check_finite(name: str, argument: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Return `value`, a number within [least, most] that is not infinite, as a float."""
    number = check_float(name, argument, value, least, most)
    if math.isinf(number):
        raise ValueError(f"{name}: {argument} expects a finite number but got {number}")
    return number


def check_range(name: str, argument: str, value: Any, least: float = -math.inf, most: float = math.inf) -> Any:
    """Return `value`, a pair of numbers within [least, most] in ascending order, as floats."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
        raise ValueError(f"{name}: {argument} expects two numbers but got {value!r}")
    low, high = (check_finite(name, argument, number, least, most) for number in value)
    if low > high:
        raise ValueError(f"{name}: {argument} expects the lower number first but got {value!r}")
    return low, high


def is_bilinear(name: str, interpolation: Any) -> bool:
    """Return whether to interpolate, or to take the nearest pixel."""
    try:
        return InterpolationMode(interpolation) is InterpolationMode.BILINEAR
    except ValueError:
        raise ValueError(f"{name}: interpolation expects 'nearest' or 'bilinear' but got {interpolation!r}") from None


def check_fill(name: str, argument: str, fill: Any) -> Any:
    """Check that `fill` is a number or a sequence of numbers."""
    values = np.asarray(fill)
    if values.dtype.kind not in "buif" or values.ndim > 1 or not values.size:
        raise ValueError(f"{name}: {argument} expects a number, or one for each channel, but got {fill!r}")
    return fill


def per_channel(name: str, argument: str, fill: Any, pictures: Array) -> Array:
    """Return `fill` as (C, 1, 1) or (1, 1, 1), in the dtype of the pictures (N, C, H, W)."""
    values = np.atleast_1d(np.asarray(fill))
    channels, dtype = pictures.shape[1], pictures.dtype
    if len(values) not in (1, channels):
        raise ValueError(f"{name}: {argument} expects a number or {channels}, one a channel, but got {len(values)}")
    with np.errstate(all="ignore"):  # what does not fit is refused below
        converted = values.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(converted, values):
        raise ValueError(f"{name}: {argument} expects values of pictures of {dtype} but got {fill!r}")
    return converted[:, np.newaxis, np.newaxis]


def _like(given: Any, result: Array) -> Any:
    return Tensor(result) if isinstance(given, Tensor) else result
