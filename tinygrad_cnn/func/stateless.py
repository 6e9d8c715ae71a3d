"""A module as a function of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.tensor import Tensor

__all__ = ["functional_call"]

# Where a tensor of a module is kept: a module's table of parameters or buffers, and its name there.
Place = tuple[dict[str, Any], str]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other tensors in the places of its parameters and buffers.

    During the call the module holds the given tensors; afterwards, also after an error, its own again. So a model
    becomes a function of its parameters, which `grad`, `hessian` and the rest can differentiate.

    Parameters
    ----------
    module : Module
    parameter_and_buffer_dicts : dict of str to Tensor, or sequence of dicts
        Tensors by dotted name, as `named_parameters` has them. What is not named stays the module's own. A buffer
        that the module replaces during the call is replaced in the dict.
    args : tuple or any
        The arguments; anything but a tuple is the only one.
    kwargs : dict, optional
    tie_weights : bool
        Whether a tensor for one name of a shared parameter serves its other names too.
    strict : bool
        Whether every parameter and buffer must be given.

    Returns
    -------
    The output of the module.

    Raises
    ------
    TypeError
        If `module` is not a module, or a value not a tensor.
    ValueError
        If the module has no parameter or buffer of a name, if two dicts give the same name, if names of one shared
        parameter get different tensors while they are tied, or, with `strict`, if one is missing.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> model = nn.Linear(2, 1)
    >>> parameters = {"weight": tg.tensor([[1.0, 2.0]]), "bias": tg.tensor([0.5])}
    >>> functional_call(model, parameters, tg.tensor([[10.0, 1.0]]))
    tensor([[12.5]])
    """
    if not isinstance(module, Module):
        raise TypeError(f"functional_call: module expects a Module but got {type(module).__name__}")
    if isinstance(parameter_and_buffer_dicts, Mapping):
        parameter_and_buffer_dicts = (parameter_and_buffer_dicts,)
    dicts = parameter_and_buffer_dicts
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(tensors, Mapping) for tensors in dicts):
        came = [type(x).__name__ for x in dicts] if isinstance(dicts, (list, tuple)) else type(dicts).__name__
        raise TypeError(f"functional_call: parameter_and_buffer_dicts expects dicts of tensors but got {came}")
    places = _places(module)
    given = _gather(dicts, places, module)
    if strict and given.keys() != places.keys():
        missing = [name for name in places if name not in given]
        raise ValueError(f"functional_call: with strict, {type(module).__name__} expects all of {missing} too")
    tied = _tie(given, places) if tie_weights else given
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(tied, places):
        output = module(*arguments, **(kwargs or {}))
        now = {name: places[name][0][places[name][1]] for name in given}
    for tensors in parameter_and_buffer_dicts:
        for name in tensors:
            if now[name] is not tensors[name] and isinstance(tensors, dict):
                tensors[name] = now[name]
    return output


def _places(module: Module) -> dict[str, Place]:
    """Where each parameter and buffer is kept, by dotted name; a shared one under each of its names."""
    return {
        f"{path}.{name}" if path else name: (table, name)
        for path, inner in module.named_modules(remove_duplicate=False)
        for table in (inner._parameters, inner._buffers)
        for name, tensor in table.items()
        if tensor is not None
    }


def _gather(dicts: Sequence[Mapping[str, Tensor]], places: dict[str, Place], module: Module) -> dict[str, Tensor]:
    given: dict[str, Tensor] = {}
    for tensors in dicts:
        for name, tensor in tensors.items():
            if name not in places:
                raise ValueError(f"functional_call: {type(module).__name__} has no parameter or buffer {name!r}")
            if name in given:
                raise ValueError(f"functional_call: {name!r} is given twice")
            if not isinstance(tensor, Tensor):
                raise TypeError(f"functional_call: {name} expects a tensor but got {type(tensor).__name__}")
            given[name] = tensor
    return given


def _tie(given: dict[str, Tensor], places: dict[str, Place]) -> dict[str, Tensor]:
    """The given tensors also under the other names of the parameters that they stand for."""
    chosen: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in given.items():
        table, key = places[name]
        first, other = chosen.setdefault(id(table[key]), (name, tensor))
        if other is not tensor:
            raise ValueError(f"functional_call: {first} and {name} are one parameter but get different tensors")
    tied = ((name, chosen.get(id(table[key]))) for name, (table, key) in places.items())
    return {name: found[1] for name, found in tied if found is not None}


@contextmanager
def _swapped(tensors: dict[str, Tensor], places: dict[str, Place]) -> Iterator[None]:
    own = [(table, key, table[key]) for table, key in (places[name] for name in tensors)]
    try:
        for name, tensor in tensors.items():
            table, key = places[name]
            table[key] = tensor
        yield
    finally:
        for table, key, tensor in own:
            table[key] = tensor
