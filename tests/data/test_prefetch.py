"""Prefetching changes when batches are made, and nothing else."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
import time
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import random
from tinygrad_cnn.data import DataLoader, Dataset, TensorDataset, datasets, transforms
from tinygrad_cnn.data.prefetch import prefetched
from tinygrad_cnn.kernels.threads import get_num_threads, set_num_threads

THREAD = "tinygrad_cnn-prefetch"


def running() -> int:
    return sum(thread.name == THREAD for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    deadline = time.monotonic() + 20
    while running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running()


class Noisy(Dataset):
    """Each sample is a draw from the library's generator."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index, tg.rand(3)


def bits(batches) -> list[bytes]:
    return [tensor.data.tobytes() for batch in batches for tensor in batch]


augmented = datasets.Digits(
    train=False,
    transform=transforms.Compose(
        [transforms.ToTensor(), transforms.RandomAffine(10, (0.1, 0.1)), transforms.ElasticTransform()]
    ),
)


@given(st.integers(0, 12), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(1, 4), st.integers(0, 99))
def test_batches_and_draws_are_the_same_with_and_without(size, batch_size, shuffle, drop_last, ahead, seed):
    def epochs(**workers):
        random.manual_seed(seed)
        loader = DataLoader(Noisy(size), batch_size, shuffle, drop_last=drop_last, **workers)
        seen = []
        for _ in range(2):
            for batch in loader:
                seen += bits([batch])
                seen.append(tg.rand(2).data.tobytes())  # as dropout does meanwhile
        return seen, random.get_state()

    assert epochs(num_workers=1, prefetch_factor=ahead) == epochs()


def test_augmented_batches_are_the_same_whatever_the_number_of_threads():
    def epoch(threads, workers):
        set_num_threads(threads)
        random.manual_seed(0)
        return bits(DataLoader(augmented, 64, shuffle=True, num_workers=workers))

    before = get_num_threads()
    try:
        expected = epoch(1, 0)
        assert epoch(1, 2) == epoch(2, 0) == epoch(2, 4) == expected
    finally:
        set_num_threads(before)


def test_each_epoch_and_each_batch_has_its_own_draws():
    random.manual_seed(0)
    loader = DataLoader(Noisy(6), 2, num_workers=1)
    drawn = np.concatenate([batch[1].data for _ in range(3) for batch in loader])
    assert len(np.unique(drawn)) == drawn.size


class Seeds(Noisy):
    def __getitem__(self, index):
        return random.initial_seed()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_seed_of_a_batch_is_one_to_seed_with(workers):
    random.manual_seed(0)
    loader = DataLoader(Seeds(6), 1, num_workers=workers)
    seeds = [batch.item() for _ in range(3) for batch in loader]
    for seed in seeds:
        with random.fork_rng():
            random.manual_seed(seed)
    assert len({seed % 2**32 for seed in seeds}) == 18


@given(st.integers(1, 12), st.integers(1, 4), st.sampled_from([0, 1]), st.sampled_from([0, 1]), st.data())
def test_what_was_prefetched_and_not_delivered_is_made_again(size, batch_size, workers, later_workers, data):
    def make(workers):
        return DataLoader(Noisy(size), batch_size, shuffle=True, num_workers=workers)

    random.manual_seed(1)
    first = make(workers)
    epoch = iter(first)
    for _ in range(data.draw(st.integers(0, len(first)))):
        next(epoch)
    state, draws = first.state_dict(), random.get_state()
    expected = [bits(epoch), bits(first)]
    second = make(later_workers)
    second.load_state_dict(state)
    random.set_state(draws)
    assert [bits(second), bits(second)] == expected


def test_between_epochs_and_after_break_there_is_nothing_to_go_on_with():
    loader = DataLoader(Noisy(10), 3, num_workers=1)
    list(loader)
    assert loader.state_dict()["order"] is None
    for _ in loader:
        assert loader.state_dict()["position"] == 1
        break
    assert loader.state_dict()["order"] is None


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_thread_is_ahead_by_so_many_batches_and_no_more():
    made = []
    batches = prefetched(made.append, range(10), 3)
    assert next(batches) is None
    wait_until(lambda: len(made) == 4)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]
    next(batches)
    wait_until(lambda: len(made) == 5)
    batches.close()


def test_it_works_in_another_thread_than_its_user():
    threads = {*prefetched(lambda _: threading.current_thread(), range(4), 2)}
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_numpys_error_state_goes_with_it():
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(prefetched(lambda _: np.log(np.zeros(3)), range(2), 1))


@pytest.mark.parametrize("recording", [True, False])
def test_what_is_recorded_goes_with_it(recording):
    weight = tg.ones(2, requires_grad=True)
    with tg.set_grad_enabled(recording):
        made = list(prefetched(lambda _: weight * 2, range(2), 1))
    assert [batch.requires_grad for batch in made] == [recording] * 2


class Broken(Dataset):
    def __init__(self):
        self.broken = True

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 4 and self.broken:
            raise KeyError("sample 4 is missing")
        return index


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_come_when_their_turn_has_come_with_their_traceback(workers):
    dataset = Broken()
    epoch = iter(DataLoader(dataset, 2, num_workers=workers))
    assert [next(epoch).tolist(), next(epoch).tolist()] == [[0, 1], [2, 3]]
    for _ in range(2):
        with pytest.raises(KeyError, match="sample 4 is missing") as caught:
            next(epoch)
        assert "__getitem__" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    dataset.broken = False
    assert [batch.tolist() for batch in epoch] == [[4, 5]]


@pytest.mark.parametrize("leave", ["break", "error", "del"])
def test_the_thread_ends_with_the_loop(leave):
    def loop():
        for batch in DataLoader(Noisy(1000), 2, num_workers=1, prefetch_factor=3):
            if leave == "break":
                break
            if leave == "error":
                raise ZeroDivisionError
            del batch
            return

    if leave == "error":
        with pytest.raises(ZeroDivisionError):
            loop()
    else:
        loop()
    wait_until(lambda: not running())


def test_nothing_is_kept_alive():
    class Marked(TensorDataset):
        alive = 0

        def __init__(self):
            super().__init__(np.arange(20))
            type(self).alive += 1

        def __del__(self):
            type(self).alive -= 1

    gc.disable()
    try:
        for _ in range(3):
            loader = DataLoader(Marked(), 2, num_workers=1)
            for _ in loader:
                break
            next(iter(loader))
            del loader
        wait_until(lambda: not running() and Marked.alive == 0)
    finally:
        gc.enable()


def test_two_epochs_may_run_at_once():
    loader = DataLoader(TensorDataset(np.arange(40)), 2, num_workers=1)
    pairs = [(a[0].tolist(), b[0].tolist()) for a, b in zip(loader, loader, strict=True)]
    assert len(pairs) == 20
    assert all(a == b for a, b in pairs)


def rest_of(epoch, results):
    results.put(bits(epoch))


@pytest.mark.skipif(sys.platform != "linux", reason="forks threads")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 advises against it
def test_a_forked_child_goes_on_by_itself():
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    random.manual_seed(0)
    epoch = iter(DataLoader(Noisy(12), 2, shuffle=True, num_workers=1))
    next(epoch)
    child = context.Process(target=rest_of, args=(epoch, results))
    child.start()
    assert results.get() == bits(epoch)
    child.join(timeout=60)
    assert child.exitcode == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor expects None without workers but got 2"),
        ({"prefetch_factor": 0, "num_workers": 1}, ValueError, "prefetch_factor expects at least 1 but got 0"),
        ({"prefetch_factor": 1.5, "num_workers": 1}, TypeError, "prefetch_factor expects an int"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"DataLoader: {message}"):
        DataLoader(range(3), **arguments)
    assert DataLoader(range(3), num_workers=1).prefetch_factor == 2
    assert DataLoader(range(3)).prefetch_factor is None
