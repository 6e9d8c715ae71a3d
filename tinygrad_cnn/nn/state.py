"""Loading a state dict into a module: everything is checked first, then everything is copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_cnn.autograd import no_grad
from tinygrad_cnn.errors import name_of_type
from tinygrad_cnn.nn.parameter import UninitializedParameter
from tinygrad_cnn.tensor import Tensor


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` returns: the keys that only one side knows."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def load(own: Mapping[str, Tensor], state_dict: Mapping[str, Any], strict: bool, owner: str) -> IncompatibleKeys:
    """Copy the values of `state_dict` into the tensors of `own`, or raise and change nothing.

    Parameters
    ----------
    own : mapping of str to Tensor
        The tensors to fill, by name.
    state_dict : mapping of str to Tensor or ndarray
        The values. A value of another floating dtype is converted to its target's; integers and booleans
        must meet integers and booleans.
    strict : bool
        Whether keys that only one side knows are an error.
    owner : str
        The name of the module, for the message.

    Raises
    ------
    TypeError
        If `state_dict` is not a mapping with string keys.
    RuntimeError
        Listing every missing and unexpected key (if `strict`), every wrong shape and every wrong dtype.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_state_dict: state_dict expects a mapping but got {type(state_dict).__name__}")
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"load_state_dict: state_dict expects string keys but got {key!r}")
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    errors = []
    if strict and missing:
        errors.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
    if strict and unexpected:
        errors.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
    shared = [key for key in own if key in state_dict]
    errors += [problem for key in shared for problem in _mismatches(key, own[key], state_dict[key])]
    if errors:
        raise RuntimeError(f"Error(s) in loading state_dict for {owner}:\n\t" + "\n\t".join(errors))
    with no_grad():
        for key in shared:
            _copy(own[key], state_dict[key])
    return IncompatibleKeys(missing, unexpected)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


def _mismatches(key: str, target: Tensor, value: Any) -> list[str]:
    """Say why `value` cannot be copied into `target`; an empty list if it can."""
    if not isinstance(value, Tensor | np.ndarray):
        return [f'For "{key}": expected a tensor or an array in the state dict but got {name_of_type(value)}.']
    if isinstance(value, UninitializedParameter):
        if isinstance(target, UninitializedParameter):
            return []
        return [f'For "{key}": the state dict holds an uninitialized parameter.']
    problems = []
    if not isinstance(target, UninitializedParameter) and value.shape != target.shape:
        problems.append(
            f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
            f"the shape in current model is {target.shape}."
        )
    if not _same_kind(value.dtype, target.dtype):
        problems.append(
            f"dtype mismatch for {key}: copying a param of dtype {value.dtype} from checkpoint, "
            f"the dtype in current model is {target.dtype}."
        )
    return problems


def _same_kind(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether a copy keeps the meaning: float to float of any width, otherwise nothing that loses values."""
    if np.issubdtype(source, np.floating) and np.issubdtype(target, np.floating):
        return True
    return np.can_cast(source, target, casting="safe") and not np.issubdtype(target, np.floating)


def _copy(target: Tensor, value: Tensor | np.ndarray[Any, Any]) -> None:
    if isinstance(value, UninitializedParameter):
        return
    if isinstance(target, UninitializedParameter):
        target.materialize(value.shape)
    target.data[...] = value.data if isinstance(value, Tensor) else value
    target.bump_version()
