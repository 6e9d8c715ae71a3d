"""tinygrad_cnn."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.__main__ import look

from .serve import serve
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


def make(arguments: list[str]) -> Ours:
    """The library with the given number of threads."""
    tg.set_num_threads(int(arguments[0]))
    return Ours(tg, nn, F, optim)


if __name__ == "__main__":
    serve(make)
