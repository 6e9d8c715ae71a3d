"""HIPS autograd: NumPy's functions with derivatives; convolution is the one that it brings for SciPy's `convolve`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import make_vjp, value_and_grad
from autograd.scipy.signal import convolve
from autograd.scipy.special import logsumexp

from .models import LEARNING_RATE, MOMENTUM, Conv, Flatten, Linear, MaxPool, Model, ReLU
from .serve import Call, Library, Unsupported, serve


def conv2d(x: Any, w: Any, padding: int = 0) -> Any:
    """Convolution as in PyTorch. `convolve` turns the kernel around."""
    if padding:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), "constant")
    return convolve(x, w[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")


def pool2d(reduce: str, x: Any, size: int) -> Any:
    """Pooling without overlap."""
    n, c, h, w = x.shape
    return getattr(np, reduce)(np.reshape(x, (n, c, h // size, size, w // size, size)), axis=(3, 5))


def cross_entropy(logits: Any, target: Any) -> Any:
    """The mean over the batch."""
    return np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(target)), target])


def logits_of(model: Model, arrays: list[Any], x: Any) -> Any:
    """The forward pass."""
    given = iter(arrays)
    for layer in model:
        match layer:
            case Conv():
                x = conv2d(x, next(given), layer.padding) + np.reshape(next(given), (1, -1, 1, 1))
            case Linear():
                x = np.dot(x, next(given).T) + next(given)
            case ReLU():
                x = np.maximum(x, np.float32(0))
            case MaxPool():
                x = pool2d("max", x, 2)
            case Flatten():
                x = np.reshape(x, (len(x), -1))
    return x


class Autograd(Library):
    """Optimizer by hand, in place."""

    def version(self) -> str:
        """The version."""
        return f"HIPS autograd {version('autograd')}"

    def train(self, model: Model, start: list[Any], images: Any, labels: Any) -> Call:
        """Value and gradient of the loss, update in place."""
        arrays = [array.copy() for array in start]
        momenta = [np.zeros_like(array) for array in start]
        loss_and_gradients = value_and_grad(lambda p: cross_entropy(logits_of(model, p, images), labels))

        def step() -> Any:
            loss, gradients = loss_and_gradients(arrays)
            for array, momentum, gradient in zip(arrays, momenta, gradients, strict=True):
                momentum *= np.float32(MOMENTUM)
                momentum += gradient
                array -= np.float32(LEARNING_RATE) * momentum
            return loss

        return step

    def inference(self, model: Model, start: list[Any], images: Any) -> Call:
        """Plain NumPy."""
        return lambda: logits_of(model, start, images)

    def operation(self, function: str, inputs: list[Any], cotangent: Any, arguments: dict[str, Any]) -> Call:
        """Value and gradients."""
        operation = FUNCTIONS.get(function)
        if operation is None or arguments.keys() & {"stride", "dilation", "groups"}:
            raise Unsupported
        arrays = tuple(inputs)
        g = cotangent(np.shape(operation(*arrays, **arguments)))

        def forward_and_backward() -> Any:
            vjp, y = make_vjp(lambda arrays: operation(*arrays, **arguments))(arrays)
            return (y, *vjp(g))

        return forward_and_backward

    def overhead(self, kind: str, x: Any, repeats: int) -> Call:
        """Tiny operations inside one trace, and chains of them."""
        half, _, name = kind.partition(" ")
        operations = {"mul": lambda y, x: y * x, "relu": lambda y, x: np.maximum(y, np.float32(0)),
                      "tanh": lambda y, x: np.tanh(y)}  # fmt: skip
        if half not in ("forward", "chain") or name not in operations:
            raise Unsupported
        operation = operations[name]

        def forward(x: Any) -> Any:
            for _ in range(repeats):
                y = operation(x, x)
            return y

        def chain(x: Any) -> Any:
            y = x
            for _ in range(repeats):
                y = operation(y, x)
            return np.sum(y)

        if half == "forward":
            return lambda: make_vjp(forward)(x)[1]
        return lambda: make_vjp(chain)(x)[0](np.float32(1))


FUNCTIONS: dict[str, Any] = {
    "conv2d": conv2d,
    "max_pool2d": lambda x, kernel_size: pool2d("max", x, kernel_size),
    "avg_pool2d": lambda x, kernel_size: pool2d("mean", x, kernel_size),
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "linear": lambda x, w, b: np.dot(x, w.T) + b,
    "matmul": np.matmul,
    "add": np.add,
    "exp": np.exp,
    "cross_entropy": cross_entropy,
}

if __name__ == "__main__":
    serve(lambda arguments: Autograd())
