"""Train a small convolutional network on handwritten digits and report its accuracy on the test images.

python examples/mnist.py                          MNIST, or the digits that come with the package
python examples/mnist.py --dataset fashion-mnist
python examples/mnist.py --checkpoint runs/first --resume
python examples/mnist.py --help
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import Any

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import Checkpoint, nn, optim
from tinygrad_cnn.data import DataLoader, datasets, transforms

try:
    from tqdm import tqdm
except ImportError:  # the extra "examples" brings it
    tqdm = None

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "digits": "Digits"}
TRANSFORM = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])


class Net(nn.Module):
    """Two convolutions, each pooled, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=5)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=5)
        self.fc1 = nn.Linear(32 * 4 * 4, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Images (N, 1, 28, 28) to logits (N, 10)."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = x.flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def train_epoch(
    model: nn.Module, loader: DataLoader, optimizer: Any, scheduler: Any, checkpoint: Checkpoint, epoch: int
) -> None:
    """Go through the training images once."""
    model.train()
    with progress_bar(len(loader.dataset), f"epoch {epoch}") as bar:
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            if not math.isfinite(loss.item()):
                sys.exit(f"the loss is {loss.item()} in step {scheduler.last_epoch + 1}: try a lower --lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            checkpoint.update(scheduler.last_epoch, epoch=epoch)
            bar.update(len(labels))
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


@tg.no_grad()
def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """The fraction of images whose class the model gets right."""
    model.eval()
    correct = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in loader)
    return correct / len(loader.dataset)


def main() -> None:
    """Parse the arguments, train, test."""
    args = parse_arguments()
    tg.manual_seed(args.seed)
    train_set, test_set, name = load(args.dataset, args.data_dir)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=500)

    # A small data set needs more passes for as many steps.
    epochs = args.epochs or max(2, 24_000 // len(train_set))
    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, args.lr, epochs=epochs, steps_per_epoch=len(train_loader))
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": train_loader}
    checkpoint = Checkpoint(args.checkpoint, **parts)
    if checkpoint.steps and not args.resume:
        sys.exit(f"{args.checkpoint} holds a run already: add --resume to go on with it, or name another folder")
    start = checkpoint.restore() if args.resume else {}
    if scheduler.total_steps != epochs * len(train_loader):
        planned = scheduler.total_steps // len(train_loader)
        sys.exit(f"{args.checkpoint} holds a run of {planned} epochs: its schedule can't go on with --epochs {epochs}")
    try:
        with checkpoint.finishing_steps():
            for epoch in range(start.get("epoch", 1), epochs + 1):
                train_epoch(model, train_loader, optimizer, scheduler, checkpoint, epoch)
                print(f"epoch {epoch}/{epochs}: test accuracy {accuracy(model, test_loader):.4f}")
                checkpoint.save(scheduler.last_epoch, epoch=epoch + 1)
    except KeyboardInterrupt:
        saved = f"; saved in {args.checkpoint}, the same command with --resume goes on" if args.checkpoint else ""
        sys.exit(f"interrupted after step {scheduler.last_epoch}{saved}")
    if args.save:
        tg.save(model.state_dict(), args.save)
        print(f"saved the weights to {args.save}")
    print(f"test accuracy: {accuracy(model, test_loader):.4f} ({TITLES[name]}, {len(test_set)} images)")


def load(name: str, folder: str | None) -> tuple[Any, Any, str]:
    """The training and the test images, and the name of the data set that they come from."""

    def both(name: str) -> tuple[Any, Any, str]:
        options: dict[str, Any] = {"root": folder, "transform": TRANSFORM, "download": True}
        return datasets.load(name, train=True, **options), datasets.load(name, train=False, **options), name

    if name != "auto":
        return both(name)
    try:
        return both("mnist")
    except OSError as error:
        print(f"MNIST can't be had: {error}", file=sys.stderr)
        print(
            "Training on the 1,797 digits that come with the package instead. For MNIST, put its four files into "
            "a folder and name it with --data-dir or TINYGRAD_CNN_DATA.",
            file=sys.stderr,
        )
        return both("digits")


def progress_bar(total: int, title: str) -> Any:
    """A progress bar with images per second and the time left; without tqdm one that shows nothing."""
    if tqdm is None:
        return _Silent()
    return tqdm(total=total, desc=title, unit=" images", unit_scale=True, dynamic_ncols=True, leave=False)


class _Silent:
    """Takes the calls that a progress bar takes."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Do nothing."""

    def set_postfix(self, **values: Any) -> None:
        """Do nothing."""


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dataset", choices=["auto", *TITLES], default="auto", help="default: MNIST if it can be had")
    parser.add_argument("--data-dir", help="folder with the files of the data set, and where to download them to")
    parser.add_argument("--epochs", type=positive, help="default: 2, more for a small data set")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--lr", type=float, default=0.1, help="the highest learning rate of the schedule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="FILE", type=new_file, help="where to save the weights")
    parser.add_argument("--checkpoint", metavar="DIR", help="folder to save the run in, every 100 steps and on Ctrl-C")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in DIR")
    args = parser.parse_args()
    if args.resume and not args.checkpoint:
        parser.error("--resume needs --checkpoint DIR")
    return args


def positive(text: str) -> int:
    """The number in an argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expects at least 1 but got {number}")
    return number


def new_file(path: str) -> str:
    """The path in an argument, if a file can lie there: said now, not when the training is over."""
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise argparse.ArgumentTypeError(f"expects a file in a folder that exists but got {path}")
    return path


if __name__ == "__main__":
    main()
