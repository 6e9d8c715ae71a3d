"""MyGrad with its memory guarding off, as its documentation advises for speed."""

from __future__ import annotations

from typing import Any

import mygrad
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import batchnorm, conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy

from .models import LEARNING_RATE, MOMENTUM, Conv, Flatten, Linear, MaxPool, Model, ReLU
from .serve import Call, Library, Unsupported, serve


def logits_of(model: Model, tensors: list[Any], x: Any) -> Any:
    """The forward pass."""
    given = iter(tensors)
    for layer in model:
        match layer:
            case Conv():
                weight, bias = next(given), next(given)
                x = conv_nd(x, weight, stride=1, padding=layer.padding) + bias.reshape(1, -1, 1, 1)
            case Linear():
                weight, bias = next(given), next(given)
                x = x @ weight.T + bias
            case ReLU():
                x = relu(x)
            case MaxPool():
                x = max_pool(x, (2, 2), 2)
            case Flatten():
                x = x.reshape(len(x), -1)
    return x


class MyGrad(Library):
    """Optimizer by hand, in place."""

    def version(self) -> str:
        """The version."""
        return f"MyGrad {mygrad.__version__}"

    def train(self, model: Model, start: list[Any], images: Any, labels: Any) -> Call:
        """Forward, backward, update in place."""
        tensors = [mygrad.tensor(array) for array in start]
        momenta = [np.zeros_like(array) for array in start]

        def step() -> Any:
            loss = softmax_crossentropy(logits_of(model, tensors, images), labels)
            loss.backward()
            for tensor, momentum in zip(tensors, momenta, strict=True):
                momentum *= np.float32(MOMENTUM)
                momentum += tensor.grad
                tensor.data -= np.float32(LEARNING_RATE) * momentum
                tensor.null_grad()
            return loss.data

        return step

    def inference(self, model: Model, start: list[Any], images: Any) -> Call:
        """Forward without a graph."""
        tensors = [mygrad.tensor(array) for array in start]

        def forward() -> Any:
            with mygrad.no_autodiff:
                return logits_of(model, tensors, images).data

        return forward

    def operation(self, function: str, inputs: list[Any], cotangent: Any, arguments: dict[str, Any]) -> Call:
        """Value and gradients."""
        operation = FUNCTIONS.get(function)
        if operation is None or arguments.get("groups", 1) != 1:
            raise Unsupported
        tensors = [mygrad.tensor(array) for array in inputs]
        g = cotangent(operation(*tensors, **arguments).shape)

        def forward_and_backward() -> Any:
            y = operation(*tensors, **arguments)
            y.backward(g)
            return (y.data, *(tensor.grad for tensor in tensors))

        return forward_and_backward

    def overhead(self, kind: str, x: Any, repeats: int) -> Call:
        """Tiny operations."""
        x = mygrad.tensor(x)

        def forward(operation: Any) -> Any:
            for _ in range(repeats):
                y = operation(x)
            return y.data

        def chain(operation: Any) -> Any:
            y = x
            for _ in range(repeats):
                y = operation(y)
            y.sum().backward()
            return x.grad

        calls: dict[str, Call] = {
            "forward mul": lambda: forward(lambda x: x * x),
            "forward relu": lambda: forward(relu),
            "chain mul": lambda: chain(lambda y: y * x),
            "chain tanh": lambda: chain(mygrad.tanh),
        }
        if kind not in calls:
            raise Unsupported
        return calls[kind]


FUNCTIONS: dict[str, Any] = {
    "conv2d": lambda x, w, stride=1, padding=0, dilation=1: conv_nd(
        x, w, stride=stride, padding=padding, dilation=dilation
    ),
    "max_pool2d": lambda x, kernel_size, stride=None: max_pool(x, (kernel_size, kernel_size), stride or kernel_size),
    "batch_norm": lambda x, weight, bias: batchnorm(x, gamma=weight, beta=bias, eps=1e-5),
    "relu": relu,
    "linear": lambda x, w, b: x @ w.T + b,
    "matmul": mygrad.matmul,
    "add": mygrad.add,
    "exp": mygrad.exp,
    "cross_entropy": lambda x, target: softmax_crossentropy(x, target),
}


def make(arguments: list[str]) -> MyGrad:
    """The library, with memory guarding off."""
    mygrad.turn_memory_guarding_off()
    return MyGrad()


if __name__ == "__main__":
    serve(make)
