"""Optimizer: parameter groups, their state, and a step that updates parameters in place."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np

from tinygrad_cnn.autograd import enable_grad
from tinygrad_cnn.nn.parameter import UninitializedParameter, clear_gradients
from tinygrad_cnn.optim.rules import Array, Rule, Work
from tinygrad_cnn.tensor import Tensor

Group: TypeAlias = dict[str, Any]
# Entries of a parameter's state that are numbers; PyTorch keeps 0-d tensors.
_NUMBERS: dict[str, Callable[[Any], Any]] = {"step": int, "mu_product": float}
Params: TypeAlias = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]


class Optimizer:
    """Base class of all optimizers.

    A subclass passes its default options to ``super().__init__``, and defines `update`, which changes one parameter
    given its gradient, and if it likes `check_options`. Everything else is here.

    Parameters
    ----------
    params : iterable of Tensor, of dict, or of (name, Tensor)
        What to optimize. Each dict is a group with options of its own: ``{"params": [...], "lr": 0.1}``.
    defaults : dict
        The options of groups that do not give their own.

    Attributes
    ----------
    param_groups : list of dict
        The groups: ``"params"`` and every option, such as ``"lr"``. Change an option here and the next step uses it.
    state : dict
        For each parameter that has been updated, a dict: tensors of its shape, and numbers.
    steps_taken : int
        How often `step` has been called.

    Raises
    ------
    TypeError
        If something in `params` is not a tensor.
    ValueError
        If `params` is empty, a parameter comes twice or is not a leaf, or an option is out of range.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"{self._name}: params expects an iterable of tensors or dicts but got a single tensor")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self.steps_taken = 0
        self._work = Work()
        self._applied = False  # whether the present update has called `apply`
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: params expects at least one parameter but got an empty list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    @property
    def _name(self) -> str:
        return type(self).__name__

    # ------------------------------------------------------------------------------------------- for subclasses

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of a group is out of range; called for every group. Accepts everything here."""

    def update(self, p: Array, g: Array, state: dict[str, Any], group: Group) -> None:
        """Change the parameter `p`, in place, given its gradient `g`; never write into `g`."""
        raise NotImplementedError

    def apply(self, rule: Rule, arrays: tuple[Array, ...], *options: Any) -> None:
        """Take the steps of ``rule(temporaries, *arrays, *options)``, in cache-sized blocks if the arrays are large.

        `rule` works elementwise and writes its results into `arrays`. It yields steps such as
        ``(np.multiply, g, lr, temporaries[0])``, which stands for ``np.multiply(g, lr, out=temporaries[0])``.
        `temporaries` are three arrays of the same shape that it may fill as it likes. The blocks of large arrays are
        run at the end of the step, in several threads; of several calls in one `update` each finds what the one before
        it has written.
        """
        if self._applied:
            self._work.finish()
        self._applied = True
        self._work.add(rule, arrays, *options)

    # ------------------------------------------------------------------------------------------- for everybody

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss again, with gradients, and returns it.

        Returns
        -------
        The loss that `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._work = Work()
        try:
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._update(parameter, group)
        finally:  # after an error, the parameters before it have taken their step, whatever their size
            self._work.finish()
        self.steps_taken += 1
        return loss

    def _update(self, parameter: Tensor, group: Group) -> None:
        p, g = parameter.data, parameter.grad.data  # type: ignore[union-attr]
        if g.shape != p.shape:
            raise ValueError(f"{self._name}: the gradient expects the parameter's shape {p.shape} but has {g.shape}")
        if not g.flags.c_contiguous:
            # Kernels return weight gradients in whatever layout suits them. One copy, and every pass after it runs
            # over memory in order.
            g = np.ascontiguousarray(g)
        if group.get("maximize"):
            g = -g
        self._applied = False
        self.update(p, g, self.state[parameter], group)
        parameter.bump_version()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or, with `set_to_none` False, fill them with zeros."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, a dict as the constructor takes it. Errors as there."""
        if not isinstance(param_group, dict):
            raise TypeError(f"{self._name}: a parameter group expects a dict but got {type(param_group).__name__}")
        if "params" not in param_group:
            raise ValueError(f"{self._name}: a parameter group expects the key 'params' but has {list(param_group)}")
        params = param_group["params"]
        if isinstance(params, set | frozenset):
            raise TypeError(f"{self._name}: params expects an ordered collection such as a list but got a set")
        members = [params] if isinstance(params, Tensor) else list(params)
        names = [member[0] for member in members if isinstance(member, tuple)]
        members = [member[1] if isinstance(member, tuple) else member for member in members]
        if names and len(names) != len(members):
            raise ValueError(f"{self._name}: params expects names for all parameters or for none")
        self._check_members(members)
        group = {**self.defaults, **param_group, "params": members}
        if names:
            group["param_names"] = names
        self.check_options(group)
        self.param_groups.append(group)

    def _check_members(self, members: list[Any]) -> None:
        seen = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        for parameter in members:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"{self._name}: params expects tensors but got {type(parameter).__name__}")
            if not parameter.is_leaf:
                raise ValueError(f"{self._name}: params expects leaf tensors but got the result of an operation")
            if id(parameter) in seen:
                raise ValueError(f"{self._name}: params expects each parameter once but one appears more than once")
            seen.add(id(parameter))

    def state_dict(self) -> dict[str, Any]:
        """Return ``{"state": {index: {...}}, "param_groups": [...]}``, what `tinygrad_cnn.save` can store.

        Parameters are replaced by their positions. The tensors are those that the optimizer works with, not copies.
        """
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        position = {id(parameter): i for i, parameter in enumerate(parameters)}
        groups = [{**group, "params": [position[id(p)] for p in group["params"]]} for group in self.param_groups]
        state = {position[id(parameter)]: dict(values) for parameter, values in self.state.items() if values}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned: options of the groups and state of the parameters, copied.

        Make a learning-rate scheduler before calling this: it sets the learning rate when it is made.

        Raises
        ------
        TypeError
            If it is not a dict of this form.
        ValueError
            If the groups, their options, or a parameter's shape do not match this optimizer's. Nothing is changed then.
        """
        saved = _checked_form(f"{self._name}.load_state_dict", state_dict)["param_groups"]
        sizes, own_sizes = ([len(group["params"]) for group in groups] for groups in (saved, self.param_groups))
        if sizes != own_sizes:
            raise ValueError(
                f"{self._name}.load_state_dict: state_dict expects groups of {own_sizes} parameters but has {sizes}"
            )
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        keys = [key for group in saved for key in group["params"]]
        parameter_of = dict(zip(keys, parameters, strict=True))
        groups = []
        for own, group in zip(self.param_groups, saved, strict=True):
            # Switches may be missing: older files don't have them all. Without the numbers it is another optimizer's.
            missing = [key for key, value in self.defaults.items() if key not in group and not isinstance(value, bool)]
            if missing:
                raise ValueError(f"{self._name}.load_state_dict: param_groups expects the options {missing} too")
            options = {key: deepcopy(value) for key, value in group.items() if key != "params"}
            names = {"param_names": own["param_names"]} if "param_names" in own else {}
            groups.append({**self.defaults, **names, **options, "params": own["params"]})
            self.check_options(groups[-1])
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for key, values in state_dict["state"].items():
            if key not in parameter_of:
                raise ValueError(f"{self._name}.load_state_dict: state expects positions of parameters but has {key!r}")
            parameter = parameter_of[key]
            state[parameter] = {name: self._loaded(name, value, parameter) for name, value in values.items()}
        self.param_groups, self.state = groups, state

    def _loaded(self, name: str, value: Any, parameter: Tensor) -> Any:
        """Return a private copy of one entry of a parameter's state, in the parameter's dtype."""
        if not isinstance(value, Tensor | np.ndarray):
            return deepcopy(value)
        if name in _NUMBERS:
            return _NUMBERS[name](value.item())
        if isinstance(parameter, UninitializedParameter) or value.shape != parameter.shape:
            raise ValueError(
                f"{self._name}.load_state_dict: {name} expects the shape of its parameter but got {value.shape}"
            )
        return Tensor(np.array(value.data if isinstance(value, Tensor) else value, dtype=parameter.dtype, order="C"))

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _checked_form(operation: str, state_dict: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `state_dict` if it is made like those of `Optimizer.state_dict`, or raise TypeError."""
    keys = ("state", "param_groups")
    if not isinstance(state_dict, Mapping) or any(key not in state_dict for key in keys):
        raise TypeError(f"{operation}: state_dict expects a dict with the keys 'state' and 'param_groups'")
    state, groups = (state_dict[key] for key in keys)
    if not isinstance(state, Mapping) or not all(isinstance(values, Mapping) for values in state.values()):
        raise TypeError(f"{operation}: state expects a dict of dicts")
    if not isinstance(groups, list | tuple) or not all(
        isinstance(group, Mapping) and isinstance(group.get("params"), list | tuple) for group in groups
    ):
        raise TypeError(f"{operation}: param_groups expects a list of dicts, each with a list 'params'")
    if not all(isinstance(key, int) for group in groups for key in group["params"]):
        raise TypeError(f"{operation}: params expects the positions of parameters")
    return state_dict


def check_number(
    optimizer: str, name: str, value: Any, low: float = 0.0, high: float = math.inf, below: float = math.inf
) -> None:
    """Raise unless `value` is a finite number, ``low <= value <= high`` and ``value < below``."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{optimizer}: {name} expects a number but got {value!r}")
    if not (low <= value <= high and value < below and math.isfinite(value)):
        upper = f", less than {below:g}" if below < math.inf else f", at most {high:g}" if high < math.inf else ""
        lower = f", at least {low:g}" if low > -math.inf else ""
        raise ValueError(f"{optimizer}: {name} expects a finite number{lower}{upper} but got {value}")


def check_betas(optimizer: str, betas: Any) -> None:
    """Raise unless `betas` is a pair of numbers, ``0 <= beta < 1``."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"{optimizer}: betas expects a pair of numbers but got {betas!r}")
    for i in (0, 1):
        check_number(optimizer, f"betas[{i}]", betas[i], below=1.0)
