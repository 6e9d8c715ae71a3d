"""Threads of the user, and forks in the middle of training: the same bits, and nothing hangs."""

from __future__ import annotations

import multiprocessing
import sys
import threading

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim, random
from tinygrad_cnn.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.standard_normal((96, 1, 20, 20), dtype=np.float32), np.arange(96) % 10


class Training:
    """A small CNN with dropout; large enough that its kernels use several threads."""

    def __init__(self, seed):
        random.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(512, 10)
        )
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.loader = DataLoader(TensorDataset(IMAGES, LABELS), 32, shuffle=True)

    def epoch(self):
        for images, labels in self.loader:
            loss = F.cross_entropy(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def bits(self):
        return [tensor.data.tobytes() for tensor in self.model.state_dict().values()]


def trained(seed):
    with random.fork_rng():
        training = Training(seed)
        for _ in range(3):
            training.epoch()
        return training.bits()


def test_four_threads_train_four_models_to_the_bits_of_one_after_another():
    expected = [trained(seed) for seed in range(4)]
    got = [None] * 4
    start = threading.Barrier(4)

    def work(seed):
        start.wait()
        got[seed] = trained(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert got == expected
    assert len({bits[0] for bits in expected}) == 4


class TestForkRng:
    def test_what_happens_inside_is_forgotten(self):
        random.manual_seed(5)
        expected = random.generator().random(3)
        random.manual_seed(5)
        with random.fork_rng():
            assert np.array_equal(random.generator().random(3), expected)
            random.manual_seed(6)
            assert random.initial_seed() == 6
        assert random.initial_seed() == 5
        assert np.array_equal(random.generator().random(3), expected)

    def test_states_inside_and_errors(self):
        random.manual_seed(5)
        state = random.get_state()
        with random.fork_rng():
            inner = random.get_state()
            tg.rand(3)
            random.set_state(inner)
            assert random.get_state() == inner
            tg.rand(3)
        with pytest.raises(ZeroDivisionError), random.fork_rng():
            tg.rand(1 // 0)
        assert random.get_state() == state

    def test_other_threads_keep_the_shared_stream(self):
        random.manual_seed(5)
        expected = random.generator().random(3)
        random.manual_seed(5)
        drawn = []
        with random.fork_rng():
            random.manual_seed(6)
            thread = threading.Thread(target=lambda: drawn.append(random.generator().random(3)))
            thread.start()
            thread.join()
        assert np.array_equal(drawn[0], expected)

    def test_blocks_nest(self):
        with random.fork_rng():
            random.manual_seed(1)
            first = random.get_state()
            with random.fork_rng():
                tg.rand(3)
            assert random.get_state() == first


def child(results):
    training = Training(1)
    training.epoch()
    results.put([np.frombuffer(bits, np.uint8) for bits in training.bits()])


@pytest.mark.skipif(sys.platform != "linux", reason="forks threads")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 advises against it
def test_a_fork_in_the_middle_of_training_neither_hangs_nor_corrupts():
    context = multiprocessing.get_context("fork")
    alone = Training(1)
    alone.epoch()
    expected_child = alone.bits()
    undisturbed = Training(0)
    undisturbed.epoch()
    undisturbed.epoch()

    training, results, children = Training(0), context.SimpleQueue(), []
    for _ in range(2):
        for images, labels in training.loader:
            loss = F.cross_entropy(training.model(images), labels)
            if len(children) < 3:  # between forward and backward
                children.append(context.Process(target=child, args=(results,)))
                children[-1].start()
            training.optimizer.zero_grad()
            loss.backward()
            training.optimizer.step()
    for _ in children:
        assert [array.tobytes() for array in results.get()] == expected_child
    for process in children:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert training.bits() == undisturbed.bits()
