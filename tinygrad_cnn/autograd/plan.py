"""What a primitive keeps and runs, worked out once for each pattern of inputs that need gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Plan", "Rule"]


class Rule:
    """One VJP: the inputs it serves, its function, and the names that it asks for."""

    __slots__ = ("names", "function", "asks")

    def __init__(self, names: tuple[str, ...], function: Callable[..., Any], asks: tuple[str, ...]) -> None:
        self.names = names
        self.function = function
        self.asks = asks


class Plan:
    """For one pattern of inputs that need gradients: which VJPs run, and what they need kept.

    Parameters
    ----------
    name : str
        The name of the primitive.
    names : sequence of str
        Its arguments.
    rules : list of Rule
        Its VJPs that are needed.
    needed : dict
        For each argument that needs a gradient, the positions of its tensors among the inputs: one, or those of
        a variadic argument.
    flags : tuple of bool, optional
        For a variadic argument: which of its tensors need a gradient.

    Attributes
    ----------
    inputs : list of int
        The inputs that gradients go to, in the order in which the VJPs return these.
    arguments, shapes : list of int
        Which arguments are kept, and of which just the shape.
    residuals : list of str
        Which residuals are kept.
    keeps : bool
        Whether any of these is.
    keeps_call : bool
        Whether these are all the arguments and nothing else: then they are kept as they came.
    output : bool
        Whether the output is kept.
    constants : list
        Further values that VJPs asked for, the same at every call.
    calls : list
        For each VJP: its function, the positions of its arguments in (arguments, shapes, residuals, output,
        constants), how many gradients it returns, and which of them are wanted (None: it returns a single one,
        not in a tuple).
    """

    __slots__ = (
        "name",
        "inputs",
        "arguments",
        "shapes",
        "residuals",
        "keeps",
        "keeps_call",
        "output",
        "constants",
        "calls",
    )

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        rules: list[Rule],
        needed: dict[str, list[int]],
        flags: tuple[bool, ...] | None = None,
    ) -> None:
        asked = list(dict.fromkeys(ask for rule in rules for ask in rule.asks if ask != "wanted"))
        arguments = [name for name in names if name in asked]
        shapes = [ask for ask in asked if ask not in names and _of_shape(ask) in names]
        residuals = [ask for ask in asked if ask not in (*arguments, *shapes, "output")]
        self.name = name
        self.arguments = [names.index(ask) for ask in arguments]
        self.shapes = [names.index(_of_shape(ask)) for ask in shapes]
        self.residuals = residuals
        self.keeps = bool(arguments or shapes or residuals)
        self.keeps_call = len(arguments) == len(names) and not shapes and not residuals
        self.output = "output" in asked
        kept = [*arguments, *shapes, *residuals, *(["output"] if self.output else [])]

        self.inputs: list[int] = []
        self.constants: list[Any] = []
        self.calls: list[tuple[Callable[..., Any], list[int], int, list[int] | None]] = []
        for rule in rules:
            wanted = flags or tuple(served in needed for served in rule.names)
            picks = [len(kept) + len(self.constants) if ask == "wanted" else kept.index(ask) for ask in rule.asks]
            if "wanted" in rule.asks:
                self.constants.append(wanted)
            single = flags is None and len(rule.names) == 1
            returns = None if single else [i for i, is_wanted in enumerate(wanted) if is_wanted]
            self.calls.append((rule.function, picks, len(wanted), returns))
            self.inputs += [position for served in rule.names for position in needed.get(served, ())]


def _of_shape(ask: str) -> str:
    return ask.removesuffix("_shape") if ask.endswith("_shape") else ""
