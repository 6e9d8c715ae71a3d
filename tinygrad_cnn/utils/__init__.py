"""PyTorch's place for data loading: ``tinygrad_cnn.utils.data`` is `tinygrad_cnn.data`."""

from tinygrad_cnn import data

__all__ = ["data"]
