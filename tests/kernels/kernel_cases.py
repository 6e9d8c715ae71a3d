"""Drawn sizes and arrays for the kernels' tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from tinygrad_cnn.kernels.shapes import output_size


@dataclass(frozen=True)
class Case:
    """A convolution: its sizes, and arrays of small integers, so that sums are exact in every order."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    groups: int

    @property
    def parameters(self):
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def output_shape(self):
        sizes = [
            output_size(size, kernel, s, p, d)
            for size, kernel, s, p, d in zip(
                self.x.shape[2:], self.w.shape[2:], self.stride, self.padding, self.dilation, strict=True
            )
        ]
        return (self.x.shape[0], self.w.shape[0], *sizes)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """Return an equal array with another memory layout."""
    if layout == "channels_last":
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "every_other":
        spaced = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
        spaced[tuple(slice(None, None, 2) for _ in array.shape)] = array
        return spaced[tuple(slice(None, None, 2) for _ in array.shape)]
    if layout == "reversed":
        return np.ascontiguousarray(array[..., ::-1, ::-1])[..., ::-1, ::-1]
    return np.ascontiguousarray(array)


layouts = st.sampled_from(["channels_first", "channels_last", "every_other", "reversed"])
float_dtypes = st.sampled_from([np.float32, np.float64])


def integers_array(shape: tuple[int, ...], seed: int, dtype: type = np.float64, low: int = -3) -> np.ndarray:
    """Small whole numbers in the given dtype."""
    return np.random.default_rng(seed).integers(low, 4, shape).astype(dtype)


@st.composite
def conv_cases(draw, dtype=np.float64, depthwise=None):
    """Convolutions on both sides of every branch: strides, dilations, groups, few and many channels, layouts."""
    if depthwise is None:
        depthwise = draw(st.booleans())
    groups = draw(st.integers(2, 5)) if depthwise else draw(st.sampled_from([1, 1, 2, 3]))
    per_group = 1 if depthwise else draw(st.sampled_from([1, 2, 3, 8, 17]))
    c, o = groups * per_group, groups * draw(st.integers(1, 3))
    simple = draw(st.booleans())
    pair = st.just((1, 1)) if simple else st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride, dilation = draw(pair), draw(pair)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = (draw(pads), draw(pads))
    n = draw(st.integers(0, 3))
    size = [
        max(1, (k - 1) * d + 1 - sum(p)) + draw(st.integers(0, 6))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    seed = draw(st.integers(0, 1000))
    x = laid_out(integers_array((n, c, *size), seed, dtype), draw(layouts))
    w = laid_out(integers_array((o, per_group, *kernel), seed + 1, dtype), draw(layouts))
    return Case(x, w, integers_array((o,), seed + 2, dtype), stride, padding, dilation, groups)
