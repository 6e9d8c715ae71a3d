"""Tensors from nothing: constants, ranges and draws. Floats are float32 unless a dtype is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.devices import check_cpu
from tinygrad_cnn.dlpack import shared_array
from tinygrad_cnn.errors import check_float, check_int, check_size, check_tensor
from tinygrad_cnn.ops.dtypes import DEFAULT, as_dtype, check_number, is_dtype
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import DTypeLike, Scalar

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "zeros",
    "zeros_like",
]

Size = int | Sequence[int]


def _dtype(dtype: DTypeLike | None, default: Any = DEFAULT) -> np.dtype[Any]:
    return np.dtype(default) if dtype is None else as_dtype(dtype)


def _shape(operation: str, sizes: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """The shape that ``f(2, 3)``, ``f((2, 3))`` or ``f(size=(2, 3))`` asks for."""
    if size is not None:
        if sizes:
            raise TypeError(f"{operation}: expected size once but got {sizes} and size={size}")
        sizes = (size,)
    shape = check_size(operation, sizes[0], sizes[1:]) if sizes else ()
    for n in shape:
        check_int(operation, "size", n, 0)
    return shape


def _number(x: Any) -> Any:
    """The number in a tensor or a scalar of NumPy; anything else as it is."""
    return x.item() if isinstance(x, (Tensor, np.generic)) else x


def zeros(
    *sizes: Size,
    size: Size | None = None,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    check_cpu("zeros", device)
    return Tensor(np.zeros(_shape("zeros", sizes, size), _dtype(dtype)), requires_grad)


def ones(
    *sizes: Size,
    size: Size | None = None,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    check_cpu("ones", device)
    return Tensor(np.ones(_shape("ones", sizes, size), _dtype(dtype)), requires_grad)


def empty(
    *sizes: Size,
    size: Size | None = None,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Memory as it was found: to be written before it is read."""
    check_cpu("empty", device)
    return Tensor(np.empty(_shape("empty", sizes, size), _dtype(dtype)), requires_grad)


def full(
    size: Size, fill_value: Scalar, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`fill_value` everywhere; without a dtype its type decides: float32, int64 or bool."""
    check_cpu("full", device)
    number = _number(fill_value)
    default = np.bool_ if isinstance(number, bool) else np.int64 if isinstance(number, int) else DEFAULT
    kind = _dtype(dtype, default)
    number = check_number("full", "fill_value", number, kind)
    return Tensor(np.full(_shape("full", (size,)), number, kind), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The identity matrix (n, n), or its like of shape (n, m)."""
    check_cpu("eye", device)
    rows = check_int("eye", "n", n, 0)
    columns = rows if m is None else check_int("eye", "m", m, 0)
    return Tensor(np.eye(rows, columns, dtype=_dtype(dtype)), requires_grad)


def arange(
    start: Scalar,
    end: Scalar | None = None,
    step: Scalar = 1,
    *,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start, start + step, ...`` below `end` (from 0, if it is given alone): int64 for ints, else float32.

    Raises
    ------
    ValueError
        If `step` is zero or leads away from `end`.
    """
    check_cpu("arange", device)
    first, last, step = (_number(x) for x in ((0, start, step) if end is None else (start, end, step)))
    for name, number in (("start", first), ("end", last), ("step", step)):
        check_float("arange", name, number)
    integral = all(isinstance(x, int) for x in (first, last, step))
    kind = _dtype(dtype, np.int64 if integral else DEFAULT)
    if kind.kind in "iu":
        first, last, step = int(first), int(last), int(step)
    if step == 0 or (last - first) * step < 0:
        raise ValueError(f"arange: step expects to lead from {first} to {last} but is {step}")
    return Tensor(np.arange(first, last, step).astype(kind), requires_grad)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers at equal distances from `start` to `end`, both included."""
    check_cpu("linspace", device)
    count = check_int("linspace", "steps", steps, 0)
    kind = _dtype(dtype)
    first, last = (int(start), int(end)) if kind.kind in "iu" else (float(start), float(end))
    step = (last - first) / max(count - 1, 1)
    i = np.arange(count)
    # From both ends towards the middle, so that both are met exactly.
    values = np.where(i < (count + 1) // 2, first + step * i, last - step * (count - 1 - i))
    return Tensor(values.astype(kind), requires_grad)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the memory of an array.

    Raises
    ------
    TypeError
        If it is not an array, or not of a dtype that tensors have in the machine's byte order.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: ndarray expects a numpy.ndarray but got {type(ndarray).__name__}")
    if as_dtype(ndarray.dtype) != ndarray.dtype:
        raise TypeError(f"from_numpy: ndarray expects the machine's byte order but has dtype {ndarray.dtype.str}")
    return Tensor(ndarray.view(np.ndarray))


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of another library's, which speaks DLPack: PyTorch's, JAX's, NumPy's.

    Parameters
    ----------
    ext_tensor : object with ``__dlpack__`` and ``__dlpack_device__``
        What lies in the memory of the CPU. If it is read-only, so is the tensor: in-place operations raise.
    device : optional
        None or the CPU.
    copy : bool, optional
        True: copy the values. False and None: never copy.

    Raises
    ------
    TypeError
        If `ext_tensor` does not speak DLPack.
    BufferError
        If its memory can't be shared: it requires a gradient, lies on another device, or has a dtype that tensors lack.

    Examples
    --------
    >>> x = np.zeros(2, np.float32)
    >>> t = from_dlpack(x)
    >>> x[0] = 7
    >>> t
    tensor([7., 0.])
    """
    check_cpu("from_dlpack", device)
    array = shared_array(ext_tensor, copy)
    if not is_dtype(array.dtype):
        raise BufferError(f"from_dlpack: ext_tensor expects a dtype that tensors have but has {array.dtype}")
    return Tensor(array)


# --------------------------------------------------------------------------------------------- draws


def _floating(operation: str, dtype: DTypeLike | None) -> np.dtype[Any]:
    chosen = _dtype(dtype)
    if chosen.kind != "f":
        raise TypeError(f"{operation}: dtype expects a floating one but got {chosen}")
    return chosen


def rand(
    *sizes: Size,
    size: Size | None = None,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform draws from [0, 1)."""
    check_cpu("rand", device)
    return empty(_shape("rand", sizes, size), dtype=_floating("rand", dtype)).uniform_().requires_grad_(requires_grad)


def randn(
    *sizes: Size,
    size: Size | None = None,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draws from the standard normal distribution."""
    check_cpu("randn", device)
    return empty(_shape("randn", sizes, size), dtype=_floating("randn", dtype)).normal_().requires_grad_(requires_grad)


def randint(
    low: int = 0,
    high: int | Size | None = None,
    size: Size | None = None,
    *,
    dtype: DTypeLike | None = None,
    device: Any = None,
) -> Tensor:
    """Integers from `low` (0, if left out) up to, but not including, `high`.

    Both ``randint(10, (3,))`` and ``randint(5, 10, (3,))`` are understood.

    Raises
    ------
    ValueError
        If there is no integer to draw, or if the dtype can't hold them all.
    """
    check_cpu("randint", device)
    if size is None:
        if isinstance(high, int):
            raise TypeError(f"randint: size expects a tuple of ints but got nothing (low {low}, high {high})")
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    first, last = check_int("randint", "low", low), check_int("randint", "high", high)
    if last <= first:
        raise ValueError(f"randint: high expects more than low, {first}, but is {last}")
    kind = _dtype(dtype, np.int64)
    for name, number in (("low", first), ("high - 1", last - 1)):
        check_number("randint", name, number, kind)
    draws = random.generator().integers(first, last, _shape("randint", (size,)))
    return Tensor(draws.astype(kind))


def randperm(n: int, *, dtype: DTypeLike | None = None, device: Any = None) -> Tensor:
    """The integers 0 to n-1 in random order."""
    check_cpu("randperm", device)
    kind = _dtype(dtype, np.int64)
    number = check_int("randperm", "n", n, 0)
    check_number("randperm", "n - 1", max(number - 1, 0), kind)
    return Tensor(random.generator().permutation(number).astype(kind))


# ------------------------------------------------------------------------------------- like another


def zeros_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the shape and, unless given, the dtype of `input`."""
    check_cpu("zeros_like", device)
    check_tensor("zeros_like", "input", input)
    return Tensor(np.zeros_like(input.data, _dtype(dtype, input.dtype)), requires_grad)


def ones_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of the shape and, unless given, the dtype of `input`."""
    check_cpu("ones_like", device)
    check_tensor("ones_like", "input", input)
    return Tensor(np.ones_like(input.data, _dtype(dtype, input.dtype)), requires_grad)


def empty_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Memory as it was found, of the shape and, unless given, the dtype of `input`."""
    check_cpu("empty_like", device)
    check_tensor("empty_like", "input", input)
    return Tensor(np.empty_like(input.data, _dtype(dtype, input.dtype)), requires_grad)


def full_like(
    input: Tensor,
    fill_value: Scalar,
    *,
    dtype: DTypeLike | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`fill_value` in the shape and, unless given, the dtype of `input`."""
    check_cpu("full_like", device)
    check_tensor("full_like", "input", input)
    kind = _dtype(dtype, input.dtype)
    number = check_number("full_like", "fill_value", _number(fill_value), kind)
    return Tensor(np.full_like(input.data, number, kind), requires_grad)


def rand_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform draws from [0, 1) in the shape and, unless given, the dtype of `input`."""
    check_tensor("rand_like", "input", input)
    return rand(input.shape, dtype=_dtype(dtype, input.dtype), device=device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Standard normal draws in the shape and, unless given, the dtype of `input`."""
    check_tensor("randn_like", "input", input)
    return randn(input.shape, dtype=_dtype(dtype, input.dtype), device=device, requires_grad=requires_grad)
