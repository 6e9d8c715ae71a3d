"""One run of a function on inputs of its own, so that derivatives at different levels cannot be confused.

Each transform hands the function an alias of every input, made by a node of its own. Derivatives are taken with
respect to the aliases: what the caller's tensor has done elsewhere, or does in another level of nesting, is a
different variable. An alias of a tensor that requires a gradient hangs in the caller's graph, and so do the
results; without one, and with nothing else from outside that requires a gradient, results are constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import autograd
from tinygrad_cnn.autograd import Node, Variable, enable_grad, is_grad_enabled, primitive
from tinygrad_cnn.errors import check_int
from tinygrad_cnn.func.trees import leaves, rebuild, tree_map
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.types import Array

__all__ = ["Run", "by_argument", "positions_of"]


@primitive
def _alias(input: Array) -> Array:
    """The same values, as a variable of its own."""
    return input


_alias.vjp("input")(lambda g: g)


class _Source(Tensor):
    """The leaf behind an alias of a tensor that requires no gradient.

    While the function runs, an inner transform takes it for a variable from outside, as any other. Afterwards
    nobody can ask for its gradient any more, and what depends on it alone is a constant.
    """

    __slots__ = ("active",)

    active: bool


class Run:
    """A function called once, ready for its vector-Jacobian products.

    Parameters
    ----------
    operation : str
        The transform's name, for messages.
    func : callable
    args, kwargs
        What it is called with.
    positions : sequence of int
        The positional arguments that it is differentiated in, trees of floating tensors.
    has_aux : bool
        Whether `func` returns a pair, of which the second part is not differentiated.

    Attributes
    ----------
    output, aux
        What the function returned, tied to the caller's graph or else constant.
    inputs : list of Tensor
        The aliases.

    Raises
    ------
    TypeError
        If an input or an output is not a floating tensor, or if `has_aux` and no pair came.
    """

    def __init__(
        self,
        operation: str,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        positions: Sequence[int],
        has_aux: bool,
    ) -> None:
        self.operation = operation
        self.recording = is_grad_enabled()
        self._sources: list[_Source] = []
        self.inputs: list[Tensor] = []
        for position in positions:
            for leaf in leaves(args[position]):
                self._check(f"argument {position}", leaf)
        with enable_grad():
            entered = list(args)
            for position in positions:
                entered[position] = tree_map(self._enter, args[position])
            output = func(*entered, **kwargs)
        for source in self._sources:
            source.active = False
        aux = None
        if has_aux:
            if not isinstance(output, tuple) or len(output) != 2:
                raise TypeError(f"{operation}: with has_aux, func expects to return a pair (output, aux)")
            output, aux = output
        self._outputs = leaves(output)
        for leaf in self._outputs:
            self._check("the output of func", leaf)
        tensors = [leaf for leaf in (*self._outputs, *leaves(aux)) if isinstance(leaf, Variable)]
        self.connected = self.recording and any(map(_reaches_outside, tensors))
        self.output = tree_map(self._leave, output)
        self.aux = tree_map(lambda leaf: self._leave(leaf) if isinstance(leaf, Tensor) else leaf, aux)

    def pull(self, cotangents: Sequence[Tensor | None], retain: bool = True) -> list[Tensor]:
        """The vector-Jacobian product: a gradient for each of `inputs`, from a cotangent for each output leaf.

        None stands for a cotangent of zero. Without `retain` this is the last one, and frees what was recorded.
        """
        create = is_grad_enabled() and (
            self.connected or any(isinstance(c, Variable) and c._requires_grad for c in cotangents)
        )
        pairs = [(y, c) for y, c in zip(self._outputs, cotangents, strict=True) if c is not None and y.requires_grad]
        if not pairs or not self.inputs:
            return [x._wrap(np.zeros_like(x.data)) for x in self.inputs]
        outputs, seeds = zip(*pairs, strict=True)
        gradients = autograd.grad(
            outputs, self.inputs, seeds, retain or self.connected, create_graph=create, allow_unused=True
        )
        return [
            x._wrap(np.zeros_like(x.data)) if g is None else g if create and _reaches_outside(g) else g.detach()
            for x, g in zip(self.inputs, gradients, strict=True)
        ]

    def check_vectors(self, vectors: Sequence[Any]) -> list[Tensor]:
        """Vectors of the shapes of the output leaves, or an error."""
        for y, vector in zip(self._outputs, vectors, strict=True):
            if not isinstance(vector, Tensor) or vector.shape != y.shape:
                came = f"shape {vector.shape}" if isinstance(vector, Tensor) else type(vector).__name__
                raise ValueError(f"{self.operation}: expected a vector of shape {y.shape} but got {came}")
        return list(vectors)

    def depends(self) -> list[bool]:
        """For each leaf of the output, whether it depends on an input."""
        mine = {x._node for x in self.inputs}
        return [any(target in mine for target in _ancestors(y)) for y in self._outputs]

    def _check(self, what: str, leaf: Any) -> None:
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"{self.operation}: {what} expects tensors, or dicts, lists and tuples of them, "
                f"but got {type(leaf).__name__}"
            )
        if leaf.dtype.kind != "f":
            raise TypeError(f"{self.operation}: {what} expects floating tensors but got {leaf.dtype}")

    def _enter(self, leaf: Tensor) -> Tensor:
        if leaf.requires_grad and self.recording:
            alias: Tensor = _alias(leaf)
        else:
            source = _Source(leaf.data, requires_grad=True)
            source._version = leaf._version
            source.active = True
            self._sources.append(source)
            alias = _alias(source)
        self.inputs.append(alias)
        return alias

    def _leave(self, leaf: Tensor) -> Tensor:
        return leaf if self.recording and _reaches_outside(leaf) else leaf.detach()


def _reaches_outside(variable: Variable) -> bool:
    """Whether it depends on anything that requires a gradient but the sources of runs that are over."""
    return variable._requires_grad and any(
        isinstance(x, Variable) and not (isinstance(x, _Source) and not x.active) for x in _ancestors(variable)
    )


def _ancestors(variable: Variable) -> Iterator[Node | Variable]:
    """All nodes and leaves that a variable depends on, itself included, each once."""
    stack: list[Node | Variable] = [variable if variable._node is None else variable._node]
    seen = set(stack)
    while stack:
        target = stack.pop()
        yield target
        for edge in target.edges if isinstance(target, Node) else ():
            if edge not in seen:
                seen.add(edge)
                stack.append(edge)


def positions_of(operation: str, argnums: int | Sequence[int], count: int) -> tuple[tuple[int, ...], bool]:
    """The positions that `argnums` means among `count` arguments, and whether it is a single one.

    Raises
    ------
    TypeError
        If it is neither an int nor a tuple of ints.
    ValueError
        If it is empty or names a position twice.
    IndexError
        If there is no such argument.
    """
    single = not isinstance(argnums, (tuple, list))
    numbers = [check_int(operation, "argnums", n) for n in ((argnums,) if single else argnums)]  # type: ignore[union-attr]
    for n in numbers:
        if not -count <= n < count:
            raise IndexError(f"{operation}: argnums {argnums} expects func to get that argument, but it got {count}")
    positions = tuple(n % count for n in numbers)
    if not positions or len(set(positions)) != len(positions):
        raise ValueError(f"{operation}: argnums expects one or more different positions but got {argnums}")
    return positions, single


def by_argument(args: Sequence[Any], positions: Sequence[int], single: bool, values: Sequence[Any]) -> Any:
    """Values for the leaves of the differentiated arguments, as a tree for each; a `single` one stands alone."""
    trees = rebuild([args[position] for position in positions], values)
    return trees[0] if single else tuple(trees)
