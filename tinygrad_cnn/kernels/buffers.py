"""Large arrays whose memory is used again once nobody sees it.

The system hands out fresh memory page by page, each zeroed at its first touch: filling a fresh 5 MB array takes ten
times as long as filling one whose pages are there. A training step makes the same large arrays over and over, so the
memory of an array that has died is kept and given to the next one that needs about as much.

Memory comes back when Python frees the array and the last of its views: every array handed out has as its base, or
its base's base, a `_Block`, whose finaliser returns the memory. This is the very moment at which NumPy would have
freed it, so reuse is visible only to code that would also have read freed memory: a raw address (``array.ctypes.data``,
``__array_interface__``) kept longer than the array.

What is kept is bounded (`LIMIT` bytes; what has long been unused goes first), and arrays below `SMALLEST` bytes come
from NumPy as always.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["choose_scratch", "empty", "empty_channels_last", "release", "scratch", "sole_view"]

SMALLEST = 1 << 17
LIMIT = 1 << 30

_ALIGNMENT = 64
# A thread keeps its scratch memory until it ends. Blocks are smaller than this, unless a single image is huge.
_LARGEST_SCRATCH = 1 << 25


class _Memory:
    """Aligned bytes, and where they are."""

    __slots__ = ("address", "bytes", "size")

    def __init__(self, size: int) -> None:
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        address = memory.__array_interface__["data"][0]
        start = -address % _ALIGNMENT
        self.size = size
        self.bytes = memory[start : start + size]
        self.address = address + start


class _Store:
    """Memory that is free to be used again, by size, the size that has not come back for longest first."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        # Finalisers may run at any moment, also in a thread that is inside `take`. So they only append to a deque,
        # which is atomic, and tidy up if nobody else is doing so.
        self._returned: deque[_Memory] = deque()
        self._free: dict[int, list[_Memory]] = {}
        self._total = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> _Memory:
        """Return memory of at least `size` bytes and at most a quarter more."""
        with self._lock:
            self._collect()
            if size not in self._free:
                found = next((other for other in reversed(self._free) if size <= other <= size + size // 4), None)
                if found is None:
                    return _Memory(size)
                size = found
            return self._remove(size, -1)

    def put(self, memory: _Memory) -> None:
        self._returned.append(memory)
        if self._lock.acquire(blocking=False):
            try:
                self._collect()
            finally:
                self._lock.release()

    def clear(self) -> None:
        with self._lock:
            self._collect()
            self._free.clear()
            self._total = 0

    def _collect(self) -> None:
        while self._returned:
            memory = self._returned.popleft()
            alike = self._free.pop(memory.size, [])
            alike.append(memory)
            self._free[memory.size] = alike
            self._total += memory.size
        while self._total > LIMIT:
            self._remove(next(iter(self._free)), 0)

    def _remove(self, size: int, index: int) -> _Memory:
        alike = self._free[size]
        if len(alike) == 1:
            del self._free[size]
        self._total -= size
        return alike.pop(index)


class _Block:
    """Memory on loan; goes back to the store when the last array that sees it is gone."""

    __slots__ = ("__array_interface__", "_memory", "_store")

    def __init__(self, store: _Store, nbytes: int) -> None:
        self._store = store
        self._memory = store.take(nbytes)
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (self._memory.address, False),
        }

    def __del__(self) -> None:
        self._store.put(self._memory)


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.sets: dict[int, dict[str, NDArray[np.uint8]]] = {}
        self.memory = self.sets.setdefault(0, {})


_store = _Store()
_scratch = _Scratch()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_store._reset)


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return an uninitialised C-contiguous array, in memory that was used before where there is some.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype, default float32
        Any dtype that holds no Python objects.
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST or dtype.hasobject:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, np.asarray(_Block(_store, nbytes)))


def empty_channels_last(shape: tuple[int, int, int, int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return an uninitialised (N, C, H, W) array that is a view of contiguous (N, H, W, C) memory."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def sole_view(array: NDArray[Any]) -> bool:
    """Whether the array is all of some reused memory, and no other array looks at that."""
    if _references(array) != _SOLE_VIEW:
        return False
    memory = array.base
    return isinstance(memory, np.ndarray) and isinstance(memory.base, _Block) and memory.nbytes == array.nbytes


def _references(array: NDArray[Any]) -> int:
    memory = array.base
    return sys.getrefcount(memory)


# What it says of memory that a single array looks at (it differs between Pythons).
_SOLE_VIEW = _references(empty((SMALLEST,), np.uint8))


def choose_scratch(number: int) -> None:
    """Let `scratch`, in this thread, hand out memory of set `number` from now on; 0 is the usual one.

    A thread that prepares work for others gives each of them a set.
    """
    _scratch.memory = _scratch.sets.setdefault(number, {})


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array for use inside one block of work.

    It belongs to the calling thread, and to the set that `choose_scratch` chose, and is overwritten by the thread's
    next call with the same name: it must not leave the kernel that asked for it.
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > _LARGEST_SCRATCH:
        return empty(shape, dtype)
    memory = _scratch.memory.get(name)
    if memory is None or memory.size < nbytes:
        memory = _scratch.memory[name] = _Memory(nbytes).bytes
    return np.ndarray(shape, dtype, memory)


def release() -> None:
    """Give the memory that is kept for reuse back to the system."""
    _store.clear()
