"""Devices: the CPU, and no other. The names are here so that the usual lines of a script run."""

from __future__ import annotations

from typing import Any

__all__ = ["accelerator", "backends", "check_cpu", "cuda", "device"]


class device:
    """A device by its name; ``device("cpu")`` is the only one.

    Raises
    ------
    ValueError
        For any other.
    """

    __slots__ = ()
    type = "cpu"
    index = None

    def __init__(self, device: Any = "cpu") -> None:
        check_cpu("device", device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self))

    def __hash__(self) -> int:
        return hash("cpu")

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"


def check_cpu(operation: str, name: Any) -> None:
    """Raise ValueError unless `name` is the CPU (or None, which leaves the choice open)."""
    if not (name is None or isinstance(name, device) or name in ("cpu", "cpu:0")):
        raise ValueError(f"{operation}: device expects 'cpu', the only one there is, but got {name!r}")


class _Absent:
    """A kind of accelerator: never there."""

    def is_available(self) -> bool:
        """False."""
        return False

    def device_count(self) -> int:
        """Zero."""
        return 0

    def manual_seed(self, seed: int) -> None:
        """Nothing: no accelerator draws numbers."""

    manual_seed_all = manual_seed


class _Cudnn:
    """Switches without effect: the same seed gives the same bits anyway."""

    enabled = False
    benchmark = False
    deterministic = True


class _Backends:
    """PyTorch's place for the accelerators of other makers, and for their libraries."""

    mps = _Absent()
    cudnn = _Cudnn()


cuda = _Absent()
accelerator = _Absent()
backends = _Backends()
