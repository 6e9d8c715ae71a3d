"""What the classics share: the command line, the data, the loop over batches, and the last line."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn
from tinygrad_cnn.data import DataLoader, Subset, datasets, transforms

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "digits": "Digits"}


# ------------------------------------------------------------------------------------------ the command line


def parser(doc: str | None, epochs: int | None, default: str = "%(default)s") -> argparse.ArgumentParser:
    """The options that every classic has; `doc` is the docstring of the script, `default` explains `epochs`."""
    options = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=positive, default=epochs, help=f"default: {default}")
    options.add_argument("--limit", type=positive, metavar="N", help="use only the first N images of each set")
    options.add_argument("--dataset", choices=["auto", *TITLES], default="auto", help="default: the original's")
    options.add_argument("--data-dir", help="folder with the files of the data set, and where to download them to")
    options.add_argument("--figures", metavar="DIR", type=_folder, help="draw figures into this folder (extra plot)")
    return options


def positive(text: str) -> int:
    """The number in an argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expects at least 1 but got {number}")
    return number


def _folder(text: str) -> str:
    # Said now, not when the training is over.
    if importlib.util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("needs matplotlib: python -m pip install 'tinygrad_cnn[plot]'")
    try:
        os.makedirs(text, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot make the folder {text}: {error.strerror}") from None
    return text


def new_file(path: str) -> str:
    """The path in an argument, if a file can lie there."""
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise argparse.ArgumentTypeError(f"expects a file in a folder that exists but got {path}")
    return path


# -------------------------------------------------------------------------------------------------- the data


class Data(NamedTuple):
    """Images for training and for testing, the title of the data set, and the names of its classes."""

    train: Any
    test: Any
    title: str
    classes: list[str]


def load(args: argparse.Namespace, original: str, transform: Any = None) -> Data:
    """The data set that the command line asks for: by default the original's, or digits where that can't be had."""

    def both(name: str) -> Data:
        train, test = (
            datasets.load(name, args.data_dir, part, transform or transforms.ToTensor(), download=True)
            for part in (True, False)
        )
        classes = [label.split(" - ")[0] for label in train.classes]
        return Data(first(train, args.limit), first(test, args.limit), TITLES[name], classes)

    if args.dataset != "auto":
        return both(args.dataset)
    try:
        return both(original)
    except OSError as error:
        print(f"{TITLES[original]} can't be had: {error}", file=sys.stderr)
        print("Training on the 1,797 digits that come with the package instead.", file=sys.stderr)
        return both("digits")


def first(dataset: Any, limit: int | None) -> Any:
    """The first `limit` samples of a data set; all of them if that is None."""
    return dataset if limit is None or limit >= len(dataset) else Subset(dataset, np.arange(limit))


def whole(dataset: Any) -> tuple[tg.Tensor, tg.Tensor]:
    """All images (N, C, H, W) and labels (N,) of a data set."""
    images, labels = next(iter(DataLoader(dataset, batch_size=len(dataset))))
    return images, labels


# ---------------------------------------------------------------------------------------------- the training


@dataclass
class Run:
    """What a training run leaves behind."""

    steps: list[float] = field(default_factory=list)  # the loss of each batch
    loss: list[float] = field(default_factory=list)  # its mean over each epoch
    train_accuracy: list[float] = field(default_factory=list)  # over each epoch, while it learnt
    test_accuracy: list[float] = field(default_factory=list)  # after each epoch
    images: int = 0
    seconds: float = 0.0  # in the loop over batches alone

    def __str__(self) -> str:
        """The last epoch in one line."""
        return (
            f"epoch {len(self.loss)}: loss {self.loss[-1]:.4f}, "
            f"train accuracy {self.train_accuracy[-1]:.4f}, test accuracy {self.test_accuracy[-1]:.4f}"
        )


def fit(
    model: nn.Module, loader: DataLoader, optimizer: Any, epochs: int, test: Any = None, scheduler: Any = None
) -> Run:
    """Train with softmax cross-entropy, and print a line for each epoch if there are images to test with."""
    run = Run()
    for _ in range(epochs):
        start, correct = time.perf_counter(), 0
        model.train()
        for images, labels in loader:
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            run.steps.append(finite(loss.item()))
            correct += (logits.argmax(dim=1) == labels).sum().item()
        run.seconds += time.perf_counter() - start
        run.images += len(loader.dataset)
        run.loss.append(float(np.mean(run.steps[-len(loader) :])))
        run.train_accuracy.append(correct / len(loader.dataset))
        if test is not None:
            run.test_accuracy.append(accuracy(model, test))
            print(run, flush=True)
    return run


def finite(loss: float) -> float:
    """The loss, if it is a number; or else the end of the run."""
    if not math.isfinite(loss):
        sys.exit(f"the loss is {loss}: the learning rate is too high for these first weights, try another --seed")
    return loss


@tg.no_grad()
def logits(model: Callable[[tg.Tensor], tg.Tensor], dataset: Any, batch_size: int = 500) -> np.ndarray:
    """What the model says about every image of a data set: (N, classes)."""
    if isinstance(model, nn.Module):
        model.eval()
    return np.concatenate([model(images).numpy() for images, _ in DataLoader(dataset, batch_size=batch_size)])


def accuracy(model: Callable[[tg.Tensor], tg.Tensor], dataset: Any) -> float:
    """The fraction of images whose class the model gets right."""
    answers = logits(model, dataset).argmax(axis=1)
    return float((answers == labels_of(dataset)).mean())


def labels_of(dataset: Any) -> np.ndarray:
    """The labels (N,) of a data set."""
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[dataset.indices]
    return dataset.targets.numpy()


def report(run: Run, data: Data, original: str) -> None:
    """Print how fast it went, and the last line: the accuracy on the test images, and what the original had."""
    print(f"trained on {run.images} images in {run.seconds:.1f} s: {1e6 * run.seconds / run.images:.0f} us an image")
    print(
        f"test accuracy: {run.test_accuracy[-1]:.4f} ({data.title}, {len(data.test)} images; the original: {original})"
    )
