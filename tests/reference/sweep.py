"""Sweep the operations with PyTorch's own samples and print where tinygrad_cnn differs.

python tests/reference/sweep.py                     every operation, a table
python tests/reference/sweep.py conv2d -v           those whose name contains "conv2d", with every failure
python tests/reference/sweep.py sum -k error -v     one kind: float64 strided float32 int64 bool error perturbed
python tests/reference/sweep.py add -k float64 -n 3 --trace     one case, with the traceback of what was raised
python tests/reference/sweep.py --limit 10          at most ten cases a kind, evenly spread: what the test suite runs
"""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

with warnings.catch_warnings():  # PyTorch's own test code is not free of them
    warnings.simplefilter("ignore")
    from oracle.cases import KINDS, Case, cases, sample_cases
    from oracle.compare import applies, call_name, difference, evaluate
    from oracle.libraries import Library, library
    from oracle.operations import OPERATIONS, Call, Operation
    from oracle.perturb import perturbed


@dataclass(frozen=True)
class Failure:
    """A case that differs, and the way of calling it."""

    call: Call
    case: Case
    text: str
    error: BaseException | None

    def __str__(self) -> str:
        return f"{self.case.label} {call_name(self.call)}({self.case})\n    {self.text}"


@dataclass
class Report:
    """What became of one operation."""

    operation: Operation
    run: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        passed, failed = self.run - len(self.failures), len(self.failures)
        first = str(self.failures[0]).replace("\n   ", " |") if self.failures else ""
        return f"{self.operation.name:38} {self.run:6} {passed:6} {failed:6}  {first}"


def sweep(
    operation: Operation,
    ours: Library,
    kinds: Sequence[str] = KINDS,
    limit: int | None = None,
    number: int | None = None,
) -> Report:
    """Run one operation's cases, in every way to call it, through PyTorch and through `ours`.

    `limit` bounds the cases of each kind, evenly spread; `number` picks one case.
    """
    reference = library("torch")
    report = Report(operation)
    for kind in kinds:
        for case in _selected(operation, kind, limit, number):
            for call in operation.calls:
                if applies(call, case):
                    _run(reference, ours, operation, call, case, report)
    return report


def _run(reference: Library, ours: Library, operation: Operation, call: Call, case: Case, report: Report) -> None:
    expected = evaluate(reference, call, case)
    actual = evaluate(ours, call, case)
    report.run += 1
    if (text := difference(expected, actual, operation, case.may_raise)) is not None:
        report.failures.append(Failure(call, case, text, actual.error))


def _selected(operation: Operation, kind: str, limit: int | None, number: int | None) -> list[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source: Iterator[Case]
        source = (
            perturbed(operation, sample_cases(operation, "float64")) if kind == "perturbed" else cases(operation, kind)
        )
        found = [case for case in source if number in (None, case.number)]
    if limit is None or len(found) <= limit:
        return found
    return [found[k * len(found) // limit] for k in range(limit)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of operations' names (default: all operations)")
    parser.add_argument("-k", "--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of cases")
    parser.add_argument("-n", "--number", type=int, help="run only the case with this number")
    parser.add_argument("-l", "--limit", type=int, help="at most so many cases a kind")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every failure, not only the first")
    parser.add_argument("-t", "--trace", action="store_true", help="print tracebacks of what was raised")
    parser.add_argument("--library", default="tinygrad_cnn", help='"torch" tries the sweep itself')
    options = parser.parse_args(arguments)

    ours = library(options.library)
    chosen = [o for o in OPERATIONS if not options.names or any(name in o.name for name in options.names)]
    reports = []
    print(f"{'operation':38} {'cases':>6} {'passed':>6} {'failed':>6}  first failure")
    for operation in chosen:
        report = sweep(operation, ours, options.kinds, options.limit, options.number)
        reports.append(report)
        print(
            str(report) if not options.verbose else str(report).split("  ", 1)[0] + str(report)[38:60],
            flush=True,
        )
        if options.verbose or options.trace:
            for failure in report.failures:
                print(f"  {failure}")
                if options.trace and failure.error is not None:
                    traceback.print_exception(failure.error)
    failed = sum(len(r.failures) for r in reports)
    print(f"{len(reports)} operations, {sum(r.run for r in reports)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
