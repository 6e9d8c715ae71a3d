"""Proof that derivatives are right: for the library's own primitives, and just the same for yours.

`gradcheck` and `gradgradcheck` compare the derivatives of any function with central differences. `check_primitive`
checks everything that a primitive promises on arguments drawn by Hypothesis strategies (`tensors`, `shapes`,
`broadcastable_shapes`, `conv2d_cases`, `pool2d_cases`, `loss_cases`). Hypothesis is an extra package; `gradcheck`
and `gradgradcheck` work without it, and it is loaded when one of the other names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tinygrad_cnn.testing.gradients import GradcheckError, gradcheck, gradgradcheck

if TYPE_CHECKING:
    from tinygrad_cnn.testing.calls import Call
    from tinygrad_cnn.testing.check import check_call
    from tinygrad_cnn.testing.properties import check_primitive
    from tinygrad_cnn.testing.strategies import (
        broadcastable_shapes,
        conv2d_cases,
        loss_cases,
        pool2d_cases,
        reals,
        shapes,
        tensors,
    )

__all__ = [
    "Call",
    "GradcheckError",
    "broadcastable_shapes",
    "check_call",
    "check_primitive",
    "conv2d_cases",
    "gradcheck",
    "gradgradcheck",
    "loss_cases",
    "pool2d_cases",
    "reals",
    "shapes",
    "tensors",
]

_MODULES = {"Call": "calls", "check_call": "check", "check_primitive": "properties"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'strategies')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
