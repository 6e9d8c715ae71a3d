"""Trees: tensors in dicts, lists and tuples, nested as one likes. Anything else is a leaf."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["leaves", "leaves_like", "rebuild", "tree_map"]


def leaves(tree: Any) -> list[Any]:
    """The leaves of a tree, from left to right."""
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    if isinstance(tree, (list, tuple)):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def leaves_like(operation: str, argument: str, tree: Any, like: Any) -> list[Any]:
    """The leaves of a tree in the order of the leaves of another, which must have the same form.

    Raises
    ------
    ValueError
        If the forms differ; the order of a dict's keys does not matter.
    """
    if isinstance(like, dict):
        if not isinstance(tree, dict) or tree.keys() != like.keys():
            raise _differs(operation, argument, f"a dict with the keys {list(like)}", tree)
        return [leaf for key in like for leaf in leaves_like(operation, argument, tree[key], like[key])]
    if isinstance(like, (list, tuple)):
        if not isinstance(tree, (list, tuple)) or len(tree) != len(like):
            raise _differs(operation, argument, f"a {type(like).__name__} of length {len(like)}", tree)
        pairs = zip(tree, like, strict=True)
        return [leaf for branch, other in pairs for leaf in leaves_like(operation, argument, branch, other)]
    if isinstance(tree, (dict, list, tuple)):
        raise _differs(operation, argument, "a tensor", tree)
    return [tree]


def _differs(operation: str, argument: str, expected: str, tree: Any) -> ValueError:
    came = f"one with the keys {list(tree)}" if isinstance(tree, dict) else f"a {type(tree).__name__}"
    if isinstance(tree, (list, tuple)):
        came += f" of length {len(tree)}"
    return ValueError(f"{operation}: {argument} expects {expected} but got {came}")


def rebuild(like: Any, values: Iterable[Any]) -> Any:
    """A tree of the form of another with other leaves, given from left to right."""
    return _rebuild(like, iter(values))


def _rebuild(like: Any, values: Iterator[Any]) -> Any:
    if isinstance(like, dict):
        kind = OrderedDict if isinstance(like, OrderedDict) else dict
        return kind((key, _rebuild(branch, values)) for key, branch in like.items())
    if isinstance(like, (list, tuple)):
        branches = [_rebuild(branch, values) for branch in like]
        if isinstance(like, list):
            return branches
        return type(like)(*branches) if hasattr(like, "_fields") else tuple(branches)
    return next(values)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree of ``function(leaf)``."""
    return rebuild(tree, map(function, leaves(tree)))
