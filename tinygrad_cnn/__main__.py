"""What runs here, how fast, and what is left on the table: ``python -m tinygrad_cnn``."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinygrad_cnn import machine
from tinygrad_cnn.kernels.blas import parallel_products, single_threaded
from tinygrad_cnn.kernels.geometry import BLOCK_BYTES
from tinygrad_cnn.kernels.threads import MOST_THREADS, Call, get_num_threads
from tinygrad_cnn.machine import Blas, Processor
from tinygrad_cnn.version import __version__

__all__ = ["Findings", "advice", "gemm_rate", "gemm_rates", "look", "main", "report"]

_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
# The names that OpenBLAS gives to its kernels, by the widest registers that they use.
_AVX512_KERNELS = {"skylakex", "cooperlake", "sapphirerapids"}
_AVX2_KERNELS = {"haswell", "zen", "excavator"}

_FAST_BLAS = ("openblas", "mkl", "blis", "accelerate", "armpl", "nvpl")

_GEMM_SIZE = 512
_GEMM_SECONDS = 0.3


@dataclass(frozen=True)
class Findings:
    """What `look` found. What could not be found out is None, or empty.

    Attributes
    ----------
    processor : Processor
    caches : dict
        Bytes by level.
    cores, machine_cores : int or None
        Those that this process may use, and those that there are.
    quota : float or None
        The time that a container grants, in cores.
    blas : Blas or None
    held : bool
        Whether the library can hold BLAS to one thread (`threadpoolctl` is installed and knows it).
    threads : int or None
        Those of the library.
    threads_error : str
        Why they are unknown.
    coretype : str
        The environment variable ``OPENBLAS_CORETYPE``.
    """

    processor: Processor
    caches: dict[str, int]
    cores: int | None
    machine_cores: int | None
    quota: float | None
    blas: Blas | None
    held: bool
    threads: int | None
    threads_error: str = ""
    coretype: str = ""


def look() -> Findings:
    """Look at the machine and the libraries. Nothing is changed or measured."""
    try:
        threads, error = get_num_threads(), ""
    except ValueError as wrong:
        threads, error = None, str(wrong)
    return Findings(
        processor=machine.processor(),
        caches=machine.caches(),
        cores=machine.cores(),
        machine_cores=os.cpu_count(),
        quota=machine.cpu_quota(),
        blas=machine.blas(),
        held=single_threaded.available,
        threads=threads,
        threads_error=error,
        coretype=os.environ.get("OPENBLAS_CORETYPE", ""),
    )


def advice(found: Findings) -> list[str]:
    """Say, in plain words, what would make the library faster here; nothing if all is well."""
    checks = (_advise_blas, _advise_kernels, _advise_holding, _advise_threads, _advise_quota)
    return [text for check in checks if (text := check(found))]


def _advise_blas(found: Findings) -> str:
    if found.blas is not None and any(name in found.blas.name for name in _FAST_BLAS):
        return ""
    return (
        "No fast BLAS was recognised behind NumPy. If the GEMM rate looks low, install NumPy's own wheel, which brings "
        "OpenBLAS:\n    pip install --force-reinstall numpy"
    )


def _advise_kernels(found: Findings) -> str:
    blas = found.blas
    if blas is None or blas.name != "openblas" or blas.kernels is None:
        return ""
    kernels, flags = blas.kernels.lower(), found.processor.flags
    if flags >= _AVX512 and kernels not in _AVX512_KERNELS:
        able, family = "AVX-512", "SkylakeX"
    elif flags >= {"avx2", "fma"} and kernels not in _AVX512_KERNELS | _AVX2_KERNELS:
        able, family = "AVX2", "Haswell"
    else:
        return ""
    cause = f" because OPENBLAS_CORETYPE={found.coretype} says so" if found.coretype else ""
    return (
        f"The processor has {able}, but OpenBLAS uses its kernels for {blas.kernels}{cause}. Matrix products may be up "
        "to twice as fast with this line in the shell before Python starts; compare the GEMM rate:\n"
        f"    export OPENBLAS_CORETYPE={family}"
    )


def _advise_holding(found: Findings) -> str:
    if found.held or found.threads == 1:
        return ""
    return (
        "BLAS cannot be held to one thread, so matrix products are not spread over the library's own threads, and the "
        "last bits of results may depend on the number of BLAS threads. Install threadpoolctl:\n"
        "    pip install threadpoolctl"
    )


def _advise_threads(found: Findings) -> str:
    if found.threads_error:
        return f"{found.threads_error}. Correct it or remove it:\n    unset TINYGRAD_CNN_NUM_THREADS"
    if found.threads is None or found.cores is None or found.threads == found.cores:
        return ""
    if found.threads < found.cores:
        what = "Cores stay idle"
    elif found.quota is not None and found.quota < found.cores:
        return ""  # said below
    else:
        what = "Threads fight for cores"
    return (
        f"{what}: the library uses {_count(found.threads, 'thread')}, and this process may use "
        f"{_count(found.cores, 'core')}. By default it uses all of them:\n    unset TINYGRAD_CNN_NUM_THREADS"
    )


def _advise_quota(found: Findings) -> str:
    if found.quota is None or found.threads is None or found.threads <= math.ceil(found.quota):
        return ""
    return (
        f"A container grants this process the time of {found.quota:g} cores, but the library uses "
        f"{_count(found.threads, 'thread')}; those beyond are stopped again and again:\n"
        f"    export TINYGRAD_CNN_NUM_THREADS={max(1, math.floor(found.quota))}"
    )


def gemm_rate(threads: int, seconds: float = _GEMM_SECONDS) -> float:
    """Measure how many billion float32 operations a second matrix products reach, each thread at products of its own.

    The best of the repetitions that fit into `seconds` counts: other programs can only make it slower.

    Parameters
    ----------
    threads : int
        1 for one thread, or the number of threads that the library uses.
    seconds : float, default 0.3

    Returns
    -------
    float
        GFLOP/s; a product of two n × n matrices has 2 n³ operations.
    """
    n = _GEMM_SIZE
    a = np.full((n, n), 1.0, np.float32)
    results = [np.empty((n, n), np.float32) for _ in range(threads)]

    def multiply(result: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[Call]:
        return [partial(np.matmul, a, a, out=result)]

    def measure(repeat: Callable[[], None]) -> float:
        repeat()  # wakes the threads up and touches the memory
        best, end = math.inf, time.perf_counter() + seconds
        while time.perf_counter() < end or best == math.inf:
            start = time.perf_counter()
            repeat()
            best = min(best, time.perf_counter() - start)
        return 2e-9 * n**3 * threads / best

    # Held here already, BLAS does not change its number of threads between two products.
    with single_threaded if single_threaded.available else contextlib.nullcontext():
        return measure(lambda: parallel_products(multiply, results))


def gemm_rates(found: Findings) -> dict[str, float]:
    """Measure the GEMM rate (GFLOP/s) with one thread and with all of the library's, where these can be told apart."""
    if found.threads is None:
        return {}
    if not found.held and (found.blas is None or found.blas.threads != 1):
        return {"with the threads of BLAS": gemm_rate(1)}
    numbers = sorted({1, min(found.threads, MOST_THREADS)})
    return {f"with {_count(threads, 'thread')}": gemm_rate(threads) for threads in numbers}


def report(found: Findings, rates: dict[str, float]) -> str:
    """Put the findings and the GEMM rates into the words of the printed page."""
    blas = found.blas or Blas("unknown")
    sizes = ", ".join(f"{level} {_size(size)}" for level, size in found.caches.items())
    limit = "" if found.quota is None else f", time of {found.quota:g} granted by the container"
    lines = {
        "tinygrad_cnn": __version__,
        "Python": f"{platform.python_version()} ({platform.system() or 'unknown'}, {platform.machine() or 'unknown'})",
        "NumPy": np.__version__,
        "BLAS": f"{blas.name} {blas.version or ''}".rstrip(),
        "BLAS kernels": blas.kernels or "unknown",
        "BLAS threads": f"{_or_unknown(blas.threads)}{', one inside the library' if found.held else ''}",
        "processor": f"{found.processor.name or 'unknown'}{_widest(found.processor)}",
        "cores": f"{_or_unknown(found.cores)} of {_or_unknown(found.machine_cores)}{limit}",
        "library threads": _or_unknown(found.threads),
        "caches": f"{sizes or 'unknown'}; blocks of patches take about {_size(BLOCK_BYTES)}",
        "GEMM, float32": ", ".join(f"{rate:.0f} GFLOP/s {how}" for how, rate in rates.items()) or "unknown",
    }
    return "\n".join(f"{name:<17}{value}" for name, value in lines.items())


def _or_unknown(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _count(number: int | None, thing: str) -> str:
    return f"{_or_unknown(number)} {thing}{'' if number == 1 else 's'}"


def _size(number: int) -> str:
    return f"{number / 2**20:.4g} MiB" if number >= 1 << 20 else f"{number / 2**10:.4g} KiB"


def _widest(processor: Processor) -> str:
    for name, flags in (("AVX-512", _AVX512), ("AVX2", {"avx2", "fma"}), ("AVX", {"avx"})):
        if processor.flags >= flags:
            return f" ({name})"
    return ""


def main() -> None:
    """Print what runs here and what could run faster."""
    description = "Print what tinygrad_cnn runs on, how fast matrix products are, and what could run faster."
    argparse.ArgumentParser(prog="python -m tinygrad_cnn", description=description).parse_args()
    found = look()
    print(report(found, gemm_rates(found)))
    for text in advice(found) or ["Nothing is left on the table."]:
        print(f"\n{text}")


if __name__ == "__main__":
    main()
