"""Arguments of a call as plain descriptions, from which either library builds tensors of its own.

A sample of PyTorch's holds its tensors in nested tuples, lists, dicts and slices. `describe` replaces every tensor by
an `Array` (values and memory layout) and every dtype by a `DType`; `build` goes the other way, for either library. Each
build copies the memory, so that neither library sees what the other wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

NUMPY_MAX_DIMS = 64
SUPPORTED = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


class OutOfScope(Exception):
    """The sample uses something that tinygrad_cnn does not have; the message says what."""


@dataclass(frozen=True, eq=False)
class Array:
    """A tensor without a library: its values in their memory layout, and whether it requires a gradient."""

    values: np.ndarray
    requires_grad: bool = False

    def fresh(self) -> np.ndarray:
        """The same values, strides included, in memory of their own."""
        values = self.values
        if values.size == 0:
            return np.empty(values.shape, values.dtype)
        extent = 1 + sum((n - 1) * s // values.itemsize for n, s in zip(values.shape, values.strides, strict=True))
        memory = np.lib.stride_tricks.as_strided(values, (extent,), (values.itemsize,)).copy()
        return np.lib.stride_tricks.as_strided(memory, values.shape, values.strides)

    def __repr__(self) -> str:
        values = self.values
        layout = "" if values.flags.c_contiguous else f" strides={tuple(s // values.itemsize for s in values.strides)}"
        return f"{values.dtype}{values.shape}{layout}{' grad' if self.requires_grad else ''}"


@dataclass(frozen=True)
class DType:
    """A dtype by name."""

    name: str

    def __repr__(self) -> str:
        return self.name


def describe(value: Any, memo: dict[int, Array] | None = None) -> Any:
    """Replace the tensors and dtypes in PyTorch's `value`; raise `OutOfScope` at what tinygrad_cnn does not have."""
    memo = {} if memo is None else memo
    if isinstance(value, torch.Tensor):
        if id(value) not in memo:
            memo[id(value)] = _describe_tensor(value)
        return memo[id(value)]
    if isinstance(value, torch.dtype):
        return DType(_supported(value))
    if isinstance(value, complex):
        raise OutOfScope("complex numbers")
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (torch.layout, torch.memory_format, torch.Generator)):
        raise OutOfScope(f"a {type(value).__name__} argument")
    return rebuild(value, lambda item: describe(item, memo))


def build(value: Any, tensor: Callable[[Array], Any], dtype: Callable[[str], Any]) -> Any:
    """Replace each `Array` by `tensor(array)` and each `DType` by `dtype(name)`."""
    if isinstance(value, Array):
        return tensor(value)
    if isinstance(value, DType):
        return dtype(value.name)
    return rebuild(value, lambda item: build(item, tensor, dtype))


def rebuild(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a nested container with `change` applied to each item; anything else as it is."""
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, list):
        return [change(item) for item in value]
    if isinstance(value, tuple):
        return tuple(change(item) for item in value)
    if isinstance(value, slice):
        return slice(change(value.start), change(value.stop), change(value.step))
    return value


def arrays_in(value: Any) -> list[Array]:
    """Every different `Array` in a nested container, in order."""
    found: dict[int, Array] = {}

    def visit(item: Any) -> Any:
        if isinstance(item, Array):
            found.setdefault(id(item), item)
            return item
        return rebuild(item, visit)

    visit(value)
    return list(found.values())


def change_arrays(value: Any, change: Callable[[Array], Array]) -> Any:
    """A copy with every `Array` changed; an array that appears twice stays one array."""
    memo: dict[int, Array] = {}

    def tensor(array: Array) -> Array:
        if id(array) not in memo:
            memo[id(array)] = change(array)
        return memo[id(array)]

    return build(value, tensor, DType)


def _describe_tensor(tensor: torch.Tensor) -> Array:
    if tensor.layout is not torch.strided:
        raise OutOfScope("sparse tensors")
    if tensor.device.type != "cpu":
        raise OutOfScope("devices other than the CPU")
    if tensor.ndim > NUMPY_MAX_DIMS:
        raise OutOfScope(f"more than {NUMPY_MAX_DIMS} dimensions, NumPy's limit")
    _supported(tensor.dtype)
    return Array(tensor.detach().numpy(force=True), tensor.requires_grad)


def _supported(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name.startswith("complex"):
        raise OutOfScope("complex numbers")
    if name not in SUPPORTED:
        raise OutOfScope(f"dtype {name}")
    return name
