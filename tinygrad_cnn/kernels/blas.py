"""BLAS held to one thread while the kernels' own threads call it.

A matrix product inside a block must run in that block's thread: two layers of threads fight for the cores, and a BLAS
that has worked with several threads leaves them spinning for tens of milliseconds, which slows everything else 1.4 to
2 times. `threadpoolctl` reaches the setting in whatever BLAS NumPy loaded. The hold is counted, so that threads of
the user may overlap, and the number of threads from before is restored at the end: the user's own products keep all
cores. It costs about 4 µs.

Without `threadpoolctl` nothing is held. Blocks that multiply matrices are then run one after the other and BLAS
threads each product itself: never both layers at once. Everything else is still cut over the pool's threads.

A fork is safe between products. OpenBLAS can hang when one thread forks while another is inside a product, whoever
asked for it; nothing here can help that.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = [
    "LOCKED",
    "SMALL_WORK",
    "dot_products",
    "ones",
    "parallel_blocks",
    "parallel_products",
    "product",
    "single_threaded",
]

Array = NDArray[Any]
Block = TypeVar("Block")

# OpenBLAS itself uses one thread for a product of so many multiplications: nothing to hold, nothing to gain.
SMALL_WORK = 1 << 18
# `numpy.matmul` and `numpy.vecdot` keep the interpreter lock, however long they take, if they have no more results than
# this: a second thread then waits.
LOCKED = 500


class _SingleThreaded:
    """A context manager inside which BLAS has one thread; may be entered any number of times, by any thread."""

    def __init__(self) -> None:
        self._libraries: list[Any] | None = None
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._before: list[tuple[Any, int]] = []

    def _load(self) -> list[Any]:
        try:
            threadpoolctl = importlib.import_module("threadpoolctl")
        except ImportError:
            self._libraries = []
        else:
            found = threadpoolctl.ThreadpoolController().lib_controllers
            self._libraries = [library for library in found if library.user_api == "blas"]
        return self._libraries

    @property
    def available(self) -> bool:
        """Whether BLAS can be held at all."""
        libraries = self._libraries
        return bool(self._load() if libraries is None else libraries)

    def __enter__(self) -> None:
        libraries = self._libraries
        if libraries is None:
            libraries = self._load()
        with self._lock:
            if self._depth == 0:
                self._before = [(library, library.num_threads) for library in libraries]
                for library, number in self._before:
                    if number != 1:
                        _set_num_threads(library, 1)
            self._depth += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._restore()

    def _restore(self) -> None:
        for library, number in self._before:
            if number != 1:
                _set_num_threads(library, number)
        self._before = []

    def after_fork(self) -> None:
        """Undo in a forked child what threads held that do not exist there."""
        self._restore()
        self._reset()


def _set_num_threads(library: Any, number: int) -> None:
    """Set the number of threads of a BLAS library, whatever thread did so before.

    From 3.8 on `threadpoolctl` lets the first thread alone do so, and ignores others silently. Here threads take turns,
    with a lock, and the last to leave is seldom the first that came.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(number)


single_threaded = _SingleThreaded()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded.after_fork)


def parallel_products(plan: Callable[[Block], Iterable[Call]], blocks: list[Block], work: int = SMALL_WORK + 1) -> None:
    """Do what `plan` says for every block, in several threads if BLAS can be held to one thread meanwhile.

    For calls that multiply matrices; see `tinygrad_cnn.kernels.threads.parallel_calls` for the rest. If all blocks
    together multiply at most `SMALL_WORK` numbers (`work` says how many), they just run.
    """
    if work <= SMALL_WORK or not single_threaded.available:
        for block in blocks:
            for call in plan(block):
                call()
        return
    with single_threaded:
        parallel_calls(plan, blocks)


def parallel_blocks(function: Callable[[Block], object], blocks: list[Block], work: int = SMALL_WORK + 1) -> None:
    """Call ``function(block)`` for every block, as `parallel_products`: for what cannot tell its calls beforehand."""
    parallel_products(lambda block: (partial(function, block),), blocks, work)


def product(a: Array, b: Array, out: Array) -> Call:
    """Return the call that multiplies into `out`, as `numpy.matmul` does, and lets other threads run where it can."""
    call = partial(np.matmul, a, b, out=out)
    if out.size > LOCKED:
        return call
    if a.ndim == 3 or b.ndim == 3:
        if out.shape[0] != 1:
            return call
        a, b, out = a[0] if a.ndim == 3 else a, b[0] if b.ndim == 3 else b, out[0]
    simple = all(x.flags.c_contiguous or x.flags.f_contiguous for x in (a, b)) and out.flags.c_contiguous
    return partial(np.dot, a, b, out) if simple else call


def ones(count: int, dtype: np.dtype[Any]) -> Array:
    """Return a vector of ones, whose product with a matrix adds up rows or columns; nobody may write to it."""
    return _ones(1 << (count - 1).bit_length(), dtype)[:count]


@functools.lru_cache(maxsize=64)
def _ones(power: int, dtype: np.dtype[Any]) -> Array:
    """As many as a power of two: sums of a thousand different lengths keep less than four times the longest vector."""
    vector = np.ones(power, dtype)
    vector.flags.writeable = False
    return vector


def dot_products(a: Array, b: Array, out: Array) -> Call:
    """Return the call for the dot products of rows, (..., n) and (..., n) -> (...), likewise."""
    if out.size > LOCKED:
        return partial(np.vecdot, a, b, out=out)
    return partial(np.einsum, "...j,...j->...", a, b, out=out)
