"""One text for PyTorch and for tinygrad_cnn: the same names, the same semantics."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from .models import LEARNING_RATE, MOMENTUM, Conv, Flatten, Layer, Linear, MaxPool, Model, ReLU
from .serve import Call, Library, Unsupported

# Functions whose arrays of four dimensions are stacks of matrices.
NO_IMAGES = frozenset({"einsum", "masked_fill", "matmul", "permuted copy"})


class TorchLike(Library):
    """A library with PyTorch's names.

    Parameters
    ----------
    package, nn, functional, optim : module
    sgd : dict
        Further arguments of the optimizer.
    """

    def __init__(
        self, package: ModuleType, nn: ModuleType, functional: ModuleType, optim: ModuleType, **sgd: Any
    ) -> None:
        self.package, self.nn, self.functional, self.optim, self.sgd = package, nn, functional, optim, sgd

    def images(self, array: Any) -> Any:
        """A tensor in the memory layout in which the library's own layers hand on images."""
        return self.package.from_numpy(array)

    def weight(self, array: Any) -> Any:
        """A tensor in the memory layout in which the library's own layers keep their weights."""
        return self.package.from_numpy(array)

    def without_recording(self) -> Any:
        """The context for inference."""
        return self.package.no_grad()

    def build(self, model: Model, start: list[Any]) -> Any:
        """The model, with the given parameters."""
        module = self.nn.Sequential(*(self._layer(layer) for layer in model))
        with self.package.no_grad():
            for parameter, array in zip(module.parameters(), start, strict=True):
                parameter.copy_(self.package.from_numpy(array))
        return module

    def _layer(self, layer: Layer) -> Any:
        match layer:
            case Conv():
                return self.nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.padding)
            case Linear():
                return self.nn.Linear(layer.inputs, layer.outputs)
            case ReLU():
                return self.nn.ReLU()
            case MaxPool():
                return self.nn.MaxPool2d(2)
            case Flatten():
                return self.nn.Flatten()

    def train(self, model: Model, start: list[Any], images: Any, labels: Any) -> Call:
        """Train as the library's tutorial would."""
        module = self.build(model, start)
        optimizer = self.optim.SGD(module.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, **self.sgd)
        x, targets = self.images(images), self.package.from_numpy(labels)

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = self.functional.cross_entropy(module(x), targets)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def inference(self, model: Model, start: list[Any], images: Any) -> Call:
        """Run the model in evaluation mode."""
        module = self.build(model, start).eval()
        x = self.images(images)

        def forward() -> Any:
            with self.without_recording():
                return module(x)

        return forward

    def operation(self, function: str, inputs: list[Any], cotangent: Any, arguments: dict[str, Any]) -> Call:
        """Run a function of the library and differentiate it with respect to all inputs."""
        package = self.package
        images = package.from_numpy if function in NO_IMAGES else self.images
        tensors = [images(array) if array.shape == inputs[0].shape else self.weight(array) for array in inputs]
        for tensor in tensors:
            tensor.requires_grad_()
        constants = {
            name: images(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()
        }
        operation = self._function(function, constants)

        def outputs() -> Any:
            y = operation(*tensors)
            return y if isinstance(y, (tuple, list)) else (y,)

        cotangents = [images(cotangent(tuple(y.shape))) for y in outputs()]

        def forward_and_backward() -> Any:
            for tensor in tensors:
                tensor.grad = None
            each_y = outputs()
            package.autograd.backward(each_y, cotangents)
            return (*(y.detach() for y in each_y), *(tensor.grad for tensor in tensors))

        return forward_and_backward

    def _function(self, name: str, arguments: dict[str, Any]) -> Any:
        package, functional = self.package, self.functional
        calls: dict[str, Any] = {
            "batch_norm": lambda x, *w: functional.batch_norm(x, None, None, *w, training=True),
            "batch_norm in evaluation": lambda x, *w: functional.batch_norm(
                x, package.zeros(x.shape[1]), package.ones(x.shape[1]), *w
            ),
            "cat": lambda *tensors: package.cat(tensors, **arguments),
            "einsum": lambda *tensors: package.einsum(arguments["equation"], *tensors),
            "expand": lambda x: x.expand(*arguments["size"]),
            "getitem": lambda x: x[arguments["index"]],
            "layer_norm": lambda x, *w: functional.layer_norm(x, arguments["normalized_shape"], *w),
            "max_unpool2d": lambda x: functional.max_unpool2d(
                *functional.max_pool2d(x, **arguments, return_indices=True), **arguments
            ),
            "permuted copy": lambda x: package.permute(x, **arguments).contiguous(),
            "repeat": lambda x: x.repeat(*arguments["repeats"]),
            "scatter_add": lambda x, src: package.scatter_add(x, src=src, **arguments),
            "slice": lambda x: x[::2, 1:],
            "stack": lambda *tensors: package.stack(tensors, **arguments),
            "where": lambda *tensors: package.where(arguments["condition"], *tensors),
        }
        if name in calls:
            return calls[name]
        function = getattr(functional if hasattr(functional, name) else package, name)
        if arguments.get("return_indices"):
            return lambda x: function(x, **arguments)[0]
        if name in ("max", "sort", "topk"):
            return lambda x: function(x, **arguments).values
        return lambda *tensors: function(*tensors, **arguments)

    def overhead(self, kind: str, x: Any, repeats: int) -> Call:
        """Tiny operations that are recorded, and chains of them."""
        x = self.package.from_numpy(x).requires_grad_()
        relu, tanh = self.functional.relu, self.package.tanh

        def forward_mul() -> Any:
            for _ in range(repeats):
                y = x * x
            return y.detach()

        def forward_relu() -> Any:
            for _ in range(repeats):
                y = relu(x)
            return y.detach()

        def chain_mul() -> Any:
            y = x
            for _ in range(repeats):
                y = y * x
            return backward(y)

        def chain_tanh() -> Any:
            y = x
            for _ in range(repeats):
                y = tanh(y)
            return backward(y)

        def backward(y: Any) -> Any:
            x.grad = None
            y.sum().backward()
            return x.grad

        calls = {f.__name__.replace("_", " "): f for f in (forward_mul, forward_relu, chain_mul, chain_tanh)}
        if kind not in calls:
            raise Unsupported
        return calls[kind]
