"""Waiting for another thread, awake and without the interpreter lock.

A thread that sleeps on a lock takes 50 to 100 µs to wake, and so does one that asks for the interpreter lock while
another holds it. A training step has dozens of places where threads meet; sleeping there costs as much as the second
thread gains. Compiled libraries let their threads spin. Here that is done by a reduction: ``logical_or`` over a view
that repeats one cell of memory ends when it first reads True, and NumPy runs it without the interpreter lock. So a
thread notices within a fraction of a microsecond that another one has written the cell.

It must then take the interpreter lock, and would sleep after all if the writer still held it. So cells are written
from inside a reduction, too: one over two rows, whose first row is True and goes to the other thread's cell, while the
second row keeps the writer busy, and the lock free, until the other thread has what it needs.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

__all__ = ["Bells"]

# Cells lie so far apart that no two share a cache line.
_LINE = 64
# Seconds: what a thread needs to find its work and begin ...
_HEAD_START = 10e-6
# ... and how long it waits awake: what lies between two steps that share the threads is shorter.
_PATIENCE = 1e-3
# Cells that are read to find out how many are read in a second.
_SAMPLE = 30_000

_TRUE, _FALSE, _FIRST = 0, 1, 2


class Bells:
    """Cells that threads ring and wait for.

    Parameters
    ----------
    number : int
        How many.
    """

    def __init__(self, number: int) -> None:
        memory = np.zeros((number + _FIRST + 2) * _LINE, np.bool_)
        start = -memory.__array_interface__["data"][0] % _LINE
        self._cells: NDArray[np.bool_] = memory[start : start + (number + _FIRST + 1) * _LINE]
        self._cells[_TRUE * _LINE] = True
        self._last = number + _FIRST
        self._bytes = memoryview(self._cells)  # type: ignore[arg-type]
        self._any = np.logical_or.reduce
        speed = self._speed()
        self._patience = int(_PATIENCE * speed)
        self._waiting = [self._repeated(_FIRST + bell) for bell in range(number)]
        self._head_start = self._rows(_TRUE, _FALSE, int(_HEAD_START * speed))
        self._ring_and_wait: dict[int, NDArray[np.bool_]] = {}
        self._targets = [self._pair(_FIRST + bell, self._last) for bell in range(number)]

    def _speed(self) -> float:
        """Return how many cells are read in a second: from one to three a nanosecond."""
        cells = self._view(_FALSE, (_SAMPLE,), (0,))
        times = []
        for _ in range(5):
            start = time.perf_counter()
            self._any(cells)
            times.append(time.perf_counter() - start)
        return _SAMPLE / min(times)

    def rung(self, bell: int) -> bool:
        """Whether it was rung since it was last silenced."""
        return bool(self._bytes[(_FIRST + bell) * _LINE])

    def silence(self, *bells: int) -> None:
        """Make them ready to be waited for."""
        for bell in bells:
            self._bytes[(_FIRST + bell) * _LINE] = False

    def ring(self, bell: int) -> None:
        """Ring, holding the interpreter lock."""
        self._bytes[(_FIRST + bell) * _LINE] = True

    def ring_with_head_start(self, bell: int) -> None:
        """Ring, and leave the interpreter lock alone for some microseconds, to those that were waiting."""
        self._any(self._head_start, axis=1, out=self._targets[bell])

    def wait(self, bell: int) -> bool:
        """Wait awake until it is rung, for about a millisecond; return whether it was."""
        self._any(self._waiting[bell])
        return self.rung(bell)

    def ring_and_wait(self, mine: int, other: int) -> bool:
        """Ring `mine`, then wait for `other`, without taking the interpreter lock in between."""
        rows = self._ring_and_wait.get(other)
        if rows is None:
            rows = self._ring_and_wait[other] = self._rows(_TRUE, _FIRST + other, self._patience)
        self._any(rows, axis=1, out=self._targets[mine])
        return self.rung(other)

    def _repeated(self, cell: int) -> NDArray[np.bool_]:
        return self._view(cell, (self._patience,), (0,))

    def _rows(self, first: int, second: int, length: int) -> NDArray[np.bool_]:
        """Two rows, each of which repeats a cell."""
        return self._view(first, (2, length), ((second - first) * _LINE, 0))

    def _pair(self, first: int, second: int) -> NDArray[np.bool_]:
        return self._view(first, (2,), ((second - first) * _LINE,))

    def _view(self, cell: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        return as_strided(self._cells[cell * _LINE :], shape, strides)
