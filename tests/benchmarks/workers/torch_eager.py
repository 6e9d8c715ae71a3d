"""PyTorch as it is used without a compiler; with ``channels_last`` as an argument, in that memory format."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn, optim

from . import torch_transforms
from .models import Model
from .serve import Call, serve
from .torch_like import TorchLike


class Torch(TorchLike):
    """Eager PyTorch: gradients set to None, the optimizer that updates all parameters at once, inference_mode."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__(torch, nn, F, optim, foreach=True)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def version(self) -> str:
        """With the matrix library, which does the work."""
        onednn = " with oneDNN" if torch.backends.mkldnn.is_available() else ""
        return f"PyTorch {torch.__version__}{onednn}"

    def images(self, array: Any) -> Any:
        """Four dimensions in the memory format."""
        tensor = torch.from_numpy(array)
        return tensor.contiguous(memory_format=self.memory_format) if tensor.ndim == 4 else tensor

    def weight(self, array: Any) -> Any:
        """Four dimensions in the memory format."""
        return self.images(array)

    def without_recording(self) -> Any:
        """Cheaper than no_grad."""
        return torch.inference_mode()

    def build(self, model: Model, start: list[Any]) -> Any:
        """The weights in the memory format too."""
        return super().build(model, start).to(memory_format=self.memory_format)

    def affine(self, images: Any, matrices: Any, mode: str) -> Call:
        """A grid, and the samples at its places."""
        tensor, theta = self.images(images), torch.from_numpy(matrices)
        return lambda: torch_transforms.affine(tensor, theta, mode)

    def transform(self, name: str, images: Any, arguments: dict[str, Any]) -> Call:
        """Vectorised expressions."""
        transform, tensor = getattr(torch_transforms, name)(**arguments), self.images(images)
        return lambda: transform(tensor)


def make(arguments: list[str]) -> Torch:
    """The library with the given number of threads."""
    torch.set_num_threads(int(arguments[0]))
    torch.set_num_interop_threads(1)
    return Torch("channels_last" in arguments)


if __name__ == "__main__":
    serve(make)
