"""Measure tinygrad_cnn against other libraries, and print one Markdown table.

    python tests/benchmarks/compare.py                            everything that is installed
    python tests/benchmarks/compare.py --what train --model A,B --batch 64,256
    python tests/benchmarks/compare.py --peers torch,channels_last --threads 1
    python tests/benchmarks/compare.py --what operations --only '^conv|pool' --peers torch
    python tests/benchmarks/compare.py --quick                    only to see that it runs
    python tests/benchmarks/compare.py --write docs/benchmarks.md

Each library runs in a process of its own; they take turns, and what is compared are turns of the same round.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import table
from arena import OURS, RIVALS, Arena, Peer
from rows import WHAT, rows_of
from workers.models import MODELS


def main() -> None:
    """Measure row after row; print each as soon as it is there."""
    options = parse()
    arena = Arena(
        [OURS, *options.peers],
        threads=options.threads,
        rounds=1 if options.quick else options.rounds,
        seconds=0.02 if options.quick else options.seconds,
        pause=0.0 if options.quick else 0.05,
        steps=3 if options.quick else 10,
    )
    rows = [row for row in rows_of(options.what, options.model, options.batch) if options.only.search(row.name)]
    with arena.open():
        peers = arena.peers
        lines = [table.heading(peers)]
        print(lines[0])
        for row in rows:
            lines.append(table.line(row, peers, arena.measure(row)))
            print(lines[-1], flush=True)
        lines += ["", circumstances(arena, options.quick)]
        print("\n".join(lines[-2:]))
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(table.insert(page, "\n".join(lines)), encoding="utf-8")


def circumstances(arena: Arena, quick: bool) -> str:
    """One sentence: where and with what the table was measured."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    processor = model.group(1) if model else platform.processor() or "an unknown processor"
    threads = "1 thread" if arena.threads == 1 else f"{arena.threads} threads"
    coretype = os.environ.get("OPENBLAS_CORETYPE")
    setting = f" with OPENBLAS_CORETYPE={coretype}" if coretype else ""
    hurry = " in a hurry (--quick)" if quick else ""
    versions = "; ".join([f"Python {platform.python_version()}", *dict.fromkeys(arena.versions)])
    return f"Measured on {datetime.date.today()}{hurry}: {threads} on {processor}{setting}; {versions}."


def parse() -> argparse.Namespace:
    """The options; wrong ones end the program with a message."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default=list(WHAT), type=_several(WHAT), help=f"kinds of rows: {','.join(WHAT)}")
    parser.add_argument("--model", default=list(MODELS), type=_several(tuple(MODELS)), help=",".join(MODELS))
    parser.add_argument(
        "--batch", type=_sizes, help="batch sizes; default 64,256, for inference also 1, for memory 256"
    )
    parser.add_argument(
        "--only", default="", type=_pattern, metavar="REGEX", help="rows in whose names this is found; default all"
    )
    parser.add_argument("--threads", default=cores, type=int, help=f"for every library; default {cores}, all cores")
    keys = ",".join(peer.key for peer in RIVALS)
    parser.add_argument("--peers", default="", help=f"{keys}, or none; default: those that are installed")
    parser.add_argument("--rounds", default=7, type=int, help="turns of each library in a row; default 7")
    parser.add_argument("--seconds", default=0.3, type=float, help="the length of a turn; default 0.3")
    parser.add_argument("--quick", action="store_true", help="one short turn each: to see that it runs")
    parser.add_argument("--write", type=Path, help="a page with markers, between which the table is put")
    options = parser.parse_args()
    try:
        options.peers = _peers(options.peers)
        if options.write:
            table.insert(options.write.read_text(encoding="utf-8"), "")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads expects 1 to {cores}, the cores of this process, but got {options.threads}")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds expect positive numbers")
    return options


def _several(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse_names(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"expects some of {','.join(allowed)} but got {name!r}")
        return names

    return parse_names


def _sizes(text: str) -> list[int]:
    sizes = [int(size) if size.isdigit() else 0 for size in text.split(",")]
    if 0 in sizes:
        raise argparse.ArgumentTypeError(f"expects positive integers but got {text!r}")
    return sizes


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expects a regular expression but got {text!r}: {error}") from None


def _peers(text: str) -> list[Peer]:
    if text == "none":
        return []
    if not text:
        missing = [peer.title for peer in RIVALS if not peer.installed]
        if missing:
            print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return [peer for peer in RIVALS if peer.installed]
    known = {peer.key: peer for peer in RIVALS}
    chosen = []
    for key in text.split(","):
        if key not in known:
            raise ValueError(f"--peers expects some of {','.join(known)} but got {key!r}")
        if not known[key].installed:
            raise ValueError(f"--peers: {known[key].title} needs {', '.join(known[key].needs)}")
        chosen.append(known[key])
    return chosen


if __name__ == "__main__":
    main()
