"""Resampling of images: each output pixel is read at a place of its own between the pixels of the input.

Every image of a batch may move differently. Blocks of images go through the threads; within a block each step is one
NumPy call over all places. The images get a frame of the filling value, so that no place needs to ask whether it is
inside: those beyond the frame are clipped onto it. The four neighbours of a place are then four gathers with one and
the same array of indices, which serves all channels, from views that start one pixel or one row later.
"""

from __future__ import annotations

import math
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

# Values of a block: many, since there are many steps, and threads get in each other's way between two of them; and from
# which number on a second thread pays.
_BLOCK = 3 << 16
_WORTH_SHARING = 1 << 14
# Up to here float32 counts the pixels of an image exactly, and those of all images of a block, which are small ones.
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
    entries = matrices.astype(_coordinates(images))[..., np.newaxis, np.newaxis]
    columns, rows = _grid(images)
    along_row, down = entries[:, :, 0] * columns, entries[:, :, 1] * rows + entries[:, :, 2]
    return _resample(images, along_row, down, bilinear, fill)


def displace(images: Array, displacements: Array, bilinear: bool = True, fill: Any = 0) -> Array:
    """Resample each image with a displacement for each pixel: ``(N, C, H, W), (N, 2, H, W) -> (N, C, H, W)``.

    Pixel (x, y) of output n is the input at ``(x + displacements[n, 0, y, x], y + displacements[n, 1, y, x])``. The
    other arguments are those of `affine`.
    """
    grid = np.stack(np.broadcast_arrays(*_grid(images)))
    return _resample(images, displacements, np.broadcast_to(grid, displacements.shape), bilinear, fill)


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


def _coordinates(images: Array) -> Any:
    """Return the dtype that coordinates are computed in."""
    height, width = images.shape[2:]
    return np.float64 if (height + 3) * (width + 3) >= _EXACT_IN_FLOAT32 else np.result_type(images.dtype, np.float32)


def _grid(images: Array) -> tuple[Array, Array]:
    """Return the columns (W,) and the rows (H, 1)."""
    height, width = images.shape[2:]
    dtype = _coordinates(images)
    return np.arange(width, dtype=dtype), np.arange(height, dtype=dtype)[:, np.newaxis]


def _resample(images: Array, first: Array, second: Array, bilinear: bool, fill: Any) -> Array:
    """Read each image at places x and y that are the sums of two arrays, (N, 2, H, W) or broadcast to that."""
    height, width = images.shape[2:]
    out = buffers.empty(images.shape, images.dtype)
    if not images.size:
        return out
    working = np.result_type(images.dtype, np.float32) if bilinear else images.dtype
    coordinates = _coordinates(images)
    ends = np.array([width, height], coordinates).reshape(2, 1, 1, 1)

    def plan(part: slice) -> list[Call]:
        source, target, *terms = (x[part].transpose(1, 0, 2, 3) for x in (images, out, first, second))
        frames, calls = _framed(source, fill, working)
        places, pixels = buffers.scratch("places", (2, 2, *target.shape[1:]), coordinates)
        calls += [
            partial(np.add, *terms, places),
            # From here on every place has its four neighbours within the frame.
            partial(places.clip, -1, ends, places),
            partial(np.floor if bilinear else np.rint, places, pixels),
        ]
        if bilinear:
            calls.append(partial(np.subtract, places, pixels, places))
        index = _flat_index(pixels, calls)
        if working == images.dtype and (bilinear or target.flags.c_contiguous):
            values = target
        else:
            values = buffers.scratch("values", target.shape, working)
        calls += _interpolation(frames, index, places, values) if bilinear else [_gather(frames, 0, index, values)]
        if values is not target:
            if working != images.dtype and images.dtype.kind != "f":
                calls.append(partial(np.rint, values, values))
            calls.append(partial(np.copyto, target, values, casting="unsafe"))
        return calls

    parallel_calls(plan, _blocks(images))
    return out


def _blocks(images: Array) -> list[slice]:
    return balanced(len(images), max(-(-images.size // _BLOCK), min(2, images.size // _WORTH_SHARING)))


def _framed(images: Array, fill: Any, dtype: Any) -> tuple[Array, list[Call]]:
    """Put images (C, n, H, W) into a frame: one pixel wide above and on the left, two below and on the right.

    Returned is flat memory in which, behind them, there is room for a row and a pixel more; see `_gather`.
    """
    channels, count, height, width = images.shape
    shape = channels, count, height + 3, width + 3
    size = math.prod(shape)
    memory = buffers.scratch("frames", (size + width + 4,), dtype)
    frames = memory[:size].reshape(shape)
    return memory, [
        partial(np.copyto, frames, np.asarray(fill).reshape(-1, 1, 1, 1), casting="unsafe"),
        partial(np.copyto, frames[:, :, 1 : height + 1, 1 : width + 1], images),
    ]


def _flat_index(pixels: Array, calls: list[Call]) -> Array:
    """Return where the pixels (2, n, H, W), x and y, are in framed images (n, H + 3, W + 3). y is overwritten."""
    x, y = pixels
    count, height, width = x.shape
    row = width + 3
    # The frame begins one pixel before (0, 0).
    starts = np.arange(count, dtype=y.dtype) * ((height + 3) * row) + (row + 1)
    index = buffers.scratch("index", y.shape, np.intp)
    calls += [
        partial(np.multiply, y, row, y),
        partial(np.add, y, x, y),
        partial(np.add, y, starts.reshape(count, 1, 1), y),
        partial(np.copyto, index, y, casting="unsafe"),
    ]
    return index


def _gather(memory: Array, offset: int, index: Array, out: Array) -> Call:
    """Return what reads each channel of framed images at the places of `index`, and `offset` pixels further."""
    channels, count, height, width = out.shape
    size = count * (height + 3) * (width + 3)
    frames = memory[offset : offset + channels * size].reshape(channels, size)
    return partial(frames.take, index, 1, out, "clip")  # without "clip" it goes through a buffer


def _interpolation(memory: Array, index: Array, distances: Array, out: Array) -> list[Call]:
    """Return the calls that write the values at distances (2, n, H, W), right and down, from the pixels at `index`."""
    x, y = distances
    row = x.shape[-1] + 3
    # From each pixel to the next one: subtracting before the gathers takes a pass less than after them.
    steps = buffers.scratch("steps", memory.shape, memory.dtype)
    size = len(memory) - row - 1
    pixels, slopes = buffers.scratch("neighbours", (2, 2, *out.shape), memory.dtype)
    above, below = pixels
    return [
        partial(np.subtract, memory[1:size], memory[: size - 1], steps[: size - 1]),
        _gather(memory, 0, index, above),
        _gather(memory, row, index, below),
        _gather(steps, 0, index, slopes[0]),
        _gather(steps, row, index, slopes[1]),
        partial(np.multiply, slopes, x, slopes),
        partial(np.add, pixels, slopes, pixels),
        partial(np.subtract, below, above, below),
        partial(np.multiply, below, y, below),
        partial(np.add, above, below, out),
    ]
