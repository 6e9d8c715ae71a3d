"""tinygrad_cnn."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.__main__ import look
from tinygrad_cnn.kernels import resample

from .serve import Call, serve
from .torch_like import TorchLike


class Ours(TorchLike):
    """Images are channels last in memory, as the library's layers hand them on."""

    def version(self) -> str:
        """With NumPy and BLAS, which do the work."""
        blas = look().blas
        kernels = f", {blas.name} with kernels for {blas.kernels or 'an unknown processor'}" if blas else ""
        held = "" if look().held else ", no threadpoolctl"
        return f"tinygrad_cnn {tg.__version__} (NumPy {np.__version__}{kernels}{held})"

    def images(self, array: Any) -> Any:
        """(N, C, H, W) as a view of (N, H, W, C) memory."""
        if array.ndim == 4:
            array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return tg.from_numpy(array)

    def affine(self, images: Any, matrices: Any, mode: str) -> Call:
        """With the kernel behind the random transforms; it counts in pixels."""
        height, width = images.shape[2:]
        to_pixels = np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]])
        square = np.concatenate([matrices, np.broadcast_to([[[0, 0, 1]]], (len(images), 1, 3))], axis=1)
        in_pixels = (to_pixels @ square @ np.linalg.inv(to_pixels))[:, :2]
        return lambda: resample.affine(images, in_pixels, mode == "bilinear")

    def transform(self, name: str, images: Any, arguments: dict[str, Any]) -> Call:
        """With the transforms for data sets, to which batches come channels first in memory."""
        if name == "RandomCrop":
            arguments = {"size": images.shape[2:], **arguments}
        transform, tensor = getattr(tg.data.transforms, name)(**arguments), tg.from_numpy(images)
        return lambda: transform.on_batch(tensor)


def make(arguments: list[str]) -> Ours:
    """The library with the given number of threads."""
    tg.set_num_threads(int(arguments[0]))
    return Ours(tg, nn, F, optim)


if __name__ == "__main__":
    serve(make)
