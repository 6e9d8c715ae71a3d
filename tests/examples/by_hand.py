"""The classics' algorithms as they are written by hand, in plain NumPy: what the examples must agree with, and beat.

python tests/examples/by_hand.py      the time of an image in training, here and there
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def correlate(image: Array, kernel: Array) -> Array:
    """The "valid" correlation of two arrays of two dimensions, as ``scipy.signal.correlate2d`` has it."""
    return np.tensordot(np.lib.stride_tricks.sliding_window_view(image, kernel.shape), kernel)


def softmax(v: Array) -> Array:
    e = np.exp(v - v.max())
    return e / e.sum()


# -------------------------------------------------------------- one convolution, means, momentum, image by image


def momentum_gradients(weights: list[Array], image: Array, label: int) -> list[Array]:
    """Downhill, for one image (28, 28): one array for each of W1 (20, 9, 9), W5 (100, 2000), Wo (10, 100)."""
    w1, w5, wo = weights
    y1 = np.stack([correlate(image, kernel) for kernel in w1])  # (20, 20, 20)
    y2 = np.maximum(y1, 0)
    y3 = y2.reshape(20, 10, 2, 10, 2).mean(axis=(2, 4))
    y4 = y3.transpose(1, 2, 0).reshape(-1)  # row, column, filter
    v5 = w5 @ y4
    y5 = np.maximum(v5, 0)
    y = softmax(wo @ y5)

    delta = -y
    delta[label] += 1
    delta5 = (v5 > 0) * (wo.T @ delta)
    e3 = (w5.T @ delta5).reshape(10, 10, 20).transpose(2, 0, 1)
    e2 = e3.repeat(2, axis=1).repeat(2, axis=2) / 4
    delta2 = (y2 > 0) * e2
    d1 = np.stack([correlate(image, one) for one in delta2])
    return [d1, np.outer(delta5, y4), np.outer(delta, y5)]


def momentum_epoch(
    weights: list[Array], velocities: list[Array], images: Array, labels: Array, alpha: float, beta: float, batch: int
) -> None:
    """Go through the images (N, 28, 28) in order; weights and velocities change in place."""
    for begin in range(0, len(images), batch):
        chosen = range(begin, min(begin + batch, len(images)))
        sums = [np.zeros_like(w) for w in weights]
        for k in chosen:
            for total, part in zip(sums, momentum_gradients(weights, images[k], labels[k]), strict=True):
                total += part
        for w, v, total in zip(weights, velocities, sums, strict=True):
            v[...] = alpha * total / len(chosen) + beta * v
            w += v


# --------------------------------------------------------------- three layers, patch by patch, each with its backprop


def three_layers_step(filters: Array, weight: Array, bias: Array, image: Array, label: int, rate: float) -> float:
    """One image (28, 28), one step: filters (F, 3, 3), weight (F*169, 10) and bias (10,) change in place."""
    maps = np.zeros((26, 26, len(filters)))
    for i in range(26):
        for j in range(26):
            maps[i, j] = (image[i : i + 3, j : j + 3] * filters).sum(axis=(1, 2))
    pooled = np.zeros((13, 13, len(filters)))
    for i in range(13):
        for j in range(13):
            pooled[i, j] = maps[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(0, 1))
    flat = pooled.reshape(-1)
    p = softmax(flat @ weight + bias)

    gradient = np.zeros(10)
    gradient[label] = -1 / p[label]
    scores = p * (gradient - (gradient * p).sum())
    back = (weight @ scores).reshape(pooled.shape)
    weight -= rate * np.outer(flat, scores)
    bias -= rate * scores
    filter_gradient = np.zeros_like(filters)
    for i in range(13):
        for j in range(13):
            window = maps[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(4, -1)
            for f, position in enumerate(window.argmax(axis=0)):
                a, b = 2 * i + position // 2, 2 * j + position % 2
                filter_gradient[f] += back[i, j, f] * image[a : a + 3, b : b + 3]
    filters -= rate * filter_gradient
    return -math.log(p[label])


# ------------------------------------------------------------------------ a batch at a time, im2col, float64


def im2col(x: Array, size: int) -> Array:
    """Patches of (N, C, H, W) as rows: (N * OH * OW, C * size * size)."""
    n, c, h, w = x.shape
    oh, ow = h - size + 1, w - size + 1
    col = np.zeros((n, c, size, size, oh, ow))
    for a in range(size):
        for b in range(size):
            col[:, :, a, b] = x[:, :, a : a + oh, b : b + ow]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1)


def col2im(col: Array, shape: tuple[int, ...], size: int) -> Array:
    """The transpose of `im2col`."""
    n, c, h, w = shape
    oh, ow = h - size + 1, w - size + 1
    col = col.reshape(n, oh, ow, c, size, size).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros(shape)
    for a in range(size):
        for b in range(size):
            x[:, :, a : a + oh, b : b + ow] += col[:, :, a, b]
    return x


class Convolution:
    """5x5 or 3x3 filters, ReLU, and a 2x2 pool of maxima, forwards and back."""

    def __init__(self, rng: np.random.Generator, c: int, o: int, size: int) -> None:
        self.w, self.b, self.size = 0.01 * rng.standard_normal((o, c, size, size)), np.zeros(o), size

    def forward(self, x: Array) -> Array:
        self.x_shape, self.col = x.shape, im2col(x, self.size)
        n, _, h, w = x.shape
        oh, ow = h - self.size + 1, w - self.size + 1
        y = (self.col @ self.w.reshape(len(self.w), -1).T + self.b).reshape(n, oh, ow, -1).transpose(0, 3, 1, 2)
        self.mask = y <= 0
        y = y.copy()
        y[self.mask] = 0
        even = y[:, :, : oh // 2 * 2, : ow // 2 * 2]
        windows = even.reshape(n, -1, oh // 2, 2, ow // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
        self.y_shape, self.position = y.shape, windows.argmax(axis=1)
        return windows.max(axis=1).reshape(n, -1, oh // 2, ow // 2)

    def backward(self, g: Array, to_input: bool) -> Array | None:
        n, o, oh, ow = self.y_shape
        spread = np.zeros((g.size, 4))
        spread[np.arange(g.size), self.position] = g.reshape(-1)
        y = np.zeros(self.y_shape)
        y[:, :, : oh // 2 * 2, : ow // 2 * 2] = (
            spread.reshape(n, o, oh // 2, ow // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, o, oh // 2 * 2, -1)
        )
        y[self.mask] = 0
        rows = y.transpose(0, 2, 3, 1).reshape(-1, o)
        self.db, self.dw = rows.sum(axis=0), (self.col.T @ rows).T.reshape(self.w.shape)
        return col2im(rows @ self.w.reshape(o, -1), self.x_shape, self.size) if to_input else None


def squash(x: Array) -> Array:
    """LeNet-5's sigmoid."""
    return 1.7159 * np.tanh(2 / 3 * x)


def squash_back(g: Array, y: Array) -> Array:
    """Back through `squash`, from its output."""
    return g * (2 / 3 * (1.7159 - y**2 / 1.7159))


class Subsampled(Convolution):
    """5x5 filters, LeNet-5's sigmoid, the sum of 2x2 windows times a coefficient plus a bias, the sigmoid again."""

    def __init__(self, rng: np.random.Generator, c: int, o: int, size: int) -> None:
        super().__init__(rng, c, o, size)
        self.coefficient, self.bias = np.full((o, 1, 1), 0.25), np.zeros((o, 1, 1))

    def forward(self, x: Array) -> Array:
        self.x_shape, self.col = x.shape, im2col(x, self.size)
        n, _, h, w = x.shape
        oh, ow = h - self.size + 1, w - self.size + 1
        y = (self.col @ self.w.reshape(len(self.w), -1).T + self.b).reshape(n, oh, ow, -1).transpose(0, 3, 1, 2)
        self.y = squash(y)
        self.sums = self.y.reshape(n, -1, oh // 2, 2, ow // 2, 2).sum(axis=(3, 5))
        self.out = squash(self.sums * self.coefficient + self.bias)
        return self.out

    def backward(self, g: Array, to_input: bool) -> Array | None:
        g = squash_back(g, self.out)
        self.bias -= 0.1 * g.sum(axis=(0, 2, 3))[:, None, None]
        back = (g * self.coefficient).repeat(2, axis=2).repeat(2, axis=3)
        self.coefficient -= 0.1 * (g * self.sums).sum(axis=(0, 2, 3))[:, None, None]
        rows = squash_back(back, self.y).transpose(0, 2, 3, 1).reshape(-1, len(self.w))
        self.db, self.dw = rows.sum(axis=0), (self.col.T @ rows).T.reshape(self.w.shape)
        return col2im(rows @ self.w.reshape(len(self.w), -1), self.x_shape, self.size) if to_input else None


class Im2colNetwork:
    """Convolutions, then a hidden layer with ReLU and an output layer, trained with plain SGD."""

    def __init__(
        self,
        convolutions: list[tuple[int, int, int]],
        features: int,
        hidden: int,
        layer: type[Convolution] = Convolution,
    ) -> None:
        rng = np.random.default_rng(0)
        self.convolutions = [layer(rng, *sizes) for sizes in convolutions]
        self.w2, self.b2 = 0.01 * rng.standard_normal((features, hidden)), np.zeros(hidden)
        self.w3, self.b3 = 0.01 * rng.standard_normal((hidden, 10)), np.zeros(10)

    def step(self, x: Array, labels: Array, rate: float) -> None:
        for convolution in self.convolutions:
            x = convolution.forward(x)
        flat = x.reshape(len(x), -1)
        hidden = np.maximum(flat @ self.w2 + self.b2, 0)
        scores = hidden @ self.w3 + self.b3
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        g = e / e.sum(axis=1, keepdims=True)
        g[np.arange(len(g)), labels] -= 1
        g /= len(g)
        gh = (g @ self.w3.T) * (hidden > 0)
        back = (gh @ self.w2.T).reshape(x.shape)
        for i, convolution in reversed(list(enumerate(self.convolutions))):
            back = convolution.backward(back, to_input=i > 0)
            convolution.w -= rate * convolution.dw
            convolution.b -= rate * convolution.db
        self.w3 -= rate * (hidden.T @ g)
        self.b3 -= rate * g.sum(axis=0)
        self.w2 -= rate * (flat.T @ gh)
        self.b2 -= rate * gh.sum(axis=0)


# ------------------------------------------------------------------------------------------------------ times


def microseconds(call: Callable[[], object], images: int, repeats: int = 3) -> float:
    """The best time of `call`, which works on so many images, in microseconds an image."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / images


def main() -> None:
    """Print what an image costs by hand, and what it costs in the example."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "classics"))
    import lenet5
    import lenet_fashion
    import momentum_conv
    import simple_convnet
    import three_layers

    import tinygrad_cnn as tg
    import tinygrad_cnn.nn.functional as F
    from tinygrad_cnn import optim

    rng = np.random.default_rng(0)

    def batch(n: int) -> tuple[Array, Array]:
        return rng.random((n, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, n)

    def ours(model: Any, optimizer: Any, n: int, steps: int) -> float:
        images, labels = map(tg.tensor, batch(n))

        def train() -> None:
            for _ in range(steps):
                loss = F.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        return microseconds(train, n * steps)

    def row(name: str, hand: float, here: float) -> None:
        print(f"{name:<16} by hand {hand:7.0f} us an image, here {here:5.0f}: {hand / here:5.1f} times faster")

    model = momentum_conv.MnistConv()
    weights = [p.data.astype(float) for p in model.parameters()]
    weights[0] = weights[0][:, 0]
    velocities = [np.zeros_like(w) for w in weights]
    images, labels = batch(100)
    hand = microseconds(
        lambda: momentum_epoch(weights, velocities, images[:, 0].astype(float), labels, 0.01, 0.95, 100), 100
    )
    row("momentum_conv", hand, ours(model, momentum_conv.momentum(model), 100, 20))

    net = three_layers.ThreeLayers()
    parts = rng.standard_normal((32, 3, 3)) / 9, rng.standard_normal((5408, 10)) / 5408, np.zeros(10)
    image = images[0, 0] - 0.5
    hand = microseconds(lambda: three_layers_step(*parts, image, 3, 0.005), 1)
    row("three_layers", hand, ours(net, optim.SGD(net.parameters(), lr=0.005), 1, 500))

    by_hand = Im2colNetwork([(1, 30, 5)], 30 * 12 * 12, 100)
    simple = simple_convnet.SimpleConvNet()
    hand = microseconds(lambda: by_hand.step(images.astype(float), labels, 0.1), 100)
    row("simple_convnet", hand, ours(simple, optim.Adam(simple.parameters()), 100, 20))

    images, labels = batch(256)
    by_hand = Im2colNetwork([(1, 20, 5), (20, 50, 3)], 50 * 5 * 5, 128)
    lenet = lenet_fashion.lenet()
    lenet(tg.tensor(images[:1]))
    hand = microseconds(lambda: by_hand.step(images.astype(float), labels, 0.1), 256)
    row("lenet_fashion", hand, ours(lenet, optim.SGD(lenet.parameters(), lr=0.1), 256, 8))

    images, labels = batch(lenet5.BATCH)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))).astype(float)
    # Both by hand without F6; C3 with all of its connections.
    for name, layer, here in (
        ("lenet5", Subsampled, lenet5.LeNet5()),
        ("lenet5 --modern", Convolution, lenet5.Modern()),
    ):
        by_hand = Im2colNetwork([(1, 6, 5), (6, 16, 5)], 16 * 5 * 5, 120, layer)
        hand = microseconds(lambda network=by_hand: network.step(padded, labels, 0.1), lenet5.BATCH)
        row(name, hand, ours(here, optim.SGD(here.parameters(), lr=0.05, momentum=0.9), lenet5.BATCH, 15))


if __name__ == "__main__":
    main()
