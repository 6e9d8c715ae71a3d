"""LeNet-5 as its paper has it: Table I of partial connections, trainable subsampling, and the scaled tanh.

The original: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), 1998, section II.B; its error on MNIST's test images was 0.95 %. What you will
recognise: the 32x32 input with background -0.1 and ink 1.175, the layers C1 to F6 with their 60,000 trainable
parameters, first weights from +-2.4 / fan-in. What is different: the output is a softmax layer instead of distances to
pictures of characters, and momentum with a rate that rises and falls replaces a diagonal Levenberg-Marquardt method.

python examples/classics/lenet5.py --figures /tmp/lenet5
python examples/classics/lenet5.py --modern
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, transforms

BATCH = 128
ORIGINAL = "0.9905"
BACKGROUND, INK = -0.1, 1.175

# Table I: which of the maps of S2 each of the 16 maps of C3 sees.
TABLE = [
    *[(i, (i + 1) % 6, (i + 2) % 6) for i in range(6)],  # three in a row
    *[(i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)],  # four in a row
    *[(i, (i + 1) % 6, (i + 3) % 6, (i + 4) % 6) for i in range(3)],  # two and two
    (0, 1, 2, 3, 4, 5),
]


def squash(x: tg.Tensor) -> tg.Tensor:
    """The paper's sigmoid, ``1.7159 tanh(2 x / 3)``: squash(1) = 1, squash(-1) = -1."""
    return 1.7159 * tg.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each 2x2 window, times a coefficient, plus a bias; one pair for each map."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(tg.full((maps, 1, 1), 0.25))
        self.bias = nn.Parameter(tg.zeros(maps, 1, 1))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Maps (N, C, H, W) to (N, C, H/2, W/2)."""
        return F.avg_pool2d(x, 2, divisor_override=1) * self.coefficient + self.bias


class PartialConv2d(nn.Module):
    """A convolution of which each output map sees only some input maps; no other weights exist.

    Parameters
    ----------
    in_channels : int
    table : list of tuple of int
        The input maps of each output map.
    kernel_size : int
    """

    def __init__(self, in_channels: int, table: list[tuple[int, ...]], kernel_size: int) -> None:
        super().__init__()
        connections = [(o, c) for o, inputs in enumerate(table) for c in inputs]
        # Where in `weight` the kernel of each pair of maps stands; past its end is a kernel of zeros.
        self.place = np.full((len(table), in_channels), len(connections))
        for number, pair in enumerate(connections):
            self.place[pair] = number
        fan_ins = [len(table[o]) * kernel_size**2 for o, _ in connections]
        bounds = tg.tensor([2.4 / fan_in for fan_in in fan_ins]).reshape(-1, 1, 1)
        self.weight = nn.Parameter((2 * tg.rand(len(connections), kernel_size, kernel_size) - 1) * bounds)
        self.bias = nn.Parameter(tg.zeros(len(table)))

    def dense(self) -> tg.Tensor:
        """The weight of the full convolution, zero where there is no connection: (O, C, kH, kW)."""
        nothing = tg.zeros(1, *self.weight.shape[1:], dtype=self.weight.dtype)
        return tg.cat([self.weight, nothing])[self.place]

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Maps (N, C, H, W) to (N, O, H - kH + 1, W - kW + 1)."""
        return F.conv2d(x, self.dense(), self.bias)


class LeNet5(nn.Module):
    """60,000 trainable parameters up to F6, and 850 in the softmax layer."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)  # 32x32 -> 28x28 x 6
        self.s2 = Subsampling(6)  # -> 14x14
        self.c3 = PartialConv2d(6, TABLE, 5)  # -> 10x10 x 16
        self.s4 = Subsampling(16)  # -> 5x5
        self.c5 = nn.Conv2d(16, 120, 5)  # -> 1x1 x 120
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)
        for layer in (self.c1, self.c5, self.f6, self.output):
            bound = 2.4 / layer.weight[0].numel()
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Images (N, 1, 28, 28), already between `BACKGROUND` and `INK`, to logits (N, 10)."""
        x = F.pad(x, (2, 2, 2, 2), value=BACKGROUND)
        x = squash(self.s2(squash(self.c1(x))))
        x = squash(self.s4(squash(self.c3(x))))
        x = squash(self.c5(x)).flatten(1)
        return self.output(squash(self.f6(x)))


class Modern(nn.Module):
    """What became of it: ReLU, pools of maxima, full connections."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)
        for layer in self.children():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """As `LeNet5.forward`."""
        x = F.pad(x, (2, 2, 2, 2), value=BACKGROUND)
        x = F.relu(F.max_pool2d(self.c1(x), 2))
        x = F.relu(F.max_pool2d(self.c3(x), 2))
        x = F.relu(self.c5(x)).flatten(1)
        return self.output(F.relu(self.f6(x)))


def count(model: nn.Module) -> dict[str, int]:
    """The number of trainable parameters of each layer."""
    return {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}


def train(model: nn.Module, data: common.Data, epochs: int) -> common.Run:
    """Momentum, a little weight decay, and a rate that rises and falls."""
    loader = DataLoader(data.train, batch_size=BATCH, shuffle=True)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=epochs, steps_per_epoch=len(loader))
    return common.fit(model, loader, optimizer, epochs, data.test, scheduler)


def main() -> None:
    """Train, test, draw."""
    options = common.parser(__doc__, epochs=8)
    options.add_argument("--modern", action="store_true", help="with ReLU, max pooling and full connections")
    args = options.parse_args()
    tg.manual_seed(args.seed)
    scale = 1 / (INK - BACKGROUND)
    data = common.load(
        args,
        "mnist",
        transforms.Compose([transforms.ToTensor(), transforms.Normalize((-BACKGROUND * scale,), (scale,))]),
    )
    model = Modern() if args.modern else LeNet5()
    for name, number in count(model).items():
        print(f"{name.upper():>6} {number:>6} parameters")
    run = train(model, data, args.epochs)
    if args.figures:
        draw(args.figures, model, data, run)
    common.report(run, data, ORIGINAL)


def draw(folder: str, model: Any, data: common.Data, run: common.Run) -> None:
    """What the layers see, the filters, the curves, the table, and what goes wrong."""
    import figures

    layers = {name.upper(): getattr(model, name) for name in ("c1", "s2", "c3", "s4") if hasattr(model, name)}
    album = {
        "feature_maps": figures.feature_maps(model, layers, data.test[0][0], "A digit on its way through LeNet-5"),
        "filters": figures.filters(model.c1.weight, "The six filters of C1, 5x5 pixels"),
        "curves": figures.curves(run, "LeNet-5"),
        "table": figures.table(TABLE, "Table I: which maps of S2 each map of C3 sees", "map of S2", "map of C3"),
    }
    figures.save(folder, album | figures.mistakes(common.logits(model, data.test), data))


if __name__ == "__main__":
    main()
