"""Padding: with a value; with what is inside, mirrored, the edge repeated, or around the other side; and the adjoints.

What is inside is repeated one dimension after the other: the borders along it are copied from the array itself, corners
included. The adjoint goes back in the opposite order and adds each border to what it repeats. The dimension that is
contiguous in memory comes last, when all others are complete: then a column of a border is one evenly spaced run
through all of memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import empty_like, memory_order, scratch_like
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = ["fold", "pad", "surround"]

Array = NDArray[Any]
Widths = tuple[tuple[int, int], ...]
Index = tuple[slice, ...]

# Elements of a block: enough for a thread, few enough to be in cache when the borders are made.
_BLOCK = 1 << 19
# The same where there is nothing to do but copy.
_COPIED = 1 << 19
# Columns of a border, so few that each is better copied on its own.
_FEW = 16


def _borders(mode: str, size: int, before: int, after: int) -> Iterator[tuple[slice, slice]]:
    """Where the borders along a dimension are, and what they repeat."""
    start, stop = before, before + size  # of the inner part
    if mode == "reflect":
        sources = slice(start + before, start, -1), slice(stop - 2, stop - 2 - after, -1)
    elif mode == "replicate":
        sources = slice(start, start + 1), slice(stop - 1, stop)
    else:
        sources = slice(stop - before, stop), slice(start, start + after)
    if before:
        yield slice(0, before), sources[0]
    if after:
        # A slice that runs down to index 0 has no end that could be written as a number.
        source = sources[1]
        yield slice(stop, stop + after), slice(source.start, None, -1) if source.stop == -1 else source


def _inner(shape: tuple[int, ...], widths: Widths) -> list[slice]:
    """The index of the inner part of the padded array; all of a dimension that isn't padded."""
    return [slice(before, before + n) if before else slice(n) for n, (before, _) in zip(shape, widths, strict=True)]


def _columns(border: slice, source: slice) -> Iterator[tuple[slice, slice]]:
    """Take a border apart into columns, and what it repeats."""
    step = 0 if source.stop == source.start + 1 else source.step or 1
    for number, column in enumerate(range(border.start, border.stop)):
        place = source.start + number * step
        yield slice(column, column + 1), slice(place, place + 1)


@lru_cache(maxsize=64)
def _steps(shape: tuple[int, ...], widths: Widths, mode: str, order: tuple[int, ...]) -> list[tuple[int, Index, Index]]:
    """Dimension, border and what it repeats, in the order in which borders are made; `order` is that of memory."""
    steps = []
    index = _inner(shape, widths)
    *others, contiguous = order
    for axis in (*reversed(others), contiguous):
        pairs = list(_borders(mode, shape[axis], *widths[axis]))
        if axis == contiguous and sum(widths[axis]) <= _FEW:
            pairs = [column for pair in pairs for column in _columns(*pair)]
        for pair in pairs:
            border, source = ((*index[:axis], part, *index[axis + 1 :]) for part in pair)
            steps.append((axis, border, source))
        index[axis] = slice(None)
    return steps


def _blocks(shape: tuple[int, ...], widths: Widths, block: int) -> list[slice]:
    """Slices along the first dimension, if that is not padded."""
    return [slice(None)] if any(widths[0]) else balanced(shape[0], -(-math.prod(shape) // block))


def surround(x: Array, widths: Widths, value: float) -> Array:
    """Return `x` with borders that have a value; a negative width crops."""
    if x.ndim == 0:
        return x.copy()
    shape = tuple(n + sum(pair) for n, pair in zip(x.shape, widths, strict=True))
    out = empty_like(x, shape=shape)
    inner, taken = (
        tuple(
            slice(max(sign * before, 0), n - max(sign * after, 0))
            for n, (before, after) in zip(sizes, widths, strict=True)
        )
        for sign, sizes in ((1, shape), (-1, x.shape))
    )
    source, target = x[taken], out[inner]
    grows = target.shape != shape

    def plan(part: slice) -> list[Call]:
        copy = partial(np.copyto, target[part], source[part])
        return [partial(out[part].fill, value), copy] if grows else [copy]

    parallel_calls(plan, _blocks(shape, widths, _COPIED))
    return out


def pad(x: Array, widths: Widths, mode: str) -> Array:
    """Return `x` with borders.

    Parameters
    ----------
    x : array
    widths : a pair of ints from 0 on for each dimension, before and after it
    mode : "reflect", "replicate" or "circular"
    """
    out = empty_like(x, shape=tuple(n + sum(pair) for n, pair in zip(x.shape, widths, strict=True)))
    inner, steps = tuple(_inner(x.shape, widths)), _steps(x.shape, widths, mode, tuple(memory_order(out)))

    def plan(part: slice) -> list[Call]:
        target = out[part]
        borders = [partial(np.copyto, target[border], target[source]) for _, border, source in steps]
        return [partial(np.copyto, target[inner], x[part]), *borders]

    parallel_calls(plan, _blocks(out.shape, widths, _BLOCK))
    return out


def fold(g: Array, widths: Widths, mode: str) -> Array:
    """Return the adjoint of `pad`: the inner part of `g`, with each border added to what it repeats."""
    shape = tuple(n - sum(pair) for n, pair in zip(g.shape, widths, strict=True))
    out = empty_like(g, shape=shape)
    inner, steps = tuple(_inner(shape, widths)), _steps(shape, widths, mode, tuple(memory_order(g)))

    def plan(part: slice) -> Iterator[Call]:
        work = scratch_like("fold", g[part], 1)[0]
        yield partial(np.copyto, work, g[part])
        for axis, border, source in reversed(steps):
            added, target = work[border], work[source]
            if mode == "replicate" and added.shape[axis] > 1:
                total = np.empty_like(target)
                yield partial(np.add.reduce, added, axis=axis, keepdims=True, out=total)
                added = total
            yield partial(np.add, target, added, out=target)
        yield partial(np.copyto, out[part], work[inner])

    parallel_calls(plan, _blocks(g.shape, widths, _BLOCK))
    return out
