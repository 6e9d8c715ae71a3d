"""Which dtype an operation computes in.

Between floating tensors the wider dtype wins; integers and booleans take the dtype of the floating tensor they
meet; scalars of Python and of NumPy are weak; where integers alone would yield fractions, float32 comes out. A
float32 computation never touches float64 on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.errors import name_of_type
from tinygrad_cnn.types import DTypeLike

__all__ = ["DEFAULT", "as_dtype", "check_number", "common", "fractional", "is_dtype", "promote", "too_large"]

DEFAULT = np.dtype(np.float32)
_KNOWN = frozenset(map(np.dtype, ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")))


def is_dtype(dtype: np.dtype[Any]) -> bool:
    """Whether tensors can have this dtype."""
    return dtype in _KNOWN and dtype.isnative


def as_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """A dtype that tensors can have, in the machine's byte order; Python's ``float`` stands for float32.

    Raises
    ------
    TypeError
        If it is none of bool, uint8, int8 to int64, float16 to float64.
    """
    if dtype is float:
        return DEFAULT
    try:
        known = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        known = None
    if known not in _KNOWN or dtype is None:
        raise TypeError(f"dtype: expected bool, uint8, int8 to int64 or float16 to float64 but got {dtype!r}")
    return known


def check_number(operation: str, argument: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """`value` as the Python number that an array of `dtype` holds; integers cut fractions off.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If `dtype` can't hold it.
    """
    if not isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        raise TypeError(f"{operation}: {argument} expects a number but got {value!r} ({type(value).__name__})")
    try:
        return dtype.type(value).item()
    except (OverflowError, ValueError):
        raise ValueError(f"{operation}: {argument} expects to fit into {dtype} but is {value!r}") from None


def too_large(operation: str, a: Any, b: Any) -> ValueError:
    """The error for a Python int among two operands that the dtype of the other one can't hold."""
    number, array = (a, b) if isinstance(a, int) else (b, a)
    return ValueError(f"{operation}: {number} does not fit into {array.dtype}, the dtype of the other operand")


def fractional(x: Any) -> Any:
    """`x` itself if it is floating, else in float32."""
    if type(x) is not np.ndarray and not isinstance(x, (np.ndarray, np.generic)):
        raise TypeError(f"expected a tensor or an array but got {x!r} ({type(x).__name__})")
    return x if x.dtype.kind == "f" else x.astype(DEFAULT)


def promote(a: Any, b: Any, operation: str = "") -> tuple[Any, Any]:
    """Two operands, arrays or scalars, such that NumPy computes in the right dtype.

    Raises
    ------
    TypeError
        If an operand is neither an array nor a number.
    """
    if type(b) is float and type(a) is np.ndarray and a.dtype.kind == "f":  # by far the most frequent
        return a, b
    a_type = getattr(a, "dtype", None)
    b_type = getattr(b, "dtype", None)
    if a_type is b_type and a_type is not None:
        return a, b
    if type(a) is np.ndarray and type(b) is np.ndarray:
        a_floats = a_type.kind == "f"  # type: ignore[union-attr]
        if a_floats == (b_type.kind == "f"):  # type: ignore[union-attr]
            return a, b
        return (a, b.astype(a_type)) if a_floats else (a.astype(b_type), b)
    if type(a) is np.ndarray:
        return _weaken(a, b, operation)
    if type(b) is np.ndarray:
        b, a = _weaken(b, a, operation)
        return a, b
    for x in (a, b):
        if not isinstance(x, (bool, int, float, np.generic)):
            raise _not_a_number(x, operation)
    if not isinstance(a, np.generic) and not isinstance(b, np.generic):
        raise TypeError(f"{operation}: expected a tensor or an array among the operands but got {a!r} and {b!r}")
    return a, b


def _weaken(array: Any, scalar: Any, operation: str) -> tuple[Any, Any]:
    """An array and a scalar: the scalar takes the array's dtype, unless it has a fraction and the array is integer."""
    if isinstance(scalar, np.generic):
        scalar = scalar.item()
    if not isinstance(scalar, (bool, int, float)):
        raise _not_a_number(scalar, operation)
    if isinstance(scalar, float) and array.dtype.kind != "f":
        array = array.astype(DEFAULT)
    return array, scalar


def _not_a_number(x: Any, operation: str) -> TypeError:
    return TypeError(f"{operation}: expected tensors, arrays or numbers but got {name_of_type(x)}")


def common(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Several arrays in their common dtype."""
    if len({x.dtype for x in arrays}) <= 1:
        return arrays
    dtype = common_dtype(arrays)
    return tuple(x.astype(dtype, copy=False) for x in arrays)


def common_dtype(arrays: Sequence[Any]) -> np.dtype[Any]:
    """The widest floating dtype among arrays or tensors, or else that which holds all of their integers."""
    floating = [x.dtype for x in arrays if x.dtype.kind == "f"]
    return np.result_type(*(floating or [x.dtype for x in arrays]))
