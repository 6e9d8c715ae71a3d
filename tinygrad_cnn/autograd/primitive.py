"""The decorator that makes a function on arrays an operation on tensors with a derivative."""

from __future__ import annotations

import functools
import inspect
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygrad_cnn.autograd.graph import Node, Select, Target, Variable
from tinygrad_cnn.autograd.mode import mode
from tinygrad_cnn.autograd.plan import Plan, Rule

__all__ = ["Primitive", "Residuals", "primitive"]

F = TypeVar("F", bound=Callable[..., Any])


_NO_RESIDUALS: dict[str, Any] = {}


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

    # Python finds what has a slot faster than what is in the dictionary, which is for the function's own attributes.
    __slots__ = (
        "name",
        "forward",
        "names",
        "variadic",
        "constants",
        "rules",
        "_is_told",
        "_defaults",
        "_arity",
        "_plans",
        "__dict__",
        "__weakref__",
    )

    def __init__(self, forward: Callable[..., Any], constants: Sequence[str] = ()) -> None:
        functools.update_wrapper(self, forward)
        self.name: str = forward.__name__
        self.forward = forward
        parameters = list(inspect.signature(forward).parameters.values())
        _check_parameters(self.name, parameters)
        # Whether the function asks to be told if it is recorded.
        self._is_told = any(p.name == "recorded" and p.kind is p.KEYWORD_ONLY for p in parameters)
        if self._is_told:
            parameters = [p for p in parameters if p.name != "recorded"]
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
            if self.variadic:
                return self._call_variadic(args)
        # Every operation of every model comes through here: one pass over the arguments, and few calls.
        arrays = []
        source: Variable | None = None
        pattern = 0  # a bit for each argument that requires a gradient
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
        if source is None:
            if type(args[0]) is not np.ndarray:
                self._check_arrays(args)
            return _value(self.forward(*arrays, recorded=False) if self._is_told else self.forward(*arrays))
        if self._is_told:
            output = self.forward(*arrays, recorded=bool(pattern) and mode.recording)
        else:
            output = self.forward(*arrays)
        if type(output) is not np.ndarray and not isinstance(output, np.generic):
            return self._finish(args, arrays, args, source, pattern, output)
        result = source._wrap(output)
        data = result.data
        if data.base is not None or data is arrays[0] or data is arrays[-1]:
            _share_version(result, args)
        if pattern and mode.recording:
            plan = self._plans.get(pattern) or self._make_plan(pattern)
            self._tie(result, plan, args, arrays, _NO_RESIDUALS)
        return result

    def _call_variadic(self, args: tuple[Any, ...]) -> Any:
        """As `__call__`, with several inputs in the first argument; the pattern is a flag for each of them."""
        inputs = args[0]
        arrays = [x.data if isinstance(x, Variable) else x for x in args]
        arrays[0] = tuple(x.data if isinstance(x, Variable) else x for x in inputs)
        flags = tuple(isinstance(x, Variable) and x._requires_grad for x in inputs)
        if mode.recording and any(isinstance(x, Variable) and x._requires_grad for x in args[1:]):
            raise NotImplementedError(f"{self.name}: just the inputs may require gradients, not {self.names[1:]}")
        source = next((x for x in (*inputs, *args[1:]) if isinstance(x, Variable)), None)
        if source is None:
            self._check_arrays((*inputs, *args[1:]))
        output = self.forward(*arrays[0], **dict(zip(self.names[1:], arrays[1:], strict=True)))
        if source is None:
            return _value(output)
        return self._finish(args, arrays, inputs, source, flags if any(flags) else None, output)

    def _finish(
        self,
        args: tuple[Any, ...],
        arrays: list[Any],
        inputs: tuple[Any, ...],
        source: Variable,
        pattern: Any,
        output: Any,
    ) -> Any:
        """The end of `__call__` for every kind of output: an array, a tuple of arrays, either with residuals."""
        residuals = _NO_RESIDUALS
        if type(output) is Residuals:
            residuals, output = output.values, output.output
        several = isinstance(output, tuple)
        results = tuple(source._wrap(self._output(x)) for x in (output if several else (output,)))
        for result in results:
            _share_version(result, inputs)
        if pattern and mode.recording:
            plan = self._plans.get(pattern) or self._make_plan(pattern)
            if several:
                self._tie_several(results, plan, args, arrays, residuals)
            else:
                self._tie(results[0], plan, args, arrays, residuals)
        return results if several else results[0]

    def _output(self, output: Any) -> np.ndarray:
        """What the function returned as an array: an array already, or a number."""
        if not isinstance(output, (np.ndarray, np.generic, Variable, float, int)):
            raise TypeError(
                f"{self.name}: the function expects to return an array, a tuple of arrays, or Residuals, "
                f"but returned {type(output).__name__}"
            )
        return np.asarray(output)

    def _tie(
        self, result: Variable, plan: Plan, args: tuple[Any, ...], arrays: list[Any], residuals: dict[str, Any]
    ) -> None:
        """Make the node of a call, and let what came out know that the node made it."""
        data = result.data
        dtype = data.dtype
        if plan.inputs and dtype.kind == "f":
            result._node = node = self._node(plan, args, arrays, residuals, data.shape, dtype)
            result._requires_grad = True
            if plan.output:
                node.output = data, result._version, None
        elif dtype.kind not in "fiub":  # a constant, if it passed, where a gradient is expected
            raise TypeError(f"{self.name}: the function expects to return real numbers but returned {dtype}")

    def _tie_several(
        self,
        results: tuple[Variable, ...],
        plan: Plan,
        args: tuple[Any, ...],
        arrays: list[Any],
        residuals: dict[str, Any],
    ) -> None:
        """As `_tie`, for several outputs: each floating one hangs on a node that selects it."""
        if not plan.inputs:
            return
        shapes, dtypes = tuple(x.data.shape for x in results), tuple(x.data.dtype for x in results)
        node = self._node(plan, args, arrays, residuals, shapes, dtypes)
        selects = []
        for index, result in enumerate(results):
            select = Select(node, index)
            selects.append(weakref.ref(select))
            if result.data.dtype.kind == "f":
                result._node = select
                result._requires_grad = True
        if plan.output:
            node.output = tuple(x.data for x in results), [x._version for x in results], selects

    def _node(
        self,
        plan: Plan,
        args: tuple[Any, ...],
        arrays: list[Any],
        residuals: dict[str, Any],
        shape: Any,
        dtype: Any,
    ) -> Node:
        """The node of a call, with where gradients go and with what the VJPs asked for, but for the output."""
        inputs = args[0] if self.variadic else args
        edges: list[Target] = []
        for position in plan.inputs:
            edges.append(inputs[position]._node or inputs[position])
        node = Node(plan, edges, shape, dtype)
        if plan.keeps_call:
            node.saved = args
        elif plan.keeps:
            node.saved = saved = []
            for position in plan.arguments:
                saved.append(args[position])
            for position in plan.shapes:
                saved.append(_shape(arrays[position]))
            for name in plan.residuals:
                saved.append(self._residual(residuals, name))
        return node

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
        if not any(isinstance(x, (np.ndarray, np.generic)) for x in args):
            raise TypeError(f"{self.name}: expected a tensor or an array but got {args[0] if args else 'nothing'!r}")

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
        plan = Plan(self.name, self.names, rules, needed, pattern if self.variadic else None)
        self._plans[pattern] = plan
        return plan


def primitive(forward: Callable[..., Any] | None = None, *, constants: Sequence[str] = ()) -> Any:
    """Make a function on arrays a primitive operation on tensors.

    Parameters
    ----------
    forward : callable
        The value: takes arrays and parameters, returns an array, a tuple of arrays, or `Residuals`. It must not
        write to its inputs. A first parameter ``*inputs`` is variadic; parameters after it are given by keyword.
        To a function of other inputs that has a parameter ``*, recorded`` the engine says whether the call is
        recorded; if not, no residual is asked for.
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


def _value(output: Any) -> Any:
    return output.output if type(output) is Residuals else output


def _check_parameters(name: str, parameters: list[inspect.Parameter]) -> None:
    """Raise unless calls can fill them: by position, or those behind variadic inputs by keyword."""
    variadic = bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    for p in parameters[1:] if variadic else parameters:
        stray = p.kind is p.KEYWORD_ONLY and variadic == (p.name == "recorded")
        if stray or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(
                f"{name}: a primitive expects plain parameters, which `*, recorded` may follow, or variadic inputs in "
                f"front of keyword-only ones; but the function has {p}"
            )


def _share_version(result: Variable, inputs: tuple[Any, ...]) -> None:
    """A result that looks at an input's storage shares that input's version."""
    for variable in inputs:
        if isinstance(variable, Variable) and np.may_share_memory(result.data, variable.data):
            result._version = variable._version
