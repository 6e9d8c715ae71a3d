"""Padding: with a value, or with what is inside."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_float, check_int, check_tensor
from tinygrad_cnn.kernels import padding as kernels
from tinygrad_cnn.ops.elementwise import clone
from tinygrad_cnn.types import Array

Widths = tuple[tuple[int, int], ...]

# ----------------------------------------------------------------------------------------- with a value


@primitive
def _pad(input: Array, widths: tuple[tuple[int, int], ...], value: float) -> Array:
    return kernels.surround(input, widths, value)


@_pad.vjp("input")
def _(g, widths):
    # Cropping is padding by negative widths.
    return _pad(g, tuple((-before, -after) for before, after in widths), 0)


# ------------------------------------------------------------------------------------ with what is inside


@primitive
def _extend(input: Array, widths: Widths, mode: str) -> Array:
    return kernels.pad(input, widths, mode)


@_extend.vjp("input")
def _(g, widths, mode):
    return _fold(g, widths, mode)


@primitive
def _fold(g: Array, widths: Widths, mode: str) -> Array:
    return kernels.fold(g, widths, mode)


@_fold.vjp("g")
def _(g, widths, mode):
    return _extend(g, widths, mode)


def extend(input: Array, widths: Widths, mode: str) -> Array:
    """Padding of any dimensions by mode; negative widths crop.

    Raises
    ------
    ValueError
        If a border is wider than what it repeats, or if nothing would be left.
    """
    cropped = tuple((min(before, 0), min(after, 0)) for before, after in widths)
    wider = tuple((max(before, 0), max(after, 0)) for before, after in widths)
    circular = mode == "circular"
    if circular and cropped != widths and any(map(any, cropped)):  # what is cropped isn't there to go on with
        return extend(extend(input, cropped, mode), wider, mode)
    for n, pair in zip(input.shape, wider, strict=True):
        room = n - 1 if mode == "reflect" else n if circular else max(pair) if n else 0
        if any(pair) and max(pair) > room:
            raise ValueError(
                f"pad: pad expects at most {max(room, 0)} for size {n} in mode {mode!r} but got {pair} "
                f"(input {tuple(input.shape)})"
            )
    if any(n + sum(pair) < (not circular) for n, pair in zip(input.shape, widths, strict=True) if any(pair)):
        raise ValueError(f"pad: pad {widths} crops more than input {tuple(input.shape)} has")
    y = _extend(input, wider, mode) if any(map(any, wider)) else clone(input)
    return _pad(y, cropped, 0) if any(map(any, cropped)) else y


# ------------------------------------------------------------------------------------------------ either


def pad(input: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Array:
    """Extend the last dimensions by `value`, or by what is inside; a negative width crops.

    Parameters
    ----------
    input : tensor of any shape
        For the modes other than "constant" as many dimensions as are padded, and one or two more: (C, ...) or
        (N, C, ...) with one, two or three dimensions to pad.
    pad : sequence of int
        Widths before and after, the last dimension first: ``(left, right, top, bottom, ...)``.
    mode : "constant", "reflect", "replicate" or "circular"
        "reflect" mirrors at the edge, which does not appear twice; "replicate" repeats the edge; "circular" goes on at
        the other side.
    value : float, optional
        What is filled in by "constant". Default: 0.

    Raises
    ------
    TypeError
        If `pad` is no sequence of ints.
    ValueError
        If `pad` has an odd length or too many widths, if a dimension would get a negative size, if a border is wider
        than what it repeats, or if a `value` is given for a mode that takes none.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> [F.pad(tg.arange(3)[None], (2, 1), mode).tolist()[0] for mode in ("reflect", "replicate", "circular")]
    [[2, 1, 0, 1, 2, 1], [0, 0, 0, 1, 2, 2], [1, 2, 0, 1, 2, 0]]
    """
    check_tensor("pad", "input", input)
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(f"pad: mode expects 'constant', 'reflect', 'replicate' or 'circular' but got {mode!r}")
    if not hasattr(pad, "__iter__"):
        raise TypeError(f"pad: pad expects a sequence of widths but got {pad!r}")
    given = tuple(check_int("pad", "pad", n) for n in pad)
    if len(given) % 2 or len(given) > 2 * input.ndim:
        raise ValueError(f"pad: pad expects up to {input.ndim} pairs of widths but got {given}")
    pairs = [(given[i], given[i + 1]) for i in range(0, len(given), 2)]
    widths = ((0, 0),) * (input.ndim - len(pairs)) + tuple(reversed(pairs))
    if mode != "constant":
        _check_extension(input, len(pairs), mode, value)
        return extend(input, widths, mode)
    for n, (before, after) in zip(input.shape, widths, strict=True):
        if n + before + after < 0 or n + min(before, 0) + min(after, 0) < 0:
            raise ValueError(f"pad: pad {given} crops more than input {tuple(input.shape)} has")
    return _pad(input, widths, 0 if value is None else check_float("pad", "value", value))


def _check_extension(input: Array, count: int, mode: str, value: float | None) -> None:
    """PyTorch's limits: images with or without a batch, and nothing empty but the batch."""
    if not 1 <= count <= 3 or input.ndim - count not in (1, 2):
        raise ValueError(
            f"pad: input expects 1 or 2 dimensions more than the {count} padded in mode {mode!r}, of which there are "
            f"1 to 3, but has shape {tuple(input.shape)}"
        )
    if value:
        raise ValueError(f"pad: value expects None in mode {mode!r} but is {value}")
    if mode != "circular" and 0 in input.shape[input.ndim - count - 1 :]:
        raise ValueError(f"pad: input expects no empty dimension but the batch but has shape {tuple(input.shape)}")
