"""Convolution and transposed convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import init
from tinygrad_cnn.nn.lazy import LazyModule
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.parameter import Parameter, new_parameter
from tinygrad_cnn.nn.sizes import pair, size
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import Pair


class Convolution(Module):
    """What all convolutions share: sizes, parameters and how they show themselves."""

    weight: Parameter
    bias: Parameter | None
    padding: Any  # a string or a tuple of ints
    output_padding: Any = (0, 0)
    _new_parameter = staticmethod(new_parameter)
    # Makes a tuple of a size, one for each spatial dimension.
    _sizes: Callable[..., Any] = staticmethod(pair)

    def _set_sizes(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        dilation: Any,
        groups: int,
        padding_mode: str,
    ) -> None:
        layer = type(self).__name__
        self.in_channels = size(layer, "in_channels", in_channels)
        self.out_channels = size(layer, "out_channels", out_channels)
        self.kernel_size = self._sizes(layer, "kernel_size", kernel_size, 1)
        self.stride = self._sizes(layer, "stride", stride, 1)
        self.dilation = self._sizes(layer, "dilation", dilation, 1)
        self.groups = size(layer, "groups", groups, minimum=1)
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ValueError(f"{layer}: {name} expects a multiple of groups={self.groups} but got {channels}")
        if padding_mode != "zeros":
            raise ValueError(f"{layer}: padding_mode expects 'zeros' but got {padding_mode!r}")
        self.padding_mode = padding_mode

    def _set_padding(self, padding: Any) -> None:
        layer = type(self).__name__
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                form = "an int, a pair" if len(self.kernel_size) == 2 else "an int"
                raise ValueError(f"{layer}: padding expects {form}, 'same' or 'valid' but got {padding!r}")
            if padding == "same" and any(step != 1 for step in self.stride):
                raise ValueError(f"{layer}: padding='same' expects stride 1 but got stride={self.stride}")
            self.padding = padding
        else:
            self.padding = self._sizes(layer, "padding", padding)

    def _set_parameters(self, weight_shape: tuple[int, ...], bias: bool, device: Any, dtype: Any) -> None:
        self.weight = self._new_parameter(*weight_shape, device=device, dtype=dtype)
        if bias:
            self.bias = self._new_parameter(self.out_channels, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new first values."""
        init.layer_(self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the settings that are not the default."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if isinstance(self.padding, str) or any(self.padding):
            text += f", padding={self.padding}"
        if any(step != 1 for step in self.dilation):
            text += f", dilation={self.dilation}"
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text


class Conv2d(Convolution):
    """Two-dimensional convolution (cross-correlation) with trained kernels: (N, C, H, W) -> (N, O, OH, OW).

    ``OH = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``, and OW likewise. The input may
    also be one image, (C, H, W).

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or pair
        Of the vertical and the horizontal direction.
    padding : int, pair, "same" or "valid"
        Zeros added on each side. ``"same"`` keeps H and W and needs stride 1; ``"valid"`` adds none.
    groups : int, default 1
        The channels are split into so many groups, each convolved by itself; it divides C and O.
    bias : bool, default True
        Whether to add a bias to each output channel.
    padding_mode : "zeros"
        There is no other; pad the input with `F.pad` first.
    device, dtype : optional
        ``"cpu"``; the dtype of the parameters, float32 by default.

    Attributes
    ----------
    weight : Parameter, (O, C / groups, kernel_size[0], kernel_size[1])
    bias : Parameter or None, (O,)
        Both are drawn from the uniform distribution on ±1/sqrt(C / groups · kernel_size[0] · kernel_size[1]).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Conv2d(3, 8, 5, stride=2, padding=2)(tg.ones(10, 3, 28, 28)).shape
    (10, 8, 14, 14)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: str | Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._set_sizes(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        self._set_padding(padding)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self._set_parameters(shape, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the input with `weight` and add `bias`."""
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class LazyConvolution(LazyModule, Convolution):
    """What lazy convolutions share: the number of input channels comes from the first input."""

    def _infer(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        layer, dimensions = type(self).__name__, len(self.kernel_size)
        if input.ndim not in (dimensions + 1, dimensions + 2):
            form = "C, H, W" if dimensions == 2 else "C, L"
            raise ValueError(
                f"{layer}: input expects (N, {form}) or ({form}) but got {input.ndim}-d shape {input.shape}"
            )
        channels = input.shape[-1 - dimensions]
        if channels % self.groups:
            raise ValueError(f"{layer}: input expects a multiple of groups={self.groups} channels but got {channels}")
        self.in_channels = channels
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_channels, channels // self.groups, *self.kernel_size)}
        return shapes if self.bias is None else shapes | {"bias": (self.out_channels,)}


class LazyConv2d(LazyConvolution, Conv2d):
    """A `Conv2d` that learns `in_channels` from its first input, and is a `Conv2d` from then on.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As `Conv2d`'s.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> layer = nn.LazyConv2d(8, kernel_size=3)
    >>> _ = layer(tg.ones(1, 3, 9, 9))
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    becomes = Conv2d

    def __init__(
        self,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: str | Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )


class ConvTranspose2d(Convolution):
    """Transposed convolution, the adjoint of `Conv2d`: (N, C, H, W) -> (N, O, OH, OW).

    ``OH = (H - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1``, and OW likewise. The
    input may also be one image, (C, H, W).

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, padding, dilation : int or pair
        Those of the convolution that it is the adjoint of.
    output_padding : int or pair
        Rows and columns added at one side of the output, since a strided convolution maps several input sizes to
        one output size. Smaller than `stride` or `dilation`.
    groups : int, default 1
        The channels are split into so many groups, each treated by itself; it divides C and O.
    bias : bool, default True
        Whether to add a bias to each output channel.
    padding_mode : "zeros"
        There is no other.
    device, dtype : optional
        ``"cpu"``; the dtype of the parameters, float32 by default.

    Attributes
    ----------
    weight : Parameter, (C, O / groups, kernel_size[0], kernel_size[1])
    bias : Parameter or None, (O,)
        Both are drawn from the uniform distribution on ±1/sqrt(O / groups · kernel_size[0] · kernel_size[1]).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> up = nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1)
    >>> up(tg.ones(1, 8, 14, 14)).shape
    (1, 3, 27, 27)
    >>> up(tg.ones(1, 8, 14, 14), output_size=(28, 28)).shape
    (1, 3, 28, 28)
    """

    padding: tuple[int, int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._set_sizes(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        self.padding = pair("ConvTranspose2d", "padding", padding)
        self.output_padding = pair("ConvTranspose2d", "output_padding", output_padding)
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self._set_parameters(shape, bias, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the adjoint of the convolution and add `bias`; `output_size` overrides `output_padding`."""
        output_padding = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, int]:
        """Return the output padding that gives an output of `output_size`, (OH, OW) or the whole shape."""
        if len(output_size) not in (2, input.ndim):
            raise ValueError(
                f"ConvTranspose2d: output_size expects 2 or {input.ndim} sizes but got {tuple(output_size)}"
            )
        smallest = [
            (input.shape[axis] - 1) * self.stride[axis]
            - 2 * self.padding[axis]
            + self.dilation[axis] * (self.kernel_size[axis] - 1)
            + 1
            for axis in (-2, -1)
        ]
        extra = [wanted - least for wanted, least in zip(output_size[-2:], smallest, strict=True)]
        if not all(0 <= more < stride for more, stride in zip(extra, self.stride, strict=True)):
            largest = [least + stride - 1 for least, stride in zip(smallest, self.stride, strict=True)]
            raise ValueError(
                f"ConvTranspose2d: output_size expects sizes from {smallest} to {largest} "
                f"but got {tuple(output_size[-2:])} (input {input.shape})"
            )
        return extra[0], extra[1]
