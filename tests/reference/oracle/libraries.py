"""PyTorch and tinygrad_cnn behind one small interface, so that one text runs on both."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from oracle.values import Array


class Library:
    """Names to resolve, and a few verbs on tensors.

    A name starts with a root: `tg` the package, `F` its functional module, `Tensor` the class (a method, called with
    the tensor first), `attribute` (a property of the first argument) or `operator` (Python's own module).
    """

    name: str
    package: Any
    roots: dict[str, Any]
    tensor_type: type

    def has(self, path: str) -> bool:
        """Does `path` exist in the library?"""
        root, name = path.split(".", 1)
        return hasattr(self.tensor_type if root == "attribute" else self.roots[root], name)

    def resolve(self, path: str) -> Callable[..., Any]:
        """The function at `path`; `AttributeError` if the library has none."""
        root, name = path.split(".", 1)
        return operator.attrgetter(name) if root == "attribute" else getattr(self.roots[root], name)

    def dtype(self, name: str) -> Any:
        return getattr(self.roots["tg"], name)

    def tensor(self, array: Array) -> Any:
        raise NotImplementedError

    def array(self, tensor: Any) -> np.ndarray:
        raise NotImplementedError

    def grad(self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], again: bool) -> list[Any]:
        """Vector-Jacobian products; None for an input that the outputs do not depend on."""
        raise NotImplementedError


class PyTorch(Library):
    name = "torch"
    tensor_type = torch.Tensor

    def __init__(self) -> None:
        functional = torch.nn.functional
        self.package = torch
        self.roots = {"tg": torch, "F": functional, "Tensor": torch.Tensor, "operator": operator}

    def tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(array.fresh()).requires_grad_(array.requires_grad)

    def array(self, tensor: Any) -> np.ndarray:
        return tensor.detach().numpy(force=True)

    def grad(self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], again: bool) -> list[Any]:
        return list(torch.autograd.grad(outputs, inputs, cotangents, create_graph=again, allow_unused=True))


class TinygradCNN(Library):
    name = "tinygrad_cnn"

    def __init__(self) -> None:
        package = importlib.import_module("tinygrad_cnn")
        functional = importlib.import_module("tinygrad_cnn.nn.functional")
        self.package = package
        self.tensor_type = package.Tensor
        self.roots = {"tg": package, "F": functional, "Tensor": package.Tensor, "operator": operator}

    def tensor(self, array: Array) -> Any:
        return self.package.Tensor(array.fresh(), requires_grad=array.requires_grad)

    def array(self, tensor: Any) -> np.ndarray:
        return np.asarray(tensor.data)

    def grad(self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], again: bool) -> list[Any]:
        return list(self.package.grad(outputs, inputs, cotangents, create_graph=again, allow_unused=True))


def library(name: str) -> Library:
    """The library called `name`: "torch" or "tinygrad_cnn"."""
    return {"torch": PyTorch, "tinygrad_cnn": TinygradCNN}[name]()
