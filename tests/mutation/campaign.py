"""Which mutants the sweep of `tests/test_operations.py` catches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hypothesis.errors import HypothesisException
from mutants import Mutant
from operations import Row
from operations.sweep import check_third_derivatives, check_values_and_derivatives, few_examples, reach

__all__ = ["hunt"]

EXAMPLES = 15  # as many as the default profile draws


def _values_and_derivatives(row: Row) -> None:
    with few_examples(EXAMPLES):
        check_values_and_derivatives(row)


STAGES: tuple[Callable[[Row], None], ...] = (Row.check_points, _values_and_derivatives, check_third_derivatives)


def hunt(mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, Row | None]]:
    """For each mutant the row that catches it, or None; tried are the rows that run what is broken."""
    reached = reach()
    for mutant in mutants:
        name = f"{mutant.primitive.forward.__module__}.{mutant.primitive.name}"
        rows = [row for row, ran in reached if _runs(ran, name, mutant.names)]
        with mutant.in_place():
            yield mutant, next((row for stage in STAGES for row in rows if _catches(row, stage)), None)


def _runs(ran: frozenset[Any], name: str, names: tuple[str, ...]) -> bool:
    return (name, names) in ran if names else any(primitive == name for primitive, _ in ran)


def _catches(row: Row, stage: Callable[[Row], None]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as in the ordinary suite
        try:
            stage(row)
        except HypothesisException:
            raise
        except Exception:
            return True
    return False
