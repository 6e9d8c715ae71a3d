"""Convolution (cross-correlation, as in every deep-learning library) in two dimensions, and its transpose.

The value of ``conv2d`` is linear in the input and in the weight. With a cotangent of the output it makes one
trilinear form, and each of three primitives here is that form with one place left open: the output, the
input's gradient (which is the value of ``conv_transpose2d``), the weight's gradient. So the VJPs of each are the
other two, and convolution is differentiable any number of times. A fourth gives the gradients of weight and bias
in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_int, check_pair, check_single, check_tensor
from tinygrad_cnn.kernels import conv as kernels
from tinygrad_cnn.kernels.shapes import output_size
from tinygrad_cnn.ops.padding import pad
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.ops.shape import reshape
from tinygrad_cnn.types import Array, Pair

Shape = tuple[int, ...]


class Geometry(NamedTuple):
    """How a kernel moves over an image."""

    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
    dilation: tuple[int, int]
    groups: int


# --------------------------------------------------------------------------------- the trilinear form


@primitive
def _conv2d(input: Array, weight: Array, bias: Array, geometry: Geometry) -> Array:
    return kernels.conv2d(input, weight, bias, *geometry)


@primitive
def _conv2d_input_grad(g: Array, weight: Array, input_shape: tuple[int, ...], geometry: Geometry) -> Array:
    return kernels.conv2d_input_grad(g, weight, input_shape, *geometry)


@primitive
def _conv2d_weight_grad(g: Array, input: Array, weight_shape: tuple[int, ...], geometry: Geometry) -> Array:
    return kernels.conv2d_weight_grad(g, input, weight_shape, *geometry)


@primitive
def _conv2d_parameter_grads(g: Array, input: Array, weight_shape: tuple[int, ...], geometry: Geometry) -> Array:
    return kernels.conv2d_parameter_grads(g, input, weight_shape, *geometry)


@_conv2d.vjp("input")
def _(g, weight, input_shape, geometry):
    return _conv2d_input_grad(g, weight, input_shape, geometry)


@_conv2d.vjp("weight", "bias")
def _(g, input, weight_shape, geometry, wanted):
    if wanted == (True, True):
        return _conv2d_parameter_grads(g, input, weight_shape, geometry)
    if wanted == (True, False):
        return _conv2d_weight_grad(g, input, weight_shape, geometry), None
    return None, sum(g, (0, 2, 3))


@_conv2d_input_grad.vjp("g")
def _(g, weight, geometry):
    return _conv2d(g, weight, None, geometry)


@_conv2d_input_grad.vjp("weight")
def _(g_, g, weight_shape, geometry):
    return _conv2d_weight_grad(g, g_, weight_shape, geometry)


@_conv2d_weight_grad.vjp("g")
def _(g, input, geometry):
    return _conv2d(input, g, None, geometry)


@_conv2d_weight_grad.vjp("input")
def _(g_, g, input_shape, geometry):
    return _conv2d_input_grad(g, g_, input_shape, geometry)


@_conv2d_parameter_grads.vjp("g")
def _(g_, input, geometry):
    by_weight, by_bias = g_
    return _conv2d(input, by_weight, by_bias, geometry)


@_conv2d_parameter_grads.vjp("input")
def _(g_, g, input_shape, geometry):
    by_weight, _ = g_
    return _conv2d_input_grad(g, by_weight, input_shape, geometry)


# ---------------------------------------------------------------------------------------- operations


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation of images with kernels.

    ``y[n, o, i, j] = bias[o] + sum(w[o, c, a, b] * x[n, c, i*stride + a*dilation - padding, ...])`` over the
    channels ``c`` of o's group and the taps ``a, b``; outside of the image ``x`` is 0.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    weight : tensor (O, C/groups, kH, kW)
    bias : tensor (O,), optional
    stride, dilation : int or pair
        Steps between windows, and between the taps of a window, in pixels.
    padding : int, pair, "valid" or "same"
        Zeros added on both sides, in pixels; "same" keeps the size (with stride 1; an odd one goes to the bottom
        and right).
    groups : int
        Input and output channels fall into that many groups that do not see each other.

    Returns
    -------
    tensor (N, O, OH, OW) or (O, OH, OW)
        ``OH = (H + 2*padding - dilation*(kH - 1) - 1) // stride + 1``, and OW likewise.

    Raises
    ------
    TypeError
        If the dtypes differ, or a parameter is not an int.
    ValueError
        If the shapes do not fit, or a parameter is out of range.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.arange(9.0).reshape(1, 1, 3, 3)
    >>> w = tg.arange(4.0).reshape(1, 1, 2, 2)
    >>> conv2d(x, w).tolist()
    [[[[19.0, 25.0], [37.0, 43.0]]]]
    """
    _check_operands("conv2d", input, weight, bias)
    geometry = _geometry("conv2d", weight, stride, padding, dilation, groups)
    _check_sizes("conv2d", input.shape, weight.shape, None if bias is None else bias.shape, geometry)
    if input.ndim == 3:
        return _unbatched(lambda x: _conv2d(x, weight, bias, geometry), input)
    return _conv2d(input, weight, bias, geometry)


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation of sequences with kernels; `conv2d` of images of height 1.

    ``y[n, o, i] = bias[o] + sum(w[o, c, a] * x[n, c, i*stride + a*dilation - padding])`` over the channels ``c`` of
    o's group and the taps ``a``.

    Parameters
    ----------
    input : tensor (N, C, L) or (C, L)
    weight : tensor (O, C/groups, k)
    bias : tensor (O,), optional
    stride, dilation : int, or sequence of one
    padding : int, sequence of one, "valid" or "same"
        Zeros added on both sides; "same" keeps the length (with stride 1; an odd one goes to the end).
    groups : int

    Returns
    -------
    tensor (N, O, OL) or (O, OL)
        ``OL = (L + 2*padding - dilation*(k - 1) - 1) // stride + 1``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> conv1d(tg.arange(4.0).reshape(1, 1, 4), tg.tensor([[[1.0, 10.0]]])).tolist()
    [[[10.0, 21.0, 32.0]]]
    """
    operation = "conv1d"
    _check_operands(operation, input, weight, bias, dimensions=1)
    steps = (1, check_single(operation, "stride", stride, 1))
    pads = padding if isinstance(padding, str) else (0, check_single(operation, "padding", padding, 0))
    spread = (1, check_single(operation, "dilation", dilation, 1))
    length = input.shape[-1]
    x = reshape(input, (*(input.shape[:-1] if input.ndim == 3 else (1, *input.shape[:-1])), 1, length))
    kernel = reshape(weight, (*weight.shape[:2], 1, weight.shape[2]))
    geometry = _geometry(operation, kernel, steps, pads, spread, groups)
    _check_sizes(operation, x.shape, kernel.shape, None if bias is None else bias.shape, geometry)
    y = _conv2d(x, kernel, bias, geometry)
    return reshape(y, (*input.shape[:-2], y.shape[1], y.shape[3]))


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Array:
    """The transpose of the linear map `conv2d`: each input pixel adds a scaled kernel to the output.

    Parameters
    ----------
    input : tensor (N, C, H, W) or (C, H, W)
    weight : tensor (C, O/groups, kH, kW)
    bias : tensor (O,), optional
    stride, dilation : int or pair
    padding : int or pair
        Rows and columns dropped at each border.
    output_padding : int or pair
        Rows and columns added at the bottom and right, less than stride or dilation: which of the sizes that
        convolution maps to the input's size is meant.
    groups : int

    Returns
    -------
    tensor (N, O, OH, OW) or (O, OH, OW)
        ``OH = (H - 1)*stride - 2*padding + dilation*(kH - 1) + output_padding + 1``, and OW likewise.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.
    """
    operation = "conv_transpose2d"
    _check_operands(operation, input, weight, bias)
    shapes = f"(input {tuple(input.shape)}, weight {tuple(weight.shape)})"
    if isinstance(padding, str):
        raise TypeError(f"{operation}: padding expects an int or a pair but got {padding!r}")
    geometry = _geometry(operation, weight, stride, padding, dilation, groups)
    extra = check_pair(operation, "output_padding", output_padding, 0)
    channels = input.shape[-3]
    if channels != weight.shape[0]:
        raise ValueError(
            f"{operation}: weight expects {weight.shape[0]} input channel(s) but input has {channels} {shapes}"
        )
    if channels % geometry.groups:
        raise ValueError(f"{operation}: groups expects to divide {channels} input channel(s) but is {groups} {shapes}")
    outputs = weight.shape[1] * geometry.groups
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(f"{operation}: bias expects shape ({outputs},) but has {tuple(bias.shape)}")
    sizes, margins, pads = [], [], []
    for axis in (0, 1):
        step, spread = geometry.stride[axis], geometry.dilation[axis]
        if extra[axis] >= max(step, spread):
            raise ValueError(
                f"{operation}: output_padding expects less than stride {step} or dilation {spread} but is {extra[axis]}"
            )
        reach = spread * (weight.shape[2 + axis] - 1) + 1
        size = (input.shape[-2 + axis] - 1) * step - 2 * geometry.padding[axis][0] + reach
        if size + extra[axis] < 1:
            raise ValueError(f"{operation}: padding {padding} leaves nothing of the output {shapes}")
        # Up to stride - 1 more rows map to the same input. Beyond that (dilation exceeds stride), less is dropped
        # at the end, and what no tap reaches is zeros.
        pad_before, pad_after = geometry.padding[axis]
        beyond = max(extra[axis] - (step - 1), 0)
        margins.append(max(beyond - pad_after, 0))
        pads.append((pad_before, pad_after - (beyond - margins[-1])))
        sizes.append(size + extra[axis] - margins[-1])
    geometry = geometry._replace(padding=(pads[0], pads[1]))

    def transposed(x: Array) -> Array:
        y = _conv2d_input_grad(x, weight, (x.shape[0], outputs, *sizes), geometry)
        if any(margins):
            y = pad(y, (0, margins[1], 0, margins[0]))
        return y if bias is None else y + reshape(bias, (1, outputs, 1, 1))

    return _unbatched(transposed, input) if input.ndim == 3 else transposed(input)


def _unbatched(operation: Any, image: Array) -> Array:
    """Apply an operation on batches to a single image."""
    y = operation(reshape(image, (1, *image.shape)))
    return reshape(y, tuple(y.shape[1:]))


@lru_cache(maxsize=512)
def _check_sizes(operation: str, input: Shape, weight: Shape, bias: Shape | None, geometry: Geometry) -> None:
    shapes = f"(input {input}, weight {weight})"
    outputs, per_group = weight[:2]
    channels = input[-3]
    if channels != per_group * geometry.groups:
        raise ValueError(
            f"{operation}: weight expects {per_group * geometry.groups} input channel(s) but input has {channels} "
            f"{shapes}"
        )
    if outputs % geometry.groups:
        raise ValueError(
            f"{operation}: groups expects to divide {outputs} output channel(s) but is {geometry.groups} {shapes}"
        )
    if bias is not None and bias != (outputs,):
        raise ValueError(f"{operation}: bias expects shape ({outputs},) but has {bias}")
    for axis, name in ((0, "height"), (1, "width")):
        size, kernel = input[-2 + axis], weight[2 + axis]
        if output_size(size, kernel, geometry.stride[axis], geometry.padding[axis], geometry.dilation[axis]) < 1:
            raise ValueError(
                f"{operation}: kernel expects to fit into the padded input, but its {name} "
                f"{geometry.dilation[axis] * (kernel - 1) + 1} exceeds "
                f"{size + geometry.padding[axis][0] + geometry.padding[axis][1]} {shapes}"
            )


def _check_operands(operation: str, input: Array, weight: Array, bias: Array | None, dimensions: int = 2) -> None:
    check_tensor(operation, "input", input)
    check_tensor(operation, "weight", weight)
    if bias is not None:
        check_tensor(operation, "bias", bias)
    _check_dimensions(operation, input.shape, weight.shape, dimensions)
    dtype = input.dtype
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and x.dtype != dtype:
            raise TypeError(f"{operation}: {name} expects the dtype of input, {dtype}, but has {x.dtype}")


@lru_cache(maxsize=512)
def _check_dimensions(operation: str, input: Shape, weight: Shape, dimensions: int) -> None:
    form, least = ("C, H, W", "1 x 1") if dimensions == 2 else ("C, L", "1")
    if len(input) not in (dimensions + 1, dimensions + 2):
        raise ValueError(f"{operation}: input expects (N, {form}) or ({form}) but has shape {input}")
    if 0 in input[-dimensions:]:
        raise ValueError(f"{operation}: input expects at least one pixel but has shape {input}")
    if len(weight) != dimensions + 2:
        raise ValueError(f"{operation}: weight expects {dimensions + 2} dimensions but has shape {weight}")
    if 0 in weight[2:]:
        raise ValueError(f"{operation}: weight expects a kernel of at least {least} but has shape {weight}")


def _geometry(operation: str, weight: Array, stride: Any, padding: Any, dilation: Any, groups: Any) -> Geometry:
    steps = check_pair(operation, "stride", stride, 1)
    spread = check_pair(operation, "dilation", dilation, 1)
    number = check_int(operation, "groups", groups, 1)
    if isinstance(padding, str):
        return Geometry(steps, _named_padding(operation, padding, weight.shape[2:], steps, spread), spread, number)
    rows, columns = check_pair(operation, "padding", padding, 0)
    return Geometry(steps, ((rows, rows), (columns, columns)), spread, number)


def _named_padding(
    operation: str, name: str, kernel: Sequence[int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    if name == "valid":
        return (0, 0), (0, 0)
    if name != "same":
        raise ValueError(f"{operation}: padding expects an int, a pair, 'valid' or 'same' but got {name!r}")
    if stride != (1, 1):
        raise ValueError(f"{operation}: padding 'same' expects stride 1 but got {stride}")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
