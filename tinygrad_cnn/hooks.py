"""The handle that takes a registered hook away again."""

from __future__ import annotations

import itertools
from typing import Any

__all__ = ["RemovableHandle", "next_key"]

_keys = itertools.count()


def next_key() -> int:
    """A key that no hook has yet."""
    return next(_keys)


class RemovableHandle:
    """What registering a hook returns: ``handle.remove()`` takes the hook away, also at the end of a ``with``.

    Removing twice does nothing.
    """

    def __init__(self, table: dict[int, Any], key: int) -> None:
        self._table = table
        self._key = key

    def remove(self) -> None:
        """Take the hook away."""
        self._table.pop(self._key, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
