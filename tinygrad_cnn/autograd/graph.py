"""The recorded graph: variables, and the nodes that made them."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.autograd.plan import Plan

__all__ = ["Node", "Select", "Target", "Variable"]


class Variable:
    """What the engine needs of a tensor: its data, its gradient, and the node that made it.

    Attributes
    ----------
    data : numpy.ndarray
        The values.
    """

    # `_version` is a cell of one number, shared by all variables that look at the same storage: when it was last
    # written to, in the time that the sequence numbers of nodes tell.
    # `_hooks` belong to a leaf; those of an interior tensor live on its node.
    __slots__ = ("data", "_requires_grad", "_grad", "_node", "_version", "_hooks", "__weakref__")

    data: np.ndarray
    _requires_grad: bool
    _grad: Any
    _node: Node | None
    _version: list[int]
    _hooks: dict[int, Callable[..., Any]] | None

    def _wrap(self, array: Any) -> Any:
        """A new variable around an array: a constant, until a node claims it."""
        raise NotImplementedError

    def clone(self) -> Any:
        """A copy that passes gradients on."""
        raise NotImplementedError

    def sum_to_size(self, *size: int) -> Any:
        """The sum over all dimensions that broadcasting from `size` added or widened."""
        raise NotImplementedError

    def to(self, dtype: Any) -> Any:
        """The same values in another dtype."""
        raise NotImplementedError

    def bump_version(self) -> None:
        """Note that the storage was written to, so that a graph that saved it refuses to use it."""
        self._version[0] = next(_sequence)


class Node:
    """One recorded call of a primitive.

    It holds what its VJPs asked for and, for each input that needs a gradient, where that gradient goes: the
    `Node` that made the input, or the leaf itself. It never holds its own output tensor, so a graph has no
    reference cycles, and goes when the last tensor that stands on it goes.

    Attributes
    ----------
    name : str
        The name of the primitive.
    edges : list of Node and Variable
        Where the gradients of the inputs go.
    """

    __slots__ = (
        "plan",
        "edges",
        "saved",
        "output",
        "shape",
        "dtype",
        "sequence",
        "hooks",
        "retained",
        "line",
        "__weakref__",
    )

    saved: Sequence[Any] | None  # None once the graph was freed
    # The array, and the version of its storage; for several outputs all of these, and the nodes that select them.
    output: tuple[Any, Any, list[weakref.ref[Select]] | None] | None
    shape: Any  # of the output; a tuple of them for several outputs
    dtype: Any
    hooks: dict[int, Callable[..., Any]] | None
    retained: list[weakref.ref[Variable]] | None
    line: str | None  # of the user's code; set inside detect_anomaly alone

    def __init__(self, plan: Plan, edges: list[Target], shape: Any, dtype: Any) -> None:
        self.plan = plan
        self.edges = edges
        self.shape = shape
        self.dtype = dtype
        # Inputs exist before outputs: newest first is an order in which every gradient is complete.
        self.sequence = next(_sequence)
        self.saved = _NOTHING
        self.output = None
        self.hooks = None
        self.retained = None

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self.plan.name

    @property
    def next_functions(self) -> tuple[tuple[Target, int], ...]:
        """Where the gradients of the inputs go, in PyTorch's form: pairs of a node (or leaf) and 0."""
        return tuple((edge, 0) for edge in self.edges)

    def release(self) -> None:
        """Let go of all values that were kept for the backward pass."""
        self.saved = self.output = None

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Select(Node):
    """Stands for one of several outputs of a node, so that every other node has a single one."""

    __slots__ = ("index", "parent")

    def __init__(self, parent: Node, index: int) -> None:
        super().__init__(parent.plan, [parent], parent.shape[index], parent.dtype[index])
        self.parent = parent
        self.index = index


Target = Node | Variable
_NOTHING: tuple[Any, ...] = ()
_sequence = itertools.count()
