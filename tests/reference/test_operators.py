"""Every operation agrees with PyTorch on PyTorch's own samples: values, dtypes, two orders of derivatives, errors."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from oracle.operations import OPERATIONS, Operation  # noqa: E402
from sweep import KINDS, Library, sweep  # noqa: E402

# Cases of each kind in the ordinary test run; `python tests/reference/sweep.py` runs all there are.
LIMIT = 8
SHOWN = 20


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_operation_agrees_with_pytorch(operation: Operation, ours: Library) -> None:
    report = sweep(operation, ours, KINDS, LIMIT)
    shown = "\n".join(str(failure) for failure in report.failures[:SHOWN])
    hint = f"python tests/reference/sweep.py {operation.name} -v"
    assert not report.failures, f"{len(report.failures)} of {report.run} cases differ ({hint}):\n{shown}"


def test_every_operation_has_samples() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))
