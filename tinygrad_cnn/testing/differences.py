"""Derivatives of a function, twice over: from the graph it records, and from differences of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import grad
from tinygrad_cnn.tensor import Tensor

__all__ = ["Function", "outputs_of"]


def outputs_of(result: Any) -> list[Tensor]:
    """The floating tensors among what a function returned: a tensor, or a sequence of anything."""
    several = result if isinstance(result, (tuple, list)) else (result,)
    return [x for x in several if isinstance(x, Tensor) and x.is_floating_point()]


class Function:
    """A function at a point, seen as a map from the inputs that require a gradient to its floating outputs.

    Parameters
    ----------
    func : callable
        Takes all of `inputs`, returns a tensor or a sequence of them.
    inputs : sequence
        Tensors, and whatever else `func` takes.
    eps : float
        The step of the differences.

    Attributes
    ----------
    active : list of int
        The positions of the inputs that require a gradient.
    outputs : list of Tensor
        The outputs, recorded.

    Raises
    ------
    TypeError
        If there is no floating output.
    """

    def __init__(self, func: Callable[..., Any], inputs: Sequence[Any], eps: float) -> None:
        self.func = func
        self.inputs = inputs
        self.eps = eps
        self.active = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
        result = func(*inputs)
        self.outputs = outputs_of(result)
        if not self.outputs:
            raise TypeError(f"gradcheck: func expects to return floating tensors but returned {type(result).__name__}")

    # ------------------------------------------------------------------------ from the graph

    def vjp(self, output: int, cotangent: np.ndarray) -> list[np.ndarray]:
        """The gradients of ``sum(cotangent * outputs[output])`` in the active inputs."""
        variables = [self.inputs[i] for i in self.active]
        y = self.outputs[output]
        if not y.requires_grad:
            return [np.zeros(x.shape, x.dtype) for x in variables]
        found = grad(y, variables, [Tensor(cotangent)], retain_graph=True, allow_unused=True)
        return [np.zeros(x.shape, x.dtype) if g is None else g.data for x, g in zip(variables, found, strict=True)]

    def analytic_jacobians(self, output: int) -> list[np.ndarray]:
        """For each active input the matrix (elements of the input, elements of the output)."""
        y = self.outputs[output].data
        columns: list[list[np.ndarray]] = []
        for j in range(y.size):
            cotangent = np.zeros(y.size, y.dtype)
            cotangent[j] = 1
            columns.append([g.reshape(-1) for g in self.vjp(output, cotangent.reshape(y.shape))])
        sizes = [self.inputs[i].numel() for i in self.active]
        return [
            np.stack([column[k] for column in columns], axis=1) if columns else np.zeros((size, 0))
            for k, size in enumerate(sizes)
        ]

    # ---------------------------------------------------------------------- from differences

    def shifted(self, position: int, step: np.ndarray) -> list[np.ndarray]:
        """The outputs with ``eps * step`` added to one input."""
        with _moved(self.inputs[position], self.eps * step):
            return [y.data for y in outputs_of(self.func(*self.inputs))]

    def directional(self, position: int, step: np.ndarray) -> list[np.ndarray]:
        """The central difference of each output along `step`."""
        above, below = self.shifted(position, step), self.shifted(position, -step)
        return [(a - b) / (2 * self.eps) for a, b in zip(above, below, strict=True)]

    def numeric_jacobians(self, position: int) -> list[np.ndarray]:
        """For each output the matrix (elements of the input, elements of the output)."""
        rows = [self.directional(position, step) for step in self.steps(position)]
        return [
            np.stack([row[k].reshape(-1) for row in rows]) if rows else np.zeros((0, y.numel()))
            for k, y in enumerate(self.outputs)
        ]

    def one_sided(self, position: int, element: int, output: int, index: int) -> tuple[float, float]:
        """The differences to the right and to the left in one element; a kink sets them apart."""
        step = list(self.steps(position))[element]
        here = outputs_of(self.func(*self.inputs))[output].data.reshape(-1)[index]
        above = self.shifted(position, step)[output].reshape(-1)[index]
        below = self.shifted(position, -step)[output].reshape(-1)[index]
        return float(above - here) / self.eps, float(here - below) / self.eps

    def steps(self, position: int) -> Iterator[np.ndarray]:
        """One for each element of an input: 1 there, 0 elsewhere."""
        x = self.inputs[position].data
        for i in range(x.size):
            step = np.zeros(x.size, x.dtype)
            step[i] = 1
            yield step.reshape(x.shape)


@contextmanager
def _moved(x: Tensor, step: np.ndarray) -> Iterator[None]:
    """Let `x` have other values for a while; `func` may know it otherwise than as its argument."""
    original = x.data
    x.data = np.asarray(original + step)
    try:
        yield
    finally:
        x.data = original
