"""The checks of a row, in stages, and which VJPs they run."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, Phase, settings

import tinygrad_cnn.ops
from operations import ROWS, Row
from tinygrad_cnn.autograd import Primitive, grad
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.testing import Call, check_primitive, gradgradcheck
from tinygrad_cnn.testing.differences import outputs_of
from tinygrad_cnn.testing.strategies import for_all

__all__ = ["check_third_derivatives", "check_values_and_derivatives", "few_examples", "primitives", "reach"]


@contextmanager
def few_examples(count: int) -> Iterator[None]:
    """Draw that many examples, the same every time; nothing is simplified or explained."""
    usual = settings.get_current_profile_name()
    settings.register_profile(
        "few",
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("few")
    try:
        yield
    finally:
        settings.load_profile(usual)


def check_third_derivative(function: Callable[..., Any], call: Call) -> None:
    """Compare the second derivatives of the gradients, in the inputs and in the cotangents, with differences."""
    tensors = call.tensors()
    positions = [i for i, x in enumerate(tensors) if x.requires_grad]
    count = len(positions)

    def outputs(inputs: tuple[Any, ...]) -> list[Tensor]:
        replaced = list(tensors)
        for position, x in zip(positions, inputs, strict=True):
            replaced[position] = x
        return [y for y in outputs_of(call.with_tensors(replaced).of(function)) if y.requires_grad]

    def gradients(*both: Any) -> list[Any]:
        found = grad(outputs(both[:count]), both[:count], both[count:], create_graph=True, allow_unused=True)
        return [g for g in found if g is not None]

    active = [tensors[i] for i in positions]
    # Halves and ones: whole powers of two add no rounding.
    cotangents = [Tensor(0.5 + (y.data > 0), requires_grad=True) for y in outputs(tuple(active))] if active else []
    if cotangents and gradients(*active, *cotangents):
        gradgradcheck(gradients, (*active, *cotangents), fast_mode=True, atol=1e-5, rtol=1e-4)


def primitives() -> list[Primitive]:
    """Every primitive of the library that has a VJP."""
    found: dict[int, Primitive] = {}
    for module in pkgutil.iter_modules(tinygrad_cnn.ops.__path__, "tinygrad_cnn.ops."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Primitive) and value.rules:
                found[id(value)] = value
    return sorted(found.values(), key=lambda p: (p.forward.__module__, p.name))


def check_values_and_derivatives(row: Row) -> None:
    """Check all that a primitive promises."""
    check_primitive(row.function, row.calls, row.reference)


def check_third_derivatives(row: Row) -> None:
    """Check third derivatives at the same few calls every time."""
    with few_examples(4):
        for_all(row.calls, lambda call: check_third_derivative(row.function, call))


@functools.cache
def reach() -> tuple[tuple[Row, frozenset[Any]], ...]:
    """For each row which VJPs it runs, the rows that run the fewest first."""
    found = []
    for row in ROWS:
        with rules_that_run() as ran:
            check_third_derivatives(row)
            row.check_points()
        found.append((row, frozenset(ran)))
    return tuple(sorted(found, key=lambda pair: len(pair[1])))


@contextmanager
def rules_that_run() -> Iterator[set[tuple[str, tuple[str, ...]]]]:
    """Collect which VJPs run, as (primitive, the arguments that it serves)."""
    ran: set[tuple[str, tuple[str, ...]]] = set()

    def noting(key: Any, vjp: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            ran.add(key)
            return vjp(*args)

        return noted

    originals = [(p, rule, rule.function) for p in primitives() for rule in p.rules]
    for p, rule, vjp in originals:
        rule.function = noting((f"{p.forward.__module__}.{p.name}", rule.names), vjp)
        p._plans.clear()
    try:
        yield ran
    finally:
        for p, rule, vjp in originals:
            rule.function = vjp
            p._plans.clear()
