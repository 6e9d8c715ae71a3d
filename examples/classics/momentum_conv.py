"""One convolution of 9x9 filters, a mean, two layers without biases, and momentum: ten digits in three epochs.

The original is ``MnistConv.m`` in chapter 6 of P. Kim, "MATLAB Deep Learning" (Apress, 2017). It goes through a batch
image by image: ``Conv``, ``ReLU``, ``Pool``, two matrices and ``Softmax`` forwards, then back through each of them by
hand; it adds up the three updates dW1, dW5 and dWo, and lets the momentum carry them on. Here the layers are the same,
with the same first weights, and the batches come in the same order; what is gone is the way back.

python examples/classics/momentum_conv.py --figures /tmp/momentum_conv
"""

from __future__ import annotations

import math

import common

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, Subset

ALPHA, BETA = 0.01, 0.95
BATCH = 100
ORIGINAL = "0.9550, by hand with seed 0"  # tests/examples/by_hand.py, momentum_epoch, in float64


class MnistConv(nn.Module):
    """20 filters, a pool of means, 100 hidden units, 10 classes; no biases."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Conv2d(1, 20, kernel_size=9, bias=False)
        self.w5 = nn.Linear(10 * 10 * 20, 100, bias=False)
        self.wo = nn.Linear(100, 10, bias=False)
        nn.init.normal_(self.w1.weight, std=0.01)
        for layer, fans in ((self.w5, 360 + 2000), (self.wo, 10 + 100)):  # 360: as the original has it
            bound = math.sqrt(6) / math.sqrt(fans)
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Images (N, 1, 28, 28) to logits (N, 10)."""
        y2 = F.relu(self.w1(x))  # (N, 20, 20, 20)
        y3 = F.avg_pool2d(y2, 2)  # (N, 20, 10, 10)
        y4 = y3.permute(0, 2, 3, 1).flatten(1)  # (N, 2000), in the order row, column, filter
        y5 = F.relu(self.w5(y4))
        return self.wo(y5)


def momentum(model: nn.Module) -> optim.SGD:
    """The original's ``v = alpha * g + beta * v; w = w + v``, where g is the gradient downhill."""
    return optim.SGD(model.parameters(), lr=ALPHA, momentum=BETA)


def split(data: common.Data) -> common.Data:
    """The first four fifths of MNIST's *test* file to train, the rest to test, as in the original."""
    images = data.test if data.title != "Digits" else data.train
    middle = len(images) * 4 // 5
    return data._replace(train=Subset(images, range(middle)), test=Subset(images, range(middle, len(images))))


def main() -> None:
    """Train, test, draw."""
    args = common.parser(__doc__, epochs=3).parse_args()
    tg.manual_seed(args.seed)
    data = split(common.load(args, "mnist"))
    model = MnistConv()
    loader = DataLoader(data.train, batch_size=BATCH)  # in the order of the file
    run = common.fit(model, loader, momentum(model), args.epochs, data.test)
    if args.figures:
        draw(args.figures, model, data, run)
    common.report(run, data, ORIGINAL)


def draw(folder: str, model: MnistConv, data: common.Data, run: common.Run) -> None:
    """The filters, what they see, the curves, and what goes wrong."""
    import figures

    filters = figures.filters(model.w1.weight, "The 20 filters of the convolution, 9x9 pixels")
    maps = figures.feature_maps(model, {"after the convolution": model.w1}, data.test[0][0], "What the filters see")
    album = {"filters": filters, "feature_maps": maps, "curves": figures.curves(run, "Momentum, three epochs")}
    figures.save(folder, album | figures.mistakes(common.logits(model, data.test), data))


if __name__ == "__main__":
    main()
