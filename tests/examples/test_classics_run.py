"""Each classic trains from the command line, draws its figures, and ends with its accuracy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import common
import numpy as np
import pytest

from tinygrad_cnn.data import datasets, transforms

CLASSICS = Path(__file__).parents[2] / "examples" / "classics"
DIGITS = ["--dataset", "digits"]
LAST_LINE = re.compile(r"test accuracy: (0\.\d{4}|1\.0000) \(Digits, \d+ images; the original: .+\)")


def run(script: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(CLASSICS / f"{script}.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def last_accuracy(result: subprocess.CompletedProcess[str]) -> float:
    assert result.returncode == 0, result.stderr
    found = LAST_LINE.fullmatch(result.stdout.splitlines()[-1])
    assert found, result.stdout
    return float(found[1])


@pytest.mark.parametrize(
    ("script", "options", "least"),
    [
        ("momentum_conv", [], 0.8),
        ("three_layers", ["--filters", 8], 0.9),
        ("simple_convnet", ["--epochs", 3], 0.8),
        ("simple_convnet", ["--modern", "--epochs", 4], 0.8),
        ("lenet_fashion", ["--modern", "--epochs", 16], 0.8),
        ("lenet5", ["--epochs", 20], 0.8),
        ("lenet5", ["--modern", "--epochs", 3], 0.8),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_classic_learns_the_digits(script, options, least):
    assert last_accuracy(run(script, *DIGITS, *options)) > least


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    def losses(seed: int) -> list[str]:
        return re.findall(
            r"loss ([\d.]+)", run("lenet_fashion", *DIGITS, "--limit", 500, "--epochs", 1, "--seed", seed).stdout
        )

    assert losses(3) == losses(3) != losses(4)


def test_the_network_is_shown_before_and_after_its_first_batch():
    shown = run("lenet_fashion", *DIGITS, "--limit", 300, "--epochs", 1).stdout
    assert "training on cpu" in shown
    before, after = shown.split("LeNet\n")[1].split("after it:")
    assert "LazyConv2d(0, 20" in before
    assert "Conv2d(20, 50" in after
    assert re.search(r"softmax regression 0\.\d{4}; LeNet 0\.\d{4}, its best epoch 0\.\d{4}", after)


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("momentum_conv", {"filters", "feature_maps", "curves"}),
        ("three_layers", {"filters", "feature_maps", "curves"}),
        ("simple_convnet", {"filters", "optimizers", "curves"}),
        ("lenet_fashion", {"filters", "feature_maps", "curves", "predictions"}),
        ("lenet5", {"filters", "feature_maps", "curves", "table"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_classic_draws_its_figures(script, names, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    last_accuracy(run(script, *DIGITS, "--limit", 300, "--epochs", 1, "--figures", tmp_path / "new"))
    drawn = {path.stem: path for path in (tmp_path / "new").glob("*.png")}
    assert set(drawn) == names | {"confusion", "worst"}
    for path in drawn.values():
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 0


def test_who_makes_no_mistakes_has_no_worst_ones():
    pytest.importorskip("matplotlib")
    import figures

    digits = datasets.Digits(train=False, transform=transforms.ToTensor())
    data = common.Data(digits, digits, "Digits", digits.classes)
    right = np.eye(10)[digits.targets.numpy()]
    assert set(figures.mistakes(right, data)) == {"confusion"}
    right[3] = 0.1  # taken for the first class, and less sure of it than of any other
    assert set(figures.mistakes(right, data)) == {"confusion", "worst"}


def test_without_matplotlib_the_figures_are_refused_before_training(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(CLASSICS)!r}); import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'matplotlib' else find(name)\n"
        "import common; common.parser('Title.', 1).parse_args(['--figures', 'x'])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "needs matplotlib: python -m pip install 'tinygrad_cnn[plot]'" in result.stderr


def test_counts_are_positive():
    refused = run("three_layers", *DIGITS, "--filters", 0)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "argument --filters: expects at least 1 but got 0" in refused.stderr


def test_places_that_can_not_be_written_to_are_refused_before_training(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    saved = run("simple_convnet", *DIGITS, "--save", tmp_path / "nowhere" / "params.npz")
    assert (saved.returncode, saved.stdout) == (2, "")
    assert "argument --save: expects a file in a folder that exists" in saved.stderr
    drawn = run("momentum_conv", *DIGITS, "--figures", tmp_path / "file")
    assert (drawn.returncode, drawn.stdout) == (2, "")
    assert f"argument --figures: cannot make the folder {tmp_path / 'file'}: File exists" in drawn.stderr


def test_a_loss_that_is_not_a_number_ends_the_run():
    with pytest.raises(SystemExit, match="the loss is nan"):
        common.finite(float("nan"))


def test_the_page_of_the_examples_shows_small_pictures_that_are_there():
    page = CLASSICS.parent / "README.md"
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert len(links) > 5
    for link in links:
        assert (page.parent / link).exists(), link
    for picture in (page.parent / "figures").glob("*.png"):
        assert picture.stat().st_size < 100_000
        assert f"figures/{picture.name}" in links
