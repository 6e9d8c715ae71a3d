"""PyTorch's place for data loading: ``tinygrad_cnn.utils.data`` has what `tinygrad_cnn.data` has."""

from tinygrad_cnn.utils import data

__all__ = ["data"]
