"""The decorator that makes a function on arrays an operation on tensors with a derivative."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygrad_cnn.autograd.graph import Node, Select, Variable
from tinygrad_cnn.autograd.mode import mode
from tinygrad_cnn.autograd.plan import Plan, Rule

__all__ = ["Primitive", "Residuals", "primitive"]

F = TypeVar("F", bound=Callable[..., Any])


class Residuals:
    """An output together with by-products of the forward pass that VJPs ask for by name.

    A primitive returns ``Residuals(y, mask=mask)`` where it would return ``y``. By-products are constants of
    differentiation: what depends smoothly on an input must be computed again in the VJP.
    """

    __slots__ = ("output", "values")

    def __init__(self, output: Any, **values: Any) -> None:
        self.output = output
        self.values = values


class Primitive:
    """A differentiable function on arrays.

    Called with arrays alone it is just that function. Called with a tensor among its arguments it returns a
    tensor, and records a node if one of them requires a gradient. Made by the decorator `primitive`; VJPs are
    added with `vjp`.

    Attributes
    ----------
    name : str
        The name of the function.
    names : tuple of str
        Its arguments.
    rules : list of Rule
        Its VJPs.
    """

    def __init__(self, forward: Callable[..., Any], constants: Sequence[str] = ()) -> None:
        functools.update_wrapper(self, forward)
        self.name: str = forward.__name__
        self.forward = forward
        parameters = list(inspect.signature(forward).parameters.values())
        self.names = tuple(p.name for p in parameters)
        self.variadic = bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
        self.constants = frozenset(map(self._known, constants))
        self.rules: list[Rule] = []
        self._defaults = tuple(p.default for p in parameters)
        self._arity = -1 if self.variadic else len(parameters)
        self._plans: dict[Any, Plan] = {}

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a class attribute it is a method, as a function is."""
        return self if instance is None else types.MethodType(self, instance)

    def _known(self, name: str) -> str:
        if name not in self.names:
            raise ValueError(f"{self.name}: expected one of the arguments {self.names} but got {name!r}")
        return name

    def vjp(self, *names: str) -> Callable[[F], F]:
        """Declare the decorated function to be the vector-Jacobian product for the inputs `names`.

        Its first parameter is the cotangent of the output (a tuple of them for several outputs); it asks for the
        rest by name: arguments of the primitive, ``output``, ``<argument>_shape``, residuals, and ``wanted``, a
        tuple of bools that says which of `names` (or of the variadic inputs) need a gradient. It returns the
        gradient, or a tuple of gradients when `names` are several or variadic; broadcasting and the dtype are
        the engine's affair, and ``None`` stands for zero.

        Raises
        ------
        ValueError
            If a name is not an argument of the primitive or has a VJP already.
        """
        if not names:
            raise ValueError(f"{self.name}: vjp expects at least one argument name but got none")
        for name in map(self._known, names):
            if any(name in rule.names for rule in self.rules):
                raise ValueError(f"{self.name}: argument {name!r} has a VJP already")

        def decorate(function: F) -> F:
            self.rules.append(Rule(names, function, tuple(inspect.signature(function).parameters)[1:]))
            self._plans.clear()
            return function

        return decorate

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value, recorded if a tensor among the arguments requires a gradient."""
        if kwargs or len(args) != self._arity:
            args = self._bind(args, kwargs)
        arrays = []
        source: Variable | None = None
        pattern: Any = 0  # a bit for each argument that requires a gradient
        bit = 1
        for argument in args:
            if isinstance(argument, Variable):
                source = argument
                arrays.append(argument.data)
                if argument._requires_grad:
                    pattern |= bit
            else:
                arrays.append(argument)
            bit += bit
        if source is None and type(args[0]) is not np.ndarray:
            self._check_arrays(args)
        if self.variadic:
            source, pattern = self._open_variadic(args[0], arrays, source, pattern)
            output = self.forward(*arrays[0], **dict(zip(self.names[1:], arrays[1:], strict=True)))
        else:
            output = self.forward(*arrays)
        residuals = None
        if type(output) is Residuals:
            residuals, output = output.values, output.output
        if source is None:
            return output
        inputs = args[0] if self.variadic else args
        if type(output) is tuple:
            result: Any = tuple(_wrap(x, inputs, source) for x in output)
        else:
            result = _wrap(output, inputs, source)
        if pattern and mode.recording:
            self._record(args, arrays, inputs, result, pattern, residuals)
        return result

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Arguments in the order of the signature, defaults filled in; variadic ones as one tuple in front."""
        if self.variadic:
            args = (args,)
        if len(args) > len(self.names):
            raise TypeError(f"{self.name}: expected at most {len(self.names)} arguments but got {len(args)}")
        bound = list(args) + list(self._defaults[len(args) :])
        for name, value in kwargs.items():
            if name not in self.names:
                raise TypeError(f"{self.name}: got an unexpected argument {name!r}; it takes {self.names}")
            position = self.names.index(name)
            if position < len(args):
                raise TypeError(f"{self.name}: got argument {name!r} twice")
            bound[position] = value
        for name, value in zip(self.names, bound, strict=True):
            if value is inspect.Parameter.empty:
                raise TypeError(f"{self.name}: argument {name!r} is missing")
        return tuple(bound)

    def _check_arrays(self, args: tuple[Any, ...]) -> None:
        """Without a tensor there must be an array, somewhere."""
        candidates = (*args[0], *args) if self.variadic else args
        if not any(isinstance(x, (np.ndarray, np.generic, Variable)) for x in candidates):
            raise TypeError(f"{self.name}: expected a tensor or an array but got {args[0]!r}")

    def _open_variadic(
        self, inputs: tuple[Any, ...], arrays: list[Any], source: Variable | None, pattern: int
    ) -> tuple[Variable | None, tuple[bool, ...] | None]:
        """Unwrap the variadic inputs; the pattern becomes a flag for each of them."""
        if pattern and mode.recording:
            raise NotImplementedError(f"{self.name}: just the inputs may require gradients, not {self.names[1:]}")
        arrays[0] = tuple(x.data if isinstance(x, Variable) else x for x in inputs)
        flags = tuple(isinstance(x, Variable) and x._requires_grad for x in inputs)
        found = next((x for x in inputs if isinstance(x, Variable)), source)
        return found, flags if any(flags) else None

    def _record(
        self,
        args: tuple[Any, ...],
        arrays: list[Any],
        inputs: tuple[Any, ...],
        result: Any,
        pattern: Any,
        residuals: dict[str, Any] | None,
    ) -> None:
        """Make the node of this call, and tie the result to it."""
        plan = self._plans.get(pattern)
        if plan is None:
            plan = self._plans[pattern] = self._make_plan(pattern)
        edges = [inputs[slot]._node or inputs[slot] for slot in plan.slots]
        if not edges:
            return
        if type(result) is tuple:
            node = Node(plan, edges, tuple(x.data.shape for x in result), tuple(x.data.dtype for x in result))
            node.output = (tuple(x.data for x in result), [0], 0) if plan.output else None
        else:
            data = result.data
            node = Node(plan, edges, data.shape, data.dtype)
            if node.dtype.kind != "f":
                return
            node.output = (data, result._version, result._version[0]) if plan.output else None

        saved: list[Any] = []
        versions: list[int] = []
        for position in plan.arguments:
            argument = args[position]
            saved.append(argument)
            versions.append(argument._version[0] if isinstance(argument, Variable) else 0)
        if plan.shapes:
            saved += [_shape(arrays[position]) for position in plan.shapes]
        if plan.residuals:
            saved += [self._residual(residuals or {}, name) for name in plan.residuals]
        node.saved = saved
        node.versions = versions
        _tie(result, node)

    def _residual(self, residuals: dict[str, Any], name: str) -> Any:
        if name not in residuals:
            raise TypeError(
                f"{self.name}: a VJP asks for {name!r}, which is neither an argument, nor <argument>_shape, nor a "
                f"residual of the forward pass (residuals: {sorted(residuals)})"
            )
        return residuals[name]

    def _make_plan(self, pattern: Any) -> Plan:
        """The plan for one pattern; a tensor that requires a gradient where there is no VJP is an error."""
        if self.variadic:
            needed = {self.names[0]: [slot for slot, flag in enumerate(pattern) if flag]}
        else:
            needed = {name: [slot] for slot, name in enumerate(self.names) if pattern >> slot & 1}
        served = {name for rule in self.rules for name in rule.names}
        for name in needed:
            if name not in served and name not in self.constants:
                raise NotImplementedError(
                    f"{self.name}: argument {name!r} requires a gradient, but {self.name} is not differentiable "
                    f"there; detach it if it is meant to be constant"
                )
        rules = [rule for rule in self.rules if not needed.keys().isdisjoint(rule.names)]
        return Plan(self.name, self.names, rules, needed, pattern if self.variadic else None)


def primitive(forward: Callable[..., Any] | None = None, *, constants: Sequence[str] = ()) -> Any:
    """Make a function on arrays a primitive operation on tensors.

    Parameters
    ----------
    forward : callable
        The value: takes arrays and parameters, returns an array, a tuple of arrays, or `Residuals`. It must not
        write to its inputs. A first parameter ``*inputs`` is variadic; parameters after it are given by keyword.
    constants : sequence of str
        Arguments that may require a gradient but have none, such as the mask of a selection. A tensor that
        requires a gradient at any other place without a VJP is an error.

    Returns
    -------
    Primitive
        The operation, or a decorator that makes one if `forward` is not given.

    Examples
    --------
    >>> from tinygrad_cnn import tensor
    >>> @primitive
    ... def cube(x):
    ...     return x**3
    >>> @cube.vjp("x")
    ... def _(g, x):
    ...     return 3 * g * x**2
    >>> x = tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad.item()
    12.0
    """
    if forward is None:
        return functools.partial(primitive, constants=constants)
    return Primitive(forward, constants)


def _shape(array: Any) -> Any:
    return tuple(map(np.shape, array)) if type(array) is tuple else np.shape(array)


def _wrap(output: Any, inputs: tuple[Any, ...], source: Variable) -> Any:
    """The output as a tensor; one that looks at an input's storage shares that input's version."""
    result = source._wrap(output)
    array = result.data
    is_view = array.base is not None
    for variable in inputs:
        if isinstance(variable, Variable) and (
            array is variable.data or (is_view and np.may_share_memory(array, variable.data))
        ):
            result._version = variable._version
    return result


def _tie(result: Any, node: Node) -> None:
    """Let the outputs of a node know that it made them."""
    if type(result) is not tuple:
        result._node = node
        result._requires_grad = True
        return
    for index, variable in enumerate(result):
        if variable.data.dtype.kind == "f":
            variable._node = Select(node, index)
            variable._requires_grad = True
