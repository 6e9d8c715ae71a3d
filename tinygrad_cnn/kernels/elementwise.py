"""Elementwise operations over large arrays: in blocks that stay in cache, in threads, into reused memory.

An operation on a small array is a plain NumPy call. A large one is cut into blocks along its slowest axis in memory.
Layouts are kept: the result of channels-last arrays is channels last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy import asarray, ndarray
from numpy.typing import NDArray

from tinygrad_cnn.kernels import buffers
from tinygrad_cnn.kernels.buffers import SMALLEST
from tinygrad_cnn.kernels.runs import LONG_RUN, run_by_run
from tinygrad_cnn.kernels.shapes import balanced
from tinygrad_cnn.kernels.threads import Call, parallel_calls

__all__ = [
    "BITS",
    "Step",
    "apply",
    "blockwise",
    "blockwise_pair",
    "blockwise_sum",
    "choice",
    "empty_like",
    "flat",
    "limited",
    "masked",
    "memory_order",
    "number",
    "ready",
    "relu",
    "relu_grad",
    "repeats_in_runs",
    "run",
    "scratch_like",
    "select",
    "selection",
    "slices",
    "where",
]

Array = NDArray[Any]
# A function, its arguments, and where its result goes; or a call that knows all that.
Step = tuple[Any, ...] | Call

# Elements: below, an operation takes less time than a second thread takes to join.
_LARGE = 3 << 16
# Elements of a block, for several operations in turn, whose blocks should stay in cache ...
_BLOCK = 1 << 19
# ... and for a single one, which should not be interrupted.
_LONG_BLOCK = 1 << 20
# Of a function of several steps, whose temporaries are to stay in the cache too; half as many in double precision. The
# second thread helps from half a block on.
_STEPS_BLOCK = 1 << 18
# Of one that adds up what the steps yield.
_SUM_BLOCK = 1 << 17
# These take as long as some three additions.
_SLOW = frozenset((np.exp, np.log, np.log1p, np.expm1, np.sin, np.cos, np.tanh, np.power, np.sign))
# Below, the plainest NumPy call is the fastest.
_MIDDLE = 1 << 11
# Elements of a run from which on it does not matter that the next one takes the same operand again.
_WIDE = 1 << 10

# Functions that are not simply told by position where the result goes; see `_call`.
_PECULIAR = frozenset((np.maximum, np.minimum, np.clip))

BITS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def memory_order(x: Array) -> tuple[int, ...]:
    """Return the axes of `x` from the slowest to the fastest in memory."""
    return tuple(range(x.ndim)) if x.flags.c_contiguous else _orders(x.strides)[0]


@lru_cache(maxsize=512)
def _orders(strides: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The axes from the slowest to the fastest; where each axis stands among them; and where behind another axis."""
    order = sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))
    place = [order.index(axis) for axis in range(len(order))]
    return tuple(order), tuple(place), (0, *[1 + axis for axis in place])


def empty_like(x: Array, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
    """Return an uninitialised array with the order of axes of `x`, in reused memory; shape and dtype default to its."""
    dtype = x.dtype if dtype is None else dtype
    shape = x.shape if shape is None else shape
    if x.flags.c_contiguous:
        return buffers.empty(shape, dtype)
    order, place, _ = _orders(x.strides)
    return buffers.empty(tuple([shape[axis] for axis in order]), dtype).transpose(place)


def flat(x: Array) -> Array:
    """Return the elements of `x` as a vector, in the order of memory: a view if there are no gaps between them."""
    return x.transpose(memory_order(x)).reshape(-1)


def scratch_like(name: str, x: Array, count: int, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
    """Return scratch memory for `count` arrays with the order of axes of `x`: (count, *shape)."""
    dtype = x.dtype if dtype is None else dtype
    shape = x.shape if shape is None else shape
    if x.flags.c_contiguous:
        return buffers.scratch(name, (count, *shape), dtype)
    order, _, place = _orders(x.strides)
    return buffers.scratch(name, (count, *[shape[axis] for axis in order]), dtype).transpose(place)


def slices(x: Array, size: int = _BLOCK) -> list[tuple[slice, ...]]:
    """Cut `x` along its slowest long axis into blocks of about `size` elements, at least two: a list of indices."""
    return list(_slices(x.shape, memory_order(x), size))


@lru_cache(maxsize=512)
def _slices(shape: tuple[int, ...], order: tuple[int, ...], size: int) -> list[tuple[slice, ...]]:
    axis = next((axis for axis in order if shape[axis] > 1), order[0])
    before = (slice(None),) * axis
    return [(*before, part) for part in balanced(shape[axis], max(2, -(-math.prod(shape) // size)))]


def apply(function: np.ufunc, *operands: Any) -> Array:
    """Return ``function(*operands)``: large results in reused memory, from blocks that share the threads.

    The operands are arrays that broadcast, or numbers. The result is laid out like the first one that has its shape.
    """
    for x in operands:
        if type(x) is ndarray and x.nbytes >= SMALLEST:
            break
    else:  # the plainest NumPy call is the fastest
        return asarray(function(*operands))
    arrays = [x for x in operands if type(x) is np.ndarray]
    shape = arrays[0].shape
    alike = all(x.shape == shape for x in arrays)
    if not alike:
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
    first = next((x for x in arrays if x.shape == shape), None)
    if first is None:
        return np.asarray(function(*operands))
    kinds = [x.dtype if isinstance(x, (np.ndarray, np.generic)) else type(x) for x in operands]
    out = empty_like(first, function.resolve_dtypes((*kinds, None))[-1])
    repeats = not alike and any(repeats_in_runs(x, out) for x in arrays)
    if not alike and not repeats:
        operands = tuple(_written_out(x, out) if type(x) is np.ndarray else x for x in operands)
    if out.size * (len(arrays) + 1 + 2 * (function in _SLOW)) < 2 * _LARGE:
        with run_by_run() if repeats else nullcontext():
            _call(function, *operands, out)()
        return out
    each = operands if alike else [np.broadcast_to(x, shape) if type(x) is np.ndarray else x for x in operands]
    with run_by_run() if repeats else nullcontext():
        parallel_calls(
            lambda part: [_call(function, *(_part(x, part) for x in each), out[part])], slices(out, _LONG_BLOCK)
        )
    return out


def _part(x: Any, part: tuple[slice, ...]) -> Any:
    return x[part] if isinstance(x, np.ndarray) and x.ndim else x


def repeats_in_runs(x: Array, out: Array) -> bool:
    """Whether long runs of `out` in memory take one element of `x`, which broadcasts to it, again and again."""
    run = 1
    for axis in reversed(memory_order(out)):
        place = axis - out.ndim + x.ndim
        if place >= 0 and x.shape[place] != 1:
            break
        run *= out.shape[axis]
    return LONG_RUN <= run < out.size


def _written_out(x: Array, out: Array) -> Array:
    """Return an operand that repeats every few elements of `out` in memory written out, so that it has long runs.

    If that would take a large part of all, it is returned as it is.
    """
    if x.size == 1:
        return x
    shape = [1] * (out.ndim - x.ndim) + list(x.shape)
    before = tuple(shape)
    run = 1
    for axis in reversed(memory_order(out)):
        if run < _WIDE:
            run *= out.shape[axis]
            shape[axis] = out.shape[axis]
    if tuple(shape) == before or 4 * math.prod(shape) > out.size:
        return x
    tile = empty_like(out, x.dtype, tuple(shape))
    np.copyto(tile, x)
    return tile


@lru_cache(maxsize=512)
def _cached_number(value: float, dtype: np.dtype[Any], negative: bool) -> Array:
    array = np.array(value, dtype)
    array.flags.writeable = False
    return array


def number(value: float, dtype: np.dtype[Any]) -> Array:
    """Return a number as a 0-d array, which a ufunc takes in half the time that it needs for a Python number.

    What a call spends in the interpreter counts twice: another thread may be waiting for it.
    """
    return _cached_number(value, dtype, value == 0 and math.copysign(1, value) < 0)


def ready(step: Step) -> Call:
    """Return a step of a function as a call without arguments."""
    if not isinstance(step, tuple):
        return step
    function, *arguments = step
    kinds = [*map(type, arguments)]
    if float in kinds or int in kinds:
        dtype = arguments[kinds.index(ndarray)].dtype
        arguments = [
            number(x, dtype) if kind is float or kind is int else x for x, kind in zip(arguments, kinds, strict=True)
        ]
    return _call(function, *arguments) if function in _PECULIAR else partial(function, *arguments)


def run(steps: Iterable[Step]) -> None:
    """Take the steps of a function, one after the other, at once."""
    for step in steps:
        if type(step) is tuple and step[0] not in _PECULIAR:
            step[0](*step[1:])
        else:
            ready(step)()


def _call(function: Callable[..., object], *arguments: Any) -> Call:
    """Return the call that writes into the last argument; by position, which is faster, where NumPy lets us."""
    if function is np.maximum or function is np.minimum:
        return partial(function, *arguments[:-1], out=arguments[-1])
    if function is np.clip:
        return partial(arguments[0].clip, *arguments[1:])  # the method does less in Python than the function
    return partial(function, *arguments)


def blockwise(function: Callable[..., Iterable[Step]], *arrays: Any, **parameters: Any) -> Array:
    """Return what the steps of ``function(*arrays, out, **parameters)`` write into `out`, an array like the last one.

    The function is elementwise: it writes nothing itself, but says which calls do, one after the other. On large arrays
    each block stays in the cache from the first step to the last, and the blocks share the threads. Half precision is
    computed in single and rounded once. A step may rely on ``exp(large) == inf``: overflow is no matter for a warning
    here.

    Parameters
    ----------
    function : callable
        Yields steps ``(f, *arguments, target)``, which stand for ``f(*arguments, out=target)``, or calls without
        arguments. It must not look at the values of `out`, nor at those of scratch memory.
    *arrays : array
        Of one floating dtype, and of shapes that broadcast to that of the last.
    **parameters
        Handed on.
    """
    return _blockwise(1, function, arrays, parameters)[0]


def blockwise_pair(function: Callable[..., Iterable[Step]], *arrays: Any, **parameters: Any) -> tuple[Array, Array]:
    """As `blockwise`, for the steps of ``function(*arrays, out, other, **parameters)``, which write into both."""
    out, other = _blockwise(2, function, arrays, parameters)
    return out, other


def blockwise_sum(function: Callable[..., Iterable[Step]], *arrays: Array, **parameters: Any) -> Any:
    """Return the sum of what `blockwise` would, for arrays of one shape; it is never written to memory as a whole."""
    order = memory_order(arrays[-1])
    vectors = [x.transpose(order).reshape(-1) for x in arrays]
    size, dtype = vectors[-1].size, vectors[-1].dtype
    parts = balanced(size, -(-size // _SUM_BLOCK))
    totals = np.empty(len(parts), dtype)

    def plan(block: tuple[int, slice]) -> list[Call]:
        index, part = block
        given = [x[part] for x in vectors]
        terms = buffers.scratch("terms", given[-1].shape, dtype)
        calls = [ready(step) for step in function(*given, terms, **parameters)]
        return [*calls, partial(np.add.reduce, terms, out=totals[index, ...])]

    with np.errstate(over="ignore"):
        parallel_calls(plan, list(enumerate(parts)))
    return np.add.reduce(totals)


def _blockwise(
    count: int, function: Callable[..., Iterable[Step]], arrays: tuple[Any, ...], parameters: dict[str, Any]
) -> list[Array]:
    last = np.asarray(arrays[-1])
    if last.dtype == np.float16:
        wide = _blockwise(count, function, tuple(x.astype(np.float32) for x in arrays), parameters)
        return [out.astype(np.float16) for out in wide]
    if last.ndim == 0:  # of which NumPy would make scalars, which cannot be written to
        flat = _blockwise(count, function, tuple(np.reshape(x, 1) for x in arrays), parameters)
        return [out.reshape(()) for out in flat]
    outs = [empty_like(last) for _ in range(count)]
    with np.errstate(over="ignore"):
        block = _STEPS_BLOCK * 4 // last.itemsize
        if last.size < block // 2:
            run(function(*arrays, *outs, **parameters))
            return outs
        inputs, targets = _operands(arrays, outs)

        def plan(part: tuple[slice, ...]) -> list[Call]:
            given = (_part(x, part) for x in inputs)
            return [ready(step) for step in function(*given, *(out[part] for out in targets), **parameters)]

        parallel_calls(plan, slices(targets[0], block))
    return outs


def _operands(arrays: tuple[Any, ...], outs: list[Array]) -> tuple[list[Any], list[Array]]:
    """The operands of blocks: as vectors if all lie alike in memory, since NumPy is called faster with these."""
    like = outs[0]
    if all(np.ndim(x) == 0 or (x.shape == like.shape and x.strides == like.strides) for x in arrays):
        return [flat(x) if np.ndim(x) else x for x in arrays], [flat(out) for out in outs]
    shape = like.shape
    return [np.broadcast_to(x, shape) if np.ndim(x) and x.shape != shape else x for x in arrays], outs


def limited(x: Array, low: float, high: float) -> Array:
    """Return `x`, of a floating dtype, limited to ``[low, high]``; NaN stays NaN."""
    if x.size < _MIDDLE:
        return np.asarray(np.clip(x, low, high))
    out = empty_like(x)
    bounds = number(low, x.dtype), number(high, x.dtype)
    if x.size < _LARGE:
        x.clip(*bounds, out)
    else:
        parallel_calls(lambda part: [partial(x[part].clip, *bounds, out[part])], slices(x, _LONG_BLOCK))
    return out


def relu(x: Array) -> Array:
    """Return ``max(x, 0)``, elementwise; NaN stays NaN."""
    if x.size < _MIDDLE:
        return asarray(np.maximum(x, 0))
    if x.dtype.kind != "f":
        return apply(np.maximum, x, 0)
    return limited(x, 0, np.inf)  # faster than `maximum`


def relu_grad(g: Array, y: Array) -> Array:
    """Return `g` where ``y > 0`` and 0 elsewhere: the gradient of `relu` from its output.

    The selection is exact: where ``y <= 0`` the result is 0 even if `g` is infinite or NaN.
    """
    if g.size < _MIDDLE or g.shape != y.shape:
        zero = number(0, g.dtype)
        return np.where(y > zero, g, zero)
    out = empty_like(y, g.dtype)

    def plan(part: tuple[slice, ...]) -> list[Call]:
        keep = scratch_like("keep", y[part], 1, bool)[0]
        return [partial(np.greater, y[part], number(0, y.dtype), keep), *selection(keep, g[part], out[part])]

    blocks: list[tuple[slice, ...]] = slices(y, _LONG_BLOCK) if g.size >= _LARGE else [()]
    parallel_calls(plan, blocks)
    return out


def select(keep: Array, values: Array, out: Array) -> None:
    """Write `values` where `keep` is true, and 0 elsewhere, into `out`; see `selection`."""
    for call in selection(keep, values, out):
        call()


def selection(keep: Array, values: Array, out: Array) -> list[Call]:
    """Return the calls that write `values` where `keep` is true, and 0 elsewhere, into `out`.

    The bits of a number times 1 are the number, times 0 they are 0. Widening the booleans and multiplying integers is
    several times as fast as `where` and masked assignment, and exact for infinity and NaN, which multiplying floats
    is not. Beside `out`, which may be any view, the arrays are best laid out alike and without gaps.
    """
    bits = BITS.get(out.dtype.itemsize)
    if bits is None or values.dtype != out.dtype:
        return [partial(np.copyto, out, 0), partial(np.copyto, out, values, where=keep)]
    target = out.view(bits)
    if keep.strides == tuple([stride // out.itemsize for stride in out.strides]):  # NumPy widens as it goes
        if values.strides == out.strides:
            return [partial(np.multiply, values.view(bits), keep.view(np.int8), target)]
        return [partial(np.copyto, out, values), partial(np.multiply, target, keep.view(np.int8), target)]
    pattern = scratch_like("pattern", keep, 1, bits)[0]
    return [
        partial(np.copyto, pattern, keep.view(np.int8)),
        partial(np.multiply, values.view(bits), pattern, target),
    ]


def masked(x: Array, keep: Array) -> Array:
    """Return `x` where the booleans `keep`, one for each element of its last dimensions, are true, and 0 elsewhere."""
    out = empty_like(x)
    bits = BITS.get(x.dtype.itemsize)
    if bits is None:
        out[...] = np.where(keep, x, x.dtype.type(0))
        return out
    # All ones where it is true: one pattern for every matrix of a batch.
    pattern = empty_like(keep, bits)
    np.negative(keep.view(np.int8), out=pattern, dtype=bits)
    source, target = x.view(bits), out.view(bits)
    if x.size < _LARGE:
        np.bitwise_and(source, pattern, out=target)
    else:
        each = np.broadcast_to(pattern, x.shape)
        parallel_calls(lambda part: [partial(np.bitwise_and, source[part], each[part], out=target[part])], slices(out))
    return out


def choice(keep: Array, a: Any, b: Any, out: Array) -> list[Call]:
    """Return the calls that write `a` where `keep` is true, and `b` elsewhere, into `out`, which may be `b`.

    Both may be numbers. The bits are ``b ^ (a ^ b) * keep``, as in `selection`: unlike `where` this does not branch,
    so random masks cost no more than others, and the choice is exact.
    """
    bits = BITS.get(out.dtype.itemsize)
    if bits is None:
        return [lambda: np.copyto(out, np.where(keep, a, b))]
    first, second = (np.asarray(x, out.dtype).view(bits) for x in (a, b))
    pattern = scratch_like("pattern", keep, 1, bits)[0]
    calls: list[Call] = [partial(np.copyto, pattern, keep.view(np.int8))]
    if first.ndim or second.ndim:
        difference = scratch_like("difference", keep, 1, bits)[0]
        calls.append(partial(np.bitwise_xor, first, second, difference))
    else:
        difference = first ^ second
    calls.append(partial(np.multiply, pattern, difference, pattern))
    calls.append(partial(np.bitwise_xor, pattern, second, out.view(bits)))
    return calls


def where(condition: Array, a: Any, b: Any) -> Array:
    """As `numpy.where`, faster on large arrays."""
    shape = condition.shape
    if condition.size < _LARGE or np.broadcast_shapes(shape, np.shape(a), np.shape(b)) != shape:
        return np.where(condition, a, b)
    out = empty_like(condition, np.result_type(a, b))
    first, second = (np.asarray(x, out.dtype) for x in (a, b))
    first, second = (np.broadcast_to(x, shape) if x.ndim else x for x in (first, second))

    def plan(part: tuple[slice, ...]) -> list[Call]:
        values, others = (x[part] if x.ndim else x for x in (first, second))
        return choice(condition[part], values, others, out[part])

    parallel_calls(plan, slices(condition, _STEPS_BLOCK))
    return out
