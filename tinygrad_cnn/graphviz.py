"""Drawing the recorded graph: text in Graphviz's DOT language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinygrad_cnn.autograd import Node, Variable
from tinygrad_cnn.tensor import Tensor

__all__ = ["graph"]

_HEADER = """digraph {
  rankdir=TB
  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11]
"""
_PARAMETER = 'shape=box, style=filled, fillcolor="#dbe9f6"'
_OUTPUT = 'shape=box, style=filled, fillcolor="#dff0d8"'
_FREED = 'style="rounded,dashed", color=gray, fontcolor=gray40'


def graph(
    tensor: Tensor | Sequence[Tensor],
    params: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | Any = None,
) -> str:
    r"""The recorded graph of a tensor in Graphviz's DOT language: ``dot -Tsvg`` draws it.

    Data flows downwards: from parameters (blue, with their names) through operations, each with the shape of its
    output, to the tensor (green). Only what takes part in differentiation was recorded, so constants do not appear.
    What a backward pass freed is gray and dashed, and the drawing says so.

    Parameters
    ----------
    tensor : Tensor or sequence of Tensor
        Where the graph ends.
    params : Module, dict of str to Tensor, or pairs of str and Tensor, optional
        Names for tensors: leaves, or results of operations. Those of a module are its parameters'.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If `tensor` or a value of `params` is not a tensor.
    RuntimeError
        If a tensor requires no gradient: nothing was recorded then.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> w = tg.ones(2, requires_grad=True)
    >>> print(graph((w * w).sum(), {"weight": w}))
    digraph {
      rankdir=TB
      node [shape=box, style=rounded, fontname="Helvetica", fontsize=11]
      n0 [label="weight\n(2,)", shape=box, style=filled, fillcolor="#dbe9f6"]
      n1 [label="mul\n(2,)"]
      n2 [label="sum\n()"]
      n3 [label="output\n()", shape=box, style=filled, fillcolor="#dff0d8"]
      n0 -> n1
      n0 -> n1
      n1 -> n2
      n2 -> n3
    }
    """
    roots = [tensor] if isinstance(tensor, Variable) else list(tensor)
    for root in roots:
        if not isinstance(root, Variable):
            raise TypeError(f"graph: tensor expects a tensor or several but got {type(root).__name__}")
        if not root.requires_grad:
            raise RuntimeError("graph: the tensor does not require a gradient, so nothing was recorded")
    names = _names(params)
    leaves, nodes = _collect(roots)
    targets: list[Node | Variable] = [*leaves, *nodes]
    keys = {target: f"n{i}" for i, target in enumerate(targets)}

    boxes = [_box(keys[leaf], [names.get(leaf, "leaf"), _shape(leaf)], _PARAMETER) for leaf in leaves]
    arrows: list[str] = []
    freed = False
    for node in nodes:
        gone = getattr(node, "parent", node).saved is None  # one of several outputs is freed with its node
        freed = freed or gone
        title = [_title(node), *([names[node]] if node in names else []), str(node.shape)]
        boxes.append(_box(keys[node], title, _FREED if gone else ""))
        arrows += [f"  {keys[edge]} -> {keys[node]}\n" for edge in node.edges]
    for index, root in enumerate(roots):
        key = f"n{len(keys) + index}"
        label = names.get(root, "output" if len(roots) == 1 else f"output {index}")
        boxes.append(_box(key, [label, _shape(root)], _OUTPUT))
        arrows.append(f"  {keys[root if root._node is None else root._node]} -> {key}\n")
    note = '  label="A backward pass freed what is dashed; retain_graph=True keeps it."\n' if freed else ""
    return "".join([_HEADER, note, *boxes, *arrows, "}"])


def _collect(roots: Sequence[Variable]) -> tuple[list[Variable], list[Node]]:
    """The leaves that the roots depend on, in the order found, and the nodes, oldest first."""
    stack: list[Node | Variable] = [root if root._node is None else root._node for root in roots]
    seen = dict.fromkeys(stack)
    while stack:
        target = stack.pop()
        for edge in target.edges if isinstance(target, Node) else ():
            if edge not in seen:
                seen[edge] = None
                stack.append(edge)
    nodes = sorted((x for x in seen if isinstance(x, Node)), key=lambda node: node.sequence)
    # A leaf is drawn where it is first used.
    leaves = dict.fromkeys(edge for node in nodes for edge in node.edges if isinstance(edge, Variable))
    return list(leaves | dict.fromkeys(x for x in seen if isinstance(x, Variable))), nodes


def _names(params: Any) -> dict[Node | Variable, str]:
    """The name of each leaf, and of each node whose output has one."""
    if params is None:
        return {}
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    pairs = params.items() if isinstance(params, Mapping) else params
    names: dict[Node | Variable, str] = {}
    for name, tensor in pairs:
        if not isinstance(tensor, Variable):
            raise TypeError(f"graph: params expects tensors but {name!r} is a {type(tensor).__name__}")
        names[tensor] = str(name)
        if tensor._node is not None:
            names[tensor._node] = str(name)
    return names


def _title(node: Node) -> str:
    name = node.name.strip("_")
    index = getattr(node, "index", None)
    return name if index is None else f"output {index} of {name}"


def _shape(variable: Variable) -> str:
    return str(variable.data.shape)


def _box(key: str, lines: Sequence[str], style: str) -> str:
    label = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for line in lines)
    return f'  {key} [label="{label}"{", " + style if style else ""}]\n'
