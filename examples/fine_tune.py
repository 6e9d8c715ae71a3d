"""Learn five classes from a few labels, with the features of a network that was trained on the other five.

python examples/fine_tune.py                      Fashion-MNIST, or the digits that come with the package
python examples/fine_tune.py --labels 5 20 --limit 5000
python examples/fine_tune.py --help

A small CNN is trained on the first five classes of a data set. Its convolutions, frozen, then serve a new network
for the other five classes, of which only a few images have a label; beside it the same network learns from
the same images, but all by itself.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from mnist import TITLES, Net, positive

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import datasets

HALF = 5  # classes below it are for pre-training, the others for fine-tuning
BATCH = 50


def fine_tuned(pretrained: Net) -> Net:
    """A new network with the convolutions of another, which training will not touch, and new linear layers."""
    model = Net()
    model.conv1.load_state_dict(pretrained.conv1.state_dict())
    model.conv2.load_state_dict(pretrained.conv2.state_dict())
    model.conv1.requires_grad_(False)
    model.conv2.requires_grad_(False)
    return model


def train(model: nn.Module, images: Any, labels: Any, steps: int) -> None:
    """Train what isn't frozen for a number of batches."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optim.SGD(trained, lr=0.03, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.03, total_steps=steps)
    order = np.concatenate([tg.randperm(len(images)).numpy() for _ in range(-(-steps * BATCH // len(images)))])
    for batch in order[: steps * BATCH].reshape(steps, BATCH):
        loss = F.cross_entropy(model(tg.tensor(images[batch])), tg.tensor(labels[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


@tg.no_grad()
def accuracy(model: nn.Module, images: Any, labels: Any) -> float:
    """The fraction of images whose class the model gets right."""
    batches = [slice(start, start + 500) for start in range(0, len(images), 500)]
    right = sum((model(tg.tensor(images[b])).argmax(dim=1).numpy() == labels[b]).sum() for b in batches)
    return float(right / len(images))


def main() -> None:
    """Train on the one half, then compare on the other."""
    args = parse_arguments()
    tg.manual_seed(args.seed)
    (first, second), (_, tests), names = load(args.dataset, args.data_dir)
    images, labels = (values[: args.limit] for values in first)
    most = np.bincount(second[1]).min()
    if max(args.labels) > most:
        sys.exit(f"--labels expects at most {most}, as many as there are of each class, but got {max(args.labels)}")

    pretrained = Net()
    steps = max(300, len(images) * 2 // BATCH) if args.steps is None else args.steps
    train(pretrained, images, labels, steps)
    print(f"pre-trained on {len(images):,} images: {', '.join(names[:HALF])}")
    print(f"test accuracy on {len(tests[0]):,} images, {', '.join(names[HALF:])}:")
    for count in args.labels:
        results = []
        for _ in range(args.repeats):
            few = draw_labels(second[1], count)
            pair = Net(), fine_tuned(pretrained)
            for model in pair:
                train(model, second[0][few], second[1][few], steps=args.steps or 100)
            results.append([accuracy(model, *tests) for model in pair])
        scratch, frozen = np.mean(results, axis=0)
        print(f"{count:4} labels a class: from scratch {scratch:.3f}, pre-trained features {frozen:.3f}")


def draw_labels(labels: Any, count: int) -> Any:
    """The positions of so many images of each class, drawn at random."""
    order = tg.randperm(len(labels)).numpy()
    return np.concatenate([order[labels[order] == label][:count] for label in range(HALF)])


def load(name: str, folder: str | None) -> tuple[Any, Any, list[str]]:
    """Training and test images as pairs of halves, each (images, labels from 0 to 4), and the classes' names."""
    if name == "auto":
        try:
            return load("fashion-mnist", folder)
        except OSError as error:
            print(f"Fashion-MNIST can't be had: {error}\nTaking the digits of the package instead.", file=sys.stderr)
            return load("digits", folder)
    sets = [datasets.load(name, folder, train=train, download=True) for train in (True, False)]
    return halves(sets[0]), halves(sets[1]), sets[0].classes


def halves(dataset: Any) -> list[tuple[Any, Any]]:
    """The images float32 (N, 1, 28, 28) and labels of the first five classes, and of the others."""
    images = (dataset.data.numpy()[:, None] / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081)
    labels = dataset.targets.numpy()
    return [(images[part], labels[part] % HALF) for part in (labels < HALF, labels >= HALF)]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    choices = ["auto", *TITLES]
    parser.add_argument("--dataset", choices=choices, default="auto", help="default: Fashion-MNIST if it can be had")
    parser.add_argument("--data-dir", help="folder with the files of the data set, and where to download them to")
    counts = [2, 5, 10, 20]
    parser.add_argument("--labels", metavar="N", type=positive, nargs="+", default=counts, help="labels a class")
    parser.add_argument("--limit", type=positive, help="pre-train on so many images only")
    parser.add_argument("--steps", type=positive, help="batches of each training; default: enough")
    parser.add_argument("--repeats", type=positive, default=3, help="average over so many draws of the labels")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
