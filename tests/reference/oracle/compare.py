"""One case through two libraries: what each gives, and where they differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle.cases import Case
from oracle.libraries import Library
from oracle.operations import Call, Operation
from oracle.values import Array, build

ALLOWED_ERRORS = (ValueError, TypeError, IndexError, RuntimeError)
# (relative to the element, relative to the largest element): sums of many terms cancel.
TOLERANCES = {"float64": (1e-9, 1e-11), "float32": (1e-4, 1e-5)}
NAMED_FIELDS = ("values", "indices")
# PyTorch never wrote this kernel (most often for bool): that says nothing about what the operation should do.
NO_KERNEL = "not implemented for '"


@dataclass
class Result:
    """What one library made of a case. Derivatives are None where an input has none."""

    error: BaseException | None = None
    structure: str = ""
    outputs: list[Any] = field(default_factory=list)
    differentiable: list[bool] = field(default_factory=list)
    arguments: list[np.ndarray] = field(default_factory=list)
    first: list[np.ndarray | None] = field(default_factory=list)
    second: list[np.ndarray | None] = field(default_factory=list)
    stage: str = "value"


def applies(call: Call, case: Case) -> bool:
    """Can this way of calling take this case's arguments?"""
    if not isinstance(call, str):
        return True
    if call.startswith(("Tensor.", "attribute.")) and not (case.args and isinstance(case.args[0], Array)):
        return False
    if call.startswith("operator.") and case.kwargs:
        return False
    return not call.endswith("*") or (
        bool(case.args) and isinstance(case.args[-1], (list, tuple)) and case.args[-1] != ()
    )


def call_name(call: Call) -> str:
    return call if isinstance(call, str) else call.__name__


def evaluate(library: Library, call: Call, case: Case) -> Result:
    """Run a case, and its derivatives up to its order, in one library."""
    result = Result()
    tensors: dict[int, Any] = {}

    def tensor(array: Array) -> Any:
        if id(array) not in tensors:
            tensors[id(array)] = library.tensor(array)
        return tensors[id(array)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            args, kwargs = build((case.args, case.kwargs), tensor, library.dtype)
            output = _invoke(library, call, args, kwargs)
            _record_outputs(library, result, output)
            result.arguments = [np.array(library.array(t)) for t in tensors.values()]
            if case.order:
                inputs = [t for t in tensors.values() if t.requires_grad]
                _record_derivatives(library, result, output, inputs, case.order)
        except Exception as error:
            result.error = error
    return result


def difference(expected: Result, actual: Result, operation: Operation, may_raise: bool = False) -> str | None:
    """The first difference in words, or None. Where PyTorch has a value but no derivative, anything goes."""
    if expected.error is not None:
        return _error_difference(expected.error, actual) if expected.stage == "value" else None
    if actual.error is not None:
        if may_raise and actual.stage == "value" and isinstance(actual.error, ALLOWED_ERRORS):
            return None
        return f"{actual.stage}: raised {type(actual.error).__name__}: {_first_line(actual.error)}"
    if expected.structure != actual.structure:
        return f"value: expected {expected.structure}, got {actual.structure}"
    for k, (e, a) in enumerate(zip(expected.outputs, actual.outputs, strict=True)):
        if (text := _value_difference(e, a, shapes_only=operation.random)) is not None:
            return f"value of output {k}: {text}"
    if expected.differentiable != actual.differentiable:
        return f"requires_grad of the outputs: expected {expected.differentiable}, got {actual.differentiable}"
    for k, (e, a) in enumerate(zip(expected.arguments, actual.arguments, strict=True)):
        if (text := _array_difference(e, a)) is not None:
            return f"argument tensor {k} after the call: {text}"
    if operation.random:
        return None
    return _derivative_difference("first", expected.first, actual.first) or _derivative_difference(
        "second", expected.second, actual.second
    )


def _invoke(library: Library, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not isinstance(call, str):
        return call(library, *args, **kwargs)
    if call.endswith("*"):
        return library.resolve(call[:-1])(*args[:-1], *args[-1], **kwargs)
    return library.resolve(call)(*args, **kwargs)


def _record_outputs(library: Library, result: Result, output: Any) -> None:
    names: list[str] = []

    def visit(value: Any) -> str:
        if isinstance(value, library.tensor_type):
            result.outputs.append(np.array(library.array(value)))
            result.differentiable.append(bool(value.requires_grad))
            return "tensor"
        if isinstance(value, (tuple, list)):
            names.extend(name for name in NAMED_FIELDS if hasattr(value, name))
            return "(" + ", ".join(visit(item) for item in value) + ")"
        result.outputs.append(value)
        result.differentiable.append(False)
        return type(value).__name__

    result.structure = visit(output)
    if names:
        result.structure += f" with fields {', '.join(names)}"


def _record_derivatives(library: Library, result: Result, output: Any, inputs: list[Any], order: int) -> None:
    """For a random cotangent g: the gradients of <output, g>, then of <gradients, r> in the inputs and in g."""
    outputs = [t for t in _tensors_in(library, output) if t.requires_grad]
    if not outputs or not inputs:
        return
    result.stage = "first derivative"
    cotangents = [_random(library, t, position) for position, t in enumerate(outputs)]
    gradients = library.grad(outputs, inputs, cotangents, again=order > 1)
    result.first = _arrays(library, gradients)
    live = [(k, g) for k, g in enumerate(gradients) if g is not None and g.requires_grad]
    if order > 1 and live:
        result.stage = "second derivative"
        directions = [_random(library, g, 100 + k, requires_grad=False) for k, g in live]
        second = library.grad([g for _, g in live], [*inputs, *cotangents], directions, again=False)
        result.second = _arrays(library, second)


def _tensors_in(library: Library, output: Any) -> list[Any]:
    if isinstance(output, library.tensor_type):
        return [output]
    if isinstance(output, (tuple, list)):
        return [t for item in output for t in _tensors_in(library, item)]
    return []


def _random(library: Library, like: Any, seed: int, requires_grad: bool = True) -> Any:
    """A tensor of normal numbers; the same ones in both libraries, if the shapes are the same."""
    values = library.array(like)
    numbers = np.random.default_rng(seed).standard_normal(values.shape).astype(values.dtype)
    return library.tensor(Array(np.asarray(numbers), requires_grad))


def _arrays(library: Library, tensors: Sequence[Any]) -> list[np.ndarray | None]:
    return [None if t is None else np.array(library.array(t)) for t in tensors]


def _error_difference(expected: BaseException, actual: Result) -> str | None:
    reason = _first_line(expected)
    if NO_KERNEL in reason:
        return None
    if actual.error is None:
        return f"accepted what PyTorch rejects ({reason})"
    if not isinstance(actual.error, (*ALLOWED_ERRORS, type(expected))):
        return f"raised {type(actual.error).__name__} ({_first_line(actual.error)}) where PyTorch says: {reason}"
    return None


def _value_difference(expected: Any, actual: Any, shapes_only: bool) -> str | None:
    if isinstance(expected, np.ndarray):
        return _array_difference(expected, actual, shapes_only)
    return None if expected == actual else f"expected {expected!r}, got {actual!r}"


def _derivative_difference(
    order: str, expected: Sequence[np.ndarray | None], actual: Sequence[np.ndarray | None]
) -> str | None:
    """Compare derivatives, where None means zero."""
    for k in range(max(len(expected), len(actual))):
        e = expected[k] if k < len(expected) else None
        a = actual[k] if k < len(actual) else None
        if e is None and a is None:
            continue
        e = np.zeros_like(a) if e is None else e
        a = np.zeros_like(e) if a is None else a
        if (text := _array_difference(e, a)) is not None:
            return f"{order} derivative, argument {k} of those that require a gradient (then cotangents): {text}"
    return None


def _array_difference(expected: np.ndarray, actual: np.ndarray, shapes_only: bool = False) -> str | None:
    if expected.shape != actual.shape:
        return f"expected shape {expected.shape}, got {actual.shape}"
    if expected.dtype != actual.dtype:
        return f"expected dtype {expected.dtype}, got {actual.dtype}"
    if shapes_only or expected.size == 0:
        return None
    wrong = _wrong(expected, actual)
    if not wrong.any():
        return None
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    count = f"{int(wrong.sum())} of {wrong.size} elements differ"
    return f"{count}, first at {where}: expected {expected[where]}, got {actual[where]}"


def _wrong(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    if expected.dtype.kind != "f":
        return np.asarray(expected != actual)
    relative, of_largest = TOLERANCES[expected.dtype.name]
    finite = np.isfinite(expected)
    largest = max(1.0, float(np.max(np.abs(expected), where=finite, initial=0)))
    with np.errstate(invalid="ignore", over="ignore"):
        close = np.abs(actual - expected) <= relative * np.abs(expected) + of_largest * largest
        same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    return np.asarray(~(same | (finite & close)))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")
