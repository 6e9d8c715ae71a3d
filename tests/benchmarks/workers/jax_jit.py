"""JAX, every step and every operation compiled as a whole.

Images are channels last and pooling is a maximum over reshaped windows: XLA's convolutions and the derivative of
`reduce_window` on the CPU are slower otherwise.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .models import LEARNING_RATE, MOMENTUM, Conv, Flatten, Linear, MaxPool, Model, ReLU
from .serve import Call, Library, Unsupported, serve

LAYOUT = ("NHWC", "HWIO", "NHWC")


def to_jax(array: Any) -> Any:
    """Images (N, C, H, W) to (N, H, W, C)."""
    return jnp.asarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)


def arrays_of(model: Model, start: list[Any]) -> list[Any]:
    """The parameters in JAX's layouts: HWIO, and linear layers that expect channels last where they follow Flatten."""
    arrays, given, shape = [], iter(start), None
    for layer in model:
        if isinstance(layer, Flatten):
            shape = layer.shape
        elif isinstance(layer, Conv):
            arrays += [next(given).transpose(2, 3, 1, 0), next(given)]
        elif isinstance(layer, Linear):
            weight = next(given)
            if shape:
                weight = weight.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(weight.shape)
                shape = None
            arrays += [weight.T, next(given)]
    return [jnp.asarray(array) for array in arrays]


def logits_of(model: Model, arrays: list[Any], x: Any) -> Any:
    """The forward pass."""
    given = iter(arrays)
    for layer in model:
        match layer:
            case Conv():
                padding = [(layer.padding, layer.padding)] * 2
                x = lax.conv_general_dilated(x, next(given), (1, 1), padding, dimension_numbers=LAYOUT) + next(given)
            case Linear():
                x = x @ next(given) + next(given)
            case ReLU():
                x = jax.nn.relu(x)
            case MaxPool():
                n, h, w, c = x.shape
                x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
            case Flatten():
                x = x.reshape(len(x), -1)
    return x


def cross_entropy(logits: Any, targets: Any) -> Any:
    """The mean over the batch."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], axis=1))


class Jax(Library):
    """Parameters and momenta are donated, so that XLA may update them in place."""

    def version(self) -> str:
        """The version."""
        return f"JAX {jax.__version__}"

    def train(self, model: Model, start: list[Any], images: Any, labels: Any) -> Call:
        """The whole step is one compiled function."""
        x, targets = to_jax(images), jnp.asarray(labels)
        arrays = arrays_of(model, start)
        state = [arrays, [jnp.zeros_like(array) for array in arrays]]

        def update(arrays: list[Any], momenta: list[Any], x: Any, targets: Any) -> Any:
            loss, gradients = jax.value_and_grad(lambda p: cross_entropy(logits_of(model, p, x), targets))(arrays)
            momenta = [MOMENTUM * v + g for v, g in zip(momenta, gradients, strict=True)]
            return loss, [p - LEARNING_RATE * v for p, v in zip(arrays, momenta, strict=True)], momenta

        compiled = jax.jit(update, donate_argnums=(0, 1))

        def step() -> Any:
            loss, *state[:] = compiled(*state, x, targets)
            jax.block_until_ready(state)
            return loss

        return step

    def inference(self, model: Model, start: list[Any], images: Any) -> Call:
        """The forward pass is one compiled function."""
        x, arrays = to_jax(images), arrays_of(model, start)
        forward = jax.jit(lambda arrays, x: logits_of(model, arrays, x))
        return lambda: forward(arrays, x).block_until_ready()

    def operation(self, function: str, inputs: list[Any], cotangent: Any, arguments: dict[str, Any]) -> Call:
        """Value and gradients in one compiled function."""
        operation = FUNCTIONS.get(function)
        if operation is None:
            raise Unsupported
        arrays = [to_jax(array) for array in inputs]
        if function == "conv2d":
            arrays[1] = jnp.asarray(inputs[1].transpose(2, 3, 1, 0))
        shape = jax.eval_shape(lambda *arrays: operation(*arrays, **arguments), *arrays).shape
        g = to_jax(cotangent((shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape))

        @jax.jit
        def forward_and_backward(arrays: list[Any], g: Any) -> Any:
            y, vjp = jax.vjp(lambda *arrays: operation(*arrays, **arguments), *arrays)
            return (y, *vjp(g))

        return lambda: jax.block_until_ready(forward_and_backward(arrays, g))


def conv2d(x: Any, w: Any, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> Any:
    """Convolution as in PyTorch, channels last."""
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def max_pool2d(x: Any, kernel_size: int, stride: int | None = None) -> Any:
    """Max pooling as in PyTorch, channels last."""
    if stride is None:
        n, h, w, c = x.shape
        k = kernel_size
        return x.reshape(n, h // k, k, w // k, k, c).max((2, 4))
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, kernel_size, kernel_size, 1), (1, stride, stride, 1), "VALID")


def avg_pool2d(x: Any, kernel_size: int) -> Any:
    """Average pooling without overlap, channels last."""
    n, h, w, c = x.shape
    return x.reshape(n, h // kernel_size, kernel_size, w // kernel_size, kernel_size, c).mean((2, 4))


def batch_norm(x: Any, weight: Any, bias: Any) -> Any:
    """Batch normalisation in training mode, channels last."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) * lax.rsqrt(variance + 1e-5) * weight + bias


FUNCTIONS: dict[str, Any] = {
    "conv2d": conv2d,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "batch_norm": batch_norm,
    "relu": jax.nn.relu,
    "linear": lambda x, w, b: x @ w.T + b,
    "matmul": jnp.matmul,
    "add": jnp.add,
    "exp": jnp.exp,
    "cross_entropy": lambda x, target: cross_entropy(x, np.asarray(target)),
}

if __name__ == "__main__":
    serve(lambda arguments: Jax())
