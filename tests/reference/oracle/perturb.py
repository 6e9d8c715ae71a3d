"""Samples made wrong on purpose, one argument at a time: whatever PyTorch then rejects, we must reject.

What PyTorch still accepts (a smaller tensor that broadcasts, a negative dim) must be rejected or give the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from oracle.cases import Case
from oracle.operations import Operation
from oracle.scope import in_scope
from oracle.values import Array

Change = Callable[[Any], Any]

SAMPLES = 40

ARRAY_CHANGES: tuple[Change, ...] = (
    lambda a: Array(a.values[0], a.requires_grad) if a.values.ndim and len(a.values) else None,
    lambda a: Array(a.values[None], a.requires_grad),
    lambda a: Array(a.values[..., :-1], a.requires_grad) if a.values.ndim and a.values.shape[-1] else None,
    lambda a: Array(np.concatenate([a.values, a.values]), a.requires_grad) if a.values.ndim else None,
    lambda a: Array(a.values[..., :0], a.requires_grad) if a.values.ndim else None,
    lambda a: Array(a.values.astype(np.int64)) if a.values.dtype != np.int64 else None,
    lambda a: Array(a.values.astype(np.float32), a.requires_grad) if a.values.dtype == np.float64 else None,
    lambda a: Array(a.values.astype(np.bool_)) if a.values.dtype == np.int64 else None,
    lambda a: None if a.values.dtype.kind == "f" else Array(a.values - 100) if a.values.dtype == np.int64 else None,
    lambda a: Array(a.values + 100) if a.values.dtype == np.int64 else None,
    lambda a: "text",
)
NUMBER_CHANGES: tuple[Change, ...] = tuple(
    (lambda _, value=value: value) for value in (-1, 0, 1, 7, -7, 2.5, -0.5, "text", float("nan"))
)
SEQUENCE_CHANGES: tuple[Change, ...] = (
    lambda s: [*s, 1],
    lambda s: s[:-1] if s else None,
    lambda s: [*s[:-1], -7] if s else None,
    lambda s: [*s[:-1], 0] if s else None,
    lambda s: [*s[:-1], 1.5] if s else None,
    lambda s: [*s, *s] if s else None,
)


def perturbed(operation: Operation, cases: Iterator[Case]) -> Iterator[Case]:
    """Samples, `SAMPLES` at most, with each of their arguments changed in each way that its type suggests."""
    number = 0
    samples = list(cases)
    for case in samples[:: 1 + len(samples) // SAMPLES]:
        for args, kwargs in _variations(case):
            number += 1
            changed = replace(case, kind="perturbed", number=number, args=args, kwargs=kwargs, may_raise=True)
            if in_scope(operation, args, kwargs):
                yield replace(changed, order=min(case.order, 1))


def _variations(case: Case) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    args, kwargs = case.args, case.kwargs
    if len(args) > 1:
        yield args[:-1], kwargs
    yield args, {**kwargs, "no_such_argument": 1}
    for k, value in enumerate(args):
        for changed in _changed(value):
            yield (*args[:k], changed, *args[k + 1 :]), kwargs
    for name, value in kwargs.items():
        for changed in _changed(value):
            yield args, {**kwargs, name: changed}


def _changed(value: Any) -> Iterator[Any]:
    for change in _changes(value):
        changed = change(value)
        if changed is not None:
            yield changed


def _changes(value: Any) -> tuple[Change, ...]:
    if isinstance(value, Array):
        return ARRAY_CHANGES
    if isinstance(value, (list, tuple)):
        first = _inside(value)
        return SEQUENCE_CHANGES + first if not any(isinstance(item, Array) for item in value) else first
    if isinstance(value, bool):
        return ()
    if isinstance(value, (int, float)):
        return NUMBER_CHANGES
    if isinstance(value, str):
        return (lambda _: "no such mode", lambda _: 1)
    return ()


def _inside(value: Any) -> tuple[Change, ...]:
    """Change the first element of a sequence of tensors."""
    if not value or not isinstance(value[0], Array):
        return ()
    return tuple((lambda s, change=change: _replaced(s, change(s[0]))) for change in ARRAY_CHANGES)


def _replaced(sequence: Any, first: Any) -> Any:
    return None if first is None else type(sequence)([first, *sequence[1:]])
