"""Ways to break a derivative: each mutant is a VJP with one mistake in it, made in memory.

Mistakes of two kinds. Those of the *text* of a VJP change one place in its syntax tree: a term or a factor is
dropped, a sign or an operand exchanged, a transpose or a reduction forgotten, a comparison moved by one, a condition
turned round. Those of its *result* can be made with any VJP: the wrong sign, a factor, a constant too much, the first
or the last element lost, all elements moved by one place. The second kind is also made with the values of primitives
that VJPs call, such as the scatter of pooling.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from operations.sweep import primitives

from tinygrad_cnn.autograd import Primitive, Residuals

__all__ = ["Mutant", "all_mutants"]

COMPARISONS = {"lt": "le", "le": "lt", "gt": "ge", "ge": "gt", "eq": "ne", "ne": "eq"}
# Calls that give their first argument another shape, or fewer elements.
RESHAPING = {"sum", "mean", "_spread", "_keep", "expand", "reshape", "unsqueeze", "squeeze", "sum_to_size"}


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes
    ----------
    primitive : Primitive
    names : tuple of str
        The inputs that the broken VJP serves; empty if the value of the primitive is what is broken.
    mistake : str
    function : callable
        What takes the place of the VJP, or of the value.
    """

    primitive: Primitive
    names: tuple[str, ...]
    mistake: str
    function: Callable[..., Any]

    def __str__(self) -> str:
        place = f"d/d {', '.join(self.names)}" if self.names else "value"
        return f"{self.primitive.name} [{place}]: {self.mistake}"

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the library make the mistake for a while."""
        if not self.names:
            original, self.primitive.forward = self.primitive.forward, self.function
            try:
                yield
            finally:
                self.primitive.forward = original
            return
        rule = next(rule for rule in self.primitive.rules if rule.names == self.names)
        original, rule.function = rule.function, self.function
        self.primitive._plans.clear()
        try:
            yield
        finally:
            rule.function = original
            self.primitive._plans.clear()


def all_mutants() -> list[Mutant]:
    """Every mistake in every VJP of the library, in a fixed order."""
    found = []
    called: set[int] = set()
    for p in primitives():
        for rule in p.rules:
            names = rule.function.__code__.co_names
            used = [rule.function.__globals__.get(name) for name in names]
            called |= {id(q) for q in used if isinstance(q, Primitive)}
            found += [Mutant(p, rule.names, *change) for change in _in_result(rule.function)]
            found += [Mutant(p, rule.names, *change) for change in _in_text(rule.function)]
    for p in primitives():
        if id(p) in called:
            found += [Mutant(p, (), *change) for change in _in_result(p.forward)]
    return found


# ------------------------------------------------------------------------------- mistakes in the result


def _each(change: Callable[[Any], Any], result: Any) -> Any:
    """Apply a change to a gradient, or to each of several."""
    if type(result) is Residuals:
        return Residuals(_each(change, result.output), **result.values)
    if isinstance(result, (tuple, list)):
        return type(result)(None if x is None else change(x) for x in result)
    return None if result is None else change(result)


def _without(position: int) -> Callable[[Any], Any]:
    def change(g: Any) -> Any:
        kept = np.ones(g.shape, g.dtype)
        if kept.size:
            kept.flat[position] = 0
        return g * kept

    return change


def _moved(g: Any) -> Any:
    count = int(np.prod(g.shape))
    return g.reshape(count)[np.roll(np.arange(count), 1)].reshape(g.shape)


RESULTS: dict[str, Callable[[Any], Any]] = {
    "wrong sign": lambda g: -g,
    "twice as large": lambda g: g * 2,
    "first element lost": _without(0),
    "last element lost": _without(-1),
    "moved by one element": _moved,
}


def _in_result(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    source = inspect.getsource(function)
    is_zero = source.rstrip().endswith(":\n    return zeros_like(g)")
    changes = {"one too much": lambda g: g + 1, "one too little": lambda g: g - 1} if is_zero else RESULTS
    for name, change in changes.items():

        def mutated(*args: Any, change: Any = change, **kwargs: Any) -> Any:
            return _each(change, function(*args, **kwargs))

        yield name, mutated


# --------------------------------------------------------------------------------- mistakes in the text


def _in_text(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    parameters = [argument.arg for argument in definition.args.args]
    count = sum(1 for _ in ast.walk(definition))
    for place in range(count):
        node = _node(definition, place)
        for replacement in _replacements(node, parameters):
            mutated = copy.deepcopy(tree)
            _replace(mutated.body[0], place, replacement)
            namespace = dict(function.__globals__)
            exec(compile(ast.fix_missing_locations(mutated), "<mutant>", "exec"), namespace)
            yield _difference(tree, mutated), namespace[definition.name]


def _difference(tree: ast.AST, mutated: ast.AST) -> str:
    """The line that changed, before and after."""
    pairs = zip(ast.unparse(tree).splitlines(), ast.unparse(mutated).splitlines(), strict=False)
    before, after = next((a.strip(), b.strip()) for a, b in pairs if a != b)
    return f"{before.removeprefix('return ')}  ->  {after.removeprefix('return ')}"


def _node(tree: ast.AST, place: int) -> ast.AST:
    return list(ast.walk(tree))[place]


def _replace(tree: ast.AST, place: int, replacement: ast.AST) -> None:
    target = _node(tree, place)
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, field, replacement)
                return
            if isinstance(value, list) and any(item is target for item in value):
                value[[item is target for item in value].index(True)] = replacement
                return


def _replacements(node: ast.AST, parameters: list[str]) -> Iterator[ast.AST]:
    """What may stand in the place of a node by mistake."""
    if isinstance(node, ast.BinOp):
        yield from _binary(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield node.operand
    elif isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
        yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        yield from _call(node, node.func.id)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters[1:]:
        yield ast.Name(parameters[0], ast.Load())


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    other = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
    if type(node.op) in other:
        yield node.left
        yield node.right
        yield ast.BinOp(node.left, other[type(node.op)](), node.right)
    elif isinstance(node.op, ast.MatMult):
        yield ast.BinOp(node.right, node.op, node.left)


def _call(node: ast.Call, name: str) -> Iterator[ast.AST]:
    if name in COMPARISONS:
        yield ast.Call(ast.Name(COMPARISONS[name], ast.Load()), node.args, node.keywords)
    elif name in RESHAPING:
        yield node.args[0]
    elif name == "where":
        yield ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], node.keywords)
        yield node.args[1]
        yield node.args[2]
    elif name == "zeros_like":
        yield node.args[0]
    elif len(node.args) >= 2:
        yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
