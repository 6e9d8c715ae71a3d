"""Finding the operation that made the first NaN or infinity.

While somebody watches, three methods of the engine are replaced by ones that look at the result of the original;
otherwise the engine is as it was, and nothing is there that could cost time. Other threads pass through the
replacements unchecked.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from tinygrad_cnn.autograd.engine import _Pass
from tinygrad_cnn.autograd.graph import Node, Select, Target, Variable
from tinygrad_cnn.autograd.primitive import Primitive

__all__ = ["detect_anomaly"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_FINITE, _INFINITE, _NAN = range(3)

_call, _step, _send = Primitive.__call__, _Pass.step, _Pass.send


class _Watch(threading.local):
    depth = 0
    checking = True
    node: Node | None = None  # whose VJPs are running
    incoming = _FINITE  # what the gradient is like that they were given
    reported = False  # whether the error on its way up is from here


_watch = _Watch()
_lock = threading.Lock()
_watchers = 0


class detect_anomaly:
    """Inside, the first NaN or infinity is an error that names its operation and the line of code: a context manager.

    A forward pass is checked at each operation, a backward pass at each vector-Jacobian product (VJP). An infinity
    that comes out where one went in (a mask of ``-inf``) is none that the operation made, and passes; a NaN never
    does. Everything takes longer here. The mode belongs to the thread.

    Parameters
    ----------
    check_nan : bool, default True
        Whether values are checked. False just remembers lines, which errors of the backward pass then name.

    Raises
    ------
    RuntimeError
        ``log: the forward pass made -inf ... (train.py:12: y = x.log())``, and in the backward pass
        ``sqrt: its VJP made inf ...`` with the line of the forward pass, if that ran in this mode too. In a module
        the message starts with the path of the submodule.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_cnn as tg
    >>> x = tg.zeros(2, requires_grad=True)
    >>> with np.errstate(divide="ignore"), detect_anomaly():
    ...     loss = x.sqrt().sum()
    ...     loss.backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    RuntimeError: sqrt: its VJP made inf at index (0,) of a gradient of shape (2,) (forward pass at ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = bool(check_nan)
        self._outer: list[bool] = []

    def __enter__(self) -> Self:
        self._outer.append(_watch.checking)
        _watch.depth += 1
        _watch.checking = self._check_nan
        _count_watchers(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _watch.depth -= 1
        _watch.checking = self._outer.pop()
        _count_watchers(-1)


def _count_watchers(change: int) -> None:
    """Replace the engine's methods for the first watcher, and put them back after the last."""
    global _watchers
    with _lock:
        _watchers += change
        watched = _watchers > 0
        methods = (_watched_call, _watched_step, _watched_send) if watched else (_call, _step, _send)
        Primitive.__call__, _Pass.step, _Pass.send = methods  # type: ignore[method-assign]


# ------------------------------------------------------------------------------------------ the forward pass


def _watched_call(self: Primitive, *args: Any, **kwargs: Any) -> Any:
    result = _call(self, *args, **kwargs)
    if not _watch.depth:
        return result
    outputs = [x for x in (result if type(result) is tuple else (result,)) if isinstance(x, Variable)]
    line = _line_of(_watch.node) if _watch.node else None
    for output in outputs:
        if output._node is not None:
            line = line or _user_line()
            _origin(output._node).line = line
    if _watch.node is None and _watch.checking:  # else it is part of a VJP, which is checked as a whole
        for output in outputs:
            kind = _kind(output)
            if kind:
                _judge(self, args, kwargs, kind, output.data, line or _user_line())
    return result


def _judge(primitive: Primitive, args: Any, kwargs: Any, kind: int, output: np.ndarray, line: str) -> None:
    """Raise if a value that is not finite appeared in this operation, or if it is a NaN."""
    came_in = {name: _kind(value) for name, value in _operands(primitive, args, kwargs)}
    worst = max(came_in.values(), default=_FINITE)
    name = primitive.name.strip("_")
    what = f"{_first(kind, output)} of its output of shape {output.shape}"
    if kind > worst:
        infinite = [repr(argument) for argument, value in came_in.items() if value]
        cause = f", from an infinity in {' and '.join(infinite)}" if infinite else ""
        raise RuntimeError(f"{name}: the forward pass made {what}{cause} ({line})")
    if kind == _NAN:
        given = " and ".join(repr(argument) for argument, value in came_in.items() if value == _NAN)
        raise RuntimeError(
            f"{name}: the forward pass was given a NaN in {given}, which no operation made here (data, or a "
            f"parameter's update?), and returned {what} ({line})"
        )


def _operands(primitive: Primitive, args: Any, kwargs: Any) -> Iterator[tuple[str, Any]]:
    bound = dict(zip(primitive.names, primitive._bind(args, kwargs), strict=True))
    if primitive.variadic:
        first = primitive.names[0]
        yield from ((f"{first}[{index}]", x) for index, x in enumerate(bound.pop(first)))
    yield from bound.items()


# ----------------------------------------------------------------------------------------- the backward pass


def _watched_step(self: _Pass, node: Node, gradient: Any) -> None:
    if not _watch.depth:
        _step(self, node, gradient)
        return
    outer = _watch.node, _watch.incoming
    parts = gradient if type(gradient) is list else [gradient]
    _watch.node, _watch.incoming, _watch.reported = node, max(map(_kind, parts)), False
    try:
        _step(self, node, gradient)
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if not _watch.reported:
            error.add_note(f"in the backward pass through {node.name.strip('_')} ({_place_of(node)})")
        raise
    finally:
        _watch.node, _watch.incoming = outer


def _watched_send(self: _Pass, node: Node, edge: Target, gradient: Any) -> None:
    if _watch.depth and _watch.checking and (self.needed is None or edge in self.needed):
        kind = _kind(gradient)
        if kind > _watch.incoming:
            _watch.reported = True
            array = np.asarray(gradient.data if isinstance(gradient, Variable) else gradient)
            raise RuntimeError(
                f"{node.name.strip('_')}: its VJP made {_first(kind, array)} of a gradient of shape {array.shape} "
                f"({_place_of(node)})"
            )
    _send(self, node, edge, gradient)


def _origin(node: Node) -> Node:
    """The node of the operation itself, for one of several outputs."""
    return node.edges[0] if isinstance(node, Select) else node  # type: ignore[return-value]


def _line_of(node: Node) -> str | None:
    return getattr(_origin(node), "line", None)


def _place_of(node: Node) -> str:
    line = _line_of(node)
    return f"forward pass at {line}" if line else "forward pass outside of detect_anomaly, its line is not known"


# ------------------------------------------------------------------------------------------ values and lines


def _kind(value: Any) -> int:
    """Whether there is a NaN, else an infinity, in a tensor, an array or a number."""
    if isinstance(value, Variable):
        value = value.data
    if not isinstance(value, (np.ndarray, np.floating, float)) or np.asarray(value).dtype.kind != "f":
        return _FINITE
    if np.isfinite(value).all():
        return _FINITE
    return _NAN if np.isnan(value).any() else _INFINITE


def _first(kind: int, array: np.ndarray) -> str:
    """The first value of a kind, and where it stands."""
    found = np.isnan(array) if kind == _NAN else np.isinf(array)
    index = tuple(int(i) for i in np.unravel_index(int(found.argmax()), array.shape))
    return f"{array[index]} at index {index}"


def _user_line() -> str:
    """The innermost line outside of this package that is being executed: file, number, source."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    filename, number = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(filename, number, frame.f_globals).strip()
    return f"{filename}:{number}: {source}" if source else f"{filename}:{number}"
