"""Three layers -- a convolution, a pool, a softmax -- trained on one image at a time.

The original is of the kind of V. Zhou, "CNNs, Part 2: Training a Convolutional Neural Network" (victorzhou.com, 2019):
classes ``Conv3x3``, ``MaxPool2`` and ``Softmax``, each with a ``forward`` and a ``backprop`` that updates its own
weights at once. The filters start as N(0, 1) / 9 and have no bias, the pixels go from -0.5 to 0.5, the rate is 0.005.
Back-propagation starts there with ``-1 / p``, the derivative of the loss with respect to the probability of the right
class; `loss_of_probability` writes the loss like that, and has the gradients of the fused cross-entropy that is used.

python examples/classics/three_layers.py --figures /tmp/three_layers
python examples/classics/three_layers.py --filters 8 --limit 1000 --epochs 3      the original's, to the letter
"""

from __future__ import annotations

import time

import common

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.data import DataLoader, transforms

RATE = 0.005
ORIGINAL = "0.78 with 8 filters and 1,000 images"


class ThreeLayers(nn.Module):
    """3x3 filters, a pool of maxima, a softmax layer."""

    def __init__(self, filters: int = 32) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, filters, kernel_size=3, bias=False)  # 28x28 -> 26x26 x filters
        self.pool = nn.MaxPool2d(2)  # -> 13x13 x filters
        self.softmax = nn.Linear(13 * 13 * filters, 10)
        nn.init.normal_(self.conv.weight, std=1 / 9)
        nn.init.normal_(self.softmax.weight, std=1 / self.softmax.in_features)
        nn.init.zeros_(self.softmax.bias)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Images (N, 1, 28, 28) to logits (N, 10)."""
        return self.softmax(self.pool(self.conv(x)).flatten(1))


def loss_of_probability(probabilities: tg.Tensor, labels: tg.Tensor) -> tg.Tensor:
    """The original's loss, ``-log(p[label])``: its gradient with respect to p is ``-1 / p`` there, and 0 elsewhere."""
    return -tg.log(probabilities.gather(1, labels.unsqueeze(1))).mean()


def train_epoch(model: ThreeLayers, loader: DataLoader, optimizer: optim.SGD, run: common.Run) -> None:
    """Go through the images once, one at a time; say after every 10,000 how it goes."""
    start, correct = time.perf_counter(), []
    for step, (image, label) in enumerate(loader, 1):
        logits = model(image)
        loss = F.cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.steps.append(common.finite(loss.item()))
        correct.append(logits.data.argmax() == label.item())
        if step % 10_000 == 0:
            recent = sum(correct[-10_000:]) / 10_000
            print(f"  {step} images: loss {sum(run.steps[-10_000:]) / 10_000:.4f}, accuracy {recent:.4f}", flush=True)
    run.seconds += time.perf_counter() - start
    run.images += len(correct)
    run.loss.append(sum(run.steps[-len(correct) :]) / len(correct))
    run.train_accuracy.append(sum(correct) / len(correct))


def main() -> None:
    """Train, test, draw."""
    options = common.parser(__doc__, epochs=1)
    options.add_argument("--filters", type=common.positive, default=32)
    args = options.parse_args()
    tg.manual_seed(args.seed)
    centred = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (1.0,))])
    data = common.load(args, "mnist", centred)
    model = ThreeLayers(args.filters)
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    loader = DataLoader(data.train, batch_size=1, shuffle=True)
    run = common.Run()
    for _ in range(args.epochs):
        train_epoch(model, loader, optimizer, run)
        run.test_accuracy.append(common.accuracy(model, data.test))
        print(run, flush=True)
    if args.figures:
        draw(args.figures, model, data, run)
    common.report(run, data, ORIGINAL)


def draw(folder: str, model: ThreeLayers, data: common.Data, run: common.Run) -> None:
    """What each layer makes of a digit, the filters, the curves, and what goes wrong."""
    import figures

    layers = {"the convolution": model.conv, "the pool": model.pool}
    album = {
        "feature_maps": figures.feature_maps(model, layers, data.test[0][0], "A digit on its way through the layers"),
        "filters": figures.filters(model.conv.weight, "The filters of the convolution, 3x3 pixels"),
        "curves": figures.curves(run, "Image by image"),
    }
    figures.save(folder, album | figures.mistakes(common.logits(model, data.test), data))


if __name__ == "__main__":
    main()
