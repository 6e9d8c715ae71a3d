"""What update rules are made of: blocks, memory for temporaries, and the pieces that several rules share.

A rule is a function ``rule(temporaries, *arrays, *options)`` that works elementwise and writes into `arrays`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import parallel_calls
from tinygrad_cnn.tensor import Tensor

Array: TypeAlias = np.ndarray[Any, Any]

# Large parameters are updated in blocks of so many elements. All arrays of one update (parameter, gradient, state,
# temporaries) together stay in the second-level cache then, and main memory is passed once per step, not once per
# operation. Every rule is elementwise, so the blocks do not show in the result.
BLOCK = 1 << 17


class Block:
    """A rule and the pieces of the arrays that it is still to be applied to."""

    __slots__ = ("arrays", "options", "rule")

    def __init__(self, rule: Callable[..., None], arrays: list[Array], options: tuple[Any, ...]) -> None:
        self.rule = rule
        self.arrays = arrays
        self.options = options

    def run(self) -> None:
        """Apply it."""
        p = self.arrays[0]
        self.rule(temporaries(p.shape, p.dtype), *self.arrays, *self.options)


class Work:
    """The updates of one step: small ones are made at once, large ones at the end, in blocks and threads."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def add(self, rule: Callable[..., None], arrays: tuple[Array, ...], *options: Any) -> None:
        """Call ``rule(temporaries, *arrays, *options)``, now or in `finish`."""
        p = arrays[0]
        if p.size <= BLOCK:
            rule(temporaries(p.shape, p.dtype), *arrays, *options)
        elif all(array.flags.c_contiguous for array in arrays):
            flat = [array.reshape(-1) for array in arrays]
            for part in balanced(p.size, -(-p.size // BLOCK)):
                self.blocks.append(Block(rule, [array[part] for array in flat], options))
        else:
            rule([np.empty_like(p) for _ in range(3)], *arrays, *options)

    def finish(self) -> None:
        """Do what is left to do."""
        if self.blocks:
            blocks, self.blocks = self.blocks, []
            parallel_calls(lambda block: [block.run], blocks)


class _Temporaries(threading.local):
    """Memory that rules reuse from step to step, in each thread: fresh memory costs a page fault every 4 kB."""

    def __init__(self) -> None:
        self.memory: dict[int, Array] = {}
        self.views: dict[tuple[tuple[int, ...], int], list[Array]] = {}


_local = _Temporaries()


def temporaries(shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[Array]:
    """Return three arrays of at most `BLOCK` elements, with arbitrary values, that belong to this thread."""
    number = dtype.num  # hashes many times faster than the dtype itself
    views = _local.views.get((shape, number))
    if views is None:
        if number not in _local.memory:
            _local.memory[number] = np.empty((3, BLOCK), dtype)
        views = [row[: math.prod(shape)].reshape(shape) for row in _local.memory[number]]
        _local.views[shape, number] = views
    return views


def moment(state: dict[str, Any], name: str, p: Array, first: float = 0.0) -> Array:
    """Return an array of a parameter's state; when it is first asked for it is filled with `first`."""
    tensor = state.get(name)
    if tensor is None:
        tensor = state[name] = Tensor(np.full_like(p, first) if first else np.zeros_like(p))
    array: Array = tensor.data
    return array


def with_decay(temporary: Array, p: Array, g: Array, weight_decay: float) -> Array:
    """Return ``g + weight_decay * p``, in `temporary` unless that is just `g`."""
    if weight_decay == 0:
        return g
    np.multiply(p, weight_decay, out=temporary)
    return np.add(temporary, g, out=temporary)


def average(temporary: Array, mean: Array, g: Array, share: float) -> None:
    """Move a running mean towards `g`: ``mean += share * (g - mean)``."""
    np.subtract(g, mean, out=temporary)
    np.multiply(temporary, share, out=temporary)
    np.add(mean, temporary, out=mean)


def average_square(temporary: Array, mean: Array, g: Array, decay: float) -> None:
    """Move a running mean of squares: ``mean = decay * mean + (1 - decay) * g**2``."""
    np.multiply(g, g, out=temporary)
    np.multiply(temporary, 1 - decay, out=temporary)
    np.multiply(mean, decay, out=mean)
    np.add(mean, temporary, out=mean)
