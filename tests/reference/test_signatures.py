"""What PyTorch has too has PyTorch's signature: the same argument names, in the same order, with the same defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402

MODULES = (
    "nn", "nn.functional", "nn.init", "nn.utils", "optim", "optim.lr_scheduler", "optim.swa_utils", "autograd", "func"
)  # fmt: skip
# Arguments of PyTorch's that belong to its GPUs, compiler, generators, other layouts, or that it deprecates.
LEFT_OUT = {
    "device", "dtype", "generator", "foreach", "fused", "capturable", "differentiable", "size_average", "reduce",
    "_stacklevel", "only_inputs", "is_grads_batched", "materialize_grads", "verbose", "assign", "non_blocking",
    "with_kwargs", "always_call", "prepend", "min_value", "max_value",
    "grad_variables", "orig_func", "destination", "memo", "allow_unused", "tensor", "swap_module", "chunk_size",
    "randomness", "strict", "in_dims", "_preallocate_and_copy",
}  # fmt: skip


def public(module: Any) -> Iterator[tuple[str, Any]]:
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    for name in names:
        if callable(value := getattr(module, name)):
            yield name, value


def resolve(package: Any, path: str) -> Any:
    for part in path.split("."):
        package = getattr(package, part, None)
    return package


def arguments(function: Any) -> dict[str, Any] | None:
    """Names and defaults, in order; None where Python cannot know (PyTorch's built-in functions)."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {n: p.default for n, p in signature.parameters.items() if n != "self" and p.kind not in kinds}
    return named or None


def disagreement(theirs: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """What of PyTorch's arguments we lack, order or set otherwise; more arguments may follow PyTorch's."""
    expected = {name: default for name, default in theirs.items() if name not in LEFT_OUT}
    for name, default in expected.items():
        if name not in ours:
            return f"no argument {name!r}"
        if default != ours[name] and not (default is inspect.Parameter.empty or ours[name] is default):
            return f"{name}={ours[name]!r}, PyTorch has {default!r}"
        if default is inspect.Parameter.empty and ours[name] is not default:
            return f"{name} has a default, in PyTorch it has none"
    order = [name for name in ours if name in expected]
    return None if order == list(expected) else f"the order is {order}, PyTorch has {list(expected)}"


@pytest.mark.parametrize("path", MODULES)
def test_signatures(path: str, pytorch: Library, ours: Library) -> None:
    module, reference = resolve(ours.package, path), resolve(pytorch.package, path)
    if module is None:
        pytest.skip(f"no {path} yet")
    found = []
    for name, value in public(module):
        theirs = arguments(getattr(reference, name, None))
        own = arguments(value)
        if theirs is not None and (text := disagreement(theirs, own or {})) is not None:
            found.append(f"{path}.{name}: {text}")
    assert not found, "\n".join(found)


METHODS = ("nn.Module", "optim.Optimizer", "Tensor")


@pytest.mark.parametrize("path", METHODS)
def test_methods(path: str, pytorch: Library, ours: Library) -> None:
    own, reference = resolve(ours.package, path), resolve(pytorch.package, path)
    found = []
    for name in dir(own):
        theirs = arguments(getattr(reference, name, None))
        if name.startswith("_") or theirs is None:
            continue
        if (text := disagreement(theirs, arguments(getattr(own, name)) or {})) is not None:
            found.append(f"{path}.{name}: {text}")
    assert not found, "\n".join(found)
