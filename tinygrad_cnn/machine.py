"""What there is to compute with: the processor, its caches, the cores, and the BLAS that NumPy loaded.

Everything here is read, nothing is set. What a platform does not tell is None, or empty.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Blas", "Processor", "blas", "caches", "cores", "cpu_quota", "processor"]

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MAPS = Path("/proc/self/maps")

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Processor:
    """A processor: the name it gives itself, and the names of its instruction sets."""

    name: str | None
    flags: frozenset[str]


@dataclass(frozen=True)
class Blas:
    """A BLAS library.

    Attributes
    ----------
    name : str
        Such as ``"openblas"``.
    version : str or None
    kernels : str or None
        The processor family whose kernels it chose, such as ``"Haswell"`` (AVX2) or ``"SkylakeX"`` (AVX-512).
    threads : int or None
        The number of threads that it uses outside the library.
    """

    name: str
    version: str | None = None
    kernels: str | None = None
    threads: int | None = None


def processor() -> Processor:
    """Read ``/proc/cpuinfo``; elsewhere nothing is known."""
    text = _read(_CPUINFO)
    name = re.search(r"^model name\s*:[ \t]*(\S.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return Processor(name.group(1).strip() if name else None, frozenset(flags.group(1).split() if flags else ()))


def caches() -> dict[str, int]:
    """The sizes of the data caches that one core sees, in bytes: ``{"L1": 49152, "L2": 1310720, ...}``."""
    sizes = {}
    for folder in sorted(_CACHES.glob("index*")):
        level, kind = _read(folder / "level").strip(), _read(folder / "type").strip()
        size = re.fullmatch(r"(\d+)([KMG]?)", _read(folder / "size").strip())
        if level and size and kind in ("Data", "Unified"):
            sizes[f"L{level}"] = int(size.group(1)) * _UNITS[size.group(2)]
    return sizes


def cores() -> int | None:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def cpu_quota() -> float | None:
    """How many cores' worth of time a container grants (control groups, version 2); None if it sets no limit."""
    limit = re.match(r"(\d+) (\d+)", _read(_QUOTA))
    return int(limit.group(1)) / int(limit.group(2)) if limit and int(limit.group(2)) else None


def blas() -> Blas | None:
    """The BLAS that NumPy multiplies matrices with.

    `threadpoolctl` knows best; without it OpenBLAS, which the wheels of NumPy bring, is asked directly; and where that
    fails, NumPy tells what it was built with, but not which kernels were chosen.
    """
    return _blas_from_threadpoolctl() or _blas_from_openblas() or _blas_from_numpy()


def _blas_from_threadpoolctl() -> Blas | None:
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return None
    found = [library for library in threadpoolctl.threadpool_info() if library.get("user_api") == "blas"]
    # Several may be loaded, SciPy's beside NumPy's.
    found.sort(key=lambda library: "numpy" not in library.get("filepath", ""))
    if not found:
        return None
    best = found[0]
    return Blas(best["internal_api"], best.get("version"), best.get("architecture"), best.get("num_threads"))


def _blas_from_openblas() -> Blas | None:
    loaded = sorted(set(re.findall(r"/\S*openblas\S*\.so\S*", _read(_MAPS))), key=lambda path: "numpy" not in path)
    for path in loaded:
        try:
            library = ctypes.CDLL(path)
        except OSError:  # deleted since
            continue
        config = _call(library, "openblas_get_config", ctypes.c_char_p)
        version = re.search(r"\d+(\.\d+)+", config.decode()) if config else None
        kernels = _call(library, "openblas_get_corename", ctypes.c_char_p)
        threads = _call(library, "openblas_get_num_threads", ctypes.c_int)
        return Blas("openblas", version.group() if version else None, kernels.decode() if kernels else None, threads)
    return None


def _call(library: ctypes.CDLL, name: str, result: Any) -> Any:
    """Call a function of OpenBLAS that takes nothing; builds differ in a prefix and a suffix of its name."""
    for prefix in ("", "scipy_"):
        for suffix in ("", "64_", "_64", "_"):
            function = getattr(library, f"{prefix}{name}{suffix}", None)
            if function is not None:
                function.restype = result
                return function()
    return None


def _blas_from_numpy() -> Blas | None:
    config: Any = np.show_config(mode="dicts")
    built = config.get("Build Dependencies", {}).get("blas", {}) if isinstance(config, dict) else {}
    if not built.get("found") or built.get("name") in (None, "auto", "none"):
        return None
    return Blas(built["name"], _known(built.get("version")))


def _known(text: str | None) -> str | None:
    return None if text in (None, "", "unknown") else text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
