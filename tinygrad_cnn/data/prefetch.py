"""Making things in a thread ahead of their use."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from tinygrad_cnn.autograd import is_grad_enabled, set_grad_enabled

__all__ = ["prefetched"]

Made = TypeVar("Made")


def prefetched(make: Callable[[int], Made], positions: Sequence[int], ahead: int) -> Iterator[Made]:
    """Yield ``make(position)`` for each position, in order, made by one thread and at most `ahead` in advance.

    What `make` raises is raised here, with its traceback, when its turn has come; that is the end then. The thread ends
    with the positions, with an error, or when the iterator is closed or nobody holds it any more; what it is making at
    that moment it finishes, and throws away.

    Parameters
    ----------
    make : callable
        Must hold no reference to the iterator, which would keep both alive.
    positions : sequence of int
    ahead : int
        At least 1.
    """
    # `SimpleQueue.put` neither blocks nor takes a lock that Python code could hold: it may be called by a finaliser,
    # and by a forked child that has inherited the iterator and not the thread.
    tickets: SimpleQueue[None] = SimpleQueue()
    results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    abandoned: list[bool] = []
    recording = is_grad_enabled()  # each thread has a mode of its own

    def work() -> None:
        with set_grad_enabled(recording):
            for position in positions:
                tickets.get()
                if abandoned:
                    return
                try:
                    results.put((make(position), None))
                except BaseException as error:  # handed to whoever waits for this position
                    results.put((None, error))
                    return

    for _ in range(ahead):
        tickets.put(None)
    # NumPy's error state, and the library's stream of random numbers, live in the context.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="tinygrad_cnn-prefetch", daemon=True).start()
    try:
        for _ in positions:
            made, error = results.get()
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # the traceback refers to this frame
            tickets.put(None)
            yield made
            del made  # the next one may need its memory
    finally:
        abandoned.append(True)
        tickets.put(None)
