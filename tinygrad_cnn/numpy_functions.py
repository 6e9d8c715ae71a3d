"""NumPy's functions (those that are no ufuncs) in terms of this library's operations.

Each has the signature of its namesake, so that arguments mean the same by position and by name. One whose default
is REFUSED is there to keep its place, and is refused if it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable
from tinygrad_cnn.errors import check_dim, check_dims, check_int
from tinygrad_cnn.numpy_arrangements import ARRANGEMENTS, REFUSED
from tinygrad_cnn.ops import elementwise, functions, linalg, padding, reduction, truth
from tinygrad_cnn.ops import shape as shapes
from tinygrad_cnn.ops.dtypes import DEFAULT, as_dtype
from tinygrad_cnn.types import Array

__all__ = ["FUNCTIONS", "QUESTIONS", "REFUSED"]


def _axes(axis: Any) -> Sequence[Any]:
    return axis if isinstance(axis, (tuple, list)) else (axis,)


def _in_order_c(name: str, order: str) -> None:
    if order not in ("C", "K", "A"):
        raise TypeError(f"numpy.{name}: argument 'order' expects 'C' for tensors but got {order!r}")


# ------------------------------------------------------------------------------------------------ reductions


def _over(reduce: Callable[..., Any], a: Array, axis: Any, keepdims: bool, **kwargs: Any) -> Any:
    """A reduction; over no axes (``axis=()``), where PyTorch takes all, each element is reduced alone."""
    if isinstance(axis, tuple) and not axis:
        return reduce(shapes.unsqueeze(a, a.ndim), -1, keepdim=False, **kwargs)
    return reduce(a, axis, keepdim=bool(keepdims), **kwargs)


def _fractions(a: Array, dtype: Any) -> Array:
    """In the dtype that is asked for, else in a floating one."""
    if dtype is None:
        return a if a.dtype.kind == "f" else elementwise.cast(a, DEFAULT)
    return elementwise.cast(a, as_dtype(dtype))


def _sum(
    a: Array,
    axis: Any = None,
    dtype: Any = None,
    out: Any = REFUSED,
    keepdims: bool = False,
    initial: Any = REFUSED,
    where: Any = REFUSED,
) -> Array:
    return _over(reduction.sum, a, axis, keepdims, dtype=None if dtype is None else as_dtype(dtype))


def _mean(
    a: Array, axis: Any = None, dtype: Any = None, out: Any = REFUSED, keepdims: bool = False, *, where: Any = REFUSED
) -> Array:
    return _over(reduction.mean, _fractions(a, dtype), axis, keepdims)


def _dispersion(statistic: Callable[..., Any]) -> Callable[..., Any]:
    def disperse(
        a: Array,
        axis: Any = None,
        dtype: Any = None,
        out: Any = REFUSED,
        ddof: float = 0,
        keepdims: bool = False,
        *,
        where: Any = REFUSED,
        mean: Any = REFUSED,
        correction: float | None = None,
    ) -> Array:
        freedom = ddof if correction is None else correction
        return _over(statistic, _fractions(a, dtype), axis, keepdims, correction=freedom)

    return disperse


def _extremum(extremum: Callable[..., Any]) -> Callable[..., Any]:
    def extreme(
        a: Array,
        axis: Any = None,
        out: Any = REFUSED,
        keepdims: bool = False,
        initial: Any = REFUSED,
        where: Any = REFUSED,
    ) -> Array:
        return _over(extremum, a, axis, keepdims)

    return extreme


def _position(search: Callable[..., Any]) -> Callable[..., Any]:
    def position(a: Array, axis: int | None = None, out: Any = REFUSED, *, keepdims: bool = False) -> Array:
        return search(a, axis, bool(keepdims))

    return position


def _question(question: Callable[..., Any]) -> Callable[..., Any]:
    def ask(a: Array, axis: Any = None, out: Any = REFUSED, keepdims: bool = False, *, where: Any = REFUSED) -> Array:
        return question(a, axis, bool(keepdims))

    return ask


# ---------------------------------------------------------------------------------------------- arrangements


def _reshape(a: Array, /, shape: Any, order: str = "C", *, copy: Any = REFUSED) -> Array:
    _in_order_c("reshape", order)
    return shapes.reshape(a, tuple(_axes(shape)))


def _ravel(a: Array, order: str = "C") -> Array:
    _in_order_c("ravel", order)
    return shapes.reshape(a, (math.prod(a.shape),))


def _transpose(a: Array, axes: Any = None) -> Array:
    return shapes.permute(a, tuple(reversed(range(a.ndim))) if axes is None else tuple(axes))


def _swapaxes(a: Array, axis1: int, axis2: int) -> Array:
    return shapes.transpose(a, axis1, axis2)


def _matrix_transpose(x: Array, /) -> Array:
    return x.mT


def _moveaxis(a: Array, source: Any, destination: Any) -> Array:
    moved = [check_dim("moveaxis", d, a.ndim, "source") for d in _axes(source)]
    goals = [check_dim("moveaxis", d, a.ndim, "destination") for d in _axes(destination)]
    if not len(moved) == len(goals) == len(set(moved)) == len(set(goals)):
        raise ValueError(
            f"moveaxis: source and destination expect as many different axes but are {source} and {destination}"
        )
    order = [d for d in range(a.ndim) if d not in moved]
    for goal, dim in sorted(zip(goals, moved, strict=True)):
        order.insert(goal, dim)
    return shapes.permute(a, tuple(order))


def _squeeze(a: Array, axis: Any = None) -> Array:
    dims = () if axis is None or not a.ndim else check_dims("squeeze", axis, a.ndim, "axis")
    if any(a.shape[d] != 1 for d in dims):
        raise ValueError(f"squeeze: axis expects axes of size 1 but got {axis} (input {a.shape})")
    return shapes.squeeze(a, axis)


def _expand_dims(a: Array, axis: Any) -> Array:
    for dim in check_dims("expand_dims", axis, a.ndim + len(_axes(axis)), "axis"):
        a = shapes.unsqueeze(a, dim)
    return a


def _broadcast_to(array: Array, shape: Any, subok: Any = REFUSED) -> Array:
    return shapes.expand(array, tuple(check_int("broadcast_to", "shape", n, 0) for n in _axes(shape)))


def _flip(m: Array, axis: Any = None) -> Array:
    return shapes.flip(m, check_dims("flip", axis, m.ndim, "axis"))


def _concatenate(
    arrays: Sequence[Array],
    /,
    axis: int | None = 0,
    out: Any = REFUSED,
    *,
    dtype: Any = None,
    casting: Any = REFUSED,
) -> Array:
    parts = _parts("concatenate", arrays, dtype)
    if axis is None:
        return shapes.cat([_ravel(x) for x in parts])
    return shapes.cat(parts, axis)


def _stack(
    arrays: Sequence[Array], axis: int = 0, out: Any = REFUSED, *, dtype: Any = None, casting: Any = REFUSED
) -> Array:
    return shapes.stack(_parts("stack", arrays, dtype), axis)


def _parts(operation: str, arrays: Sequence[Any], dtype: Any) -> list[Array]:
    for index, x in enumerate(arrays):
        if not isinstance(x, (Variable, np.ndarray)):
            raise TypeError(f"{operation}: item {index} expects a tensor or an array but got {type(x).__name__}")
    return list(arrays) if dtype is None else [elementwise.cast(x, as_dtype(dtype)) for x in arrays]


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(array: Array, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Array:
    if mode not in _MODES:
        raise TypeError(f"numpy.pad: argument 'mode' expects one of {list(_MODES)} for tensors but got {mode!r}")
    if np.ndim(constant_values) != 0:
        raise TypeError(f"numpy.pad: argument 'constant_values' expects one number but got {constant_values!r}")
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2))
    if widths.size and (widths.dtype.kind not in "iu" or widths.min() < 0):
        raise ValueError(f"pad: pad_width expects ints from 0 on but got {pad_width!r}")
    if mode != "constant":
        return padding.extend(array, tuple((int(before), int(after)) for before, after in widths), _MODES[mode])
    value = np.asarray(constant_values).item()
    return padding.pad(array, [int(n) for pair in widths[::-1] for n in pair], value=value)


# ------------------------------------------------------------------- selections, products, copies, questions


def _where(condition: Array, x: Array, y: Array, /) -> Array:
    return elementwise.where(condition, x, y)


def _clip(
    a: Array, a_min: Any = None, a_max: Any = None, out: Any = REFUSED, *, min: Any = None, max: Any = None
) -> Array:
    return elementwise.clamp(a, a_min if min is None else min, a_max if max is None else max)


def _round(a: Array, decimals: int = 0, out: Any = REFUSED) -> Array:
    return functions.round(a, decimals=decimals)


def _dot(a: Array, b: Array, out: Any = REFUSED) -> Array:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return elementwise.mul(a, b)
    if b.ndim > 2:
        raise ValueError(f"dot: b expects at most 2 dimensions but has shape {b.shape}; matmul takes batches")
    return linalg.matmul(a, b)


def _copy(a: Array, order: str = "K", subok: Any = REFUSED) -> Array:
    _in_order_c("copy", order)
    return elementwise.clone(a)


def _like(fill: Callable[..., Any]) -> Callable[..., Any]:
    def like(a: Array, dtype: Any = None, order: Any = REFUSED, subok: Any = REFUSED, shape: Any = REFUSED) -> Array:
        constant = fill(a.detach())
        return constant if dtype is None else elementwise.cast(constant, as_dtype(dtype))

    return like


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.var: _dispersion(reduction.var),
    np.std: _dispersion(reduction.std),
    np.max: _extremum(reduction.amax),
    np.amax: _extremum(reduction.amax),
    np.min: _extremum(reduction.amin),
    np.amin: _extremum(reduction.amin),
    np.argmax: _position(reduction.argmax),
    np.argmin: _position(reduction.argmin),
    np.any: _question(truth.any),
    np.all: _question(truth.all),
    np.reshape: _reshape,
    np.ravel: _ravel,
    np.transpose: _transpose,
    np.matrix_transpose: _matrix_transpose,
    np.swapaxes: _swapaxes,
    np.moveaxis: _moveaxis,
    np.squeeze: _squeeze,
    np.expand_dims: _expand_dims,
    np.broadcast_to: _broadcast_to,
    np.flip: _flip,
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.pad: _pad,
    np.where: _where,
    np.clip: _clip,
    np.round: _round,
    np.around: _round,
    np.dot: _dot,
    np.copy: _copy,
    np.zeros_like: _like(elementwise.zeros_like),
    np.ones_like: _like(elementwise.ones_like),
    **ARRANGEMENTS,
}

#: Questions about shapes, memory or values, to which the answer is no array: NumPy may ask them of the data.
QUESTIONS: frozenset[Any] = frozenset(
    (np.shape, np.ndim, np.size, np.allclose, np.array_equal, np.may_share_memory, np.shares_memory)
)
