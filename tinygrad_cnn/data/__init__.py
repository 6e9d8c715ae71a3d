"""Data: the IDX format, the data sets, transforms, and the loader that makes batches of them."""

from __future__ import annotations

from tinygrad_cnn.data import datasets, transforms
from tinygrad_cnn.data.collate import default_collate
from tinygrad_cnn.data.dataset import Dataset, Subset, TensorDataset, random_split
from tinygrad_cnn.data.idx import read_idx, write_idx
from tinygrad_cnn.data.loader import DataLoader
from tinygrad_cnn.files import DownloadError, FormatError

__all__ = [
    "DataLoader",
    "Dataset",
    "DownloadError",
    "FormatError",
    "Subset",
    "TensorDataset",
    "datasets",
    "default_collate",
    "random_split",
    "read_idx",
    "transforms",
    "write_idx",
]
