"""Everything that a primitive promises, checked at one call or at calls drawn by a strategy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Primitive, grad
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.testing.calls import LAYOUTS, Call, laid_out
from tinygrad_cnn.testing.differences import outputs_of
from tinygrad_cnn.testing.gradients import gradcheck, gradgradcheck

__all__ = ["check_arrays", "check_call"]

# Central differences in float64 with a step of 1e-6 are good to some nine digits.
_ATOL, _RTOL = 1e-6, 1e-5


def check_call(
    function: Callable[..., Any], call: Call | tuple[Any, ...] | Tensor, reference: Callable[..., Any] | None = None
) -> None:
    """Check a differentiable function, a primitive or a composition of them, at one call.

    The tensors in `call` that require a gradient are differentiated; they are float64, away from kinks and ties.

    - The value is that of `reference`.
    - A primitive gives arrays for arrays, and the same ones.
    - First and second derivatives agree with central differences.
    - Inputs are not written to.
    - Other memory layouts of inputs and cotangents change nothing.
    - A float32 call gives float32 values and gradients, close to those of float64.
    - If an input broadcasts, its gradient is the sum of the gradients of the broadcast one.
    - Each gradient is the same if it is the only one that is needed, and VJPs for the others then do not run.

    Parameters
    ----------
    function : callable
    call : Call, tuple or tensor
        The arguments: a `Call`, a tuple of positional ones, or a single tensor.
    reference : callable, optional
        The definition in plain NumPy: takes the same arguments, with arrays for tensors.

    Raises
    ------
    AssertionError
        If the value, the dtype, a layout or another promise fails.
    GradcheckError
        If a derivative is wrong.
    """
    call = _as_call(call).map(_read_only)
    if reference is not None:
        _check_value(function, call, reference)
    if isinstance(function, Primitive):
        check_arrays(function, call)
    active = [x for x in call.tensors() if x.requires_grad]
    if not active or not outputs_of(call.of(function)):
        return
    at = _in_place_of(function, call)
    gradcheck(at, active, atol=_ATOL, rtol=_RTOL, fast_mode=True)
    gradgradcheck(at, active, atol=_ATOL, rtol=_RTOL, fast_mode=True)
    cotangents = _cotangents(function, call)
    expected = _gradients(function, call, cotangents)
    _check_layouts(function, call, cotangents, expected)
    _check_float32(function, call, cotangents, expected)
    _check_alone(function, call, cotangents, expected)
    _check_broadcasting(function, call, cotangents)


def _as_call(arguments: Any) -> Call:
    if isinstance(arguments, Call):
        return arguments
    return Call(*arguments) if isinstance(arguments, tuple) else Call(arguments)


def _read_only(x: Any) -> Any:
    """A leaf, or an array, that nobody can write into."""
    array = (x.data if isinstance(x, Tensor) else x).view()
    array.flags.writeable = False
    return Tensor(array, x.requires_grad) if isinstance(x, Tensor) else array


def _in_place_of(function: Callable[..., Any], call: Call) -> Callable[..., Any]:
    """The function of the active tensors alone."""
    positions = [i for i, x in enumerate(call.tensors()) if x.requires_grad]

    def at(*active: Tensor) -> Any:
        tensors = call.tensors()
        for position, x in zip(positions, active, strict=True):
            tensors[position] = x
        return call.with_tensors(tensors).of(function)

    return at


def _arrays(result: Any) -> list[np.ndarray]:
    """The values of a tensor, an array, a number, or of several of them."""
    several = result if isinstance(result, (tuple, list)) else (result,)
    return [x.data if isinstance(x, Tensor) else np.asarray(x) for x in several]


def _cotangents(function: Callable[..., Any], call: Call) -> list[np.ndarray]:
    draws = np.random.default_rng(4)
    return [draws.uniform(0.5, 1.5, y.shape).astype(y.dtype) for y in outputs_of(call.of(function)) if y.requires_grad]


def _gradients(function: Callable[..., Any], call: Call, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The gradients of the active tensors; zero for those that nothing depends on."""
    active = [x for x in call.tensors() if x.requires_grad]
    outputs = [y for y in outputs_of(call.of(function)) if y.requires_grad]
    if not outputs:
        return [np.zeros(x.shape, x.dtype) for x in active]
    found = grad(outputs, active, [Tensor(g) for g in cotangents], allow_unused=True)
    return [np.zeros(x.shape, x.dtype) if g is None else g.data for x, g in zip(active, found, strict=True)]


def _same(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-9) -> bool:
    if actual.shape != expected.shape:
        return False
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, float(finite.max(initial=0))) if expected.dtype.kind == "f" else 1.0
    return bool(np.allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


def _require(holds: bool, statement: str, actual: Any, expected: Any) -> None:
    if not holds:
        raise AssertionError(f"{statement}\nexpected: {expected!r}\nbut got:  {actual!r}")


def _plain(x: Any) -> np.ndarray:
    return np.array(x.data if isinstance(x, Tensor) else x)


def _check_value(function: Callable[..., Any], call: Call, reference: Callable[..., Any]) -> None:
    for y, z in zip(_arrays(call.of(function)), _arrays(call.map(_plain).of(reference)), strict=True):
        _require(_same(y, z), "the value is that of the reference", y, z)
        _require(y.dtype.kind == z.dtype.kind, "the dtype is of the reference's kind", y.dtype, z.dtype)


def check_arrays(function: Callable[..., Any], call: Call) -> None:
    """Check that arrays in place of tensors give the same value, as an array."""
    result = call.map(_plain).of(function)
    for x in result if isinstance(result, (tuple, list)) else (result,):
        _require(not isinstance(x, Tensor), "arrays alone give arrays", x, "an array")
    for y, z in zip(_arrays(result), _arrays(call.of(function)), strict=True):
        _require(_same(y, z) and y.dtype == z.dtype, "arrays and tensors give the same value", y, z)


def _relaid(layout: str, x: Any) -> Any:
    if isinstance(x, Tensor):
        return Tensor(laid_out(x.data, layout), x.requires_grad)
    return laid_out(x, layout)


def _check_layouts(
    function: Callable[..., Any], call: Call, cotangents: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    values = _arrays(call.of(function))
    for layout in LAYOUTS:
        other = call.map(functools.partial(_relaid, layout))
        for y, z in zip(_arrays(other.of(function)), values, strict=True):
            _require(_same(y, z), f"the value is the same for inputs in {layout} layout", y, z)
        laid = [laid_out(g, layout) for g in cotangents]
        for g, h in zip(_gradients(function, other, laid), expected, strict=True):
            _require(_same(g, h), f"the gradient is the same for inputs in {layout} layout", g, h)
    # What `sum().backward()` hands down: a single one, repeated with strides of zero.
    repeated = [np.broadcast_to(g.dtype.type(1), g.shape) for g in cotangents]
    ones = [np.ones_like(g) for g in cotangents]
    for g, h in zip(_gradients(function, call, repeated), _gradients(function, call, ones), strict=True):
        _require(_same(g, h), "the gradient is the same for a broadcast cotangent", g, h)


def _single(x: Any) -> Any:
    array = x.data if isinstance(x, Tensor) else x
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return Tensor(array, x.requires_grad) if isinstance(x, Tensor) else array


def _check_float32(
    function: Callable[..., Any], call: Call, cotangents: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    single = call.map(_single)
    for y, z in zip(_arrays(single.of(function)), _arrays(call.of(function)), strict=True):
        dtype = np.dtype(np.float32) if z.dtype == np.float64 else z.dtype
        _require(y.dtype == dtype, "float32 stays float32", y.dtype, dtype)
        _require(_same(y, z, 1e-3), "float32 gives nearly the value of float64", y, z)
    for g, h in zip(_gradients(function, single, [g.astype(np.float32) for g in cotangents]), expected, strict=True):
        _require(g.dtype == np.float32, "the gradient of float32 is float32", g.dtype, "float32")
        _require(_same(g, h, 1e-3), "float32 gives nearly the gradient of float64", g, h)


def _check_alone(
    function: Callable[..., Any], call: Call, cotangents: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    positions = [i for i, x in enumerate(call.tensors()) if x.requires_grad]
    if len(positions) < 2:
        return
    for position, gradient in zip(positions, expected, strict=True):
        alone = call.with_tensors([x if i == position else x.detach() for i, x in enumerate(call.tensors())])
        with _counted(function) as ran:
            outputs = outputs_of(alone.of(function))
            given = cotangents if len(outputs) == len(cotangents) else _cotangents(function, alone)
            (found,) = _gradients(function, alone, given)
        _require(_same(found, gradient), "a gradient is the same if it is the only one that is needed", found, gradient)
        if isinstance(function, Primitive) and not function.variadic:
            _check_idle(function, alone, ran)


def _check_idle(function: Primitive, alone: Call, ran: list[tuple[str, ...]]) -> None:
    """Of the VJPs, just those may have run that serve the one argument that requires a gradient."""
    arguments = {**dict(zip(function.names, alone.args, strict=False)), **alone.kwargs}
    needed = {name for name, x in arguments.items() if isinstance(x, Tensor) and x.requires_grad}
    for names in ran:
        _require(
            not needed.isdisjoint(names), f"just the VJP for {needed} runs if nothing else is needed", names, needed
        )


@contextmanager
def _counted(function: Any) -> Iterator[list[tuple[str, ...]]]:
    """Note which VJPs of a primitive run: the names that each serves."""
    ran: list[tuple[str, ...]] = []
    rules = function.rules if isinstance(function, Primitive) else []
    originals = [rule.function for rule in rules]

    def counting(names: tuple[str, ...], vjp: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            ran.append(names)
            return vjp(*args)

        return counted

    for rule in rules:
        rule.function = counting(rule.names, rule.function)
    if rules:
        function._plans.clear()
    try:
        yield ran
    finally:
        for rule, original in zip(rules, originals, strict=True):
            rule.function = original
        if rules:
            function._plans.clear()


def _agree(function: Callable[..., Any], first: Call, second: Call) -> bool:
    """Whether two calls give the same values."""
    return all(_same(y, z) for y, z in zip(_arrays(first.of(function)), _arrays(second.of(function)), strict=True))


def _check_broadcasting(function: Callable[..., Any], call: Call, cotangents: list[np.ndarray]) -> None:
    """Where a tensor of size one in a dimension does what its broadcast does, so must its gradient."""
    tensors = call.tensors()
    if len(tensors) < 2:
        return
    for position, x in enumerate(tensors):
        dim = next((i for i, n in enumerate(x.shape) if n > 1), None)
        if dim is None or not x.requires_grad:
            continue
        narrow = x.data.take([0], axis=dim)
        if not narrow.any():
            continue  # zeros have the same value in many places, whether they are broadcast or not
        wide = np.repeat(narrow, x.shape[dim], axis=dim)
        # Elsewhere too: a product of ones is 1, however many they are.
        elsewhere, calls = (
            [
                call.with_tensors([*tensors[:position], Tensor(scale * a, True), *tensors[position + 1 :]])
                for a in (narrow, wide)
            ]
            for scale in (1.0625, 1)
        )
        try:
            if not all(_agree(function, *two) for two in (elsewhere, calls)):
                continue  # it does something else with a size of one
        except (ValueError, IndexError, TypeError):
            continue  # this operation does not broadcast
        place = sum(other.requires_grad for other in tensors[:position])
        g, h = (_gradients(function, c, cotangents)[place] for c in calls)
        total = h.sum(dim, keepdims=True)
        _require(_same(g, total), "the gradient of a broadcast input is the sum over its copies", g, total)
