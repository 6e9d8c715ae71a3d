"""Random crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinygrad_cnn import random
from tinygrad_cnn.data.transforms.per_picture import Array, PerPicture, check_fill, per_channel
from tinygrad_cnn.errors import check_int, check_pair

__all__ = ["RandomCrop"]

_MODES = ("constant", "edge", "reflect", "symmetric")


class RandomCrop(PerPicture):
    """Cut a piece out of each picture, at a place of its own: ``(..., H, W) -> (..., *size)``.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the piece; one number for a square.
    padding : int or sequence of int, optional
        Put around the picture first: one number; left and right, top and bottom; or left, top, right and bottom.
    pad_if_needed : bool, default False
        Whether to pad a picture further that is smaller than `size`, on both sides.
    fill : float or sequence of float, default 0
        The padding; one for all channels, or one for each.
    padding_mode : str, default "constant"
        "constant" for `fill`; "edge" for the border's values; "reflect" and "symmetric" for the mirrored picture,
        without and with its border.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of a wrong type, or a picture is smaller than `size`.

    Examples
    --------
    >>> import numpy as np
    >>> RandomCrop(32, padding=4)(np.zeros((5, 3, 32, 32), np.uint8)).shape
    (5, 3, 32, 32)
    """

    def __init__(
        self,
        size: Sequence[int] | int,
        padding: Sequence[int] | int | None = None,
        pad_if_needed: bool = False,
        fill: Sequence[float] | float = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = check_pair("RandomCrop", "size", size, 1)
        self.padding = None if padding is None else _four_sides(padding)
        self.pad_if_needed = bool(pad_if_needed)
        self.fill = check_fill("RandomCrop", "fill", fill)
        if padding_mode not in _MODES:
            raise ValueError(f"RandomCrop: padding_mode expects one of {_MODES} but got {padding_mode!r}")
        self.padding_mode = padding_mode

    def _transform(self, pictures: Array) -> Array:
        padded = self._padded(pictures)
        count, _, height, width = padded.shape
        room = np.subtract((height, width), self.size) + 1
        if room.min() < 1:
            raise ValueError(f"RandomCrop: picture expects at least {self.size} pixels but got {height} x {width}")
        top, left = np.floor(random.generator().random((count, 2)) * room).astype(np.intp).T
        # Every place that a piece may have is a view; only the chosen ones are copied.
        pieces = sliding_window_view(padded, self.size, (2, 3))
        return pieces[np.arange(count), :, top, left]

    def _padded(self, pictures: Array) -> Array:
        left, top, right, bottom = self.padding or (0, 0, 0, 0)
        if self.pad_if_needed:
            more_height = max(self.size[0] - (pictures.shape[2] + top + bottom), 0)
            more_width = max(self.size[1] - (pictures.shape[3] + left + right), 0)
            left, top, right, bottom = left + more_width, top + more_height, right + more_width, bottom + more_height
        if not (left or top or right or bottom):
            return pictures
        widths = ((0, 0), (0, 0), (top, bottom), (left, right))
        mode: Any = self.padding_mode
        if mode != "constant":
            return np.pad(pictures, widths, mode)
        count, channels, height, width = pictures.shape
        padded = np.empty((count, channels, height + top + bottom, width + left + right), pictures.dtype)
        padded[...] = per_channel("RandomCrop", "fill", self.fill, pictures)
        padded[:, :, top : top + height, left : left + width] = pictures
        return padded

    def __repr__(self) -> str:
        padding = "" if self.padding is None else f", padding={self.padding}, padding_mode={self.padding_mode}"
        return f"RandomCrop(size={self.size}{padding})"


def _four_sides(padding: Any) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom."""
    given = list(padding) if isinstance(padding, Sequence | np.ndarray) else [padding]
    sides = [check_int("RandomCrop", "padding", side, 0) for side in given]
    if len(sides) not in (1, 2, 4):
        raise ValueError(f"RandomCrop: padding expects 1, 2 or 4 numbers but got {padding!r}")
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom
