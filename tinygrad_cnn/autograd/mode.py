"""Whether operations are recorded: a switch that each thread has for itself."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

__all__ = ["enable_grad", "is_grad_enabled", "mode", "no_grad", "set_grad_enabled"]

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    recording = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are being recorded."""
    return mode.recording


class _Switch:
    """A context manager and decorator that sets the mode; one instance may be entered again while inside."""

    def __init__(self, recording: bool) -> None:
        self._recording = recording
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        self._outer.append(mode.recording)
        mode.recording = self._recording

    def __exit__(self, *error: object) -> None:
        mode.recording = self._outer.pop()

    def __call__(self, function: F) -> F:
        """Decorate a function, or a generator function, so that it runs in this mode."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _Switch(self._recording):
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generating(*args: Any, **kwargs: Any) -> Any:
            return (yield from _resumed_in(_Switch(self._recording), function(*args, **kwargs)))

        return generating if inspect.isgeneratorfunction(function) else wrapped  # type: ignore[return-value]


def _resumed_in(switch: _Switch, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The generator, in the mode while it runs; who takes what it yields stays in a mode of their own."""
    resume: Callable[[Any], Any] = generator.send
    given: Any = None
    while True:
        try:
            with switch:
                item = resume(given)
        except StopIteration as end:
            return end.value
        try:
            resume, given = generator.send, (yield item)
        except GeneratorExit:
            with switch:
                generator.close()
            raise
        except BaseException as error:
            resume, given = generator.throw, error


class _Plain(_Switch):
    """A mode without parameters, which decorates without parentheses too."""

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class no_grad(_Plain):
    """Record nothing inside: a context manager, and a decorator as ``@no_grad()`` or ``@no_grad``.

    Examples
    --------
    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_Plain):
    """Record inside, also within `no_grad`: a context manager and a decorator, as `no_grad`."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_Switch):
    """Switch recording on or off in this thread: at once as a call, for a block as a context manager.

    Parameters
    ----------
    mode : bool
        Whether operations are recorded from now on.

    Examples
    --------
    >>> with set_grad_enabled(False):
    ...     is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._before = _set(self._recording)

    def __enter__(self) -> None:
        self._outer.append(self._before)
        _set(self._recording)

    def __call__(self, function: F) -> F:
        """Decorate a function so that it runs in this mode, and leave the mode outside as it was."""
        _set(self._before)
        return super().__call__(function)


def _set(recording: bool) -> bool:
    """Set the mode and return what it was."""
    before = mode.recording
    mode.recording = recording
    return before
