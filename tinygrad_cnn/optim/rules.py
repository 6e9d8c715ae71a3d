"""What update rules are made of: blocks, memory for temporaries, and the pieces that several rules share.

A rule is a function ``rule(temporaries, *arrays, *options)`` that works elementwise. It computes nothing itself, but
says which calls write into `arrays`, one after the other: it yields steps ``(f, *arguments, target)``, which stand for
``f(*arguments, out=target)``. So a thread that takes them needs the interpreter for a moment only between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.kernels.buffers import scratch
from tinygrad_cnn.kernels.elementwise import Step, ready, run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls
from tinygrad_cnn.tensor import Tensor

Array: TypeAlias = np.ndarray[Any, Any]
Rule: TypeAlias = Callable[..., Iterable[Step]]

# Large parameters are updated in blocks of so many elements. All arrays of one update (parameter, gradient, state,
# temporaries) together stay in the second-level cache then, and main memory is passed once per step, not once per
# operation. Every rule is elementwise, so the blocks do not show in the result.
BLOCK = 1 << 17


class Work:
    """The updates of one step: small ones are made at once, large ones at the end, in blocks and threads."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Rule, list[Array], tuple[Any, ...]]] = []

    def add(self, rule: Rule, arrays: tuple[Array, ...], *options: Any) -> None:
        """Take the steps of ``rule(temporaries, *arrays, *options)``, now or in `finish`."""
        p = arrays[0]
        if p.size <= BLOCK:
            run(rule(_temporaries(p), *arrays, *options))
        elif all(array.flags.c_contiguous for array in arrays):
            flat = [array.reshape(-1) for array in arrays]
            for part in balanced(p.size, -(-p.size // BLOCK)):
                self.blocks.append((rule, [array[part] for array in flat], options))
        else:
            run(rule([np.empty_like(p) for _ in range(3)], *arrays, *options))

    def finish(self) -> None:
        """Do what is left to do."""
        if self.blocks:
            blocks, self.blocks = self.blocks, []
            parallel_calls(_calls, blocks)


def _calls(block: tuple[Rule, list[Array], tuple[Any, ...]]) -> list[Call]:
    rule, arrays, options = block
    return [ready(step) for step in rule(_temporaries(arrays[0]), *arrays, *options)]


def _temporaries(p: Array) -> list[Array]:
    """Return three arrays like `p`, of at most `BLOCK` elements, in memory that later updates use again."""
    memory = scratch("update", (3, *p.shape), p.dtype)
    return [memory[0, ...], memory[1, ...], memory[2, ...]]


def moment(state: dict[str, Any], name: str, p: Array, first: float = 0.0) -> Array:
    """Return an array of a parameter's state, in its dtype; when it is first asked for it is filled with `first`."""
    tensor = state.get(name)
    if tensor is None:
        tensor = state[name] = Tensor(np.full_like(p, first) if first else np.zeros_like(p))
    elif tensor.data.dtype != p.dtype:  # the parameter has been converted since
        tensor = state[name] = Tensor(tensor.data.astype(p.dtype))
    array: Array = tensor.data
    return array


def with_decay(temporary: Array, p: Array, g: Array, weight_decay: float) -> Generator[Step, None, Array]:
    """Compute ``g + weight_decay * p``, in `temporary` unless that is just `g`, and return where it is."""
    if weight_decay == 0:
        return g
    yield np.multiply, p, weight_decay, temporary
    yield np.add, temporary, g, temporary
    return temporary


def average(temporary: Array, mean: Array, g: Array, share: float) -> Iterator[Step]:
    """Move a running mean towards `g`: ``mean += share * (g - mean)``."""
    yield np.subtract, g, mean, temporary
    yield np.multiply, temporary, share, temporary
    yield np.add, mean, temporary, mean


def average_square(temporary: Array, mean: Array, g: Array, decay: float) -> Iterator[Step]:
    """Move a running mean of squares: ``mean = decay * mean + (1 - decay) * g**2``."""
    yield np.multiply, g, g, temporary
    yield np.multiply, temporary, 1 - decay, temporary
    yield np.multiply, mean, decay, mean
    yield np.add, mean, temporary, mean
