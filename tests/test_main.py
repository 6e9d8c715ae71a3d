"""`python -m tinygrad_cnn` says what there is, and advises exactly where something is left on the table."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tinygrad_cnn import __main__ as page
from tinygrad_cnn import __version__, machine
from tinygrad_cnn.machine import Blas, Processor

AVX2 = "fpu sse sse2 avx f16c fma avx2 bmi2"
AVX512 = f"{AVX2} avx512f avx512dq avx512cd avx512bw avx512vl"

WELL = page.Findings(
    processor=Processor("A processor", frozenset(AVX512.split())),
    caches={"L1": 48 << 10, "L2": 5 << 18, "L3": 48 << 20},
    cores=2,
    machine_cores=2,
    quota=None,
    blas=Blas("openblas", "0.3.31", "SkylakeX", 2),
    held=True,
    threads=2,
)
UNKNOWN = page.Findings(
    processor=Processor(None, frozenset()),
    caches={},
    cores=None,
    machine_cores=None,
    quota=None,
    blas=None,
    held=False,
    threads=None,
)
NAMES = ["tinygrad_cnn", "Python", "NumPy", "BLAS", "BLAS kernels", "BLAS threads", "processor", "cores"]
NAMES += ["library threads", "caches", "GEMM, float32"]


def parse(text: str) -> dict[str, str]:
    """The report's lines as names and values."""
    return {line[:17].strip(): line[17:] for line in text.split("\n\n")[0].splitlines()}


def no_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> ModuleType:
        if name == "threadpoolctl":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


def test_the_command_prints_a_value_for_every_name() -> None:
    run = subprocess.run([sys.executable, "-m", "tinygrad_cnn"], capture_output=True, text=True, check=True)
    values = parse(run.stdout)
    assert list(values) == NAMES
    assert all(values.values())
    assert values["tinygrad_cnn"] == __version__
    assert re.match(r"\d+ GFLOP/s with ", values["GEMM, float32"])
    assert not run.stderr


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--threads=1", 2), ("benchmark", 2)])
def test_the_command_takes_no_arguments(argument: str, status: int) -> None:
    run = subprocess.run([sys.executable, "-m", "tinygrad_cnn", argument], capture_output=True, text=True)
    assert run.returncode == status
    assert "usage: python -m tinygrad_cnn" in run.stdout + run.stderr
    assert "GFLOP" not in run.stdout


def test_with_a_wrong_number_of_threads_the_command_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_CNN_NUM_THREADS", "many")
    run = subprocess.run([sys.executable, "-m", "tinygrad_cnn"], capture_output=True, text=True, check=True)
    assert parse(run.stdout)["library threads"] == "unknown"
    assert "expects a positive integer but got 'many'" in run.stdout
    assert "unset TINYGRAD_CNN_NUM_THREADS" in run.stdout


def test_what_is_not_known_is_called_unknown() -> None:
    values = parse(page.report(UNKNOWN, {}))
    assert list(values) == NAMES
    for name in ("BLAS", "BLAS kernels", "BLAS threads", "processor", "library threads", "GEMM, float32"):
        assert values[name] == "unknown"
    assert values["cores"] == "unknown of unknown"
    assert values["caches"].startswith("unknown")


def test_the_report_carries_the_findings() -> None:
    values = parse(page.report(replace(WELL, quota=1.5), {"with 1 thread": 99.6, "with 2 threads": 180.2}))
    assert values["BLAS"] == "openblas 0.3.31"
    assert values["BLAS kernels"] == "SkylakeX"
    assert values["BLAS threads"] == "2, one inside the library"
    assert values["processor"] == "A processor (AVX-512)"
    assert values["cores"] == "2 of 2, time of 1.5 granted by the container"
    assert values["caches"].startswith("L1 48 KiB, L2 1.25 MiB, L3 48 MiB; ")
    assert values["GEMM, float32"] == "100 GFLOP/s with 1 thread, 180 GFLOP/s with 2 threads"


def test_where_all_is_well_there_is_no_advice() -> None:
    assert page.advice(WELL) == []


@pytest.mark.parametrize(
    ("flags", "kernels", "line"),
    [
        (AVX512, "Haswell", "export OPENBLAS_CORETYPE=SkylakeX"),
        (AVX512, "Zen", "export OPENBLAS_CORETYPE=SkylakeX"),
        (AVX512, "Prescott", "export OPENBLAS_CORETYPE=SkylakeX"),
        (AVX2, "Prescott", "export OPENBLAS_CORETYPE=Haswell"),
        (AVX512, "SkylakeX", None),
        (AVX512, "Cooperlake", None),
        (AVX512, "SapphireRapids", None),
        (AVX512, None, None),
        (AVX2, "Haswell", None),
        (AVX2, "Zen", None),
        (f"{AVX2} avx512f", "Haswell", None),  # the kernels need more than the foundation
        ("fp asimd", "neoversen1", None),
        ("", "Haswell", None),
    ],
)
def test_kernels_below_the_processor_get_the_line_that_changes_them(
    flags: str, kernels: str | None, line: str | None
) -> None:
    found = replace(WELL, processor=Processor("x", frozenset(flags.split())), blas=Blas("openblas", None, kernels, 2))
    assert [text.splitlines()[-1].strip() for text in page.advice(found)] == ([line] if line else [])


def test_kernels_chosen_by_the_environment_are_said_to_be() -> None:
    found = replace(WELL, blas=Blas("openblas", None, "Haswell", 2), coretype="Haswell")
    assert "because OPENBLAS_CORETYPE=Haswell says so" in page.advice(found)[0]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"blas": None}, "pip install --force-reinstall numpy"),
        ({"blas": Blas("blas")}, "pip install --force-reinstall numpy"),
        ({"blas": Blas("mkl")}, None),
        ({"held": False}, "pip install threadpoolctl"),
        ({"held": False, "threads": 1, "cores": 1}, None),
        ({"threads": 1}, "unset TINYGRAD_CNN_NUM_THREADS"),
        ({"threads": 3}, "unset TINYGRAD_CNN_NUM_THREADS"),
        ({"cores": None}, None),
        ({"quota": 1.5, "cores": 8, "threads": 8}, "export TINYGRAD_CNN_NUM_THREADS=1"),
        ({"quota": 2.0, "cores": 8, "threads": 9}, "export TINYGRAD_CNN_NUM_THREADS=2"),
        ({"quota": 1.5}, None),
        ({"quota": 4.0}, None),
    ],
)
def test_advice_ends_in_the_line_to_type(change: dict[str, Any], line: str | None) -> None:
    assert [text.splitlines()[-1].strip() for text in page.advice(replace(WELL, **change))] == ([line] if line else [])


def test_a_wasted_machine_gets_all_the_advice() -> None:
    wasted = replace(WELL, blas=Blas("openblas", None, "Haswell", 2), held=False, threads=1, cores=4)
    assert len(page.advice(replace(wasted, threads=2))) == 3


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (
            "processor\t: 0\nmodel name\t: CPU @ 2GHz\nflags\t\t: fpu avx2\n\nprocessor\t: 1\n",
            "CPU @ 2GHz",
            {"fpu", "avx2"},
        ),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n", None, {"fp", "asimd"}),
        ("model name\t:\nflags\t\t:\n", None, set()),
        ("", None, set()),
    ],
)
def test_cpuinfo_is_read_as_far_as_it_goes(
    text: str, name: str | None, flags: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == Processor(name, frozenset(flags))


def test_caches_are_the_data_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M"), ("3", "Unified", "strange")]
    for number, description in enumerate(described):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for file, content in zip(("level", "type", "size"), description, strict=True):
            (folder / file).write_text(content + "\n")
    monkeypatch.setattr(machine, "_CACHES", tmp_path)
    assert machine.caches() == {"L1": 48 << 10, "L2": 2 << 20}


@pytest.mark.parametrize(("text", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)])
def test_the_quota_of_a_container(
    text: str, quota: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    assert machine.cpu_quota() == quota


def test_on_a_platform_that_tells_nothing_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CPUINFO", "_CACHES", "_QUOTA", "_MAPS"):
        monkeypatch.setattr(machine, name, tmp_path / "missing")
    no_threadpoolctl(monkeypatch)
    monkeypatch.setattr(machine.np, "show_config", lambda mode: {})
    found = page.look()
    assert found.processor == Processor(None, frozenset())
    assert (found.caches, found.quota, found.blas) == ({}, None, None)
    page.report(found, {})
    page.advice(found)


def test_without_threadpoolctl_openblas_itself_says_what_threadpoolctl_would(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("threadpoolctl")
    told = machine.blas()
    no_threadpoolctl(monkeypatch)
    asked = machine._blas_from_openblas()
    if told is None or told.name != "openblas" or asked is None:
        pytest.skip("NumPy does not use OpenBLAS here, or the loaded libraries cannot be listed")
    assert machine.blas() == asked == told


@pytest.mark.parametrize(
    ("built", "blas"),
    [
        ({"name": "mkl-sdl", "found": True, "version": "2024.1"}, Blas("mkl-sdl", "2024.1")),
        ({"name": "blas", "found": True, "version": "unknown"}, Blas("blas")),
        ({"name": "none", "found": False}, None),
        ({"name": "auto", "found": True}, None),
    ],
)
def test_numpy_tells_what_it_was_built_with(
    built: dict[str, Any], blas: Blas | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.np, "show_config", lambda mode: {"Build Dependencies": {"blas": built}})
    assert machine._blas_from_numpy() == blas


def test_rates_are_measured_for_one_thread_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "gemm_rate", float)
    assert page.gemm_rates(WELL) == {"with 1 thread": 1.0, "with 2 threads": 2.0}
    assert page.gemm_rates(replace(WELL, threads=1)) == {"with 1 thread": 1.0}
    assert page.gemm_rates(replace(WELL, threads=10**9)) == {"with 1 thread": 1.0, "with 256 threads": 256.0}
    assert page.gemm_rates(replace(WELL, held=False)) == {"with the threads of BLAS": 1.0}
    assert page.gemm_rates(UNKNOWN) == {}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_measured_rate_is_positive(threads: int) -> None:
    assert page.gemm_rate(threads, seconds=0.0) > 0
