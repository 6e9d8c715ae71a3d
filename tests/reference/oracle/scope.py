"""What the sweep leaves out, and why. Everything else must agree.

`values.describe` leaves out samples by what they are made of: complex numbers, half precision, sparse tensors, memory
formats. Here are those left out by what they ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oracle.operations import Operation
from oracle.values import Array, OutOfScope, arrays_in

Predicate = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def has_keyword(name: str) -> Predicate:
    return lambda args, kwargs: name in kwargs


def _randomness(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("training", True) and kwargs.get("p", 0.5) not in (0, 1)


def _weak_zero_dim(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    floating = [a.values for a in arrays_in((args, kwargs)) if a.values.dtype.kind == "f"]
    return len({a.dtype for a in floating}) > 1 and len({a.ndim == 0 for a in floating}) > 1


def _mixed_floats(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return len({a.values.dtype for a in arrays_in((args, kwargs))}) > 1


def _integers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(a.values.dtype.kind in "biu" for a in arrays_in((args, kwargs)))


def _booleans(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(a.values.dtype.kind == "b" for a in arrays_in((args, kwargs)))


def _all_dims_as_empty_tuple(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return () in (*args[1:], kwargs.get("dim"))


def _double(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(a.values.dtype == "float64" for a in arrays_in((args, kwargs)))


def _no_freedom(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return isinstance(kwargs.get("correction"), (int, float)) and kwargs["correction"] > 1


def _one_dimension(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(a.values.shape == (0,) for a in arrays_in(args[:1]))


def _no_positions(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(a.values.size == 0 and len(a.values) > 0 for a in arrays_in(args[:1]))


def _single_floats(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    shapes = [a.values.shape for a in arrays_in(args[:1]) if a.values.dtype.name == "float32"]
    dim = kwargs.get("dim", 1)
    return any(isinstance(dim, int) and -len(shape) <= dim < len(shape) and shape[dim] == 1 for shape in shapes)


def _list_of_lists(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(index, list) and any(isinstance(part, list) for part in index) for index in args[1:2])


def _not_a_number(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(x, float) and x != x for x in args)


def _needs_a_copy(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(not a.values.flags.c_contiguous for a in arrays_in(args[:1]))


def _ties(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(np.unique(a.values).size < a.values.size for a in arrays_in(args[:1]))


def _many_ties(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return _ties(args, kwargs) and any(a.values.size > 1000 for a in arrays_in(args))


def _repeated_indices(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if len(args) < 2 or not isinstance(args[1], Array) or args[1].values.ndim < 3:
        return False
    planes = args[1].values.reshape(*args[1].values.shape[:-2], -1)
    return any(len(set(planes[place].tolist())) < planes.shape[-1] for place in np.ndindex(*planes.shape[:-1]))


# For every operation: reason, and the predicate on its arguments.
GENERAL: tuple[tuple[str, Predicate], ...] = (
    ("out=: results are new tensors", has_keyword("out")),
    ("memory layouts belong to the kernels", has_keyword("memory_format")),
    ("memory layouts belong to the kernels", has_keyword("layout")),
    ("pinned memory is for GPUs", has_keyword("pin_memory")),
    ("the wider dtype wins, be its tensor 0-d or not; in PyTorch a 0-d tensor is weak", _weak_zero_dim),
)

# For one operation.
PARTICULAR: dict[str, tuple[tuple[str, Predicate], ...]] = {
    "nn.functional.dropout": (("random", _randomness), ("booleans are not scaled", _booleans)),
    "nn.functional.dropout2d": (("random", _randomness), ("booleans are not scaled", _booleans)),
    "sort": (("unless stable, equal elements may come in any order", _many_ties),),
    "argsort": (("unless stable, equal elements may come in any order", _many_ties),),
    "topk": (("any of equal elements may be chosen", _ties),),
    "einsum": (("the wider dtype wins, as in NumPy", _mixed_floats),),
    "matmul": (("the wider dtype wins, as in NumPy", _mixed_floats),),
    "__rmatmul__": (("the wider dtype wins, as in NumPy", _mixed_floats),),
    "view": (("view copies where it must, as reshape does", _needs_a_copy),),
    "nn.functional.avg_pool2d": (("a mean of integers is not an integer", _integers),),
    "nn.functional.max_unpool2d": (
        ("PyTorch's derivative counts what an equal index has overwritten", _repeated_indices),
    ),
    "softmax": (("integers need dtype=, also when there are none", _integers),),
    "log_softmax": (("integers need dtype=, also when there are none", _integers),),
    "nn.functional.softmin": (("integers need dtype=, also when there are none", _integers),),
    "randn_like": (("integers are not normally distributed", _integers),),
    "rand_like": (("integers are not uniform in [0, 1)", _integers),),
    "nn.functional.batch_norm": (("a 1-d input has no channels", _one_dimension),),
    "nn.functional.group_norm": (("over no positions PyTorch's gradient of the weight is NaN", _no_positions),),
    "nn.functional.normalize": (("the gradient of x / |x| is nothing but rounding in float32", _single_floats),),
    "nn.functional.local_response_norm": (("quotients of integers are not integers", _integers),),
    "__getitem__": (("a list of lists is one index, as in NumPy; in PyTorch it is a tuple of them", _list_of_lists),),
    "logsumexp": (("an empty dim stands for all dimensions", _all_dims_as_empty_tuple),),
    "var": (
        ("PyTorch's derivative is wrong for an empty dim", _all_dims_as_empty_tuple),
        ("PyTorch's value and derivative disagree when nothing is left to divide by", _no_freedom),
    ),
    "std": (
        ("PyTorch's derivative is wrong for an empty dim", _all_dims_as_empty_tuple),
        ("PyTorch's value and derivative disagree when nothing is left to divide by", _no_freedom),
    ),
    "nn.functional.hardsigmoid": (("the sixth in PyTorch's derivative has single precision", _double),),
    "linspace": (("NaN", _not_a_number),),
}


def check(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise `OutOfScope`, with the reason, for a case that is left out."""
    for reason, predicate in GENERAL + PARTICULAR.get(operation.name, ()):
        if predicate(args, kwargs):
            raise OutOfScope(reason)


def in_scope(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Is the case one to compare?"""
    try:
        check(operation, args, kwargs)
    except OutOfScope:
        return False
    return True
