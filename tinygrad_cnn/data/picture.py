"""Pictures from files, with Pillow; and handwritten digits in them, made as MNIST's images were."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.files import FormatError, open_regular

__all__ = ["EXTENSIONS", "read_digit", "read_rgb"]

# What pictures come in. Not every format that Pillow knows: some of them run other programs.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM")
# The names that such files have.
EXTENSIONS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".pnm")
_MAX_PIXELS = 50_000_000
# A black page takes next to nothing in a file; what expands more than this is taken for an attack.
_MAX_EXPANSION = 1000
_ALWAYS_ALLOWED = 4_000_000
_WORKING_SIZE = 512
# More than 8 bits: Pillow would clip them.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B")
_BOX, _SIZE = 20, 28
_MIN_CONTRAST = 0.05
# Paper is never quite even. Strokes count from a tenth of the darkest one on, and as full from nine tenths.
_NOISE = 0.1

Gray = NDArray[np.float32]
Result = TypeVar("Result")


def read_digit(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a picture of one handwritten digit, and centre and scale it as those of MNIST were.

    Parameters
    ----------
    path : str or path-like
        A PNG, JPEG, GIF (its first frame), BMP, WebP or PPM file, of any size up to 50 million pixels, in colours,
        greys or a palette, with or without transparency; dark on light or light on dark, which is found out.

    Returns
    -------
    ndarray
        uint8 (28, 28), the digit light on black, as `MNIST` delivers it.

    Raises
    ------
    FormatError
        If the file is not such a picture, is truncated or corrupt, shows nothing, or is too large: it has more than
        50 million pixels, or more than 4 million and a thousand for each byte of the file. No more memory is asked for
        than some bytes for each of these pixels.
    OSError
        If the file does not exist or can't be read.
    ImportError
        If Pillow is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that are odd, and of sizes that are checked here
        gray = _read(path, _as_small_gray)
    try:
        return as_mnist(gray)
    except ValueError as error:
        raise FormatError(path, f"shows no digit: {error}") from None


def read_rgb(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a picture in colours: uint8 (H, W, 3), red, green and blue; transparency is dropped.

    Parameters
    ----------
    path : str or path-like
        A PNG, JPEG, GIF (its first frame), BMP, WebP or PPM file, with the limits of `read_digit`.

    Raises
    ------
    FormatError
        If the file is not such a picture, is truncated, corrupt or too large, or is grey with more than 8 bits.
        (Of colours with 16 bits a channel Pillow delivers the upper 8.)
    OSError
        If the file does not exist or can't be read.
    ImportError
        If Pillow is not installed.
    """
    return _read(path, _as_rgb)


def as_mnist(gray: Gray) -> NDArray[np.uint8]:
    """Turn greys (H, W) in [0, 1] into an image (28, 28), uint8, as MNIST's were made.

    The strokes are scaled, with their proportions kept, to fit into a box of 20 x 20 pixels; that is placed so that
    their centre of mass comes to lie in the centre of 28 x 28 pixels, as far as the box stays inside.

    Raises
    ------
    ValueError
        If there is no contrast.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
    """
    strokes = _strokes(gray)
    rows, columns = (np.flatnonzero(strokes.max(axis=axis) > 0.5) for axis in (1, 0))
    # The faint rim of the strokes belongs to them.
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    cropped = strokes[top : rows[-1] + 2, left : columns[-1] + 2]
    if strokes.shape == (_SIZE, _SIZE) and max(cropped.shape) <= _BOX + 2:
        box = cropped  # made like MNIST's already
    else:
        box = _resized(cropped, _BOX)
    height, width = box.shape
    center = np.array([box.sum(axis=1) @ np.arange(height), box.sum(axis=0) @ np.arange(width)]) / box.sum()
    # The centre is pixel 14, counted from 0: in 400 test images of MNIST it lies at 14.0, with a deviation of 0.29.
    y, x = np.clip(np.rint(_SIZE / 2 - center).astype(int), 0, (_SIZE - height, _SIZE - width))
    image = np.zeros((_SIZE, _SIZE), np.float32)
    image[y : y + height, x : x + width] = box
    return np.rint(image / image.max() * 255).astype(np.uint8)


def _strokes(gray: Gray) -> Gray:
    """Return how much ink there is, from 0 to 1, whichever of ink and paper is the lighter."""
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    difference = gray - np.median(border)
    # The third power lets strokes outweigh the grain of the paper.
    ink = np.maximum(difference if (difference**3).sum() > 0 else -difference, 0)
    highest = float(ink.max())
    if highest < _MIN_CONTRAST:
        raise ValueError("it has no contrast")
    return np.clip((ink / highest - _NOISE) / (1 - 2 * _NOISE), 0, 1)


def _resized(gray: Gray, longest: int) -> Gray:
    """Scale (H, W) so that the longer side is `longest`; every pixel is the mean of those that fall into it."""
    height, width = gray.shape
    scale = longest / max(height, width)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    image = _pillow().fromarray(gray).resize(new, _pillow().Resampling.BILINEAR)
    return np.asarray(image)


def _read(path: str | os.PathLike[str], use: Callable[[Any, Any], Result]) -> Result:
    """Open a picture and return ``use(pillow, picture)``; whatever is wrong with the file is a `FormatError`."""
    pillow = _pillow()
    with open_regular(path) as stream:
        return _decode(pillow, stream, path, use)


def _decode(pillow: Any, stream: BinaryIO, path: str | os.PathLike[str], use: Callable[[Any, Any], Result]) -> Result:
    try:
        with pillow.open(stream, formats=_FORMATS) as picture:
            width, height = picture.size
            allowed = min(_MAX_PIXELS, max(_ALWAYS_ALLOWED, _MAX_EXPANSION * os.fstat(stream.fileno()).st_size))
            if width * height > allowed:
                raise FormatError(path, f"is too large: {width} x {height} pixels, where {allowed:,} are allowed")
            return use(pillow, picture)
    except FormatError:
        raise
    except pillow.DecompressionBombError:
        raise FormatError(path, f"is too large: it has more pixels than the {_MAX_PIXELS:,} that are allowed") from None
    except importlib.import_module("PIL").UnidentifiedImageError:
        raise FormatError(path, f"is not a picture in one of the formats {', '.join(_FORMATS)}") from None
    except _PILLOW_ERRORS as error:
        raise FormatError(path, f"is not a picture, or a truncated or corrupt one ({_first_line(error)})") from None


# What Pillow raises on files that are not what they claim to be, as found by fuzzing.
_PILLOW_ERRORS = (
    OSError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
)


def _as_small_gray(pillow: Any, picture: Any) -> Gray:
    """Return the greys (H, W) of a picture, in [0, 1], its longer side no longer than 512."""
    picture.draft("L", (_WORKING_SIZE, _WORKING_SIZE))  # lets a JPEG be decoded at a lower resolution
    return _as_gray(pillow, _upright(picture))


def _as_rgb(pillow: Any, picture: Any) -> NDArray[np.uint8]:
    if picture.mode in _DEEP_MODES:
        raise ValueError("it has more than 8 bits a pixel and channel")
    return np.array(picture.convert("RGB"))


def _upright(picture: Any) -> Any:
    """Turn a photograph as the camera says that it was held."""
    turned = importlib.import_module("PIL.ImageOps").exif_transpose(picture)
    return picture if turned is None else turned


def _as_gray(pillow: Any, picture: Any) -> Gray:
    factor = -(-max(picture.size) // _WORKING_SIZE)
    if picture.mode in _DEEP_MODES:
        return _stretched(pillow, np.asarray(picture), factor)
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
        return _opaque(np.asarray(_reduced(picture.convert("RGBA"), factor), np.float32) / np.float32(255))
    if picture.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    return np.asarray(_reduced(picture.convert("L"), factor), np.float32) / np.float32(255)


def _stretched(pillow: Any, values: NDArray[Any], factor: int) -> Gray:
    """Bring values of any range into [0, 1]."""
    low, high = float(values.min()), float(values.max())
    if not high - low < 1e30:  # NaN, infinite, or beyond float32
        raise ValueError("its values are not finite, or too large")
    gray = np.subtract(values, low, dtype=np.float32) / max(high - low, 1e-6)
    return np.asarray(_reduced(pillow.fromarray(gray.astype(np.float32)), factor))


def _reduced(picture: Any, factor: int) -> Any:
    return picture.reduce(factor) if factor > 1 else picture


def _opaque(pixels: NDArray[np.float32]) -> Gray:
    """Lay RGBA (H, W, 4) on white, or on black if everything drawn is light."""
    gray = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    alpha = pixels[..., 3]
    is_light = gray[alpha >= 0.5 * alpha.max()].min() > 0.5  # all of what is drawn
    ground = 0.0 if is_light else 1.0
    return gray * alpha + ground * (1 - alpha)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise ImportError("pictures need the package Pillow: pip install 'tinygrad_cnn[images]'") from None
