"""Every public operation: its value, its derivatives, its dtypes, its layouts, its errors.

The table is in `operations/`: a row for each operation. An operation without a row fails here.
"""

from __future__ import annotations

import pytest
from operations import ROWS
from operations.sweep import check_third_derivatives, check_values_and_derivatives, few_examples, primitives, reach

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn.operators import Operators
from tinygrad_cnn.testing.check import check_arrays
from tinygrad_cnn.testing.strategies import for_all

# Where the functions at the top level come from that are not operations; they have tests of their own.
ELSEWHERE = {
    f"tinygrad_cnn.{name}"
    for name in (
        "autograd.engine",
        "autograd.mode",
        "creation",
        "devices",
        "graphviz",
        "kernels.threads",
        "random",
        "serialization",
        "summary",
        "tensor",
    )
}


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_value_and_derivatives(row):
    check_values_and_derivatives(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.bad], ids=repr)
def test_what_is_refused(row):
    for bad in row.bad:
        bad.check(row.proves)


@pytest.mark.parametrize("row", [row for row in ROWS if row.points or row.singular], ids=repr)
def test_gradients_at_kinks_and_ties(row):
    row.check_points()


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_third_derivatives(row):
    check_third_derivatives(row)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_arrays_give_arrays(row):
    with few_examples(5):
        for_all(row.calls, lambda call: check_arrays(row.function, call))


def test_every_public_operation_has_a_row():
    proven = {id(row.proves) for row in ROWS}
    names = [(tg, name) for name in dir(tg) if getattr(getattr(tg, name), "__module__", "") not in ELSEWHERE]
    names += [(F, name) for name in dir(F)] + [(Operators, name) for name in vars(Operators)]
    missing = [
        f"{home.__name__}.{name}"
        for home, name in names
        if not name.startswith("_")
        and callable(getattr(home, name))
        and not isinstance(getattr(home, name), type)
        and id(getattr(home, name)) not in proven
    ]
    assert missing == ["Operators.where"]  # its arguments in another order: see test_tensor.py


def test_every_vjp_is_reached_by_a_row():
    ran = frozenset().union(*(rules for _, rules in reach()))
    expected = {(f"{p.forward.__module__}.{p.name}", rule.names) for p in primitives() for rule in p.rules}
    assert expected - ran == set()
