"""The pass back through the graph: `backward` and `grad`."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tinygrad_cnn.autograd.graph import Node, Select, Target, Variable
from tinygrad_cnn.autograd.mode import set_grad_enabled
from tinygrad_cnn.kernels.buffers import sole_view
from tinygrad_cnn.kernels.layouts import copied
from tinygrad_cnn.kernels.reduction import reduce

__all__ = ["backward", "grad"]


def backward(
    tensors: Variable | Sequence[Variable],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Variable | Sequence[Variable] | None = None,
) -> None:
    """Add the gradients of the sum of `tensors` to the ``.grad`` of the leaves (and of tensors that retain theirs).

    Parameters
    ----------
    tensors : tensor or sequence of tensors
        What is differentiated.
    grad_tensors : tensor, array or sequence of them, optional
        The cotangents, each of its tensor's shape. Default: one, for a tensor of a single element.
    retain_graph : bool, optional
        Keep what the graph holds, to go through it again. Default: `create_graph`.
    create_graph : bool
        Record the backward pass too, so that the gradients can be differentiated.
    inputs : tensor or sequence of tensors, optional
        Add to the ``.grad`` of these alone, leaves or not.

    Raises
    ------
    RuntimeError
        If a tensor requires no gradient, has several elements and no cotangent, or belongs to a graph that was
        freed, or if a value that the graph keeps was modified in place.
    ValueError
        If a cotangent does not have its tensor's shape, or if `inputs` is empty.
    """
    roots = _sequence("backward", "tensors", tensors)
    if inputs is None:
        for leaf, (gradient, owned) in (
            _Pass(roots, grad_tensors, "backward", retain_graph, create_graph).run(None).items()
        ):
            _accumulate(leaf, gradient, owned)
        return
    variables = _sequence("backward", "inputs", inputs)
    if not variables:
        raise ValueError("backward: inputs expects at least one tensor but got none")
    gradients = grad(roots, variables, grad_tensors, retain_graph, create_graph, allow_unused=True)
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            _accumulate(variable, gradient if create_graph else gradient.data, not create_graph)


def grad(
    outputs: Variable | Sequence[Variable],
    inputs: Variable | Sequence[Variable],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Return the gradients of the sum of `outputs` with respect to `inputs`, and leave every ``.grad`` alone.

    Parameters
    ----------
    outputs, inputs : tensor or sequence of tensors
        What is differentiated, and with respect to what: leaves, or tensors in between.
    grad_outputs : tensor, array or sequence of them, optional
        The cotangents of `outputs`. Default: one, for a tensor of a single element.
    retain_graph, create_graph : bool
        As for `backward`.
    only_inputs : bool
        Accepted for PyTorch scripts: always True.
    allow_unused : bool
        Return None for an input that the outputs do not depend on, instead of raising.

    Returns
    -------
    tuple of tensors
        One gradient for each input.

    Raises
    ------
    TypeError
        If something else than a tensor is among `outputs` or `inputs`.
    RuntimeError
        As `backward`; also if an input requires no gradient or is not used.
    ValueError
        If a cotangent does not have its tensor's shape, or if `only_inputs` is False.
    """
    if not only_inputs:
        raise ValueError(f"grad: only_inputs expects True but got {only_inputs!r}; backward fills in every .grad")
    roots, variables = _sequence("grad", "outputs", outputs), _sequence("grad", "inputs", inputs)
    for index, variable in enumerate(variables):
        if not variable._requires_grad:
            raise RuntimeError(f"grad: input {index} does not require a gradient")
    targets = [_target(variable) for variable in variables]
    found = _Pass(roots, grad_outputs, "grad", retain_graph, create_graph).run(targets)
    results: list[Any] = []
    for index, (variable, target) in enumerate(zip(variables, targets, strict=True)):
        if target in found:
            gradient, owned = found[target]
            found[target] = gradient, False  # an input that is given twice gets two gradients
            if not create_graph:
                gradient = variable._wrap(gradient if owned else copied(gradient, variable.data))
            results.append(gradient)
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"grad: input {index} was not used to compute the outputs; allow_unused=True returns None for it"
            )
    return tuple(results)


class _Pass:
    """One walk from the outputs back to the leaves, newest node first.

    A gradient is handed on without a copy, and may be shared: nobody writes into one they were handed. The pass
    adds in place only into buffers that it made itself (`owned`).
    """

    def __init__(
        self, roots: list[Variable], cotangents: Any, operation: str, retain_graph: bool | None, create_graph: bool
    ) -> None:
        self.create_graph = create_graph
        self.retain_graph = create_graph if retain_graph is None else retain_graph
        self.gradients: dict[Target, Any] = {}
        self.owned: set[Target] = set()
        self.heap: list[tuple[int, Node]] = []
        self.needed: set[Target] | None = None
        for root, cotangent in _seeds(operation, roots, cotangents):
            self.like = root
            self.add(_target(root), cotangent if create_graph else cotangent.data)

    def run(self, targets: list[Target] | None) -> dict[Any, tuple[Any, bool]]:
        """The gradients of `targets`, or of all leaves, each with whether its buffer is nobody else's."""
        found: dict[Any, tuple[Any, bool]] = {}
        captured = set(targets or ())
        if targets is not None:
            self.needed = _ancestry(self.gradients, captured)
        with set_grad_enabled(self.create_graph):
            while self.heap:
                node = heapq.heappop(self.heap)[1]
                if node in captured or node.hooks or node.retained:  # somebody looks at this gradient
                    gradient, owned = self.take(node)
                    if node in captured:
                        found[node] = gradient, owned
                else:
                    gradient = self.gradients.pop(node)
                if self.needed is None or not self.needed.isdisjoint(node.edges):
                    self.step(node, gradient)
            for leaf in list(self.gradients):
                if targets is None or leaf in captured:
                    found[leaf] = self.take(leaf)
        return found

    def add(self, target: Target, gradient: Any) -> None:
        """Add a gradient to what has come for `target` so far."""
        present = self.gradients.get(target)
        if present is None:
            self.gradients[target] = gradient
            if isinstance(target, Node):
                heapq.heappush(self.heap, (-target.sequence, target))
        elif self.create_graph:
            self.gradients[target] = present + gradient
        elif target in self.owned:
            np.add(present, gradient, out=present)
        else:
            self.gradients[target] = np.asarray(present + gradient)
            self.owned.add(target)

    def take(self, target: Target) -> tuple[Any, bool]:
        """The complete gradient of `target`, after its hooks, and whether its buffer is nobody else's."""
        gradient = self.gradients.pop(target)
        owned = target in self.owned or (
            type(gradient) is np.ndarray
            and (gradient.base is None or sole_view(gradient))
            and gradient.flags.writeable
            and sys.getrefcount(gradient) == _SOLE_REFERENCE
        )
        if isinstance(target, Variable):
            hooks, retained = target._hooks, None
        else:
            hooks, retained = target.hooks, target.retained
        if hooks:
            owned = False
            for hook in list(hooks.values()):
                replacement = hook(gradient if self.create_graph else self.like._wrap(gradient))
                if replacement is not None:
                    _check_replacement(replacement, gradient)
                    gradient = replacement if self.create_graph else replacement.data
        for reference in retained or ():
            variable = reference()
            if variable is not None:
                _accumulate(variable, gradient, False)
        return gradient, owned

    def step(self, node: Node, gradient: Any) -> None:
        """Run the VJPs of a node and pass their results on."""
        if isinstance(node, Select):
            self.gather_output(node, gradient)
            return
        values = self.kept(node)
        if type(gradient) is list:
            gradient = self.fill_outputs(node, gradient)
        edges = iter(node.edges)
        for function, picks, count, returns in node.plan.calls:
            if len(picks) == 1:  # most ask for a single value
                result = function(gradient, values[picks[0]])
            else:
                result = function(gradient, *[values[pick] for pick in picks])
            if returns is None:
                self.send(node, next(edges), result)
            else:
                if not isinstance(result, (tuple, list)) or len(result) != count:
                    raise _not_a_tuple(node, result, count)
                for index in returns:
                    self.send(node, next(edges), result[index])
        if not self.retain_graph:
            node.release()

    def kept(self, node: Node) -> list[Any]:
        """What the node kept, unmodified since: plain arrays, or tensors tied to the graph."""
        saved, sequence = node.saved, node.sequence
        if saved is None:
            raise RuntimeError(
                f"backward: the graph was freed by an earlier backward pass through {node.name}; "
                f"pass retain_graph=True to that one, to go through it again"
            )
        values: list[Any] = []
        for value in saved:
            if isinstance(value, Variable):
                if value._version[0] > sequence:
                    raise _modified(node)
                values.append(value if self.create_graph else value.data)
            elif type(value) is tuple:  # the inputs of a variadic primitive, or a parameter
                values.append(tuple(self.unmodified(node, x) if isinstance(x, Variable) else x for x in value))
            else:
                values.append(value)
        if node.output is not None:
            array, version, selects = node.output
            if (version[0] if selects is None else max(cell[0] for cell in version)) > sequence:
                raise _modified(node)
            if not self.create_graph:
                values.append(array)
            elif selects is None:
                values.append(self.tie(node, array))
            else:
                values.append(tuple(self.tie(s() or Select(node, i), array[i]) for i, s in enumerate(selects)))
        return values + node.plan.constants if node.plan.constants else values

    def unmodified(self, node: Node, variable: Variable) -> Any:
        """A tensor that the node kept, or its array, if nobody has written to it since."""
        if variable._version[0] > node.sequence:
            raise _modified(node)
        return variable if self.create_graph else variable.data

    def tie(self, node: Node, array: Any) -> Any:
        """An output of a node again, as a tensor that the node made."""
        variable = self.like._wrap(array)
        variable._node = node
        variable._requires_grad = True
        return variable

    def send(self, node: Node, edge: Target, gradient: Any) -> None:
        """Give a gradient its input's shape and dtype, and add it."""
        if self.needed is not None and edge not in self.needed:
            return
        like = edge if isinstance(edge, Node) else edge.data
        if type(gradient) is not ndarray or self.create_graph:
            gradient = self.lifted(gradient, like)
        if gradient.shape != like.shape:
            gradient = _undo_broadcasting(node.name, gradient, like.shape)
        if gradient.dtype != like.dtype:
            gradient = gradient.to(like.dtype) if self.create_graph else gradient.astype(like.dtype)
        self.add(edge, gradient)

    def lifted(self, gradient: Any, like: Node | np.ndarray) -> Any:
        """What a VJP returned, None for zero, as an array or a tensor."""
        if gradient is None:
            gradient = np.zeros(like.shape, like.dtype)
        if not self.create_graph:
            return np.asarray(gradient)
        return gradient if isinstance(gradient, Variable) else self.like._wrap(gradient)

    def gather_output(self, node: Select, gradient: Any) -> None:
        """Put the gradient of one output into its place among the gradients of all."""
        parent = node.parent
        if parent not in self.gradients:
            self.gradients[parent] = [None] * len(parent.shape)
            heapq.heappush(self.heap, (-parent.sequence, parent))
        parts = self.gradients[parent]
        present = parts[node.index]
        parts[node.index] = gradient if present is None else present + gradient

    def fill_outputs(self, node: Node, parts: list[Any]) -> tuple[Any, ...]:
        """Zeros for the outputs that nothing depends on."""
        filled = []
        for part, shape, dtype in zip(parts, node.shape, node.dtype, strict=True):
            if part is None:
                part = np.zeros(shape, dtype)
                part = self.like._wrap(part) if self.create_graph else part
            filled.append(part)
        return tuple(filled)


def _sequence(operation: str, argument: str, variables: Any) -> list[Variable]:
    """One tensor or several as a list of them."""
    if isinstance(variables, (Variable, np.ndarray)) or not hasattr(variables, "__iter__"):
        variables = [variables]
    found = list(variables)
    for variable in found:
        if not isinstance(variable, Variable):
            raise TypeError(f"{operation}: {argument} expects tensors but got {type(variable).__name__}")
    return found


def _target(variable: Variable) -> Target:
    return variable if variable._node is None else variable._node


def _modified(node: Node) -> RuntimeError:
    return RuntimeError(
        f"backward: a value that {node.name} keeps for its derivative was modified in place since; "
        f"modify a clone instead, or modify it after the backward pass"
    )


def _not_a_tuple(node: Node, result: Any, count: int) -> RuntimeError:
    came = f"{len(result)} of them" if isinstance(result, (tuple, list)) else type(result).__name__
    return RuntimeError(
        f"{node.name}: a VJP for {count} inputs returned {came} instead of a tuple of {count} gradients"
    )


def _check_replacement(replacement: Any, gradient: Any) -> None:
    if not isinstance(replacement, Variable):
        raise TypeError(f"register_hook: the hook expects to return a tensor or None but returned {replacement!r}")
    if replacement.data.shape != gradient.shape:
        raise ValueError(
            f"register_hook: the hook expects to return the gradient's shape, {gradient.shape}, "
            f"but returned {replacement.data.shape}"
        )
    if replacement.data.dtype != gradient.dtype:
        raise TypeError(
            f"register_hook: the hook expects to return the gradient's dtype, {gradient.dtype}, "
            f"but returned {replacement.data.dtype}"
        )


def _accumulate(leaf: Variable, gradient: Any, owned: bool) -> None:
    """Add to a leaf's gradient, which is writable and shared with nobody."""
    present = leaf._grad
    if isinstance(gradient, Variable):
        leaf._grad = gradient.clone() if present is None else present + gradient
    elif present is None:
        leaf._grad = leaf._wrap(gradient if owned else copied(gradient, leaf.data))
    elif present._requires_grad:
        leaf._grad = leaf._wrap(present.data + gradient)
    else:
        present.data += gradient
        present.bump_version()


def _undo_broadcasting(name: str, gradient: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the dimensions that broadcasting from `shape` added or widened."""
    wide = gradient.shape
    added = len(wide) - len(shape)
    if added < 0 or any(s not in (1, w) for w, s in zip(wide[added:], shape, strict=True)):
        raise RuntimeError(f"{name}: a VJP returned a gradient of shape {wide} for an input of shape {shape}")
    if isinstance(gradient, Variable):
        return gradient.sum_to_size(*shape)
    widened = (added + i for i, s in enumerate(shape) if s == 1 and wide[added + i] != 1)
    return reduce(np.add, gradient, (*range(added), *widened), keepdims=False).reshape(shape)


def _ancestry(roots: Iterable[Target], targets: set[Target]) -> set[Target]:
    """What lies between `roots` and `targets`, both included: nobody else has to run."""
    seen: set[Target] = set(roots)
    stack = list(seen)
    while stack:
        target = stack.pop()
        for edge in target.edges if isinstance(target, Node) else ():
            if edge not in seen:
                seen.add(edge)
                stack.append(edge)
    needed = seen & targets
    for node in sorted((x for x in seen if isinstance(x, Node)), key=lambda node: node.sequence):
        if not needed.isdisjoint(node.edges):
            needed.add(node)
    return needed


def _seeds(operation: str, roots: list[Variable], cotangents: Any) -> list[tuple[Variable, Variable]]:
    """Each root with its cotangent, a variable of the root's shape and dtype."""
    if cotangents is None:
        cotangents = [None] * len(roots)
    elif isinstance(cotangents, (Variable, np.ndarray, float, int)):
        cotangents = [cotangents]
    if len(cotangents) != len(roots):
        raise ValueError(f"{operation}: expected {len(roots)} gradient(s) but got {len(cotangents)}")
    return [(root, _seed(operation, root, cotangent)) for root, cotangent in zip(roots, cotangents, strict=True)]


def _seed(operation: str, root: Variable, cotangent: Any) -> Variable:
    if not root._requires_grad:
        raise RuntimeError(f"{operation}: the tensor does not require a gradient, nor did any that made it")
    if cotangent is None:
        if root.data.size != 1:
            raise RuntimeError(
                f"{operation}: a tensor of shape {root.data.shape} needs a gradient of that shape; "
                f"just a single element has a default, one"
            )
        cotangent = np.ones_like(root.data)
    if not isinstance(cotangent, Variable):
        cotangent = root._wrap(np.asarray(cotangent))
    if cotangent.data.shape != root.data.shape:
        raise ValueError(
            f"{operation}: the gradient of a tensor of shape {root.data.shape} must have that shape "
            f"but has {cotangent.data.shape}"
        )
    if cotangent.data.dtype != root.data.dtype:
        cotangent = cotangent.to(root.data.dtype)
    return cotangent


def _sole_reference() -> int:
    """What `sys.getrefcount` says of an array that only a local name holds (it differs between Pythons)."""
    array = np.empty(0)
    return sys.getrefcount(array)


_SOLE_REFERENCE = _sole_reference()
