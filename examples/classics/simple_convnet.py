"""SimpleConvNet: conv, ReLU, pool, affine, ReLU, affine, softmax; and four optimizers side by side.

The original is ``SimpleConvNet`` in chapter 7 of K. Saito, "Deep Learning from Scratch" (O'Reilly Japan, 2016): an
ordered dict of layers, each with a ``forward`` and a ``backward``, the first of which makes patches with ``im2col``;
``gradient`` walks through them and back, and collects the gradients of W1, b1 ... b3. The methods are the same here,
but `gradient` asks for them in one line. The race of SGD, momentum, AdaGrad and Adam is that of chapter 6, run on this
network.

python examples/classics/simple_convnet.py --figures /tmp/simple_convnet
python examples/classics/simple_convnet.py --modern
python examples/classics/simple_convnet.py --epochs 1 --save params.npz
"""

from __future__ import annotations

import os
from typing import Any

import common

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader

BATCH = 100
ORIGINAL = "0.9896"
RACE = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.01),
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.01, momentum=0.9),
    "AdaGrad": lambda parameters: optim.Adagrad(parameters, lr=0.01),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.001),
}


class SimpleConvNet(nn.Module):
    """30 filters 5x5, ReLU, a 2x2 pool of maxima, 100 hidden units, 10 classes.

    Parameters
    ----------
    weight_init_std : float
        The standard deviation of the first weights; the biases start at 0.
    dropout : float
        The share of pooled pixels and of hidden units that is left out while it trains.
    """

    def __init__(self, weight_init_std: float = 0.01, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 30, kernel_size=5)  # W1, b1
        self.affine1 = nn.Linear(30 * 12 * 12, 100)  # W2, b2
        self.affine2 = nn.Linear(100, 10)  # W3, b3
        self.dropout = nn.Dropout(dropout)
        for layer in (self.conv1, self.affine1, self.affine2):
            nn.init.normal_(layer.weight, std=weight_init_std)
            nn.init.zeros_(layer.bias)

    def predict(self, x: tg.Tensor) -> tg.Tensor:
        """Images (N, 1, 28, 28) to scores (N, 10)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.affine1(self.dropout(x.flatten(1))))
        return self.affine2(self.dropout(x))

    forward = predict

    def loss(self, x: tg.Tensor, t: tg.Tensor) -> tg.Tensor:
        """The cross-entropy of the softmax of the scores with the labels `t` (N,)."""
        return F.cross_entropy(self.predict(x), t)

    def accuracy(self, x: tg.Tensor, t: tg.Tensor) -> float:
        """The fraction of images whose class it gets right."""
        with tg.no_grad():
            return (self.predict(x).argmax(dim=1) == t).sum().item() / len(t)

    def gradient(self, x: tg.Tensor, t: tg.Tensor) -> dict[str, tg.Tensor]:
        """The gradient of the loss with respect to each parameter, by name."""
        names, parameters = zip(*self.named_parameters(), strict=True)
        return dict(zip(names, tg.grad(self.loss(x, t), parameters), strict=True))

    def save_params(self, file_name: str | os.PathLike[str]) -> None:
        """Write the parameters to a file: an .npz, not a pickle."""
        tg.save(self.state_dict(), file_name)

    def load_params(self, file_name: str | os.PathLike[str]) -> None:
        """Read the parameters back."""
        self.load_state_dict(tg.load(file_name))


def original(loader: DataLoader, epochs: int) -> tuple[nn.Module, Any, Any]:
    """The book's recipe: small random weights, Adam at a fixed rate."""
    model = SimpleConvNet()
    return model, optim.Adam(model.parameters(), lr=0.001), None


def modern(loader: DataLoader, epochs: int) -> tuple[nn.Module, Any, Any]:
    """The same layers with dropout, and a rate that rises and falls."""
    model = SimpleConvNet(weight_init_std=0.05, dropout=0.4)
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.003, epochs=epochs, steps_per_epoch=len(loader))
    return model, optimizer, scheduler


def race(data: common.Data, seed: int) -> dict[str, list[float]]:
    """The loss of each step of one epoch, for each optimizer, from the same first weights and with the same batches."""
    losses = {}
    for name, make_optimizer in RACE.items():
        tg.manual_seed(seed)
        model = SimpleConvNet(weight_init_std=0.05)  # from 0.01, SGD takes more than an epoch to get going
        loader = DataLoader(data.train, batch_size=BATCH, shuffle=True)
        losses[name] = common.fit(model, loader, make_optimizer(model.parameters()), epochs=1).steps
        print(
            f"{name}: loss {sum(losses[name][-50:]) / len(losses[name][-50:]):.4f} at the end of an epoch", flush=True
        )
    return losses


def main() -> None:
    """Train, test, save, draw."""
    options = common.parser(__doc__, epochs=None, default="12, with --modern 10")
    options.add_argument("--modern", action="store_true", help="with dropout and a decaying rate")
    options.add_argument("--save", metavar="FILE", type=common.new_file, help="where to save the parameters (.npz)")
    args = options.parse_args()
    epochs = args.epochs or (10 if args.modern else 12)
    tg.manual_seed(args.seed)
    data = common.load(args, "mnist")
    loader = DataLoader(data.train, batch_size=BATCH, shuffle=True)
    model, optimizer, scheduler = (modern if args.modern else original)(loader, epochs)
    run = common.fit(model, loader, optimizer, epochs, data.test, scheduler)
    if args.save:
        model.save_params(args.save)
        print(f"saved the parameters to {args.save}")
    if args.figures:
        draw(args.figures, model, data, run, race(data, args.seed))
    common.report(run, data, ORIGINAL)


def draw(folder: str, model: Any, data: common.Data, run: common.Run, losses: dict[str, list[float]]) -> None:
    """The race, the curves, the filters, and what goes wrong."""
    import figures

    album = {
        "optimizers": figures.race(losses, "Four optimizers, the same first weights, one epoch"),
        "curves": figures.curves(run, "SimpleConvNet"),
        "filters": figures.filters(model.conv1.weight, "The 30 filters of the convolution, 5x5 pixels"),
    }
    figures.save(folder, album | figures.mistakes(common.logits(model, data.test), data))


if __name__ == "__main__":
    main()
