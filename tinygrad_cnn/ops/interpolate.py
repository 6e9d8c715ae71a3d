"""Images of another size, by interpolation.

Each mode is a linear map along each axis, so the map of the whole image is their product. Its derivative is the
transpose, which is of the same kind: one primitive serves both.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_float, check_int, check_tensor
from tinygrad_cnn.kernels.interpolate import Taps, apply_maps
from tinygrad_cnn.types import Array

# The number of spatial dimensions that a mode is for; the others are for 1 to 3.
_DIMENSIONS = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
_MODES = ("nearest", "nearest-exact", "area", *_DIMENSIONS)


@primitive
def _resample(input: Array, maps: tuple[Taps, ...]) -> Array:
    return apply_maps(input, maps)


@_resample.vjp("input")
def _(g, maps):
    return _resample(g, tuple(map.transposed for map in maps))


def interpolate(
    input: Array,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Array:
    """Resize images: ``(N, C, H, W) -> (N, C, OH, OW)``; likewise with one or three spatial dimensions.

    Output pixel o looks at the input at ``s = (o + 1/2)*H/OH - 1/2``, or with `align_corners` at
    ``s = o*(H - 1)/(OH - 1)``. The linear modes weight its two neighbours, ``(1 - t)*x[i] + t*x[i+1]`` with
    ``i = floor(s)`` and ``t = s - i``, and "bicubic" four of them.

    Parameters
    ----------
    input : tensor (N, C, L), (N, C, H, W) or (N, C, D, H, W)
    size : int or sequence of int, optional
        The output size; an int is for all dimensions.
    scale_factor : float or sequence of float, optional
        Instead of `size`: the output size is ``floor(H*scale_factor)``.
    mode : str
        "nearest" (pixel ``floor(o*H/OH)``), "nearest-exact" (``floor((o + 1/2)*H/OH)``), "area" (the mean of
        what an output pixel covers, as `adaptive_avg_pool2d`); for one, two and three dimensions "linear",
        "bilinear" and "trilinear"; "bicubic" (Keys' kernel with a = -3/4) for two.
    align_corners : bool, optional
        For the linear and cubic modes: the centres of the corner pixels stay where they are. Default: False.
    recompute_scale_factor : bool, optional
        Take the true ratio of the sizes for ``H/OH`` above, instead of ``1/scale_factor``. So do "nearest" and the
        linear modes in any case where ``OH = H``.
    antialias : False
        There is no antialiasing.

    Raises
    ------
    TypeError
        If a size is not an int, or if `input` is not floating, but for the nearest modes.
    ValueError
        If not just one of `size` and `scale_factor` is given, or if a value, the mode or a shape does not fit.

    References
    ----------
    Keys: Cubic convolution interpolation for digital image processing, IEEE Transactions on Acoustics, Speech, and
    Signal Processing 29 (1981).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.tensor([[[0.0, 4.0]]])
    >>> interpolate(x, scale_factor=2).tolist()
    [[[0.0, 0.0, 4.0, 4.0]]]
    >>> interpolate(x, size=4, mode="linear").tolist()
    [[[0.0, 1.0, 3.0, 4.0]]]
    """
    operation = "interpolate"
    _check_input(operation, input, mode)
    if antialias:
        raise ValueError(f"{operation}: antialias expects False, there is no antialiasing, but got {antialias!r}")
    if align_corners is not None and mode not in _DIMENSIONS:
        raise ValueError(f"{operation}: align_corners expects a linear or cubic mode but mode is {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{operation}: one of size and scale_factor is expected but got size={size}, scale_factor={scale_factor}"
        )
    before = tuple(input.shape[2:])
    factors: Sequence[float | None] = (None,) * len(before)
    if size is not None:
        if recompute_scale_factor:
            raise ValueError(f"{operation}: recompute_scale_factor expects a scale_factor but got size={size}")
        after = tuple(check_int(operation, "size", n, 1) for n in _each(operation, "size", size, len(before)))
    else:
        given = _each(operation, "scale_factor", scale_factor, len(before))
        scales = [check_float(operation, "scale_factor", s, 0, 1e9) for s in given]
        after = tuple(int(n * s) for n, s in zip(before, scales, strict=True))
        if 0 in after:
            raise ValueError(f"{operation}: scale_factor {scale_factor} leaves nothing of the input {input.shape}")
        if not recompute_scale_factor and mode != "area":
            factors = scales
    corners = bool(align_corners)
    return _resample(input, tuple(_taps(mode, *sizes, corners) for sizes in zip(before, after, factors, strict=True)))


def _check_input(operation: str, input: Array, mode: str) -> None:
    check_tensor(operation, "input", input)
    if mode not in _MODES:
        raise ValueError(f"{operation}: mode expects one of {', '.join(_MODES)} but got {mode!r}")
    if input.ndim not in (3, 4, 5) or 0 in input.shape[1:]:
        raise ValueError(
            f"{operation}: input expects (N, C, L), (N, C, H, W) or (N, C, D, H, W), none but N zero, but has shape "
            f"{tuple(input.shape)}"
        )
    if input.ndim - 2 != _DIMENSIONS.get(mode, input.ndim - 2):
        raise ValueError(
            f"{operation}: input expects {_DIMENSIONS[mode] + 2} dimensions for mode {mode!r} but has shape "
            f"{tuple(input.shape)}"
        )
    if not mode.startswith("nearest") and input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype for mode {mode!r} but has {input.dtype}")


def _each(operation: str, argument: str, given: Any, count: int) -> tuple[Any, ...]:
    """One value for each spatial dimension."""
    if not isinstance(given, (tuple, list)):
        return (given,) * count
    if len(given) != count:
        raise ValueError(f"{operation}: {argument} expects {count} value(s) but got {len(given)}, {given}")
    return tuple(given)


# ---------------------------------------------------------------------------------- maps along one axis


@functools.lru_cache(maxsize=32)
def _taps(mode: str, size: int, outputs: int, scale: float | None, align_corners: bool) -> Taps:
    """The map of an axis: `size` pixels become `outputs`, `scale` times as many if it is given."""
    if mode == "area":
        return window_means(size, outputs)
    if mode.startswith("nearest"):
        indices = _nearest(mode, size, outputs, scale)[None]
        return Taps(size, indices, np.ones(indices.shape))
    pixel = np.arange(outputs)
    if outputs == size and mode != "bicubic":
        scale = None  # pixels stay where they are, as in PyTorch
    if align_corners:
        place = pixel * ((size - 1) / (outputs - 1) if outputs > 1 else 0.0)
    else:
        place = (pixel + 0.5) * (1 / scale if scale else size / outputs) - 0.5
    if mode == "bicubic":
        left = np.floor(place).astype(np.intp)
        weights = _keys(place - left)
        return Taps(size, np.clip(left + np.arange(-1, 3)[:, None], 0, size - 1), weights)
    place = np.clip(place, 0, size - 1)
    left = place.astype(np.intp)
    share = place - left
    # A pixel in its old place has no second neighbour: the last one lies at the border.
    return Taps.of_windows(size, np.stack([left, left + 1]), np.stack([1 - share, share]), 1 + (share > 0))


def _nearest(mode: str, size: int, outputs: int, scale: float | None) -> np.ndarray:
    # In single precision, as in PyTorch: where the exact value is a whole number, rounding decides.
    pixel = np.arange(outputs, dtype=np.float32)
    if mode == "nearest-exact":
        pixel += np.float32(0.5)
    elif outputs in (size, 2 * size):
        return np.arange(outputs) // (outputs // size)
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(outputs)
    return np.minimum((pixel * step).astype(np.intp), size - 1)


def _keys(t: np.ndarray) -> np.ndarray:
    """The weights of the four pixels around a place that lies `t` behind the second of them."""
    a = -0.75
    near = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1  # noqa: E731
    far = lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a  # noqa: E731
    return np.stack([far(t + 1), near(t), near(1 - t), far(2 - t)])


@functools.lru_cache(maxsize=32)
def window_means(size: int, outputs: int) -> Taps:
    """The map to the means of so many windows that cover `size` pixels."""
    i = np.arange(outputs)
    start, stop = i * size // outputs, -((i + 1) * size // -outputs)
    length = stop - start
    indices = start + np.arange(int(length.max(initial=1)))[:, None]
    return Taps.of_windows(size, indices, np.broadcast_to(1 / length, indices.shape), length)
