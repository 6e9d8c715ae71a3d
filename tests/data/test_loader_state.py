"""A loader's state: where the epoch stands, and how it goes on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import random
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.serialization import load, save

BIT_GENERATORS = st.sampled_from([None, np.random.PCG64, np.random.MT19937, np.random.SFC64])


def loader_of(size=10, batch_size=3, shuffle=True, **options):
    return DataLoader(TensorDataset(np.arange(size)), batch_size, shuffle, **options)


def stored(state):
    """What comes back from a file."""
    stream = io.BytesIO()
    save(state, stream)
    stream.seek(0)
    return load(stream)


def batches(loader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


@given(st.integers(0, 12), st.integers(1, 5), st.booleans(), BIT_GENERATORS, st.data())
def test_the_rest_of_the_epoch_and_the_epochs_after_it_are_the_same(size, batch_size, drop_last, bits, data):
    def make(seed):
        generator = None if bits is None else np.random.Generator(bits(seed))
        return loader_of(size, batch_size, drop_last=drop_last, generator=generator)

    random.manual_seed(1)
    first = make(1)
    epoch = iter(first)
    done = data.draw(st.integers(0, len(first)))
    for _ in range(done):
        next(epoch)
    state, draws = stored(first.state_dict()), random.get_state()
    expected = [batches(epoch), batches(first)]
    second = make(2)
    second.load_state_dict(state)
    random.set_state(draws)
    assert [batches(second), batches(second)] == expected
    assert sum(map(len, expected[0])) <= max(size - done * batch_size, 0)


def test_an_epoch_is_not_over_in_the_body_of_its_last_batch():
    loader = loader_of()
    states = [loader.state_dict() for _ in loader]
    assert [state["position"] for state in states] == [1, 2, 3, 4]
    loader.load_state_dict(states[-1])
    assert list(loader) == []
    assert len(list(loader)) == 4


def test_between_epochs_there_is_nothing_to_go_on_with():
    loader = loader_of()
    fresh = loader.state_dict()
    assert fresh == {"samples": 10, "batch_size": 3, "order": None, "seed": None, "position": 0, "generator": None}
    list(loader)
    assert loader.state_dict() == fresh
    for _ in loader:
        break
    assert loader.state_dict() == fresh
    epoch = iter(loader)
    loader.load_state_dict(fresh)
    assert loader.state_dict() == fresh
    assert len(list(epoch)) == len(list(loader)) == 4


def test_the_state_survives_until_it_is_used():
    loader = loader_of()
    epoch = iter(loader)
    next(epoch)
    state = loader.state_dict()
    other = loader_of()
    other.load_state_dict(state)
    assert other.state_dict()["position"] == 1
    assert np.array_equal(other.state_dict()["order"], state["order"])


GOOD = {"samples": 10, "batch_size": 3, "order": np.arange(10), "seed": 7, "position": 2, "generator": None}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ([], TypeError, "expects a mapping but got list"),
        ({}, ValueError, "expects the keys"),
        ({**GOOD, 1: 2}, ValueError, "expects the keys"),
        ({**GOOD, "samples": 11}, ValueError, "the loader has samples=10 but the state 11"),
        ({**GOOD, "samples": np.arange(2)}, ValueError, "the loader has samples=10"),
        ({**GOOD, "batch_size": 4}, ValueError, "the loader has batch_size=3 but the state 4"),
        ({**GOOD, "order": np.zeros(10, int)}, ValueError, "order expects each position of 10 samples once"),
        ({**GOOD, "order": np.arange(9)}, ValueError, "order expects"),
        ({**GOOD, "order": np.arange(10.0)}, ValueError, "order expects"),
        ({**GOOD, "order": list(range(10))}, ValueError, "order expects"),
        ({**GOOD, "seed": -1}, ValueError, "seed expects an int from 0 to 9223372036854775807 but got -1"),
        ({**GOOD, "seed": 2**63}, ValueError, "seed expects"),
        ({**GOOD, "seed": None}, ValueError, "seed expects"),
        ({**GOOD, "position": 5}, ValueError, "position expects 0 to 4 batches but got 5"),
        ({**GOOD, "position": 1.0}, ValueError, "position expects"),
        ({**GOOD, "generator": {}}, ValueError, "either the loader or the state has a generator"),
    ],
)
def test_bad_states_change_nothing(state, error, message):
    loader = loader_of()
    with pytest.raises(error, match=f"DataLoader.load_state_dict: {message}"):
        loader.load_state_dict(state)
    assert loader.state_dict()["order"] is None


@pytest.mark.parametrize("state", [{}, [], {"bit_generator": "MT19937"}, {"bit_generator": "PCG64", "state": {}}, 3])
def test_bad_states_of_generators(state):
    loader = loader_of(generator=np.random.default_rng(0))
    before = loader.state_dict()
    with pytest.raises(ValueError, match="generator"):
        loader.load_state_dict({**GOOD, "generator": state})
    assert loader.state_dict() == before
