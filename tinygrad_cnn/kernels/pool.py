"""Maximum and average pooling, and the adjoints that their derivatives are made of.

A window is visited tap by tap: tap (i, j) of all windows at once is a strided view of the input, so every step is one
NumPy operation over a block of images that stays in cache. Views have any layout; results have the input's.
Maximum and sum are separable: rows first, over whole lines of memory, then columns.

Nothing is padded: a tap is applied to those windows only for which it falls inside the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import BITS, empty_like, scratch_like, select
from tinygrad_cnn.kernels.shapes import output_size
from tinygrad_cnn.kernels.threads import parallel

__all__ = ["avg_pool2d", "avg_pool2d_grad", "max_pool2d", "max_pool2d_gather", "max_pool2d_indices", "max_pool2d_scatter"]

Array = NDArray[Any]
Pair = tuple[int, int]

# Elements of the input in a block of images.
_BLOCK = 1 << 17


@dataclass(frozen=True, slots=True)
class _Axis:
    """The windows along one dimension."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int

    def taps(self) -> list[tuple[slice, slice]]:
        """For each tap: the windows in which it falls inside the input, and where it falls."""
        result = []
        for tap in range(self.kernel):
            offset = tap * self.dilation - self.padding
            first = max(0, -(offset // self.stride))
            last = min(self.count, (self.size - 1 - offset) // self.stride + 1)
            last = max(first, last)
            start = first * self.stride + offset
            stop = start + (last - first - 1) * self.stride + 1 if last > first else start
            result.append((slice(first, last), slice(start, stop, self.stride)))
        return result

    @property
    def disjoint(self) -> bool:
        """Whether no element is in two windows."""
        return self.stride > (self.kernel - 1) * self.dilation


def _axes(
    name: str, shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[_Axis, _Axis]:
    if len(shape) != 4:
        raise ValueError(f"{name}: input expects 4 dimensions but got shape {shape}")
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: kernel, stride and dilation expect positive and padding non-negative integers but got "
            f"kernel {kernel}, stride {stride}, dilation {dilation}, padding {padding}"
        )
    axes = []
    for size, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation, strict=True):
        count = output_size(size, k, s, (p, p), d, ceil_mode)
        if count < 1:
            raise ValueError(
                f"{name}: kernel expects a size up to that of the padded input but got kernel {kernel}, "
                f"input {shape}, padding {padding}, dilation {dilation}"
            )
        axes.append(_Axis(size, k, s, p, d, count))
    return axes[0], axes[1]


def _image_blocks(x: Array) -> list[slice]:
    n = x.shape[0]
    step = max(1, _BLOCK * n // max(x.size, 1))
    return [slice(i, i + step) for i in range(0, n, step)]


def _empty_windows(x: Array, rows: _Axis, columns: _Axis, dtype: Any = None) -> Array:
    """Return an uninitialised (N, C, OH, OW) array with the order of axes of `x`."""
    return empty_like(_stretched(x, rows.count, columns.count), x.dtype if dtype is None else dtype)


def _stretched(x: Array, height: int, width: int) -> Array:
    """Return `x` as if its planes had another size: for its order of axes, never to be read."""
    return as_strided(x, (*x.shape[:2], height, width), x.strides)


def _along(x: Array, out: Array, windows: _Axis, axis: int, function: np.ufunc, start: Any) -> None:
    """Reduce the windows along `axis` (2 or 3) of `x` by `function`, which has the neutral element `start`."""

    def at(array: Array, part: slice) -> Array:
        return array[:, :, part] if axis == 2 else array[:, :, :, part]

    taps = windows.taps()
    full = [place for part, place in taps if part == slice(0, windows.count)]
    rest = [(part, place) for part, place in taps if part != slice(0, windows.count)]
    if len(full) > 1:
        function(at(x, full[0]), at(x, full[1]), out=out)
    elif full:
        np.copyto(out, at(x, full[0]))
    else:
        out[...] = start
    for place in full[2:]:
        function(out, at(x, place), out=out)
    for part, place in rest:
        function(at(out, part), at(x, place), out=at(out, part))


def _reduce(x: Array, rows: _Axis, columns: _Axis, function: np.ufunc, start: Any, divisor: Any = None) -> Array:
    y = _empty_windows(x, rows, columns)

    def compute(part: slice) -> None:
        source, target = x[part], y[part]
        lines = scratch_like("lines", _stretched(source, rows.count, columns.size), 1)[0]
        _along(source, lines, rows, 2, function, start)
        _along(lines, target, columns, 3, function, start)
        if divisor is not None:
            np.divide(target, divisor, out=target)

    parallel(compute, _image_blocks(x))
    return y


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Array:
    """Return the maximum of each window: (N, C, H, W) -> (N, C, OH, OW). NaN counts as larger than everything.

    Raises
    ------
    ValueError
        If the windows do not fit.
    """
    rows, columns = _axes("max_pool2d", x.shape, kernel, stride, padding, dilation, ceil_mode)
    return _reduce(x, rows, columns, np.maximum, _lowest(x.dtype))


def _hits(x: Array, y: Array, rows: _Axis, columns: _Axis) -> list[tuple[tuple[Any, ...], tuple[Any, ...], Array]]:
    """For each tap: the windows it falls into, where it falls, and in which of these it is the maximum.

    Exactly one tap of a window is: the first that equals the maximum, or the last NaN, as in PyTorch.
    """
    whole = slice(None)
    taken = scratch_like("taken", y, 1, bool)[0]
    taken[...] = False
    found = []
    for i, down in enumerate(rows.taps()):
        for j, across in enumerate(columns.taps()):
            windows, places = (whole, whole, down[0], across[0]), (whole, whole, down[1], across[1])
            seen = taken[windows]
            hit = scratch_like(f"hit {i} {j}", seen, 1, bool)[0]
            np.equal(x[places], y[windows], out=hit)
            np.greater(hit, seen, out=hit)  # hit and not seen
            np.logical_or(seen, hit, out=seen)
            found.append((windows, places, hit))
    if x.dtype.kind == "f" and not taken.all():
        for windows, places, hit in reversed(found):
            seen = taken[windows]
            late = np.isnan(x[places]) & ~seen
            seen |= late
            hit |= late
    return found


def max_pool2d_indices(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Array:
    """Return where in its (H, W) plane each window has its maximum: ``h * W + w`` as int64, (N, C, OH, OW)."""
    rows, columns = _axes("max_pool2d_indices", x.shape, kernel, stride, padding, dilation, ceil_mode)
    y = max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    result = empty_like(y, np.dtype(np.int64))
    height, width = x.shape[2:]
    plane = np.arange(height * width).reshape(height, width)

    def compute(part: slice) -> None:
        target = result[part]
        target[...] = 0
        for windows, places, hit in _hits(x[part], y[part], rows, columns):
            target[windows] += plane[places[2:]] * hit

    parallel(compute, _image_blocks(x))
    return result


def _check(name: str, argument: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name}: {argument} expects shape {shape} but got {array.shape}")


def max_pool2d_scatter(
    g: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Return the gradient of `max_pool2d` by `x`: each number of `g` goes to the maximum of its window.

    Parameters
    ----------
    g : (N, C, OH, OW) array
    x : (N, C, H, W) array
    y : (N, C, OH, OW) array
        The maxima, ``max_pool2d(x, ...)``.
    """
    name = "max_pool2d_scatter"
    rows, columns = _axes(name, x.shape, kernel, stride, padding, dilation, ceil_mode)
    shape = (*x.shape[:2], rows.count, columns.count)
    _check(name, "gradient", g, shape)
    _check(name, "output", y, shape)
    result = empty_like(x, g.dtype)
    disjoint = rows.disjoint and columns.disjoint
    covered = disjoint and _covers(rows) and _covers(columns)
    if disjoint and _whole(rows) and _whole(columns) and x.dtype == g.dtype and x.dtype.kind == "f":
        _scatter_tiles(g, x, y, result, kernel, stride)
        return result

    def compute(part: slice) -> None:
        source, target = _laid_out_like(y[part], g[part]), result[part]
        if not covered:
            target[...] = 0
        for windows, places, hit in _hits(x[part], y[part], rows, columns):
            values, place = source[windows], target[places]
            if disjoint:
                select(hit, values, place)
            else:
                term = scratch_like("term", values, 1)[0]
                select(hit, values, term)
                np.add(place, term, out=place)

    parallel(compute, _image_blocks(x))
    return result


def _whole(windows: _Axis) -> bool:
    """Whether windows are without gaps inside and all inside the input."""
    return windows.dilation == 1 and windows.padding == 0 and (windows.count - 1) * windows.stride + windows.kernel <= windows.size


def _scatter_tiles(g: Array, x: Array, y: Array, out: Array, kernel: Pair, stride: Pair) -> None:
    """Write ``max_pool2d_scatter(g, x, y, ...)`` into `out` for disjoint windows inside the input."""
    (kh, kw), (sh, sw) = kernel, stride
    oh, ow = y.shape[2:]
    covered = kernel == stride and x.shape[2:] == (oh * kh, ow * kw)
    bits = BITS[out.dtype.itemsize]

    def tile(images: Array, i: int, j: int) -> Array:
        return images[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]

    def compute(part: slice) -> None:
        maxima, images, target = y[part], x[part], out[part].view(bits)
        values = _laid_out_like(maxima, g[part]).view(bits)
        if not covered:
            target[...] = 0
        keep = scratch_like("keep", maxima, kh * kw + 1, bool)
        taken = keep[-1]
        for i in range(kh):
            for j in range(kw):
                np.equal(tile(images, i, j), maxima, out=keep[i * kw + j])
        np.copyto(taken, keep[0])
        for hit in keep[1:-1]:
            np.greater(hit, taken, out=hit)  # hit and not taken
            np.logical_or(taken, hit, out=taken)
        if not taken.all():
            for i in reversed(range(kh)):
                for j in reversed(range(kw)):
                    late = np.isnan(tile(images, i, j)) & ~taken
                    taken |= late
                    keep[i * kw + j] |= late
        signed = keep[:-1].view(np.int8)
        np.negative(signed, out=signed)
        pattern = scratch_like("pattern", maxima, 1, bits)[0]
        for i in range(kh):
            for j in range(kw):
                np.copyto(pattern, signed[i * kw + j])
                np.bitwise_and(values, pattern, out=tile(target, i, j))

    parallel(compute, _image_blocks(x))


def _laid_out_like(y: Array, g: Array) -> Array:
    """Return `g`, or a copy in scratch memory, with the order of axes of `y`."""
    if g.strides == y.strides:
        return g
    copy = scratch_like("values", y, 1, g.dtype)[0]
    np.copyto(copy, g)
    return copy


def _covers(windows: _Axis) -> bool:
    """Whether disjoint windows reach every element."""
    first, last = -windows.padding, (windows.count - 1) * windows.stride + windows.kernel - windows.padding
    return windows.dilation == 1 and windows.stride == windows.kernel and first <= 0 and last >= windows.size


def max_pool2d_gather(
    v: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """Return what `v` has where `x` has the maximum of each window: the adjoint of `max_pool2d_scatter`.

    Parameters
    ----------
    v, x : (N, C, H, W) array
    y : (N, C, OH, OW) array
        The maxima, ``max_pool2d(x, ...)``.
    """
    name = "max_pool2d_gather"
    rows, columns = _axes(name, x.shape, kernel, stride, padding, dilation, ceil_mode)
    _check(name, "values", v, x.shape)
    _check(name, "output", y, (*x.shape[:2], rows.count, columns.count))
    result = empty_like(y, v.dtype)

    def compute(part: slice) -> None:
        source, target = v[part], result[part]
        target[...] = 0
        for windows, places, hit in _hits(x[part], y[part], rows, columns):
            np.copyto(target[windows], source[places], where=hit)

    parallel(compute, _image_blocks(x))
    return result


def _divisor(
    rows: _Axis, columns: _Axis, count_include_pad: bool, divisor_override: int | None, dtype: Any
) -> Array:
    """Return what each window's sum is divided by, broadcastable to (OH, OW)."""
    if divisor_override is not None:
        if divisor_override == 0:
            raise ValueError("avg_pool2d: divisor_override expects an integer other than 0 but got 0")
        return np.asarray(divisor_override, dtype)
    sizes = []
    for axis in (rows, columns):
        start = np.arange(axis.count) * axis.stride - axis.padding
        stop = np.minimum(start + axis.kernel, axis.size + axis.padding)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, axis.size)
        sizes.append(stop - start)
    divisor = np.multiply.outer(*sizes).astype(dtype)
    return divisor.reshape(-1)[0] if (divisor == divisor.flat[0]).all() else divisor


def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """Return the mean of each window: (N, C, H, W) -> (N, C, OH, OW). Integers become float32.

    The sum is divided by `divisor_override` or else by the number of elements in the window, those in the padding
    included if `count_include_pad`; what `ceil_mode` adds beyond the padding never counts.
    """
    if x.dtype.kind != "f":
        x = x.astype(np.float32)
    rows, columns = _axes("avg_pool2d", x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    divisor = _divisor(rows, columns, count_include_pad, divisor_override, x.dtype)
    return _reduce(x, rows, columns, np.add, 0, divisor)


def avg_pool2d_grad(
    g: Array,
    input_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """Return the gradient of `avg_pool2d` by its input: (N, C, OH, OW) -> (N, C, H, W)."""
    name = "avg_pool2d_grad"
    rows, columns = _axes(name, input_shape, kernel, stride, padding, (1, 1), ceil_mode)
    _check(name, "gradient", g, (*input_shape[:2], rows.count, columns.count))
    divisor = _divisor(rows, columns, count_include_pad, divisor_override, g.dtype)
    result = empty_like(_stretched(g, *input_shape[2:]), g.dtype)

    def compute(part: slice) -> None:
        target = result[part]
        share = scratch_like("share", g[part], 1)[0]
        np.divide(g[part], divisor, out=share)
        lines = scratch_like("lines", _stretched(target, rows.count, columns.size), 1)[0]
        lines[...] = 0
        for windows, places in columns.taps():
            np.add(lines[:, :, :, places], share[:, :, :, windows], out=lines[:, :, :, places])
        target[...] = 0
        for windows, places in rows.taps():
            np.add(target[:, :, places], lines[:, :, windows], out=target[:, :, places])

    parallel(compute, _image_blocks(result))
    return result
