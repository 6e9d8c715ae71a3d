"""NumPy's functions on tensors: ``np.exp(t)``, ``np.sum(t, axis=1)``, ``array @ t``.

NumPy hands a call over when it meets a tensor (NEP 13 for ufuncs, NEP 18 for the rest), and the operation of this
library runs, recorded as ever. Names, order and meaning of arguments are NumPy's (``np.var`` divides by n), the
dtypes those of the library (float32 stays float32). What is not in the tables, or an argument such as ``out`` that
has no meaning for a tensor, is a TypeError that names it; a plain array never comes back silently.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable
from tinygrad_cnn.numpy_functions import FUNCTIONS, QUESTIONS, REFUSED
from tinygrad_cnn.ops import elementwise, functions, linalg, truth

__all__ = ["NumpyProtocol"]


def _with_numbers(operation: Callable[..., Any]) -> Callable[..., Any]:
    """`maximum` or `minimum`, which take tensors alone in PyTorch, with numbers as in NumPy: weak scalars."""

    def of_two(*operands: Any) -> Any:
        return operation(*(np.asarray(x)[()] if isinstance(x, (bool, int, float)) else x for x in operands))

    return of_two


_UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: elementwise.add,
    np.subtract: elementwise.sub,
    np.multiply: elementwise.mul,
    np.divide: elementwise.div,
    np.negative: elementwise.neg,
    np.positive: elementwise.clone,
    np.power: elementwise.pow,
    np.square: functions.square,
    np.reciprocal: functions.reciprocal,
    np.exp: elementwise.exp,
    np.log: elementwise.log,
    np.sqrt: elementwise.sqrt,
    np.absolute: elementwise.abs,
    np.sign: elementwise.sign,
    np.tanh: elementwise.tanh,
    np.sin: functions.sin,
    np.cos: functions.cos,
    np.expm1: functions.expm1,
    np.log1p: functions.log1p,
    np.floor: functions.floor,
    np.ceil: functions.ceil,
    np.rint: functions.round,
    np.isnan: truth.isnan,
    np.isinf: truth.isinf,
    np.isfinite: truth.isfinite,
    np.maximum: _with_numbers(elementwise.maximum),
    np.minimum: _with_numbers(elementwise.minimum),
    np.matmul: linalg.matmul,
    np.equal: elementwise.eq,
    np.not_equal: elementwise.ne,
    np.less: elementwise.lt,
    np.less_equal: elementwise.le,
    np.greater: elementwise.gt,
    np.greater_equal: elementwise.ge,
    np.bitwise_and: elementwise.bitwise_and,
    np.bitwise_or: elementwise.bitwise_or,
    np.bitwise_xor: elementwise.bitwise_xor,
    np.invert: elementwise.bitwise_not,
}


class NumpyProtocol(Variable):
    """What NumPy looks for on an argument that is not an array."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = f"numpy.{ufunc.__name__}"
        if method != "__call__":
            raise _unsupported(f"{name}.{method}")
        if kwargs:
            raise _unsupported(f"{name}: argument {'out' if 'out' in kwargs else next(iter(kwargs))!r}")
        if ufunc not in _UFUNCS:
            raise _unsupported(name)
        return _UFUNCS[ufunc](*inputs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name = f"{func.__module__}.{func.__name__}"
        if func in QUESTIONS:
            return func(*map(_plain, args), **{key: _plain(value) for key, value in kwargs.items()})
        if func not in FUNCTIONS:
            raise _unsupported(name)
        signature = _signature(FUNCTIONS[func])
        for argument in kwargs:
            if argument not in signature.parameters:
                raise _unsupported(f"{name}: argument {argument!r}")
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        for argument, value in given.items():
            if signature.parameters[argument].default is REFUSED and value is not None:
                raise _unsupported(f"{name}: argument {argument!r}")
        return FUNCTIONS[func](*args, **kwargs)


_signature = functools.cache(inspect.signature)


def _plain(x: Any) -> Any:
    return x.data if isinstance(x, Variable) else x


def _unsupported(what: str) -> TypeError:
    return TypeError(f"{what} is not supported for tensors; np.asarray(tensor) leaves the graph, if that is meant")
