"""Resampling of images: each output pixel is read at a place of its own between the pixels of the input.

Every image of a batch may move differently. Blocks of images go through the threads; within a block each step is one
NumPy call over all pixels. The images get a frame of the filling value, so that no pixel needs to ask whether it is
inside: places beyond the frame are clipped onto it. The four neighbours of a place are then four gathers with one and
the same array of indices, from views that start one pixel or one row later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["affine", "displace", "gaussian_matrix", "smooth"]

Array = NDArray[Any]
Locate = Callable[[slice, Array, Array], Iterable[Call]]

# Values of a block: many, since there are many steps, and threads get in each other's way between two of them; and from
# which number on a second thread pays.
_BLOCK = 1 << 18
_WORTH_SHARING = 1 << 14
# Up to here float32 counts the pixels of an image exactly.
_EXACT_IN_FLOAT32 = 1 << 24


def affine(images: Array, matrices: Array, bilinear: bool = True, fill: Any = 0) -> Array:
    """Resample each image under an affine map: ``(N, C, H, W), (N, 2, 3) -> (N, C, H, W)``.

    Pixel (x, y) of output n is the input at ``matrices[n] @ (x, y, 1)``; x counts columns and y rows, from the centre
    of the first pixel.

    Parameters
    ----------
    images : ndarray
        (N, C, H, W), numbers of any kind; integers are rounded to the nearest.
    matrices : ndarray
        (N, 2, 3), from output to input.
    bilinear : bool, default True
        Whether to interpolate between four pixels, or to take the nearest one (of two, the even one).
    fill : number or ndarray
        What lies outside; one for each channel, (C, 1, 1), or one for all.
    """
    columns, rows = _grid(images)
    entries = matrices.astype(columns.dtype)[..., np.newaxis, np.newaxis]

    def locate(part: slice, x: Array, y: Array) -> Iterable[Call]:
        block = entries[part]
        for row, place in enumerate((x, y)):
            yield partial(np.add, block[:, row, 0] * columns, block[:, row, 1] * rows + block[:, row, 2], out=place)

    return _resample(images, locate, bilinear, fill)


def displace(images: Array, displacements: Array, bilinear: bool = True, fill: Any = 0) -> Array:
    """Resample each image with a displacement for each pixel: ``(N, C, H, W), (N, 2, H, W) -> (N, C, H, W)``.

    Pixel (x, y) of output n is the input at ``(x + displacements[n, 0, y, x], y + displacements[n, 1, y, x])``. The
    other arguments are those of `affine`.
    """
    columns, rows = _grid(images)

    def locate(part: slice, x: Array, y: Array) -> Iterable[Call]:
        yield partial(np.add, displacements[part, 0], columns, out=x)
        yield partial(np.add, displacements[part, 1], rows, out=y)

    return _resample(images, locate, bilinear, fill)


def smooth(fields: Array, vertical: Array, horizontal: Array) -> Array:
    """Return ``vertical @ f @ horizontal.T`` for each field f: ``(..., H, W) -> (..., H, W)``.

    Along an axis as short as an image's, a convolution with a wide window is fastest as a product with a matrix (see
    `gaussian_matrix`).
    """
    *_, height, width = fields.shape
    flat = np.ascontiguousarray(fields).reshape(-1, height, width)
    out = buffers.empty(flat.shape, flat.dtype)

    def plan(part: slice) -> list[Call]:
        block = flat[part]
        across = buffers.scratch("across", block.shape, flat.dtype)
        return [
            partial(np.matmul, block.reshape(-1, width), horizontal.T, out=across.reshape(-1, width)),
            partial(np.matmul, vertical, across, out=out[part]),
        ]

    parallel_products(plan, _blocks(flat), flat.size * (height + width))
    return out.reshape(fields.shape)


def gaussian_matrix(size: int, sigma: float, dtype: Any) -> Array:
    """Return the matrix (size, size) of a Gaussian filter over `size` places, which are mirrored at both ends.

    The window has ``8 sigma + 1`` places, made odd, and its weights add up to 1; a `sigma` of 0 filters nothing.
    """
    matrix = np.zeros((size, size))
    radius = (int(8 * sigma + 1) // 2) if sigma > 0 else 0
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    # Where each place comes from, however often it is mirrored.
    sources = np.pad(np.arange(size), radius, mode="reflect")
    for start, weight in enumerate(weights / weights.sum()):
        np.add.at(matrix, (np.arange(size), sources[start : start + size]), weight)
    return matrix.astype(dtype)


def _grid(images: Array) -> tuple[Array, Array]:
    """Return the columns (W,) and rows (H, 1), in the dtype that coordinates are computed in."""
    height, width = images.shape[2:]
    dtype: Any = np.result_type(images.dtype, np.float32)
    if (height + 3) * (width + 3) >= _EXACT_IN_FLOAT32:
        dtype = np.float64
    return np.arange(width, dtype=dtype), np.arange(height, dtype=dtype)[:, np.newaxis]


def _resample(images: Array, locate: Locate, bilinear: bool, fill: Any) -> Array:
    """Read each image at the places that `locate` writes for a slice of the images: x (n, H, W) and y (n, H, W)."""
    *_, height, width = images.shape
    out = buffers.empty(images.shape, images.dtype)
    if not images.size:
        return out
    working = np.result_type(images.dtype, np.float32) if bilinear else images.dtype
    coordinates = _grid(images)[0].dtype

    def plan(part: slice) -> list[Call]:
        source, target = images[part], out[part]
        framed, calls = _framed(source, fill, working)
        x, y, x_before, y_before = buffers.scratch("places", (4, len(source), height, width), coordinates)
        before = np.floor if bilinear else np.rint
        calls += [
            *locate(part, x, y),
            # From here on every place has its four neighbours within the frame.
            partial(np.clip, x, -1, width, out=x),
            partial(np.clip, y, -1, height, out=y),
            partial(before, x, out=x_before),
            partial(before, y, out=y_before),
            partial(np.subtract, x, x_before, out=x),
            partial(np.subtract, y, y_before, out=y),
        ]
        index = buffers.scratch("index", source.shape, np.intp)
        calls += _flat_index(x_before, y_before, framed.shape, index)
        if not bilinear:
            return [*calls, partial(np.take, framed.reshape(-1), index, out=target, mode="clip")]
        if working == images.dtype:
            return calls + _interpolate(framed, index, x[:, np.newaxis], y[:, np.newaxis], target)
        values = buffers.scratch("values", source.shape, working)
        calls += _interpolate(framed, index, x[:, np.newaxis], y[:, np.newaxis], values)
        if images.dtype.kind != "f":
            calls.append(partial(np.rint, values, out=values))
        return [*calls, partial(np.copyto, target, values, casting="unsafe")]

    parallel_calls(plan, _blocks(images))
    return out


def _blocks(images: Array) -> list[slice]:
    return balanced(len(images), max(-(-images.size // _BLOCK), min(2, images.size // _WORTH_SHARING)))


def _framed(images: Array, fill: Any, dtype: Any) -> tuple[Array, list[Call]]:
    """Put images (n, C, H, W) into a frame: one pixel wide above and on the left, two below and on the right."""
    count, channels, height, width = images.shape
    framed = buffers.scratch("framed", (count, channels, height + 3, width + 3), dtype)
    sides = framed[:, :, :1], framed[:, :, height + 1 :], framed[:, :, :, :1], framed[:, :, :, width + 1 :]
    calls: list[Call] = [partial(np.copyto, side, fill, casting="unsafe") for side in sides]
    return framed, [*calls, partial(np.copyto, framed[:, :, 1 : height + 1, 1 : width + 1], images)]


def _flat_index(x: Array, y: Array, shape: tuple[int, ...], out: Array) -> list[Call]:
    """Write where the places x, y (n, H, W) are in framed images of `shape`: (n, C, H, W). `y` is overwritten."""
    count, channels, framed_height, framed_width = shape
    images = np.arange(count * channels).reshape(count, channels, 1, 1) * (framed_height * framed_width)
    return [
        partial(np.multiply, y, framed_width, out=y),
        partial(np.add, y, x, out=y),
        partial(np.copyto, out, y[:, np.newaxis], casting="unsafe"),
        partial(np.add, out, images + (framed_width + 1), out=out),  # the frame begins one pixel before (0, 0)
    ]


def _interpolate(framed: Array, index: Array, x: Array, y: Array, out: Array) -> list[Call]:
    """Write the values between the pixels at `index` and their right and lower neighbours, x and y away."""
    flat, row = framed.reshape(-1), framed.shape[-1]
    right, below, diagonal = buffers.scratch("neighbours", (3, *index.shape), framed.dtype)
    calls: list[Call] = []
    for start, values in ((0, out), (1, right), (row, below), (row + 1, diagonal)):
        calls.append(partial(np.take, flat[start:], index, out=values, mode="clip"))
    for first, second, distance in ((out, right, x), (below, diagonal, x), (out, below, y)):
        calls += [
            partial(np.subtract, second, first, out=second),
            partial(np.multiply, second, distance, out=second),
            partial(np.add, first, second, out=first),
        ]
    return calls
