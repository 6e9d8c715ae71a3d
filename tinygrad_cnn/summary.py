"""A table of a model's layers: output shapes, parameters, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import no_grad
from tinygrad_cnn.hooks import RemovableHandle
from tinygrad_cnn.nn import ConvTranspose2d, Linear, Module, UninitializedParameter
from tinygrad_cnn.nn.conv import Convolution
from tinygrad_cnn.tensor import Tensor

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One call of a layer.

    Attributes
    ----------
    name : str
        The layer's path in the model, such as ``"features.3"``; empty for the model itself.
    layer : str
        Its class.
    output_shape : tuple or None
        The shape of its output, batch included; None if the model never called it, or it returns no tensor.
    params : int
        Its own parameters; 0 where an earlier row has counted them.
    mult_adds : int
        Multiplications with an addition in this call.
    called : bool
        Whether the model called it.
    """

    name: str
    layer: str
    output_shape: tuple[Any, ...] | None
    params: int
    mult_adds: int
    called: bool = True


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; it prints as a table.

    Attributes
    ----------
    rows : tuple of Row
        The calls in their order, then the layers with parameters that were never called.
    total_params, trainable_params : int
        The model's parameters, and those that require a gradient; shared ones are counted once.
    mult_adds : int
        Multiply-adds of a forward pass with one batch of `input_shape`.
    input_shape : tuple of int
        The shape of the batch.
    """

    rows: tuple[Row, ...]
    total_params: int
    trainable_params: int
    mult_adds: int
    input_shape: tuple[int, ...]

    @property
    def non_trainable_params(self) -> int:
        """The parameters that require no gradient."""
        return self.total_params - self.trainable_params

    def __str__(self) -> str:
        table = [("layer", "output shape", "parameters", "multiply-adds")]
        for row in self.rows:
            label = f"{row.name} ({row.layer})" if row.name else row.layer
            missing = "no tensor" if row.called else "not called"
            shape = missing if row.output_shape is None else str(row.output_shape)
            table.append((label, shape, f"{row.params:,}", f"{row.mult_adds:,}"))
        widths = [max(len(line[column]) for line in table) for column in range(4)]
        rule = "-" * (sum(widths) + 6)
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in table
        ]
        totals = [
            f"input shape: {self.input_shape}",
            f"parameters: {self.total_params:,} ({self.trainable_params:,} trainable)",
            f"multiply-adds: {self.mult_adds:,}",
        ]
        return "\n".join([lines[0], rule, *lines[1:], rule, *totals])

    __repr__ = __str__


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """Run a model once on a batch of zeros and tell what each layer made of it.

    The model runs in evaluation mode, without recording, and is left as it was: modes, running statistics, hooks.
    Lazy layers learn their sizes from the run.

    Parameters
    ----------
    model : Module
        The model; its `forward` takes one tensor.
    input_shape : sequence of int
        The shape of the input, ``(1, 3, 224, 224)`` for one colour image. Without the batch, that is with three
        sizes or one, a batch of one is meant; with two sizes if the model's first convolution is a `Conv1d`.

    Returns
    -------
    Summary
        Prints as a table, and has the numbers as attributes. Multiply-adds are those of linear and convolution
        layers, biases not counted; what a model does with bare functions does not appear.

    Raises
    ------
    TypeError
        If `model` is not a module, or a size is not an integer.
    ValueError
        If a size is not positive, or the model does not take this shape.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> tg.summary(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5408, 10)), (1, 1, 28, 28))
    layer        output shape    parameters  multiply-adds
    ------------------------------------------------------
    0 (Conv2d)   (1, 8, 26, 26)          80         48,672
    1 (ReLU)     (1, 8, 26, 26)           0              0
    2 (Flatten)  (1, 5408)                0              0
    3 (Linear)   (1, 10)             54,090         54,080
    ------------------------------------------------------
    input shape: (1, 1, 28, 28)
    parameters: 54,170 (54,170 trainable)
    multiply-adds: 102,752
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: model expects an nn.Module but got {type(model).__name__}")
    shape = _with_batch(_check_shape(input_shape), model)
    rows = _Rows(model)
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with no_grad():
            model(Tensor(np.zeros(shape, _dtype(model))))
    except Exception as error:
        error.add_note(f"summary: the model was run on an input of shape {shape}; the shape includes the batch")
        raise
    finally:
        rows.remove_hooks()
        for module, mode in modes:
            module.training = mode
    rows.add_uncalled()
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return Summary(
        rows=tuple(rows.rows),
        total_params=sum(size for size, _ in sizes),
        trainable_params=sum(size for size, trainable in sizes if trainable),
        mult_adds=sum(row.mult_adds for row in rows.rows),
        input_shape=shape,
    )


class _Rows:
    """Collects a row at every call of a layer, by forward hooks."""

    def __init__(self, model: Module) -> None:
        self.rows: list[Row] = []
        self._names = {id(module): (name, module) for name, module in reversed(list(model.named_modules()))}
        self._counted: set[int] = set()
        self._called: set[int] = set()
        self._handles: list[RemovableHandle] = [module.register_forward_hook(self._add) for module in model.modules()]

    def _add(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        self._called.add(id(module))
        if _is_layer(module):
            self._append(module, _shape(output), _mult_adds(module, args, output))

    def _append(self, module: Module, shape: tuple[Any, ...] | None, mult_adds: int) -> None:
        own = [p for p in module.parameters(recurse=False) if id(p) not in self._counted]
        self._counted.update(id(parameter) for parameter in own)
        # A lazy layer that never ran has parameters without a size.
        params = sum(0 if isinstance(p, UninitializedParameter) else p.numel() for p in own)
        called = id(module) in self._called
        self.rows.append(Row(self._names[id(module)][0], type(module).__name__, shape, params, mult_adds, called))

    def add_uncalled(self) -> None:
        """Add the layers that have parameters but were not called."""
        for key, (_, module) in reversed(self._names.items()):
            if key not in self._called and any(True for _ in module.parameters(recurse=False)):
                self._append(module, None, 0)

    def remove_hooks(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()


def _is_layer(module: Module) -> bool:
    """Whether a module does something itself: it has no modules inside, or parameters of its own."""
    return not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))


def _shape(output: Any) -> tuple[Any, ...] | None:
    if isinstance(output, Tensor):
        return output.shape
    if isinstance(output, tuple | list):
        return tuple(_shape(element) for element in output)
    return None


def _mult_adds(module: Module, args: tuple[Any, ...], output: Any) -> int:
    """Count how often each weight is used, times how many weights there are."""
    if isinstance(module, ConvTranspose2d):  # every input value meets the weights of its channel
        return int(args[0].numel()) * math.prod(module.weight.shape[1:])
    if isinstance(module, Convolution | Linear):  # every output value comes from the weights of its channel
        return int(output.numel()) * math.prod(module.weight.shape[1:])
    return 0


def _check_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(input_shape, tuple | list):
        raise TypeError(f"summary: input_shape expects a tuple of integers but got {input_shape!r}")
    for size in input_shape:
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"summary: input_shape expects integers but got {size!r}")
        if size < 1:
            raise ValueError(f"summary: input_shape expects positive sizes but got {tuple(input_shape)}")
    return tuple(int(size) for size in input_shape)


def _with_batch(shape: tuple[int, ...], model: Module) -> tuple[int, ...]:
    """Return the shape of a batch: of one, if `shape` is that of a vector or of what the first convolution takes."""
    spatial = next((len(layer.kernel_size) for layer in model.modules() if isinstance(layer, Convolution)), 2)
    return (1, *shape) if len(shape) in (1, 1 + spatial) else shape


def _dtype(model: Module) -> np.dtype[Any]:
    """Return the dtype of the model's first parameter, float32 if it has none."""
    return next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
