"""Forward hooks of modules: registering them and running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_cnn.hooks import RemovableHandle, next_key


class Hook(NamedTuple):
    """A registered function and whether it wants to see the keyword arguments."""

    function: Callable[..., Any]
    with_kwargs: bool


HookTable = dict[int, Hook]


def register(table: HookTable, function: Callable[..., Any], prepend: bool, with_kwargs: bool) -> RemovableHandle:
    """Put a function at the end, or at the front, of the hooks in `table`."""
    if not callable(function):
        raise TypeError(f"register hook: hook expects a callable but got {type(function).__name__}")
    key = next_key()
    hook = Hook(function, with_kwargs)
    if prepend:
        later = dict(table)
        table.clear()
        table[key] = hook
        table.update(later)
    else:
        table[key] = hook
    return RemovableHandle(table, key)


def hooked(module: Any) -> bool:
    """Return whether anybody watches the forward passes of `module`, or has given it another one."""
    return bool(module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))


def run_pre_hooks(
    table: HookTable, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call each hook before a forward pass; what one returns replaces the arguments."""
    for hook in list(table.values()):
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        "forward pre-hook: a hook registered with with_kwargs=True expects to return None or "
                        f"a pair (args, kwargs) but returned {changed!r}"
                    )
                args, kwargs = changed
        else:
            changed = hook.function(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    return args, kwargs


def run_hooks(table: HookTable, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """Call each hook after a forward pass; what one returns replaces the output."""
    for hook in list(table.values()):
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs, output)
        else:
            changed = hook.function(module, args, output)
        if changed is not None:
            output = changed
    return output
