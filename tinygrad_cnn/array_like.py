"""Data of every kind as arrays of dtypes that tensors can have."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable
from tinygrad_cnn.ops.dtypes import DEFAULT, as_dtype
from tinygrad_cnn.types import DTypeLike

__all__ = ["as_array"]


def as_array(data: Any, dtype: DTypeLike | None = None) -> np.ndarray:
    """Data as an array of a dtype that tensors can have, without a copy where that is possible.

    Python's floats become float32; arrays and NumPy's scalars keep their dtype.
    """
    if isinstance(data, Variable):
        data = data.data
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: data expects rows of equal length but got {error}") from None
    if dtype is not None:
        as_dtype(array.dtype)
        if not isinstance(data, (np.ndarray, np.generic)):
            _check_range(array, as_dtype(dtype))
        return array.astype(as_dtype(dtype), copy=False)
    if array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic)) and not _is_double(data):
        return array.astype(DEFAULT)
    if array.size == 0 and isinstance(data, (list, tuple)):
        return array.astype(DEFAULT)
    return array.astype(as_dtype(array.dtype), copy=False)


def _is_double(data: Any) -> bool:
    """Whether nested data that NumPy takes for float64 is so for the sake of an array, or the like, in it.

    Data that starts with one of Python's own numbers is not: it is made of these.
    """
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if type(first) in (float, int, bool):
        return False
    return any(map(_is_double, data)) if isinstance(data, (list, tuple)) else np.asarray(data).dtype == np.float64


def _check_range(array: np.ndarray, dtype: np.dtype[Any]) -> None:
    """Raise ValueError if Python's numbers do not fit into an integer dtype."""
    if dtype.kind in "iu" and array.size and array.dtype.kind != "b":
        limits = np.iinfo(dtype)
        low, high = array.min(), array.max()
        if not limits.min <= low <= high <= limits.max:  # nor does NaN
            raise ValueError(f"tensor: data expects numbers that fit into {dtype} but holds {low} to {high}")
