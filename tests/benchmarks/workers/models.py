"""The models as data: every library builds the same layers from it and starts from the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 1e-3
MOMENTUM = 0.9
IMAGE = (1, 28, 28)
CLASSES = 10


@dataclass(frozen=True)
class Conv:
    """A convolution with stride 1 and a bias."""

    inputs: int
    outputs: int
    kernel: int
    padding: int = 0


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with a bias."""

    inputs: int
    outputs: int


@dataclass(frozen=True)
class ReLU:
    """max(x, 0)."""


@dataclass(frozen=True)
class MaxPool:
    """The maximum of windows of 2 × 2; stride 2."""


@dataclass(frozen=True)
class Flatten:
    """(N, C, H, W) -> (N, C · H · W); `shape` is that of one image."""

    shape: tuple[int, int, int]


Layer = Conv | Linear | ReLU | MaxPool | Flatten
Model = tuple[Layer, ...]
Array = NDArray[np.float32]

MODELS: dict[str, Model] = {
    "A": (
        Conv(1, 32, 3), ReLU(), Conv(32, 64, 3), ReLU(), MaxPool(),
        Flatten((64, 12, 12)), Linear(64 * 12 * 12, 128), ReLU(), Linear(128, 10),
    ),
    "B": (
        Conv(1, 20, 5), ReLU(), MaxPool(), Conv(20, 50, 3), ReLU(), MaxPool(),
        Flatten((50, 5, 5)), Linear(50 * 5 * 5, 128), ReLU(), Linear(128, 10),
    ),
    "C": (
        Conv(1, 30, 5), ReLU(), MaxPool(),
        Flatten((30, 12, 12)), Linear(30 * 12 * 12, 100), ReLU(), Linear(100, 10),
    ),
    "lenet5": (
        Conv(1, 6, 5, padding=2), ReLU(), MaxPool(), Conv(6, 16, 5), ReLU(), MaxPool(),
        Flatten((16, 5, 5)), Linear(16 * 5 * 5, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10),
    ),
}  # fmt: skip


def parameters(model: Model) -> list[Array]:
    """Weight and bias of every layer that has them, in order; PyTorch's shapes and initial distribution."""
    random = np.random.default_rng(0)
    arrays = []
    for layer in model:
        if isinstance(layer, Conv | Linear):
            kernel = (layer.kernel, layer.kernel) if isinstance(layer, Conv) else ()
            shape = (layer.outputs, layer.inputs, *kernel)
            bound = float(np.prod(shape[1:])) ** -0.5
            arrays.append(random.uniform(-bound, bound, shape).astype(np.float32))
            arrays.append(random.uniform(-bound, bound, layer.outputs).astype(np.float32))
    return arrays


def batch_of(size: int) -> tuple[Array, NDArray[np.int64]]:
    """Images (N, 1, 28, 28) and labels (N,): noise, as no library's time depends on what is on the images."""
    random = np.random.default_rng(1)
    return random.standard_normal((size, *IMAGE), np.float32), random.integers(0, CLASSES, size)
