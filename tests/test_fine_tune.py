"""The example of fine-tuning: it freezes what it says, and runs on the digits of the package."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cnn as tg

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.spec_from_file_location("fine_tune", EXAMPLES / "fine_tune.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_frozen_features_stay_and_the_rest_learns(example):
    tg.manual_seed(0)
    pretrained = example.Net()
    model = example.fine_tuned(pretrained)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    images = np.random.default_rng(0).standard_normal((50, 1, 28, 28)).astype(np.float32)
    example.train(model, images, np.arange(50) % 5, steps=2)
    for name, parameter in model.named_parameters():
        frozen = name.startswith("conv")
        assert parameter.requires_grad != frozen
        assert np.array_equal(parameter.data, before[name]) == frozen
        if frozen:
            np.testing.assert_array_equal(parameter.data, dict(pretrained.named_parameters())[name].data)


def test_the_halves_share_no_class_and_start_at_0(example):
    ((first, first_labels), (second, second_labels)), _, names = example.load("digits", None)
    assert first.shape[1:] == second.shape[1:] == (1, 28, 28)
    assert first.dtype == np.float32
    assert len(first) + len(second) == 1500
    assert set(first_labels) == set(second_labels) == set(range(5))
    assert len(names) == 10
    few = example.draw_labels(second_labels, 3)
    assert sorted(second_labels[few]) == sorted(list(range(5)) * 3)


def test_it_runs_on_the_digits_of_the_package():
    options = ["--dataset", "digits", "--limit", "100", "--steps", "4", "--repeats", "1", "--labels", "1", "2"]
    command = [sys.executable, EXAMPLES / "fine_tune.py", *options]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "pre-trained on 100 images: 0, 1, 2, 3, 4" in ran.stdout
    results = re.findall(r"(\d) labels a class: from scratch (\d\.\d+), pre-trained features (\d\.\d+)", ran.stdout)
    assert [count for count, *_ in results] == ["1", "2"]


@pytest.mark.parametrize("arguments", [("--labels", "2", "0"), ("--limit", "-5"), ("--steps", "0"), ("--repeats", "0")])
def test_counts_are_positive(example, monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", *arguments])
    with pytest.raises(SystemExit):
        example.parse_arguments()
    assert f"argument {arguments[0]}: expects at least 1 but got {arguments[-1]}" in capsys.readouterr().err


def test_more_labels_than_there_are_is_said_before_training(example, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", "--dataset", "digits", "--labels", "2", "1000"])
    with pytest.raises(SystemExit, match=r"--labels expects at most \d+, .* but got 1000"):
        example.main()
