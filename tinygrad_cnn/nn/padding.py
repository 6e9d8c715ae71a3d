"""Padding layers: images (N, C, H, W), or without N, get borders."""

from __future__ import annotations

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.sizes import size
from tinygrad_cnn.tensor import Tensor


class _Pad2d(Module):
    """What all of them share: the widths.

    Parameters
    ----------
    padding : int or four of them
        Width of the border on each side: left, right, top, bottom. Negative ones crop.
    """

    mode: str
    value: float | None = None

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        super().__init__()
        name = type(self).__name__
        widths = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * 4
        if len(widths) != 4:
            raise ValueError(f"{name}: padding expects an int or four (left, right, top, bottom) but got {padding!r}")
        left, right, top, bottom = (size(name, "padding", n, -(1 << 62)) for n in widths)
        self.padding = (left, right, top, bottom)

    def forward(self, input: Tensor) -> Tensor:
        """Return the images with their borders."""
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.padding}"


class ReflectionPad2d(_Pad2d):
    """Borders that mirror the image at its edge; the edge itself does not appear twice. Arguments as `F.pad`'s.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.ReflectionPad2d((2, 0, 0, 0))(tg.arange(3.0).view(1, 1, 3)).tolist()
    [[[2.0, 1.0, 0.0, 1.0, 2.0]]]
    """

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Borders that repeat the edge of the image."""

    mode = "replicate"


class CircularPad2d(_Pad2d):
    """Borders that go on at the other side of the image."""

    mode = "circular"


class ConstantPad2d(_Pad2d):
    """Borders of one value."""

    mode = "constant"

    def __init__(self, padding: int | tuple[int, int, int, int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(_Pad2d):
    """Borders of zeros."""

    mode = "constant"
