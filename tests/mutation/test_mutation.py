"""A small fixed sample of the mutation campaign; all of it is `python tests/mutation/run.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

from campaign import hunt  # noqa: E402
from equivalent import EQUIVALENT, EQUIVALENT_IN_ONE, is_equivalent  # noqa: E402
from mutants import all_mutants  # noqa: E402

MUTANTS = all_mutants()


def test_every_vjp_is_broken_in_at_least_three_ways():
    ways = {}
    for mutant in MUTANTS:
        if mutant.names and not is_equivalent(mutant):
            ways.setdefault((mutant.primitive.name, mutant.names), []).append(mutant.mistake)
    assert {vjp: mistakes for vjp, mistakes in ways.items() if len(mistakes) < 3} == {}


def test_a_sample_of_mutants_is_caught():
    sample = [mutant for mutant in MUTANTS if not is_equivalent(mutant)][::40]
    assert [str(mutant) for mutant, row in hunt(sample) if row is None] == []


def test_mutants_are_gone_afterwards():
    for mutant in (MUTANTS[0], MUTANTS[-1]):
        before = [mutant.primitive.forward, *(rule.function for rule in mutant.primitive.rules)]
        with mutant.in_place():
            assert before != [mutant.primitive.forward, *(rule.function for rule in mutant.primitive.rules)]
        assert before == [mutant.primitive.forward, *(rule.function for rule in mutant.primitive.rules)]


def test_what_is_called_equivalent_exists():
    """A change of a VJP may take an exception's reason away."""
    known = {(mutant.primitive.name, mutant.mistake) for mutant in MUTANTS}
    assert set(EQUIVALENT) - known == set()
    assert set(EQUIVALENT_IN_ONE) - set(map(str, MUTANTS)) == set()
