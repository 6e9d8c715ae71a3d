"""A LeNet whose layers find out their own sizes, on Fashion-MNIST, beside the softmax regression that it beats.

The original is of the kind that textbooks such as A. Zhang et al., "Dive into Deep Learning" (d2l.ai) teach: two
convolutions with ReLU and pools of maxima, two dense layers, plain SGD with the rate 0.5 and batches of 256, ten
epochs, a line for each. Channels and features are inferred at the first batch; the network is printed before and after.
At this rate the accuracy jumps from epoch to epoch; ``--modern`` lets the rate decay.

python examples/classics/lenet_fashion.py --figures /tmp/lenet_fashion
python examples/classics/lenet_fashion.py --modern
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader

BATCH = 256
ORIGINAL = "0.8867"


def lenet() -> nn.Sequential:
    """The network: images (N, 1, 28, 28) to logits (N, 10); no size of an input is written anywhere."""
    return nn.Sequential(
        nn.LazyConv2d(20, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.LazyConv2d(50, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(128),
        nn.ReLU(),
        nn.LazyLinear(10),
    )


def softmax_regression() -> nn.Sequential:
    """One linear layer on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def try_gpu(i: int = 0) -> tg.device:
    """Return GPU number `i` if there is one, else the CPU. Here there is none, ever."""
    if tg.cuda.device_count() >= i + 1:
        return tg.device(f"cuda:{i}")
    return tg.device("cpu")


Recipe = Callable[[nn.Module, DataLoader, int], tuple[Any, Any]]  # an optimizer, and a scheduler or None


def steady(rate: float) -> Recipe:
    """Plain SGD at a rate that stays the same."""
    return lambda model, loader, epochs: (optim.SGD(model.parameters(), lr=rate), None)


def modern(model: nn.Module, loader: DataLoader, epochs: int) -> tuple[Any, Any]:
    """Momentum, a little weight decay, and a rate that rises and falls."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    return optimizer, optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=epochs, steps_per_epoch=len(loader))


def train(model: nn.Module, recipe: Recipe, data: common.Data, epochs: int) -> common.Run:
    """Show the model before and after it has seen an image, and train it."""
    # The images that are left over make no batch: at such a rate the noise of a small one, the last before the test,
    # would decide what an epoch has reached.
    loader = DataLoader(data.train, batch_size=BATCH, shuffle=True, drop_last=len(data.train) >= BATCH)
    print(f"before the first batch: {model}")
    images, _ = next(iter(DataLoader(data.train, batch_size=1)))
    model(images)
    print(f"after it: {model}", flush=True)
    optimizer, scheduler = recipe(model, loader, epochs)
    return common.fit(model, loader, optimizer, epochs, data.test, scheduler)


def main() -> None:
    """Train the regression, train the network, draw."""
    options = common.parser(__doc__, epochs=10)
    options.add_argument("--modern", action="store_true", help="with momentum and a decaying rate")
    args = options.parse_args()
    tg.manual_seed(args.seed)
    data = common.load(args, "fashion-mnist")
    device = try_gpu()
    print(f"training on {device}\n\nsoftmax regression")
    linear = train(softmax_regression().to(device), steady(0.1), data, args.epochs)
    print("\nLeNet")
    model = lenet().to(device)
    run = train(model, modern if args.modern else steady(0.5), data, args.epochs)
    last, best = run.test_accuracy[-1], max(run.test_accuracy)
    print(f"\nsoftmax regression {linear.test_accuracy[-1]:.4f}; LeNet {last:.4f}, its best epoch {best:.4f}")
    if args.figures:
        draw(args.figures, model, data, run, linear)
    common.report(run, data, ORIGINAL)


def draw(folder: str, model: nn.Sequential, data: common.Data, run: common.Run, linear: common.Run) -> None:
    """The curves of both, some clothes with predictions, what the layers see, and what goes wrong."""
    import figures

    answers = common.logits(model, data.test)
    layers = {"first convolution": model[0], "second convolution": model[3]}
    album = {
        "curves": figures.curves(run, "LeNet on Fashion-MNIST", {"softmax regression": linear}),
        "predictions": figures.predictions(answers, data, "The first test images, and what LeNet calls them"),
        "feature_maps": figures.feature_maps(model, layers, data.test[0][0], "What the convolutions see"),
        "filters": figures.filters(model[0].weight, "The 20 filters of the first convolution"),
    }
    figures.save(folder, album | figures.mistakes(answers, data))


if __name__ == "__main__":
    main()
