"""Hypothesis strategies for shapes, tensors, and the arguments of convolution, pooling and losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.testing.calls import LAYOUTS, Call, laid_out
from tinygrad_cnn.types import DTypeLike

__all__ = [
    "Reals",
    "broadcastable_shapes",
    "conv2d_cases",
    "for_all",
    "loss_cases",
    "pool2d_cases",
    "reals",
    "shapes",
    "tensors",
]

Draw = Callable[[st.SearchStrategy[Any]], Any]


def for_all(strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Call `check` with values drawn from `strategy`; of failures the simplest is reported.

    The Hypothesis profile says how many are drawn.
    """

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.nested_given])
    @given(strategy)
    def every_draw(value: Any) -> None:
        check(value)

    every_draw()


# ---------------------------------------------------------------------------------------------- tensors


@dataclass(frozen=True)
class Reals:
    """How to fill an array with numbers; see `reals`."""

    low: float
    high: float
    away_from: tuple[float, ...]
    distinct: bool
    step: float
    phase: float

    def fill(self, draws: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array of such numbers."""
        size = math.prod(shape)
        needed = 2 * size + 4 * len(self.away_from)
        step = min(self.step, (self.high - self.low) / needed) if self.distinct and needed else self.step
        grid = np.arange(math.ceil(self.low / step), math.floor(self.high / step) + 1) * step + self.phase * step
        for point in self.away_from:
            grid = grid[np.abs(grid - point) > 0.4 * step]
        return draws.choice(grid, size, replace=not self.distinct).reshape(shape).astype(dtype)


def reals(
    low: float = -2.0,
    high: float = 2.0,
    *,
    away_from: Sequence[float] = (),
    distinct: bool = False,
    step: float = 1 / 32,
    phase: float = 0.0,
) -> Reals:
    """Numbers for `tensors`: multiples of `step` between `low` and `high`, so that any two differ by far more than a
    difference quotient can confuse, or are equal.

    Parameters
    ----------
    low, high : float
    away_from : sequence of float
        Kinks and poles, which are never drawn.
    distinct : bool
        Whether no two elements of a tensor are equal: no ties. The step shrinks if there are too few numbers.
    step : float
    phase : float
        Shifts all numbers by ``phase * step``: tensors with different phases have no number in common.
    """
    return Reals(low, high, tuple(away_from), distinct, step, phase)


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes, by default of up to three dimensions; 0-d ones among them, and now and then zero-sized ones."""

    def sized(least: int) -> st.SearchStrategy[tuple[int, ...]]:
        return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=least, max_side=max_side)

    return sized(min_side) if min_side else st.one_of(sized(1), sized(1), sized(1), sized(0))


def broadcastable_shapes(
    count: int = 2, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3
) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """Several shapes that broadcast together."""
    drawn = hnp.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=min_dims, max_dims=max_dims, min_side=max(min_side, 1), max_side=max_side
    ).map(lambda result: result.input_shapes)
    if min_side:
        return drawn
    # Hypothesis broadcasts with sizes of one or more; a size of zero takes the place of the largest one.
    return st.tuples(drawn, st.integers(0, 9)).map(
        lambda pair: tuple(tuple(0 if n == max_side else n for n in s) for s in pair[0]) if not pair[1] else pair[0]
    )


@st.composite
def tensors(
    draw: Draw,
    shape: Any = None,
    dtype: DTypeLike = np.float64,
    elements: Reals | st.SearchStrategy[Any] | None = None,
    requires_grad: bool | None = None,
    layout: str | None = None,
) -> Tensor:
    """Tensors.

    Parameters
    ----------
    shape : tuple of int, or a strategy for them
        Default: `shapes`.
    dtype : dtype
    elements : Reals, or a strategy for single elements
        Default: ``reals()``, whole numbers from -3 to 3, or booleans, as the dtype asks. `reals` is much faster than a
        strategy for each element.
    requires_grad : bool
        Default: True for floating dtypes.
    layout : str
        "contiguous", "transposed", "stepped", "negative" or "broadcast" (repeated elements, stride zero). Default:
        any of them, but no "broadcast" where elements must be distinct.
    """
    size = draw(shape) if isinstance(shape, st.SearchStrategy) else draw(shapes()) if shape is None else tuple(shape)
    kind = np.dtype(dtype)
    floating = kind.kind == "f"
    if isinstance(elements, st.SearchStrategy):
        array = draw(hnp.arrays(kind, size, elements=elements))
    else:
        array = _filled(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), size, kind, elements)
    if layout is None:
        distinct = isinstance(elements, Reals) and elements.distinct
        layout = draw(st.sampled_from(LAYOUTS if distinct else (*LAYOUTS, "broadcast")))
    return Tensor(laid_out(array, layout), floating if requires_grad is None else requires_grad)


def _filled(
    draws: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], elements: Reals | None
) -> np.ndarray:
    if elements is not None or dtype.kind == "f":
        return (elements or reals()).fill(draws, shape, dtype)
    low, high = (0, 2) if dtype.kind == "b" else (0, 4) if dtype.kind == "u" else (-3, 4)
    return np.asarray(draws.integers(low, high, shape)).astype(dtype)


# ----------------------------------------------------------------------------- arguments of operations


def _pair(values: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    """An int for both dimensions, or a pair."""
    return st.one_of(values, st.tuples(values, values))


def _both(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def conv2d_cases(draw: Draw, transposed: bool = False, dtype: DTypeLike = np.float64) -> Call:
    """Calls of `conv2d`, or of `conv_transpose2d`: small images, batched or not, every parameter.

    Parameters
    ----------
    transposed : bool
        Whether they are for `conv_transpose2d`.
    dtype : dtype
    """
    groups = draw(st.sampled_from([1, 1, 2]))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, dilation = draw(_pair(st.integers(1, 3))), draw(_pair(st.integers(1, 2)))
    padding = draw(_pair(st.integers(0, 2)))
    reach = [d * (k - 1) + 1 for d, k in zip(_both(dilation), kernel, strict=True)]
    parameters: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": groups}
    if transposed:
        spare = [max(s, d) - 1 for s, d in zip(_both(stride), _both(dilation), strict=True)]
        parameters["output_padding"] = tuple(draw(st.integers(0, n)) for n in spare)
        # The output must keep at least one pixel once the padding has been cut off.
        least = [
            1 + max(0, -(-(2 * p + 1 - r) // s)) for s, p, r in zip(_both(stride), _both(padding), reach, strict=True)
        ]
        weight_shape = (inputs, outputs // groups, *kernel)
    else:
        padding = draw(st.one_of(st.just(padding), st.sampled_from(["valid", "same"])))
        if padding == "same":
            parameters["stride"] = 1
        pads = reach if padding == "same" else (0, 0) if padding == "valid" else _both(padding)
        least = [max(1, r - 2 * p) for r, p in zip(reach, pads, strict=True)]
        weight_shape = (outputs, inputs // groups, *kernel)
    height, width = (n + draw(st.integers(0, 2)) for n in least)
    batch = draw(st.sampled_from([(), (1,), (2,), (0,)]))
    x = draw(tensors((*batch, inputs, height, width), dtype))
    w = draw(tensors(weight_shape, dtype))
    b = draw(st.one_of(st.none(), tensors((outputs,), dtype)))
    return Call(x, w, b, padding=padding, **parameters)


@st.composite
def pool2d_cases(draw: Draw, kind: str = "max", dtype: DTypeLike = np.float64) -> Call:
    """Calls of `max_pool2d` (without ties), `avg_pool2d` or `adaptive_avg_pool2d`: overlapping windows, gaps, borders.

    Parameters
    ----------
    kind : "max", "avg" or "adaptive"
    dtype : dtype
    """
    elements = reals(distinct=kind == "max")
    leading = (*draw(st.sampled_from([(), (1,), (2,), (0,)])), draw(st.integers(1, 2)))
    if kind == "adaptive":
        size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
        target = draw(st.one_of(st.integers(1, 4), st.tuples(*[st.one_of(st.none(), st.integers(0, 4))] * 2)))
        return Call(draw(tensors((*leading, *size), dtype, elements)), target)
    kernel = draw(_pair(st.integers(1, 3)))
    stride = draw(st.one_of(st.none(), _pair(st.integers(1, 3))))
    padding = tuple(draw(st.integers(0, k // 2)) for k in _both(kernel))
    parameters: dict[str, Any] = {"stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    dilation: Any = 1
    if kind == "max":
        dilation = parameters["dilation"] = draw(_pair(st.integers(1, 2)))
    else:
        parameters["count_include_pad"] = draw(st.booleans())
        parameters["divisor_override"] = draw(st.sampled_from([None, None, 3]))
    height, width = (
        max(d, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 3))  # no window of nothing but padding
        for k, p, d in zip(_both(kernel), padding, _both(dilation), strict=True)
    )
    return Call(draw(tensors((*leading, height, width), dtype, elements)), kernel, **parameters)


@st.composite
def loss_cases(draw: Draw, target: str = "classes", smoothing: bool = False, dtype: DTypeLike = np.float64) -> Call:
    """Calls of `nll_loss` and `cross_entropy` (class indices), of `cross_entropy` with probabilities, or of `mse_loss`.

    Parameters
    ----------
    target : "classes", "probabilities" or "values"
    smoothing : bool
        Whether `label_smoothing` is among the arguments.
    dtype : dtype
    """
    classes = draw(st.integers(1, 4))
    batch = draw(st.sampled_from([None, 1, 2, 3]))
    rest = () if batch is None else draw(st.sampled_from([(), (), (2,), (2, 1)]))
    shape = (classes,) if batch is None else (batch, classes, *rest)
    parameters: dict[str, Any] = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    x = draw(tensors(shape, dtype))
    if target == "values":
        return Call(x, draw(tensors(shape, dtype)), **parameters)
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        parameters["weight"] = draws.integers(1, 5, classes).astype(dtype) / 2
    if smoothing:
        parameters["label_smoothing"] = draw(st.sampled_from([0.0, 0.25, 1.0]))
    if target == "probabilities":
        return Call(x, draw(tensors(shape, dtype, reals(0.0, 1.0))), **parameters)
    indices = draws.integers(0, classes, () if batch is None else (batch, *rest))
    if draw(st.booleans()):
        # Never all of them: the mean over no sample is 0 / 0.
        parameters["ignore_index"] = draw(st.sampled_from([-100, classes]))
        indices = np.where(np.arange(indices.size).reshape(indices.shape) % 2 == 1, parameters["ignore_index"], indices)
    return Call(x, Tensor(np.asarray(indices)), **parameters)
