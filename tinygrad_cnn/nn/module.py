"""Module: the base class of layers and models. It knows its parameters, its buffers and the modules inside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from tinygrad_cnn.hooks import RemovableHandle
from tinygrad_cnn.nn import hooks, state
from tinygrad_cnn.nn.parameter import Parameter, cast, clear_gradients
from tinygrad_cnn.tensor import Tensor

# Where each kind of registered attribute is kept, and what an attribute of that kind may be set to.
_TABLES: dict[str, tuple[str, str]] = {
    "_parameters": ("parameter", "nn.Parameter or None"),
    "_buffers": ("buffer", "Tensor or None"),
    "_modules": ("child module", "nn.Module or None"),
}


class Module:
    """Base class of all layers and models.

    A subclass calls ``super().__init__()``, makes its layers and parameters into attributes, and defines `forward`.
    An attribute that is a `Parameter` or a `Module` registers itself: `parameters`, `state_dict`, `to`, `train` and
    the rest then find it at any depth.

    Attributes
    ----------
    training : bool
        True after construction and after `train`, False after `eval`. Dropout and batch normalisation look at it.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.layer(x).relu()
    >>> net = Net()
    >>> net
    Net(
      (layer): Linear(in_features=3, out_features=2, bias=True)
    )
    >>> net(tg.ones(5, 3)).shape
    (5, 2)
    >>> [name for name, _ in net.named_parameters()]
    ['layer.weight', 'layer.bias']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers: set[str]
    _modules: dict[str, Module | None]
    _forward_pre_hooks: hooks.HookTable
    _forward_hooks: hooks.HookTable

    def __init__(self) -> None:
        # Straight into __dict__, because __setattr__ expects these tables to be there.
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers=set(),
            _modules={},
            _forward_pre_hooks={},
            _forward_hooks={},
        )

    # ------------------------------------------------------------------------------------------- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output from the inputs. Every subclass defines it; call the module itself, not this."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pre-hooks, `forward` and the forward hooks.

        An error raised in a submodule says which one: ``features.3: conv2d: weight expects ...``.
        """
        try:
            if not (self._forward_pre_hooks or self._forward_hooks):
                return self.forward(*args, **kwargs)
            args, kwargs = hooks.run_pre_hooks(self._forward_pre_hooks, self, args, kwargs)
            output = self.forward(*args, **kwargs)
            return hooks.run_hooks(self._forward_hooks, self, args, kwargs, output)
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            _say_where(error, self)
            raise

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before every forward pass; what it returns, unless None, replaces the inputs.

        With `with_kwargs` it is ``hook(module, args, kwargs)``, which returns None or a new pair.
        """
        return hooks.register(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after every forward pass; what it returns, unless None, is the output.

        With `with_kwargs` it is ``hook(module, args, kwargs, output)``.
        """
        return hooks.register(self._forward_hooks, hook, prepend, with_kwargs)

    # ------------------------------------------------------------------------------------------- attributes

    def __getattr__(self, name: str) -> Any:
        # Only called where ordinary look-up found nothing.
        tables = self.__dict__
        if "_parameters" not in tables:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: Module.__init__() has not been called; "
                "start __init__ with super().__init__()"
            )
        for table in _TABLES:
            if name in tables[table]:
                return tables[table][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._make_room(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._make_room(name, "_modules")
            self.register_module(name, value)
        else:
            table = next((table for table in _TABLES if name in self.__dict__.get(table, ())), None)
            if table is None:
                object.__setattr__(self, name, value)
            elif value is None or (table == "_buffers" and isinstance(value, Tensor)):
                self.__dict__[table][name] = value
            else:
                kind, expected = _TABLES[table]
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} object to {kind} {name!r} ({expected} expected)"
                )

    def _make_room(self, name: str, destination: str) -> None:
        """Forget whatever else is registered under `name`, before something of another kind takes its place."""
        if "_parameters" not in self.__dict__:
            kind = _TABLES[destination][0]
            raise AttributeError(f"cannot assign {kind} {name!r} before Module.__init__() call")
        self.__dict__.pop(name, None)
        for table in _TABLES:
            if table != destination:
                self.__dict__[table].pop(name, None)
        self._non_persistent_buffers.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name (``bias=None``) and keeps it out of `state_dict`.

        Raises
        ------
        TypeError
            If `name` is not a string or `param` is not a `Parameter`.
        KeyError
            If `name` is empty, contains a dot, or is taken.
        """
        self._check_registration("register_parameter", name, param, "_parameters", Parameter)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained, such as a running mean.

        A buffer that is not `persistent` stays out of `state_dict`. Errors as `register_parameter`'s.
        """
        self._check_registration("register_buffer", name, tensor, "_buffers", Tensor)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module. Errors as `register_parameter`'s; ValueError if `module` contains this module."""
        self._check_module(name, module)
        self._modules[name] = module

    add_module = register_module

    def _check_module(self, name: str, module: Module | None) -> None:
        self._check_registration("register_module", name, module, "_modules", Module)
        if module is not None and any(inner is self for inner in module.modules()):
            raise ValueError(f"register_module: {name} expects a module that does not contain its own parent")

    def _check_registration(self, operation: str, name: str, value: object, table: str, kind: type) -> None:
        if table not in self.__dict__:
            raise AttributeError(f"{operation}: cannot register {name!r} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{operation}: name expects a string but got {type(name).__name__}")
        if "." in name or not name:
            raise KeyError(f"{operation}: name expects a non-empty string without dots but got {name!r}")
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"{operation}: attribute {name!r} already exists")
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{operation}: {name} expects a {kind.__name__} or None but got {type(value).__name__}")

    # ------------------------------------------------------------------------------------------- walking

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it with their dotted names, each once unless `remove_duplicate` is False."""
        seen: set[int] = set()
        waiting: list[tuple[str, Module]] = [(prefix, self)]
        while waiting:
            path, module = waiting.pop()
            if id(module) in seen:
                continue
            if remove_duplicate:
                seen.add(id(module))
            yield path, module
            children = [(name, child) for name, child in module._modules.items() if child is not None]
            waiting += [(_join(path, name), child) for name, child in reversed(children)]

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Yield this module and all below it, each once unless `remove_duplicate` is False."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly inside this one with their names, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the modules directly inside this one, each once."""
        for _, child in self.named_children():
            yield child

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their dotted names; one that several modules share comes once."""
        yield from self._named_tensors("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, what an optimizer takes; one that several modules share comes once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their dotted names, persistent or not."""
        yield from self._named_tensors("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, persistent or not."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named_tensors(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in module.__dict__[table].items():
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield _join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """Return the module at a dotted path; the empty path is this module.

        Raises
        ------
        AttributeError
            If there is no such module.
        """
        module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no submodule {name!r} (path {target!r})")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a dotted path, or raise AttributeError."""
        return self._get_tensor("_parameters", target)

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a dotted path, or raise AttributeError."""
        return self._get_tensor("_buffers", target)

    def _get_tensor(self, table: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        tensor = module.__dict__[table].get(name)
        if tensor is None:
            raise AttributeError(f"{type(module).__name__} has no {_TABLES[table][0]} {name!r} (path {target!r})")
        return tensor

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call ``fn(module)`` on every module, children before parents, and return this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ------------------------------------------------------------------------------------------- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Return the parameters and persistent buffers by dotted name.

        The tensors are detached but share their memory with the module (a later step of an optimizer shows through);
        with `keep_vars` they are the parameters themselves. A shared parameter appears under each of its names.
        """
        tensors: OrderedDict[str, Tensor] = OrderedDict()
        for path, module in self.named_modules(remove_duplicate=False):
            buffers = {k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers}
            for name, tensor in (module._parameters | buffers).items():
                if tensor is not None:
                    tensors[prefix + _join(path, name)] = tensor if keep_vars else tensor.detach()
        return tensors

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> state.IncompatibleKeys:
        """Copy the values of a state dict into the parameters and buffers.

        Everything is checked before anything is copied: after an error the module is as it was. A checkpoint of
        another floating dtype is converted to the module's; integers never become floats, nor floats integers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or ndarray
            As `state_dict` returns it.
        strict : bool, default True
            Whether missing and unexpected keys are errors. A wrong shape or dtype always is.

        Returns
        -------
        IncompatibleKeys
            A named tuple ``(missing_keys, unexpected_keys)``.

        Raises
        ------
        RuntimeError
            Naming every missing key, unexpected key, and tensor of the wrong shape or dtype.
        TypeError
            If `state_dict` is not a mapping with string keys.
        """
        return state.load(self.state_dict(keep_vars=True), state_dict, strict, type(self).__name__)

    # ------------------------------------------------------------------------------------------- modes

    def train(self, mode: bool = True) -> Self:
        """Set this module and all below it to training mode (or, with False, to evaluation mode).

        It calls the children's own `train`: a module that overrides it, such as one that stays frozen, is asked.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode expects a bool but got {mode!r}")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set this module and all below it to evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter: ``model.features.requires_grad_(False)`` freezes a part."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the parameters' gradients, or, with `set_to_none` False, fill them with zeros."""
        clear_gradients(self.parameters(), set_to_none)

    def to(self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert floating parameters and buffers, with their gradients, to a dtype; ``to("cpu")`` changes nothing.

        Arguments as `Tensor.to`'s. The parameters stay the same objects, so an optimizer made before goes on with
        them.

        Raises
        ------
        TypeError
            If the dtype is not a floating one.
        ValueError
            If the device is not the CPU.
        """
        # What the arguments ask for is seen in what they make of two tensors: no dtype at all leaves both alone.
        probes = [Tensor(np.empty(0, kind)) for kind in (np.float32, np.float64)]
        targets = {probe.to(*args, dtype=dtype, device=device).dtype for probe in probes}
        if len(targets) == 1:
            target = targets.pop()
            if target.kind != "f":
                raise TypeError(f"{type(self).__name__}.to: dtype expects a floating dtype but got {target}")
            for tensor in (*self.parameters(), *self.buffers()):
                cast(tensor, target)
        return self

    def float(self) -> Self:
        """Convert floating parameters and buffers to float32."""
        return self.to(np.dtype(np.float32))

    def double(self) -> Self:
        """Convert floating parameters and buffers to float64."""
        return self.to(np.dtype(np.float64))

    def cpu(self) -> Self:
        """Return this module, which is on the CPU already."""
        return self

    # ------------------------------------------------------------------------------------------- showing

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the repr: a layer's settings."""
        return ""

    def __repr__(self) -> str:
        settings = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {indent(repr(child))}" for name, child in self._modules.items()]
        lines = settings + children
        if not children and len(settings) <= 1:
            return f"{type(self).__name__}({''.join(settings)})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def indent(text: str) -> str:
    """Indent every line of a repr but the first."""
    return text.replace("\n", "\n  ")


def _say_where(error: Exception, module: Module) -> None:
    """Prefix an error's message with the path from `module` down to the submodule that raised it.

    Called at each level as the error travels up. The error carries the last module that it left, the path gathered
    so far and its own message, so that each level only has to look for that module below itself. An error that has
    left a module and comes from inside it again was raised once more: its way begins anew.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    inner, path, message = error.__dict__.get("_raised_in", (None, "", error.args[0]))
    if inner is not None and inner is not module:
        if any(m is module for m in inner.modules()):
            path = ""
        else:
            name = next((name for name, m in module.named_modules() if m is inner), "")
            path = ".".join(part for part in (name, path) if part)
        error.args = (f"{path}: {message}" if path else message,)
    error.__dict__["_raised_in"] = (module, path, message)
