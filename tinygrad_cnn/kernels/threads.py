"""The pool of threads that the kernels share, and how work is cut into blocks.

NumPy releases the interpreter lock inside copies, ufuncs and matrix products, so threads run them on all cores. A
kernel cuts its work into blocks whose boundaries depend on shapes alone, never on the number of threads, and every
block computes the same bits whoever runs it: results do not depend on `set_num_threads`.

The calling thread works too. It never waits for a helper that has not started: when it finds no block left, it waits
only for blocks that are being computed. So threads of the user may call kernels at the same time, and share the
helpers, and a kernel called inside a block of another one simply runs there.
"""

from __future__ import annotations

import contextvars
import operator
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import SupportsIndex, TypeVar

__all__ = ["get_num_threads", "parallel", "set_num_threads"]

_ENVIRONMENT_VARIABLE = "TINYGRAD_CNN_NUM_THREADS"

Block = TypeVar("Block")


class _Job:
    """A function and the blocks that are still to be done; helpers may join until the caller closes it."""

    __slots__ = ("_blocks", "_closed", "_error", "_finished", "_function", "_helpers", "_lock")

    def __init__(self, function: Callable[[Block], object], blocks: Iterable[Block]) -> None:
        self._function: Callable[[Block], object] | None = function
        self._blocks: deque[Block] = deque(blocks)
        self._lock = threading.Lock()
        self._finished = threading.Lock()
        self._finished.acquire()
        self._helpers = 0
        self._closed = False
        self._error: BaseException | None = None

    def work(self) -> None:
        """Do blocks until none is left; after an error the remaining ones are dropped."""
        blocks, function = self._blocks, self._function
        if function is None:
            return
        try:
            while blocks:
                try:
                    block = blocks.popleft()
                except IndexError:  # another thread took the last one
                    return
                function(block)
        except BaseException as error:  # handed to the caller of `parallel`, whichever thread it came up in
            self._error = error
            blocks.clear()

    def help(self, context: contextvars.Context) -> None:
        """Work on the job in a helper thread, unless the caller has finished it already."""
        with self._lock:
            if self._closed:
                return
            self._helpers += 1
        context.run(self.work)
        with self._lock:
            self._helpers -= 1
            if self._closed and self._helpers == 0:
                self._finished.release()

    def run(self) -> None:
        """Work on the job in the calling thread, then wait for the helpers that joined."""
        self.work()
        with self._lock:
            self._closed = True
            wait = self._helpers > 0
        if wait:
            self._finished.acquire()
        # A helper may still hold the job for a moment; without the function it keeps no array alive.
        self._function = None
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # the traceback refers to this frame


class _Pool:
    """Daemon threads that help with jobs. They are started when they are first needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[_Job, contextvars.Context]] = SimpleQueue()
        self._lock = threading.Lock()
        self._size = 0

    def run(self, job: _Job, helpers: int) -> None:
        if self._size < helpers:
            self._grow(helpers)
        for _ in range(helpers):
            # NumPy's error state lives in the context; a context can be entered by one thread at a time.
            self._jobs.put((job, contextvars.copy_context()))
        job.run()

    def _grow(self, size: int) -> None:
        with self._lock:
            while self._size < size:
                name = f"tinygrad_cnn-{self._size}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self._size += 1

    def _serve(self) -> None:
        _local.inside = True
        while True:
            job, context = self._jobs.get()
            job.help(context)
            del job, context


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
        If `number` is not an integer.
    ValueError
        If `number` is less than 1.
    """
    global _num_threads
    try:
        count = operator.index(number)
    except TypeError:
        raise TypeError(f"set_num_threads: number expects an integer but got {type(number).__name__}") from None
    if count < 1:
        raise ValueError(f"set_num_threads: number expects a positive integer but got {count}")
    _num_threads = count


def parallel(function: Callable[[Block], object], blocks: list[Block]) -> None:
    """Call ``function(block)`` for every block, in several threads, and return when all are done.

    Blocks are started in order. They must not depend on each other, and should take some 100 µs each: handing work
    to a thread costs about 60 µs. A call from inside a block runs its own blocks one after the other.

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
    helpers = min(get_num_threads(), len(blocks)) - 1
    if helpers < 1 or _local.inside:
        for block in blocks:
            function(block)
        return
    _local.inside = True
    try:
        _pool.run(_Job(function, blocks), helpers)
    finally:
        _local.inside = False
