"""The pool of threads that the kernels share, and how work is cut into blocks.

NumPy releases the interpreter lock inside copies, ufuncs and matrix products, so threads run them on all cores. A
kernel cuts its work into blocks whose boundaries depend on shapes alone, never on the number of threads, and every
block computes the same bits whoever runs it: results do not depend on `set_num_threads`.

What costs is the interpreter lock: a thread that asks for it while another one holds it sleeps, and takes 50 to 100 µs
to wake. So `parallel_calls` separates what needs the lock from what does not. The calling thread prepares the blocks:
it makes all views and finds all scratch memory, and turns each block into a list of NumPy calls. Then the threads run
these lists, and hold the lock for a microsecond between two calls. Threads that wait do so awake; see `bells`.

The calling thread works too. It never waits for a helper that has not started: when it has done its own share, it
takes those that nobody has begun, and then waits only for what is being computed. One thread of the user at a time has
the helpers; others work alone meanwhile, and so does a kernel that is called inside a block of another one.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import SupportsIndex, TypeVar

from tinygrad_cnn.errors import check_int
from tinygrad_cnn.kernels.bells import Bells
from tinygrad_cnn.kernels.buffers import choose_scratch

__all__ = ["MOST_THREADS", "Call", "get_num_threads", "parallel", "parallel_calls", "set_num_threads"]

_ENVIRONMENT_VARIABLE = "TINYGRAD_CNN_NUM_THREADS"
# More than these are never used, the calling one included.
MOST_THREADS = 256
# When others want the cores, waiting awake takes them from those that one waits for. Seconds without it, then: few,
# and each time that it happens again soon, twice as many.
_SHORTEST_CALM, _LONGEST_CALM = 0.004, 0.25
_NAP = 0.0001
# Bells 0 and 1 announce jobs; from here on, one for each share says that it is done.
_DONE = 2

Block = TypeVar("Block")
Call = Callable[[], object]


class _Job:
    """Shares of work, one for each thread; whoever comes first takes the next."""

    __slots__ = ("_context", "_shares", "error")

    def __init__(self, shares: list[list[Call]]) -> None:
        self._shares: deque[tuple[int, list[Call]]] = deque(enumerate(shares))
        # NumPy's error state lives in the context.
        self._context = contextvars.copy_context()
        self.error: BaseException | None = None

    def work(self) -> int | None:
        """Do one share and return its number, or None if there is none left. After an error the rest is dropped."""
        try:
            number, calls = self._shares.popleft()
        except IndexError:
            return None
        try:
            for call in calls:
                call()
        except BaseException as error:  # handed to the caller of `parallel`, whichever thread it came up in
            self.error = error
            for _, others in tuple(self._shares):
                others.clear()
        return number

    def help(self) -> int | None:
        """Do one share in a helper thread, in the context of the caller."""
        # A context can be entered by one thread at a time.
        return self._context.copy().run(self.work)

    def raise_error(self) -> None:
        """Raise what a share has raised, if one has."""
        if self.error is not None:
            error, self.error = self.error, None
            try:
                raise error
            finally:
                del error  # the traceback refers to this frame


class _Pool:
    """Daemon threads that help with jobs. They are started when they are first needed.

    Jobs ring two bells in turn, so that a helper that has seen one job waits for the bell of the next. A helper that
    has waited for about a millisecond goes to sleep, and is woken by the next job.

    If a share takes much longer than the caller's own, its thread has probably lost its core to another process. For a
    while all threads then wait asleep.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: Bells | None = None
        self._size = 0
        self._number = 0
        self._job: _Job | None = None
        self._sleeping: deque[threading.Lock] = deque()
        self._calm_until = 0.0
        self._calm_length = 0.0

    @property
    def _calm(self) -> bool:
        return time.monotonic() < self._calm_until

    def run(self, shares: list[list[Call]]) -> None:
        """Run every share, in this thread and in helpers."""
        job = _Job(shares)
        if not self._lock.acquire(blocking=False):  # another thread of the user has the helpers
            while job.work() is not None:
                pass
        else:
            try:
                self._run(job, len(shares), self._grow(len(shares) - 1))
            finally:
                self._job = None
                self._lock.release()
        job.raise_error()

    def _run(self, job: _Job, shares: int, bells: Bells) -> None:
        self._number += 1
        ours = self._number % 2
        bells.silence(1 - ours, *range(_DONE, _DONE + shares))
        self._job = job
        if len(self._sleeping) < self._size:
            bells.ring_with_head_start(ours)
        else:
            bells.ring(ours)
        while self._sleeping:
            self._sleeping.pop().release()
        outstanding = set(range(shares))
        start = time.monotonic()
        while (done := job.work()) is not None:
            outstanding.remove(done)
        if outstanding:
            self._wait(bells, outstanding, time.monotonic() - start)

    def _wait(self, bells: Bells, outstanding: set[int], usual: float) -> None:
        """Wait until shares are done; `usual` is how long the caller took for its own."""
        interrupt: BaseException | None = None
        start = time.monotonic()
        for number in outstanding:
            while not bells.rung(_DONE + number):
                try:
                    if self._calm:
                        time.sleep(_NAP)
                    elif not bells.wait(_DONE + number) and time.monotonic() - start > usual:
                        self._be_calm()
                except BaseException as error:  # not yet: a helper still writes into arrays of this job
                    interrupt = error
        if interrupt is not None:
            raise interrupt

    def _be_calm(self) -> None:
        now = time.monotonic()
        soon = now < self._calm_until + 2 * self._calm_length
        self._calm_length = min(2 * self._calm_length, _LONGEST_CALM) if soon else _SHORTEST_CALM
        self._calm_until = now + self._calm_length

    def _grow(self, size: int) -> Bells:
        """Start threads until there are so many, and return the bells."""
        if self._bells is None:
            self._bells = Bells(_DONE + MOST_THREADS)
        while self._size < size:
            name = f"tinygrad_cnn-{self._size}"
            arguments = (self._bells, self._number)
            threading.Thread(target=self._serve, args=arguments, name=name, daemon=True).start()
            self._size += 1
        return self._bells

    def _serve(self, bells: Bells, seen: int) -> None:
        _local.inside = True
        alarm = threading.Lock()
        alarm.acquire()
        finished: int | None = None
        while True:
            if self._calm:
                if finished is not None:
                    bells.ring(_DONE + finished)
            elif finished is not None:
                bells.ring_and_wait(_DONE + finished, (seen + 1) % 2)
            elif self._number == seen:
                bells.wait((seen + 1) % 2)
            if self._number == seen:
                # A job that begins right here is missed, and wakes nobody: the caller does all of it.
                self._sleeping.append(alarm)
                alarm.acquire()
            seen = self._number
            job = self._job
            finished = None if job is None else job.help()
            del job


class _Local(threading.local):
    inside = False


_local = _Local()
_pool = _Pool()
_num_threads: int | None = None


def _forget_threads() -> None:
    """Start afresh in a forked child, which has none of its parent's threads."""
    global _pool
    _pool = _Pool()
    _local.inside = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_num_threads() -> int:
    """Return the number of threads that kernels use, the calling one included.

    Until `set_num_threads` is called it is the environment variable ``TINYGRAD_CNN_NUM_THREADS``, or else the
    number of cores that this process may use.

    Raises
    ------
    ValueError
        If the environment variable is set and is not a positive integer.
    """
    global _num_threads
    if _num_threads is None:
        text = os.environ.get(_ENVIRONMENT_VARIABLE, "").strip()
        if text and not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"get_num_threads: {_ENVIRONMENT_VARIABLE} expects a positive integer but got {text!r}")
        _num_threads = int(text) if text else _available_cores()
    return _num_threads


def set_num_threads(number: SupportsIndex) -> None:
    """Set the number of threads that kernels use, the calling one included. Results do not depend on it.

    Parameters
    ----------
    number : int
        At least 1.

    Raises
    ------
    TypeError
        If `number` is not an integer (a bool is not one).
    ValueError
        If `number` is less than 1.
    """
    global _num_threads
    _num_threads = check_int("set_num_threads", "number", number, 1)


def parallel_calls(plan: Callable[[Block], Iterable[Call]], blocks: list[Block]) -> None:
    """Do what `plan` says for every block, in several threads, and return when all is done.

    The calling thread plans all blocks; then the threads run the calls, those of one block in their order. Planning
    is for everything that takes the interpreter lock: views, scratch memory, decisions that depend on shapes. A call
    should be one of NumPy's, ready to run, and take some 50 µs at least.

    Parameters
    ----------
    plan : callable
        Called with one block, returns functions without arguments, say ``partial(np.add, x, y, out=z)``. It must not
        look at values that its calls write. Scratch memory of one name may be used by all of them.
    blocks : list
        The pieces of work, usually slices, which must not depend on each other. To be the same for every number of
        threads they must be derived from shapes alone.

    Raises
    ------
    BaseException
        What a call raised; work not yet started is then dropped.
    """
    count = len(blocks)
    threads = 1 if count < 2 else min(get_num_threads(), count, MOST_THREADS)
    if threads == 1 or _local.inside:
        for block in blocks:
            for call in plan(block):
                call()
        return
    shares: list[list[Call]] = []
    start = 0
    try:
        for number in range(threads):
            choose_scratch(number)
            stop = count * (number + 1) // threads
            shares.append([*chain.from_iterable(map(plan, blocks[start:stop]))])
            start = stop
    finally:
        choose_scratch(0)
    _run(shares)


def parallel(function: Callable[[Block], object], blocks: list[Block]) -> None:
    """Call ``function(block)`` for every block, in several threads, and return when all are done.

    For functions that cannot tell their NumPy calls beforehand; where they can, `parallel_calls` is faster. Blocks are
    started in order. They must not depend on each other, and should take some 100 µs each. A call from inside a block
    runs its own blocks one after the other.

    Parameters
    ----------
    function : callable
        Called with one block. What it returns is ignored.
    blocks : list
        The pieces of work, usually slices. To be the same for every number of threads they must be derived from
        shapes alone.

    Raises
    ------
    BaseException
        What `function` raised; blocks not yet started are then dropped.
    """
    threads = min(get_num_threads(), len(blocks), MOST_THREADS)
    if threads < 2 or _local.inside:
        for block in blocks:
            function(block)
        return
    queue = deque(blocks)
    _run([[partial(_drain, function, queue)] for _ in range(threads)])


def _drain(function: Callable[[Block], object], queue: deque[Block]) -> None:
    try:
        while queue:
            try:
                block = queue.popleft()
            except IndexError:  # another thread took the last one
                return
            function(block)
    except BaseException:
        queue.clear()
        raise


def _run(shares: list[list[Call]]) -> None:
    _local.inside = True
    try:
        _pool.run(shares)
    finally:
        _local.inside = False
