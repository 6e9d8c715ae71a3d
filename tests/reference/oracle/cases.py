"""The cases of one operation: PyTorch's own samples in several dtypes and layouts, and its error inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

from oracle import scope
from oracle.operations import Operation
from oracle.values import Array, OutOfScope, change_arrays, describe

DTYPES = ("float64", "float32", "int64", "bool")
# Orders of derivatives compared; the rest is values only. float32 has too few digits for a second derivative.
ORDERS = {"float64": 2, "float32": 1}
KINDS = ("float64", "strided", "float32", "int64", "bool", "error", "perturbed")


@dataclass(frozen=True)
class Case:
    """One call: its arguments, and the highest order of derivatives to compare."""

    kind: str
    number: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    order: int = 0
    may_raise: bool = False  # we may be stricter than PyTorch

    @property
    def label(self) -> str:
        return f"{self.kind}#{self.number}"

    def __str__(self) -> str:
        words = [repr(a) for a in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return ", ".join(words)


@cache
def opinfo(name: str, variant: str) -> Any:
    """PyTorch's description of an operation."""
    for info in op_db:
        if info.name == name and info.variant_test_name == variant:
            return info
    raise LookupError(f"PyTorch has no operator samples for {name!r}, variant {variant!r}")


def cases(operation: Operation, kind: str) -> Iterator[Case]:
    """All cases of one kind that are in scope, always the same ones."""
    _seed()
    if kind == "error":
        found = _error_cases(operation)
    elif kind == "strided":
        found = _strided_cases(operation)
    else:
        found = sample_cases(operation, kind)
    for case in found:
        if scope.in_scope(operation, case.args, case.kwargs):
            yield case


def sample_cases(operation: Operation, dtype: str) -> Iterator[Case]:
    """PyTorch's samples in `dtype`; where it has none, those of another dtype, cast (and probably rejected)."""
    info = opinfo(operation.opinfo, operation.variant)
    own = next(name for name in (dtype, *DTYPES) if getattr(torch, name) in info.dtypes)
    order = _order(info, dtype)
    samples = info.sample_inputs("cpu", getattr(torch, own), requires_grad=order > 0 and own == dtype)
    for number, sample in enumerate(samples):
        case = _case(operation, dtype, number, sample, order)
        if case is not None:
            yield case if own == dtype else _cast(case, dtype)


def _strided_cases(operation: Operation) -> Iterator[Case]:
    """The float64 samples once more, their tensors by turns views with gaps and transposed in memory."""
    for case in sample_cases(operation, "float64"):
        change = _transposed if case.number % 2 else _with_gaps
        args, kwargs = change_arrays((case.args, case.kwargs), change)
        yield Case("strided", case.number, args, kwargs, case.order)


def _error_cases(operation: Operation) -> Iterator[Case]:
    info = opinfo(operation.opinfo, operation.variant)
    if info.error_inputs_func is None:
        return
    for number, error in enumerate(info.error_inputs("cpu")):
        case = _case(operation, "error", number, error.sample_input, 0)
        if case is not None:
            yield case


def _case(operation: Operation, kind: str, number: int, sample: Any, order: int) -> Case | None:
    try:
        args, kwargs = describe(((sample.input, *sample.args), dict(sample.kwargs)))
        scope.check(operation, args, kwargs)
    except OutOfScope:
        return None
    return Case(kind, number, args, kwargs, order)


def _order(info: Any, dtype: str) -> int:
    if not info.supports_autograd or dtype not in ORDERS:
        return 0
    return min(ORDERS[dtype], 2 if info.supports_gradgrad else 1)


def _cast(case: Case, dtype: str) -> Case:
    def cast(array: Array) -> Array:
        if array.values.dtype.kind != "f" and dtype != "float64":
            return array
        return Array(array.values.astype(dtype))

    args, kwargs = change_arrays((case.args, case.kwargs), cast)
    return Case(case.kind, case.number, args, kwargs, 0)


def _with_gaps(array: Array) -> Array:
    values = np.zeros((*array.values.shape, 2), array.values.dtype)[..., 0]
    values[...] = array.values
    return Array(values, array.requires_grad)


def _transposed(array: Array) -> Array:
    return Array(np.asfortranarray(array.values), array.requires_grad)


def _seed() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - PyTorch samples draw from it
