from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import random

SEEDS = st.integers(-(2**63), 2**64 - 1)


@pytest.fixture(autouse=True)
def same_state_afterwards():
    state = random.get_state()
    yield
    random.set_state(state)


@given(SEEDS)
def test_a_seed_fixes_every_draw(seed):
    random.manual_seed(seed)
    first = random.generator().random(5)
    random.manual_seed(seed)
    assert np.array_equal(random.generator().random(5), first)
    assert random.initial_seed() == seed


@given(st.integers(0, 2**64 - 1))
def test_the_stream_is_numpys_for_the_same_seed(seed):
    assert random.manual_seed(seed).random() == np.random.default_rng(seed).random()


def test_negative_seeds_wrap_around():
    assert random.manual_seed(-1).random() == random.manual_seed(2**64 - 1).random()


def test_the_generator_is_one_object_for_ever():
    held = random.generator()
    assert random.manual_seed(3) is held
    random.seed()
    assert random.generator() is held


def test_entropy_seeds_differ_and_can_be_used_again():
    first, second = random.seed(), random.seed()
    assert first != second
    draw = random.generator().random()
    assert random.manual_seed(second).random() == draw


@given(SEEDS, st.integers(0, 7))
def test_a_state_resumes_the_stream_in_the_middle(seed, skipped):
    random.manual_seed(seed)
    random.generator().integers(0, 10, skipped, dtype=np.uint32)  # leaves half a 64-bit word behind
    state = random.get_state()
    rest = random.generator().integers(0, 1000, 5, dtype=np.uint32)
    random.seed()
    random.set_state(state)
    assert np.array_equal(random.generator().integers(0, 1000, 5, dtype=np.uint32), rest)
    assert random.initial_seed() == seed


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=r"manual_seed: seed expects .* but got"):
        random.manual_seed(seed)


@pytest.mark.parametrize("seed", [1.5, "1", None])
def test_seeds_that_are_no_integers_are_refused(seed):
    with pytest.raises(TypeError, match="manual_seed: seed expects an integer"):
        random.manual_seed(seed)


def test_bad_states_are_refused_and_change_nothing():
    good = random.get_state()
    for bad in (
        {},
        {**good, "initial_seed": "x"},
        {**good, "bit_generator": "MT19937"},
        {**good, "state": {"state": -1, "inc": 1}},
        {**good, "state": [1, 2]},
        {**good, "uinteger": 2**80},
    ):
        with pytest.raises(ValueError, match="set_state"):
            random.set_state(bad)
        assert random.get_state() == good
    with pytest.raises(TypeError, match="set_state"):
        random.set_state([1])


def test_threads_that_come_first_at_the_same_time_get_the_same_generator():
    script = """if True:
        import threading
        from tinygrad_cnn import random
        found, barrier = [], threading.Barrier(8)
        def ask():
            barrier.wait()
            found.append(random.generator())
        threads = [threading.Thread(target=ask) for _ in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(set(map(id, found))) == 1
    """
    subprocess.run([sys.executable, "-c", script], check=True)


def test_threads_may_share_the_generator():
    random.manual_seed(0)
    draws: list[int] = []

    def draw():
        draws.extend(random.generator().integers(0, 2**62, 1000).tolist())

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(draws)) == 4000
