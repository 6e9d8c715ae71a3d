"""A script written for PyTorch trains a CNN on MNIST's files after nothing but its import lines changed."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).with_name("mnist_script.txt")
PROJECT = Path(__file__).parents[2]
IMPORTS = {
    "import torch": "import tinygrad_cnn as torch",
    "import torch.nn as nn": "import tinygrad_cnn.nn as nn",
    "import torch.nn.functional as F": "import tinygrad_cnn.nn.functional as F",
    "import torch.optim as optim": "import tinygrad_cnn.optim as optim",
    "from torch.optim.lr_scheduler import StepLR": "from tinygrad_cnn.optim.lr_scheduler import StepLR",
    "from torchvision import datasets, transforms": "from tinygrad_cnn.data import datasets, transforms",
}


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


def write_digits(folder: Path, prefix: str, count: int, rng: np.random.Generator) -> None:
    """Images of ten classes that a small CNN tells apart at once: a bright square in one of ten places."""
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[8 * row + 2 : 8 * row + 8, 7 * column + 1 : 7 * column + 6] = 250
    write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)


def translated(script: str) -> str:
    """The script with its import lines replaced, and only those."""
    lines = [IMPORTS.get(line, line) for line in script.splitlines()]
    changed = sum(a != b for a, b in zip(lines, script.splitlines(), strict=True))
    assert changed == len(IMPORTS)
    return "\n".join(lines)


def test_the_script_runs(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    write_digits(folder, "train", 1024, rng)
    write_digits(folder, "t10k", 200, rng)
    script = tmp_path / "mnist.py"
    script.write_text(translated(SCRIPT.read_text(encoding="utf-8")), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "data")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    tests = re.findall(r"test: average loss (\S+), accuracy (\d+)/200", ran.stdout)
    assert len(tests) == 3, ran.stdout
    assert int(tests[1][1]) >= 190, ran.stdout
    assert tests[2] == tests[1], "the saved and loaded model is another one"
    assert (tmp_path / "mnist_cnn.pt").is_file()
