"""The benchmarks run, and print a table of the promised shape; what it says about speed is no matter of tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

COMPARE = Path(__file__).parent / "benchmarks" / "compare.py"
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
TINY = ["--quick", "--peers", "none", "--threads", "1", "--model", "C", "--batch", "2"]


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(COMPARE), *options], capture_output=True, text=True)


def table_of(text: str) -> list[list[str]]:
    """The cells of the Markdown table in a text, row by row."""
    return [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]


def test_the_table_has_a_row_for_every_measurement_and_a_unit_in_every_cell(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    run = compare(*TINY, "--what", "train,inference,overhead,memory,import", "--write", str(page))
    assert (run.returncode, run.stderr) == (0, "")
    heading, rule, *rows = table_of(run.stdout)
    assert [cell.strip() for cell in heading] == ["", "tinygrad_cnn"]
    assert [cell.strip() for cell in rule] == ["---", "---:"]
    assert [name.split(",")[0].strip() for name, _ in rows[:2]] == ["training step", "inference"]
    assert len(rows) == 2 + 4 + 1 + 1
    for _, value in rows:
        assert re.fullmatch(r" [\d.]+ (s|ms|µs|ns|KiB|MiB|GiB) | – ", value)
    assert f"before\n{BEGIN}\n\n{run.stdout.strip()}\n\n{END}\nafter\n" == page.read_text(encoding="utf-8")


def test_every_operation_can_be_measured() -> None:
    run = compare(*TINY, "--what", "operations")
    assert (run.returncode, run.stderr) == (0, "")
    rows = table_of(run.stdout)[2:]
    assert len(rows) >= 140
    assert all("–" not in value for _, value in rows)


def test_every_augmentation_can_be_measured() -> None:
    run = compare(*TINY, "--what", "augmentation")
    assert (run.returncode, run.stderr) == (0, "")
    assert len(table_of(run.stdout)[2:]) >= 16


def test_rows_are_chosen_by_their_names() -> None:
    run = compare(*TINY, "--what", "operations,overhead", "--only", r"^matmul 512|^x \* x")
    assert [name.split()[0] for name, _ in table_of(run.stdout)[2:]] == ["matmul", "x"]


def test_a_page_without_markers_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{END}\n{BEGIN}\n", encoding="utf-8")
    run = compare(*TINY, "--write", str(page))
    assert run.returncode == 2
    assert not run.stdout
    assert "the page expects the lines" in run.stderr


def test_wrong_options_are_named() -> None:
    for option, value in (
        ("--model", "D"),
        ("--what", "speed"),
        ("--batch", "-1"),
        ("--peers", "x"),
        ("--threads", "0"),
        ("--only", "("),
    ):
        run = compare(option, value)
        assert run.returncode == 2
        assert option in run.stderr
