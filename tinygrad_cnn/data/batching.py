"""Which objects work on whole batches: how data sets and transforms avoid the loop over samples.

A data set that defines ``fetch_batch(indices)`` beside ``__getitem__``, and a transform that defines
``on_batch(samples)`` beside ``__call__``, are served whole batches. A subclass that overrides the method for
one sample and leaves the one for a batch alone means the former: it is served sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["batch_method", "batch_transform"]


def batch_method(obj: object, one: str, many: str) -> Callable[[Any], Any] | None:
    """Return the method `many` of `obj`; None if there is none, or a subclass overrides `one` alone."""
    for cls in type(obj).__mro__:
        if many in vars(cls):
            method: Callable[[Any], Any] | None = getattr(obj, many)
            return method
        if one in vars(cls):
            return None
    return None


def batch_transform(transform: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """Return what applies `transform` to a stack of samples at once, None if there is no such thing."""
    return _identity if transform is None else batch_method(transform, "__call__", "on_batch")


def _identity(samples: Any) -> Any:
    return samples
