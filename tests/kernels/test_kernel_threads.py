"""Threads change nothing but the time: bits, errors, warnings; and forks and crowds are survived."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

from tinygrad_cnn.kernels import activation, bells, blas, buffers, threads
from tinygrad_cnn.kernels.accumulate import product
from tinygrad_cnn.kernels.conv import bias_grad, conv2d, conv2d_input_grad, conv2d_weight_grad
from tinygrad_cnn.kernels.elementwise import apply, blockwise, relu, relu_grad
from tinygrad_cnn.kernels.gemm import matmul
from tinygrad_cnn.kernels.pool import avg_pool2d, avg_pool2d_grad, max_pool2d_scatter, max_pool2d_winners
from tinygrad_cnn.kernels.reduction import log_sum_exp, reduce
from tinygrad_cnn.kernels.threads import get_num_threads, parallel, parallel_calls, set_num_threads
from tinygrad_cnn.kernels.windows import axes


@pytest.fixture(autouse=True)
def _restore_number_of_threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def every_kernel(seed=0):
    """Results of all kernels, at sizes that are cut into several blocks."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((12, 28, 28, 16), np.float32).transpose(0, 3, 1, 2)
    plain = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    w = rng.standard_normal((20, 16, 3, 3), np.float32)
    y = conv2d(x, w, rng.standard_normal(20, np.float32), *plain)
    strided = ((2, 2), ((1, 1), (1, 1)), (1, 1), 2)
    half = conv2d(x, w[:, :8], None, *strided)
    deep = ((1, 1), ((1, 1), (1, 1)), (1, 1), 16)
    z = conv2d(x, w[:16, :1], None, *deep)
    windows = axes("max_pool2d", y.shape, (3, 3), (2, 2), (1, 1), (1, 1), False)
    pooled, winners = max_pool2d_winners(y, *windows)
    mean = avg_pool2d(y, (2, 2), (2, 2), (0, 0), False, True, None)
    rows = rng.standard_normal((600, 500), np.float32)
    return [
        y,
        half,
        z,
        pooled,
        mean,
        relu(y),
        relu_grad(y, y),
        apply(np.exp, y),
        matmul(rows, rows.T),
        matmul(rows.T, rows[:, :40]),
        matmul(rows.reshape(30, -1), rows.reshape(30, -1).T),
        matmul(rows.reshape(1, -1)[:, :9000], rows.reshape(-1)[:270000].reshape(30, -1).T),
        matmul(y[..., :20, :], y.swapaxes(-1, -2)),
        reduce(np.add, y, (0, 2, 3)),
        reduce(np.add, y, (1,)),
        log_sum_exp(rows, (0, 1)),
        product(rows, 1),
        blockwise(activation.gelu, y),
        conv2d_input_grad(y, w, x.shape, *plain),
        conv2d_weight_grad(y, x, w.shape, *plain),
        conv2d_input_grad(half, w[:, :8], x.shape, *strided),
        conv2d_weight_grad(half, x, w[:, :8].shape, *strided),
        conv2d_input_grad(z, w[:16, :1], x.shape, *deep),
        conv2d_weight_grad(z, x, w[:16, :1].shape, *deep),
        bias_grad(y),
        max_pool2d_scatter(pooled, winners, *windows),
        avg_pool2d_grad(mean, y.shape, (2, 2), (2, 2), (0, 0), False, True, None),
    ]


def same_bits(first, second):
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


@pytest.mark.skipif(not blas.single_threaded.available, reason="bits are promised with threadpoolctl only")
def test_bits_do_not_depend_on_the_number_of_threads():
    results = []
    for number in (1, 2, 5):
        set_num_threads(number)
        results.append(every_kernel())
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])


def test_threads_of_the_user_may_call_at_once():
    expected = {seed: every_kernel(seed) for seed in range(3)}
    failures = []

    def work(seed):
        if not all(np.allclose(a, b, atol=1e-3) for a, b in zip(every_kernel(seed), expected[seed], strict=True)):
            failures.append(seed)

    crowd = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert failures == []


def test_every_block_is_done_once():
    for number in (1, 2, 4):
        set_num_threads(number)
        done = []
        parallel(done.append, list(range(100)))
        assert sorted(done) == list(range(100))


def test_nested_calls_run_where_they_are():
    set_num_threads(3)
    done = []

    def outer(i):
        mine = threading.get_ident()
        parallel(lambda j: done.append((i, j, threading.get_ident() == mine)), list(range(5)))

    parallel(outer, list(range(5)))
    assert sorted(done) == [(i, j, True) for i in range(5) for j in range(5)]


def test_an_error_in_a_block_comes_out_and_the_pool_goes_on():
    set_num_threads(2)
    for bad in (0, 7):

        def fail(i, bad=bad):
            if i == bad:
                raise LookupError(f"block {i}")

        with pytest.raises(LookupError, match=f"block {bad}"):
            parallel(fail, list(range(8)))
    done = []
    parallel(done.append, [1, 2, 3])
    assert sorted(done) == [1, 2, 3]


def test_an_index_error_in_a_block_is_not_taken_for_the_end():
    def fail(i):
        raise IndexError("mine")

    with pytest.raises(IndexError, match="mine"):
        parallel(fail, [1, 2, 3, 4])


def test_error_state_of_numpy_reaches_the_workers():
    set_num_threads(2)
    x = np.zeros((64, 1 << 14), np.float32)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        apply(np.log, x)
    with np.errstate(divide="ignore"):
        assert (apply(np.log, x) == -np.inf).all()
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        apply(np.log, x)


def test_the_work_keeps_nothing_alive():
    set_num_threads(2)
    gc.disable()
    try:
        for _ in range(20):
            payload = threading.Event()

            def work(i, payload=payload):
                payload.is_set()

            seen = weakref.ref(payload)
            parallel(work, list(range(4)))
            del work, payload
            assert seen() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_works():
    set_num_threads(2)
    every_kernel()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                every_kernel()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_others_work():
    set_num_threads(2)
    stop = threading.Event()
    x = np.ones((64, 1 << 14), np.float32)

    def work():  # nothing with BLAS: OpenBLAS itself cannot be forked in the middle of a product
        while not stop.is_set():
            relu(x)

    busy = threading.Thread(target=work)
    busy.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    every_kernel()
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        busy.join()


@pytest.mark.skipif(not blas.single_threaded.available, reason="needs threadpoolctl")
def test_blas_gets_its_threads_back():
    libraries = blas.single_threaded._libraries  # not those that SciPy brought along since

    def counts():
        return [library.num_threads for library in libraries]

    before = counts()
    with blas.single_threaded:
        assert set(counts()) == {1}
        with blas.single_threaded:
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert counts() == before
    every_kernel()
    assert counts() == before


@pytest.mark.skipif(not blas.single_threaded.available, reason="needs threadpoolctl")
def test_blas_is_held_by_whatever_thread_comes_first_and_let_go_by_the_last():
    libraries = blas.single_threaded._libraries

    def counts():
        return [library.num_threads for library in libraries]

    before = counts()
    entered, left = threading.Event(), threading.Event()
    seen = []

    def other():
        with blas.single_threaded:
            seen.extend(counts())
            entered.set()
            left.wait()

    with blas.single_threaded:  # this thread is the one that threadpoolctl knows
        pass
    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with blas.single_threaded:
        left.set()
        thread.join()
        assert set(counts()) == {1}
    assert set(seen) == {1}
    assert counts() == before


def test_without_threadpoolctl_products_are_not_cut_over_threads(monkeypatch):
    monkeypatch.setattr(blas.single_threaded, "_libraries", None)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    set_num_threads(2)
    here = threading.get_ident()
    seen = []
    blas.parallel_products(lambda block: [lambda: seen.append((block, threading.get_ident()))], [1, 2, 3])
    assert seen == [(1, here), (2, here), (3, here)]
    a = np.random.default_rng(0).standard_normal((300, 200))
    np.testing.assert_allclose(matmul(a, a.T), np.einsum("ik,jk->ij", a, a), atol=1e-9)


@pytest.mark.parametrize(
    ("number", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_bad_numbers_of_threads(number, error):
    with pytest.raises(error, match="set_num_threads: number expects"):
        set_num_threads(number)


def test_number_of_threads_is_set():
    set_num_threads(np.int64(3))
    assert get_num_threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_bad_environment_variable(monkeypatch, text):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("TINYGRAD_CNN_NUM_THREADS", text)
    with pytest.raises(ValueError, match="TINYGRAD_CNN_NUM_THREADS expects a positive integer"):
        get_num_threads()
    monkeypatch.setenv("TINYGRAD_CNN_NUM_THREADS", "3")
    assert get_num_threads() == 3


def test_default_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.delenv("TINYGRAD_CNN_NUM_THREADS", raising=False)
    assert get_num_threads() >= 1
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert get_num_threads() == (os.cpu_count() or 1)


def test_import_loads_no_threadpoolctl_and_starts_no_thread():
    code = (
        "import sys, threading, tinygrad_cnn.kernels.conv, tinygrad_cnn.kernels.pool; "
        "assert 'threadpoolctl' not in sys.modules; assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_calls_of_a_block_run_in_order_and_every_block_once():
    for number in (1, 2, 4):
        set_num_threads(number)
        done = []

        def plan(block, done=done):
            return [lambda step=step: done.append((block, step)) for step in range(3)]

        parallel_calls(plan, list(range(50)))
        assert sorted(done) == [(block, step) for block in range(50) for step in range(3)]
        for block in range(50):
            assert [step for other, step in done if other == block] == [0, 1, 2]


def test_an_error_in_a_call_comes_out_and_the_pool_goes_on():
    set_num_threads(2)
    for bad in (0, 7):

        def plan(block, bad=bad):
            return [lambda: 1 // (block - bad)]

        with pytest.raises(ZeroDivisionError):
            parallel_calls(plan, list(range(8)))
    done = []
    parallel_calls(lambda block: [lambda: done.append(block)], [1, 2, 3])
    assert sorted(done) == [1, 2, 3]


def test_blocks_of_several_threads_have_scratch_of_their_own():
    set_num_threads(3)
    out = np.empty((6, 1 << 16))

    def plan(block):
        memory = buffers.scratch("number", out.shape[1:], out.dtype)
        return [
            lambda: np.copyto(memory, block),
            lambda: np.sqrt(memory, out=memory),
            lambda: np.multiply(memory, memory, out=out[block]),
        ]

    for _ in range(20):
        out.fill(-1)
        parallel_calls(plan, list(range(6)))
        np.testing.assert_allclose(out, np.broadcast_to(np.arange(6.0)[:, None], out.shape))
    assert buffers.scratch("number", (4,), np.float64).base is not None


def test_a_helper_that_fell_asleep_comes_back():
    set_num_threads(2)
    pool = threads._Pool()
    for _ in range(3):
        done = []
        pool.run([[partial(done.append, 0)], [partial(done.append, 1)]])
        assert sorted(done) == [0, 1]
        deadline = time.monotonic() + 20
        while len(pool._sleeping) < 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(pool._sleeping) == 1


def test_an_interrupt_waits_for_the_helpers():
    """The caller's arrays are not touched any more when it gets its exception."""
    set_num_threads(2)
    started, written = threading.Event(), []

    def slow():
        started.set()
        time.sleep(0.05)
        written.append(True)

    def interrupted():
        started.wait(20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel_calls(lambda block: [slow if block == 0 else interrupted], [0, 1])
    assert written == [True]


def test_bells_are_heard_once_rung():
    ring = bells.Bells(3)
    assert not ring.rung(0)
    assert not ring.wait(0)
    ring.ring(0)
    assert ring.wait(0)
    ring.silence(0)
    assert not ring.rung(0)
    ring.ring_with_head_start(1)
    assert ring.rung(1)
    assert not ring.rung(0)
    assert not ring.rung(2)
    assert ring.ring_and_wait(2, 1)
    assert ring.rung(2)
    assert not ring.ring_and_wait(2, 0)


def test_a_waiting_thread_hears_another_one_ring():
    ring = bells.Bells(2)
    heard = threading.Event()

    def listen():
        while not ring.wait(0):
            pass
        heard.set()

    threading.Thread(target=listen, daemon=True).start()
    assert not heard.is_set()
    ring.ring_with_head_start(0)
    assert heard.wait(20)


def test_after_a_share_that_took_long_threads_wait_asleep_for_a_while():
    """Its thread has probably lost its core to another process, which waiting awake would rob of it in turn."""
    pool = threads._Pool()
    caller = threading.get_ident()
    both = threading.Barrier(2)

    def work():
        both.wait(20)
        if threading.get_ident() != caller:
            time.sleep(0.05 + 3 * (time.monotonic() - start))

    start = time.monotonic()
    pool.run([[work], [work]])
    assert pool._calm_until > start
    done = []
    for number in range(10):
        pool.run([[partial(done.append, number)], [partial(done.append, number)]])
    assert done == [number for number in range(10) for _ in range(2)]
    pool._calm_until = 0.0
    pool.run([[partial(done.append, 10)], [partial(done.append, 10)]])
    assert done[-2:] == [10, 10]


def test_vectors_of_ones_share_their_memory():
    kept = blas._ones.cache_info().currsize
    for count in (1, 2, 3, 600, 700, 1000, 1024):
        vector = blas.ones(count, np.dtype(np.float32))
        np.testing.assert_array_equal(vector, np.ones(count))
        assert vector.flags.c_contiguous
        assert not vector.flags.writeable
    assert blas.ones(0, np.dtype(np.float32)).shape == (0,)
    assert np.shares_memory(vector, blas.ones(600, np.dtype(np.float32)))
    assert blas._ones.cache_info().currsize <= kept + 4
