"""Memory is used again, and nobody can tell."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn.kernels import buffers

LARGE = (buffers.SMALLEST, 2)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def _start_without_free_memory():
    buffers.release()


@given(st.lists(st.integers(0, 70), max_size=3), st.sampled_from([np.float32, np.float64, np.int8, bool, object]))
def test_shape_and_dtype(shape, dtype):
    array = buffers.empty(tuple(shape), dtype)
    assert array.shape == tuple(shape)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned


def test_a_sole_view_sees_memory_that_no_other_array_sees():
    array = buffers.empty(LARGE)
    assert buffers.sole_view(array)
    half = array[: len(array) // 2]
    assert not buffers.sole_view(array)
    assert not buffers.sole_view(half)
    del array
    assert not buffers.sole_view(half)  # but it would keep the rest alive
    turned = buffers.empty((1, 2, 200, 200)).transpose(0, 3, 1, 2)
    assert buffers.sole_view(turned)
    assert not buffers.sole_view(np.empty(LARGE))


def test_memory_of_a_dead_array_is_used_again():
    first = buffers.empty(LARGE)
    place = address(first)
    del first
    assert address(buffers.empty((LARGE[0], 2, 1))) == place


@pytest.mark.parametrize(
    "look",
    [
        lambda a: a[1:2],
        lambda a: a.T[0][::2].view(np.int32),
        memoryview,
        lambda a: np.lib.stride_tricks.as_strided(a, (2,), (4,)),
        lambda a: np.asarray(memoryview(a)),
        lambda a: a.reshape(-1).view(np.recarray),
        lambda a: a.flat,
        np.nditer,
        lambda a: np.broadcast_to(a, (2, *a.shape)),
        lambda a: a.ctypes,
    ],
)
def test_memory_that_somebody_sees_is_not(look):
    array = buffers.empty(LARGE)
    place = address(array)
    view = look(array)
    del array
    assert address(buffers.empty(LARGE)) != place
    del view
    assert address(buffers.empty(LARGE)) == place


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=40))
def test_arrays_that_live_never_share_memory(steps):
    alive = {}
    for number, (slot, size) in enumerate(steps):
        alive.pop(slot, None)
        array = buffers.empty((buffers.SMALLEST * size,), np.int8)
        array[...] = number % 100
        alive[slot] = (array[::2], number % 100)
        del array
        for view, value in alive.values():
            assert (view == value).all()


def test_threads_never_share_memory():
    failures = []

    def work(value):
        for _ in range(200):
            array = buffers.empty(LARGE)
            array[...] = value
            if not (array == value).all():
                failures.append(value)

    crowd = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert failures == []


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(buffers, "LIMIT", 8 * buffers.SMALLEST)
    arrays = [buffers.empty((buffers.SMALLEST + 1000 * i,), np.int8) for i in range(20)]
    del arrays
    kept = buffers._store._free
    assert 0 < sum(size * len(alike) for size, alike in kept.items()) <= buffers.LIMIT


def test_release_gives_everything_back():
    buffers.empty(LARGE)
    buffers.release()
    assert buffers._store._free == {}


def test_small_and_object_arrays_are_ordinary():
    assert buffers.empty((3,)).base is None
    assert buffers.empty((buffers.SMALLEST,), object)[0] is None


def test_an_array_outlives_pickling_and_copying():
    array = buffers.empty(LARGE)
    array[...] = 3
    copy = pickle.loads(pickle.dumps(array))
    assert (copy == array).all()
    assert array.copy().base is None


def test_channels_last():
    array = buffers.empty_channels_last((2, 3, 4, 5), np.float64)
    assert array.shape == (2, 3, 4, 5)
    assert array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_scratch_belongs_to_its_thread_and_name():
    mine = buffers.scratch("a", (10, 10), np.float32)
    assert address(buffers.scratch("a", (100,), np.float32)) == address(mine)
    assert address(buffers.scratch("b", (10, 10), np.float32)) != address(mine)
    other = []
    thread = threading.Thread(target=lambda: other.append(buffers.scratch("a", (10, 10), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(other[0], mine)
