"""Convolution and its two gradients: the three faces of one trilinear form.

    t(x, w, g) = sum of x[n, c, p + i, q + j] w[o, c, i, j] g[n, o, p, q]    over all indices (here with stride 1)

`conv2d` is its derivative by g, `conv2d_input_grad` by x, and `conv2d_weight_grad` by w. All three become matrix
products over blocks of images whose patches stay in cache; see `patches`. Memory is channels last throughout: an
(N, C, H, W) result is a view of (N, H, W, C) memory, so that a patch consists of long contiguous runs and a product
writes straight into the result. Other layouts are accepted, and copied block by block.

Padding is ((top, bottom), (left, right)); stride and dilation are pairs (height, width).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels import depthwise
from tinygrad_cnn.kernels.blas import parallel_products
from tinygrad_cnn.kernels.buffers import empty, empty_channels_last, scratch
from tinygrad_cnn.kernels.conv_input_grad import input_grad
from tinygrad_cnn.kernels.geometry import Block, Geometry
from tinygrad_cnn.kernels.patches import channels_last, channels_last_block, patches
from tinygrad_cnn.kernels.reduction import reduce
from tinygrad_cnn.kernels.threads import Call

__all__ = ["bias_grad", "conv2d", "conv2d_input_grad", "conv2d_parameter_grads", "conv2d_weight_grad"]

Array = NDArray[Any]
Pair = tuple[int, int]

# Partial weight gradients of this many shares of the batch exist side by side, fewer if they are large.
_MOST_SHARES = 16
_SHARE_BYTES = 1 << 25


def conv2d(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair, groups: int
) -> Array:
    """Convolve (strictly, correlate) images with a weight: (N, C, H, W), (O, C / groups, kh, kw) -> (N, O, OH, OW).

    ``y[n, o, p, q] = bias[o] + sum of x[n, c, p sh + i dh - top, q sw + j dw - left] w[o, c, i, j]`` over c, i, j.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    s = Geometry.of("conv2d", x.shape, w.shape, stride, padding, dilation, groups)
    if bias is not None and bias.shape != (s.o,):
        raise ValueError(f"conv2d: bias expects shape ({s.o},) but got {bias.shape}")
    dtype = np.result_type(x, w)
    y = empty_channels_last(s.output_shape, dtype)
    if s.empty:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    if s.groups == s.c > 1:
        depthwise.forward(x, w, bias, s, y)
        return y
    # A bias is one more weight, of a 1 in every patch; if pixels themselves are the patches, a repeated row is added.
    ones = bias is not None and not s.pointwise
    matrix = _patch_weights(w, s, bias if ones else None, dtype)
    row = None if bias is None or ones else np.repeat(bias[None], s.ow, axis=0).reshape(-1)
    y_last = channels_last(y)

    def plan(block: Block) -> list[Call]:
        calls: list[Call] = []
        part = y_last[block.images, block.rows]
        columns = patches(x, s, block, calls, ones=ones)
        rows = part.reshape(len(columns), -1, s.groups, s.o // s.groups).transpose(0, 2, 1, 3)
        calls.append(partial(np.matmul, columns, matrix, out=rows))
        if row is not None:
            lines = part.reshape(-1, row.size)
            calls.append(partial(np.add, lines, row, out=lines))
        return calls

    parallel_products(plan, s.blocks(s.patch_size * s.groups * dtype.itemsize), s.work)
    return y


def conv2d_input_grad(
    g: Array,
    w: Array,
    input_shape: tuple[int, ...],
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the gradient of `conv2d` by its input: (N, O, OH, OW), (O, C / groups, kh, kw) -> (N, C, H, W).

    It is also the transposed convolution.

    Parameters
    ----------
    input_shape : (int, int, int, int)
        Several heights and widths can lead to the same output; this says which it was.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    s = Geometry.of("conv2d_input_grad", input_shape, w.shape, stride, padding, dilation, groups)
    _check_gradient("conv2d_input_grad", g, s)
    if _is_better_turned(s):
        (down, across), ((top, bottom), (left, right)) = s.reach, s.padding
        turned = (down - top, down - bottom), (across - left, across - right)
        return conv2d(g, _turned(w, s), None, (1, 1), turned, dilation, groups)
    x = empty_channels_last(s.input_shape, np.result_type(g, w))
    if s.empty:
        x[...] = 0
    elif s.groups == s.c > 1:
        depthwise.input_grad(g, w, s, x)
    else:
        input_grad(g, w, s, x)
    return x


def _is_better_turned(s: Geometry) -> bool:
    """Whether to take the gradient by the input for a convolution of the output's gradient.

    That is so with stride 1, and faster than spreading patches if these are of several groups.
    """
    fits = all(max(pads) <= reach for reach, pads in zip(s.reach, s.padding, strict=True))
    return 1 < s.groups < s.c and s.stride == (1, 1) and fits and not s.empty


def _turned(w: Array, s: Geometry) -> Array:
    """(O, C / groups, kh, kw) -> (C, O / groups, kh, kw), every kernel turned by 180 degrees"""
    kernels = w.reshape(s.groups, -1, *s.weight_shape[1:])[..., ::-1, ::-1]
    return kernels.transpose(0, 2, 1, 3, 4).reshape(s.c, -1, s.kh, s.kw)


def conv2d_weight_grad(
    g: Array,
    x: Array,
    weight_shape: tuple[int, ...],
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the gradient of `conv2d` by its weight: (N, O, OH, OW), (N, C, H, W) -> (O, C / groups, kh, kw).

    Each share of the batch adds up its own gradient, in order, and then the shares are added in order.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    s = Geometry.of("conv2d_weight_grad", x.shape, weight_shape, stride, padding, dilation, groups)
    _check_gradient("conv2d_weight_grad", g, s)
    return _parameter_grads(g, x, s, with_bias=False)[0]


def conv2d_parameter_grads(
    g: Array,
    x: Array,
    weight_shape: tuple[int, ...],
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> tuple[Array, Array]:
    """Return the gradients of `conv2d` by its weight and by its bias, for which `g` is read only once.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    s = Geometry.of("conv2d_parameter_grads", x.shape, weight_shape, stride, padding, dilation, groups)
    _check_gradient("conv2d_parameter_grads", g, s)
    by_weight, by_bias = _parameter_grads(g, x, s, with_bias=True)
    return by_weight, bias_grad(g) if by_bias is None else by_bias


def _parameter_grads(g: Array, x: Array, s: Geometry, *, with_bias: bool) -> tuple[Array, Array | None]:
    """The gradient by the weight, and the one by the bias if that is asked for and comes along."""
    dtype = np.result_type(g, x)
    if s.empty:
        return np.zeros(s.weight_shape, dtype), None
    if s.groups == s.c > 1:
        return depthwise.weight_grad(g, x, s, dtype), None
    ones = with_bias and not s.pointwise  # as in `conv2d`
    size = s.patch_size + ones
    shape = (s.groups, size, s.o // s.groups)
    blocks = s.blocks(s.patch_size * s.groups * dtype.itemsize)
    weight_bytes = s.o * s.patch_size * dtype.itemsize
    shares = _shares(blocks, max(2, min(_MOST_SHARES, _SHARE_BYTES // weight_bytes)))
    sums = empty((len(shares), *shape), dtype)

    def plan(share: int) -> list[Call]:
        calls: list[Call] = []
        total = sums[share]
        for number, block in enumerate(shares[share]):
            images = channels_last_block(g, block, "gradient", calls)
            columns = patches(x, s, block, calls, ones=ones)
            pieces = len(columns)
            rows = images.reshape(pieces, -1, s.groups, s.o // s.groups).transpose(0, 2, 1, 3)
            in_place = number == 0 and pieces == 1
            terms = total[None] if in_place else scratch("terms", (pieces, *shape), dtype)
            calls.append(partial(np.matmul, columns.transpose(0, 1, 3, 2), rows, out=terms))
            if number:
                calls.extend(partial(np.add, total, term, out=total) for term in terms)
            elif not in_place:
                calls.append(partial(np.add.reduce, terms, axis=0, out=total))
        return calls

    parallel_products(plan, list(range(len(shares))))
    total = sums.sum(axis=0, dtype=dtype)
    by_weight = np.empty(s.weight_shape, dtype)
    taps = total[:, : s.patch_size].reshape(s.groups, s.kh, s.kw, s.c // s.groups, -1)
    by_weight.reshape(s.groups, -1, *s.weight_shape[1:])[...] = taps.transpose(0, 4, 3, 1, 2)
    return by_weight, total[:, -1].reshape(s.o) if ones else None


def bias_grad(g: Array) -> Array:
    """Return the gradient of `conv2d` by its bias, the sum over images and positions: (N, O, OH, OW) -> (O,)."""
    if g.dtype.kind != "f":
        return np.asarray(g.sum(axis=(0, 2, 3), dtype=g.dtype))
    return reduce(np.add, g, (0, 2, 3), keepdims=False)


def _patch_weights(w: Array, s: Geometry, bias: Array | None, dtype: Any) -> Array:
    """The weight as products of patches read it, (groups, kh · kw · c / groups, o / groups), `bias` as a last row."""
    matrix = np.empty((s.groups, s.patch_size + (bias is not None), s.o // s.groups), dtype)
    taps = matrix[:, : s.patch_size].reshape(s.groups, s.kh, s.kw, s.c // s.groups, -1)
    taps[...] = w.reshape(s.groups, -1, s.c // s.groups, s.kh, s.kw).transpose(0, 3, 4, 2, 1)
    if bias is not None:
        matrix[:, -1] = bias.reshape(s.groups, -1)
    return matrix


def _shares(blocks: list[Block], most: int) -> list[list[Block]]:
    count = min(most, len(blocks))
    ends = [len(blocks) * i // count for i in range(count + 1)]
    return [blocks[start:end] for start, end in pairwise(ends)]


def _check_gradient(name: str, g: Array, s: Geometry) -> None:
    if g.shape != s.output_shape:
        raise ValueError(f"{name}: gradient expects the output's shape {s.output_shape} but got {g.shape}")
