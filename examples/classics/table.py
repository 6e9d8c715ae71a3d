"""Train every classic with several seeds and print the table of examples/README.md.

python examples/classics/table.py
python examples/classics/table.py --seeds 0 --only lenet5 --figures /tmp/figures
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

RUNS = {
    "momentum_conv": [[]],
    "three_layers": [[]],
    "simple_convnet": [[], ["--modern"]],
    "lenet_fashion": [[], ["--modern"]],
    "lenet5": [[], ["--modern"]],
}
ACCURACY = re.compile(r"test accuracy: ([\d.]+) \(.*; the original: (.*)\)")
BEST = re.compile(r"its best epoch ([\d.]+)")
TIME = re.compile(r"trained on \d+ images in ([\d.]+) s: (\d+) us an image")


def row(script: str, options: list[str], seeds: list[int], figures: str | None) -> str:
    """Train with each seed; one line of the table."""
    accuracies, times, original = [], [], ""
    for seed in seeds:
        command = [sys.executable, str(Path(__file__).with_name(f"{script}.py")), *options, "--seed", str(seed)]
        if figures and not options and seed == seeds[0]:
            command += ["--figures", str(Path(figures) / script)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        accuracy, original = ACCURACY.search(output).groups()
        best = BEST.search(output)
        accuracies.append(f"{accuracy} (best epoch {best[1]})" if best else accuracy)
        times.append([float(number) for number in TIME.search(output).groups()])
    seconds, microseconds = sorted(times)[len(times) // 2]
    name = " ".join([f"`{script}.py", *options]) + "`"
    return f"| {name} | {original} | {', '.join(accuracies)} | {seconds:.0f} s | {microseconds:.0f} |"


def main() -> None:
    """Print line after line."""
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--only", choices=RUNS, nargs="+", default=list(RUNS))
    options.add_argument(
        "--figures", metavar="DIR", help="draw the figures of the first seed, a folder for each example"
    )
    args = options.parse_args()
    print(f"| example | the original | test accuracy with seeds {args.seeds} | training | us an image |")
    print("| --- | --- | --- | --- | --- |")
    for script in args.only:
        for variant in RUNS[script]:
            print(row(script, variant, args.seeds, args.figures), flush=True)


if __name__ == "__main__":
    main()
