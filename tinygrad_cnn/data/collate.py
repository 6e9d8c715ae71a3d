"""Making a batch out of a list of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.ops.dtypes import common_dtype
from tinygrad_cnn.tensor import Tensor

__all__ = ["as_tensor", "default_collate"]


def default_collate(samples: Sequence[Any]) -> Any:
    """Make a batch out of samples that are alike, as PyTorch's function of this name does.

    ======================  =======================================================================
    a sample                the batch
    ======================  =======================================================================
    tensor or array (...)   tensor (N, ...) of the same dtype; of several, the one that arithmetic gives
    bool, int, float        tensor (N,) of bool, int64, float64 (so PyTorch; not float32)
    str, bytes              list of N
    dict                    dict of batches
    tuple, list             list of batches; a named tuple stays one
    ======================  =======================================================================

    Parameters
    ----------
    samples : sequence
        At least one sample.

    Raises
    ------
    TypeError
        If a sample is, or contains, anything else, or the samples are of different kinds.
    ValueError
        If there is no sample, or the samples differ in shape, length or keys.
    """
    if len(samples) == 0:
        raise ValueError("default_collate: samples expects at least one sample but got none")
    first = samples[0]
    if isinstance(first, str | bytes):  # NumPy's too
        return list(samples)
    if isinstance(first, Tensor | np.ndarray | np.generic):
        return _stack(samples)
    if isinstance(first, bool | int | float):
        return _numbers(samples)
    if isinstance(first, Mapping):
        _check_alike(samples, Mapping, "keys", [set(sample) for sample in samples if isinstance(sample, Mapping)])
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, tuple | list):
        _check_alike(samples, tuple | list, "length", [len(s) for s in samples if isinstance(s, tuple | list)])
        columns = [default_collate(column) for column in zip(*samples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        "default_collate: samples expects tensors, arrays, numbers, strings, dicts, tuples or lists but got "
        f"{type(first).__name__}; give the DataLoader a collate_fn that knows this type"
    )


def as_tensor(values: Any) -> Tensor:
    """Return tensors as they are, and arrays and numbers as tensors of the same dtype."""
    return values if isinstance(values, Tensor) else Tensor(np.asarray(values))


def _stack(samples: Sequence[Any]) -> Tensor:
    for sample in samples:
        if not isinstance(sample, Tensor | np.ndarray | np.generic):
            raise TypeError(f"default_collate: samples expects arrays only but got a {type(sample).__name__} too")
        if sample.dtype.kind not in "biufc":
            raise TypeError(f"default_collate: samples expects numbers but got an array of dtype {sample.dtype}")
        if isinstance(sample, Tensor) and sample.requires_grad:
            raise ValueError("default_collate: samples expects data but got a tensor that requires a gradient")
    shapes = sorted({sample.shape for sample in samples})
    if len(shapes) > 1:
        raise ValueError(f"default_collate: samples expects one shape but got {', '.join(map(str, shapes))}")
    arrays = [s.data if isinstance(s, Tensor) else np.asarray(s) for s in samples]
    return Tensor(np.stack(arrays, dtype=common_dtype(arrays)))


def _numbers(samples: Sequence[Any]) -> Tensor:
    for sample in samples:
        if not isinstance(sample, bool | int | float):
            raise TypeError(f"default_collate: samples expects numbers only but got a {type(sample).__name__} too")
    kinds = {type(sample) for sample in samples}
    dtype = np.float64 if float in kinds else np.bool_ if kinds == {bool} else np.int64
    try:
        return Tensor(np.array(samples, dtype))
    except OverflowError:
        raise ValueError(f"default_collate: samples expects ints of 64 bits but got {max(samples, key=abs)}") from None


def _check_alike(samples: Sequence[Any], kind: Any, what: str, sizes: list[Any]) -> None:
    if len(sizes) < len(samples):
        strange = next(sample for sample in samples if not isinstance(sample, kind))
        raise TypeError(
            f"default_collate: samples expects one type but got {type(samples[0]).__name__} and "
            f"{type(strange).__name__}"
        )
    for size in sizes:
        if size != sizes[0]:
            raise ValueError(f"default_collate: samples expects one {what} but got {sizes[0]} and {size}")
