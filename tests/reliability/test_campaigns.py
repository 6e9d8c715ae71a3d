"""A few kills and a few thousand inputs of the long campaigns, and the example's way with Ctrl-C and NaN."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="forks, kills and limits as Linux does")


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=240)


@linux
def test_a_few_killed_runs_end_in_the_same_bits():
    result = run("tests/reliability/kill_runs.py", "--runs", 3, "--seed", 7)
    assert result.returncode == 0, result.stderr
    assert "ended in the same bits: 3 of 3" in result.stdout


@linux
@pytest.mark.parametrize("engine", ["mutation", "hypothesis"])
def test_a_few_inputs_give_documented_errors_alone(engine):
    pytest.importorskip("PIL")
    pytest.importorskip("safetensors")
    result = run("tests/reliability/fuzz.py", "--inputs", 3000 if engine == "mutation" else 300, "--engine", engine)
    assert result.returncode == 0, result.stderr
    assert " 0 undocumented errors" in result.stdout


@linux
def test_the_example_is_interrupted_and_goes_on_to_the_same_bits(tmp_path):
    def command(*more):
        options = ["--dataset", "digits", "--epochs", "2", *more]
        return [sys.executable, str(ROOT / "examples" / "mnist.py"), *options]

    subprocess.run(command("--save", "whole.npz"), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    saving = ["--checkpoint", "run", "--save", "parts.npz"]
    quiet = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command(*saving), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
    )
    while not (tmp_path / "run").exists() and process.poll() is None:  # the end of the first epoch
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "saved in run, the same command with --resume goes on" in errors
    assert "interrupted after step " in errors
    refused = subprocess.run(command(*saving), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "run holds a run already: add --resume" in refused.stderr
    subprocess.run(command(*saving, "--resume"), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    longer = subprocess.run(
        [*command("--checkpoint", "run", "--resume"), "--epochs", "3"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (longer.returncode, longer.stdout) == (1, "")
    assert "run holds a run of 2 epochs: its schedule can't go on with --epochs 3" in longer.stderr


def test_the_example_reports_a_loss_that_diverges_and_saves_nothing_of_it(tmp_path):
    result = run("examples/mnist.py", "--dataset", "digits", "--lr", "1e6", "--checkpoint", tmp_path / "run")
    assert result.returncode == 1
    assert "the loss is nan in step 3: try a lower --lr" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_resuming_needs_a_folder():
    result = run("examples/mnist.py", "--resume")
    assert result.returncode == 2
    assert "--resume needs --checkpoint DIR" in result.stderr


@pytest.mark.parametrize("arguments", [("--epochs", 0), ("--batch-size", -1)])
def test_the_example_counts_from_one(arguments):
    result = run("examples/mnist.py", "--dataset", "digits", *arguments)
    assert result.returncode == 2
    assert f"argument {arguments[0]}: expects at least 1 but got {arguments[1]}" in result.stderr


def test_the_example_says_before_it_trains_that_it_can_not_save(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere" / "weights.npz"):
        result = run("examples/mnist.py", "--dataset", "digits", "--save", place)
        assert result.returncode == 2
        assert f"argument --save: expects a file in a folder that exists but got {place}" in result.stderr
