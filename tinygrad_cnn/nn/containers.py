"""Modules that hold other modules: a chain, a list, a dictionary."""

from __future__ import annotations

import itertools
import operator
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self, SupportsIndex, overload

from tinygrad_cnn.nn.activation import ReLU
from tinygrad_cnn.nn.hooks import hooked
from tinygrad_cnn.nn.module import Module, indent
from tinygrad_cnn.nn.pooling import MaxPool2d


class _Indexed(Module):
    """What `Sequential` and `ModuleList` share: children in order, reached by position."""

    def _keys(self, index: SupportsIndex | slice) -> list[str]:
        """Return the names of the children at an index or in a slice."""
        keys = list(self._modules)
        if isinstance(index, slice):
            return keys[index]
        position = operator.index(index)
        if not -len(keys) <= position < len(keys):
            raise IndexError(f"{type(self).__name__}: index {position} is out of range for {len(keys)} module(s)")
        return [keys[position]]

    def _renumber(self, modules: Iterable[Module]) -> None:
        numbered = {str(position): module for position, module in enumerate(modules)}
        for name, module in numbered.items():
            self._check_module(name, module)
        self._modules.clear()
        self._modules.update(numbered)

    def __setitem__(self, index: SupportsIndex, module: Module) -> None:
        self.register_module(self._keys(index)[0], module)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        for key in self._keys(index):
            del self._modules[key]
        self._renumber(self)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    def append(self, module: Module) -> Self:
        """Add a module at the end and return the container."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end and return the container."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: SupportsIndex, module: Module) -> Self:
        """Insert a module before position `index` and return the container."""
        position = operator.index(index)
        if not -len(self) <= position <= len(self):
            raise IndexError(f"{type(self).__name__}: index {position} is out of range for {len(self)} module(s)")
        modules = list(self)
        modules.insert(position, module)
        self._renumber(modules)
        return self

    def pop(self, index: SupportsIndex = -1) -> Module:
        """Remove the module at `index` and return it."""
        module = self._modules[self._keys(index)[0]]
        del self[index]
        return module  # type: ignore[return-value]


class Sequential(_Indexed):
    """Modules in a chain: the output of each is the input of the next.

    A `ReLU` and the `MaxPool2d` behind it run as one, with the same values and gradients, unless one of the two has
    hooks or a `forward` of its own, or the windows have gaps.

    Parameters
    ----------
    *args : Module, or one OrderedDict of str to Module
        The chain; its links are named ``"0"``, ``"1"``, ... or as the dictionary says.

    Examples
    --------
    >>> from tinygrad_cnn import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> model[1]
    ReLU()
    >>> model[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    @overload
    def __init__(self, *args: Module) -> None: ...
    @overload
    def __init__(self, arg: OrderedDict[str, Module], /) -> None: ...
    def __init__(self, *args: Any) -> None:
        super().__init__()
        named = args[0].items() if len(args) == 1 and isinstance(args[0], OrderedDict) else enumerate(args)
        for name, module in named:
            self.register_module(str(name), module)

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> Module: ...
    def __getitem__(self, index: Any) -> Any:
        chosen: OrderedDict[str, Any] = OrderedDict((key, self._modules[key]) for key in self._keys(index))
        return type(self)(chosen) if isinstance(index, slice) else next(iter(chosen.values()))

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Self:
        return self.extend(other) if isinstance(other, Sequential) else NotImplemented

    def forward(self, input: Any) -> Any:
        """Pass the input through the chain."""
        chain = list(self)
        rectified = False
        for number, module in enumerate(chain, 1):
            if type(module) is ReLU and number < len(chain) and _rectifies(chain[number]) and not hooked(module):
                rectified = True  # by the next one
            elif rectified:
                input = module(input, rectified=True)
                rectified = False
            else:
                input = module(input)
        return input


def _rectifies(module: Module) -> bool:
    """Whether a module can do the work of a ReLU before it.

    Max pooling can, as the two commute: the largest of rectified values is the largest value rectified. So do their
    gradients: where the largest value is positive, it stands at the same place either way, and elsewhere the
    derivative of ReLU is 0. But a window with gaps may lie on the padding alone, on both sides of a small image: it
    yields -inf, not rectified.
    """
    if type(module) is not MaxPool2d or module.return_indices or hooked(module):
        return False
    return module.dilation in (1, (1, 1))


class ModuleList(_Indexed):
    """A list of modules that a module can register as one attribute. It has no `forward` of its own.

    Parameters
    ----------
    modules : iterable of Module, optional
        The first elements.

    Examples
    --------
    >>> from tinygrad_cnn import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), layers[-1]
    (3, Linear(in_features=4, out_features=4, bias=True))
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> Module: ...
    def __getitem__(self, index: Any) -> Any:
        chosen = [self._modules[key] for key in self._keys(index)]
        return type(self)(chosen) if isinstance(index, slice) else chosen[0]  # type: ignore[arg-type]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def __repr__(self) -> str:
        # Equal neighbours share a line: "(0-2): 3 x Linear(...)".
        lines, first = [], 0
        for text, equals in itertools.groupby(repr(module) for module in self):
            count = len(list(equals))
            label = f"({first})" if count == 1 else f"({first}-{first + count - 1})"
            times = "" if count == 1 else f"{count} x "
            lines.append(indent(f"{label}: {times}{text}"))
            first += count
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{type(self).__name__}()"


class ModuleDict(Module):
    """A dictionary of modules, in the order of insertion, that a module can register as one attribute.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional
        The first entries.

    Examples
    --------
    >>> from tinygrad_cnn import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "parity": nn.Linear(8, 2)})
    >>> list(heads)
    ['digit', 'parity']
    >>> heads["parity"]
    Linear(in_features=8, out_features=2, bias=True)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]  # type: ignore[return-value]

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """Return the modules."""
        return self._modules.values()  # type: ignore[return-value]

    def items(self) -> ItemsView[str, Module]:
        """Return the pairs of name and module."""
        return self._modules.items()  # type: ignore[return-value]

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace entries from a mapping or from pairs."""
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for name, module in pairs:
            self[name] = module

    def pop(self, key: str) -> Module:
        """Remove an entry and return its module."""
        module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Remove all entries."""
        self._modules.clear()
