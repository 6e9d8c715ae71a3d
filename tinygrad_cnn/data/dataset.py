"""Data sets: anything with a length and an index, their subsets, and the way a batch is fetched from one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_cnn import random
from tinygrad_cnn.data.batching import batch_method
from tinygrad_cnn.data.collate import as_tensor, default_collate
from tinygrad_cnn.tensor import Tensor

__all__ = ["Dataset", "Subset", "TensorDataset", "fetch", "random_generator", "random_split"]


class Dataset:
    """A collection of samples with a length and an index.

    Define ``__len__`` and ``__getitem__(index)``; the latter raises `IndexError` past the end. What can
    deliver a whole batch faster than sample by sample may define ``fetch_batch(indices)`` as well: indices is
    an integer array (N,), and the result is what `default_collate` makes of the N samples.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not define __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")


class TensorDataset(Dataset):
    """Samples are the rows of one or several tensors: sample i is ``(tensors[0][i], tensors[1][i], ...)``.

    Parameters
    ----------
    *tensors : Tensor or ndarray
        At least one, each (N, ...); arrays are wrapped without a copy.

    Raises
    ------
    TypeError
        If something else is given.
    ValueError
        If nothing is given, or the lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = TensorDataset(np.zeros((5, 3), np.float32), np.arange(5))
    >>> len(dataset), dataset[1][0].shape
    (5, (3,))
    """

    def __init__(self, *tensors: Tensor | NDArray[Any]) -> None:
        if not tensors:
            raise ValueError("TensorDataset: tensors expects at least one tensor but got none")
        for tensor in tensors:
            if not isinstance(tensor, Tensor | np.ndarray):
                raise TypeError(f"TensorDataset: tensors expects tensors or arrays but got {type(tensor).__name__}")
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise ValueError(f"TensorDataset: tensors expects one length (dimension 0) but got shapes {shapes}")
        self.tensors = tuple(as_tensor(tensor) for tensor in tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def fetch_batch(self, indices: NDArray[np.intp]) -> list[Tensor]:
        """Return the rows `indices` (N,) of each tensor."""
        return [tensor[indices] for tensor in self.tensors]


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in this order. Slices and lists ask the data set for a list of positions.

    Parameters
    ----------
    dataset : Dataset
        Anything with a length and an index.
    indices : sequence of int
        Positions in `dataset`; kept as an integer array in the attribute `indices`.

    Raises
    ------
    TypeError
        If the indices are not integers (of a mask, take `numpy.flatnonzero`).
    ValueError
        If they are not one-dimensional.
    IndexError
        If one of them is not in `dataset`.
    """

    def __init__(self, dataset: Any, indices: ArrayLike) -> None:
        positions = np.asarray(indices)
        if positions.size and positions.dtype.kind not in "iu":
            raise TypeError(f"Subset: indices expects integers but got dtype {positions.dtype}")
        if positions.ndim != 1:
            raise ValueError(f"Subset: indices expects one dimension but got shape {positions.shape}")
        size = len(dataset)
        outside = positions[(positions < -size) | (positions >= size)] if positions.size else positions
        if outside.size:
            raise IndexError(f"Subset: indices expects positions in a dataset of {size} but got {outside[0]}")
        self.dataset = dataset
        self.indices = positions.astype(np.intp)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index].tolist()]

    def fetch_batch(self, indices: NDArray[np.intp]) -> Any:
        """Return the batch that the underlying data set has at these positions of the subset."""
        return fetch(self.dataset, self.indices[indices])


def fetch(dataset: Any, indices: NDArray[np.intp]) -> Any:
    """Return a batch: at once if `dataset` can (see `Dataset`), or else sample by sample, collated."""
    fetch_batch = batch_method(dataset, "__getitem__", "fetch_batch")
    if fetch_batch is not None:
        return fetch_batch(indices)
    return default_collate([dataset[index] for index in indices.tolist()])


def random_split(
    dataset: Any, lengths: Sequence[int] | Sequence[float], generator: np.random.Generator | None = None
) -> list[Subset]:
    """Split a data set at random into parts that do not overlap and leave nothing out.

    Parameters
    ----------
    dataset : Dataset
        Anything with a length and an index.
    lengths : sequence of int or of float
        The sizes of the parts, which add up to ``len(dataset)``; or fractions, which add up to 1. Of
        fractions, each part gets the whole number below, and what is left over goes one each to the first
        parts, as in PyTorch.
    generator : numpy.random.Generator, optional
        Where the permutation comes from; by default the library's, which `manual_seed` seeds.

    Raises
    ------
    TypeError
        If `lengths` or `generator` are of a wrong type.
    ValueError
        If a length is negative or they do not add up.

    Examples
    --------
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    if not isinstance(lengths, Iterable):
        raise TypeError(f"random_split: lengths expects a sequence but got {type(lengths).__name__}")
    counts = _counts(len(dataset), list(lengths))
    order = random_generator("random_split", generator).permutation(len(dataset))
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(counts)[:-1])]


def random_generator(name: str, generator: np.random.Generator | None) -> np.random.Generator:
    """Return `generator`, or the library's if it is None; `name` is who asks."""
    if generator is None:
        return random.generator()
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"{name}: generator expects a numpy.random.Generator but got {type(generator).__name__}")
    return generator


def _counts(size: int, lengths: list[Any]) -> list[int]:
    if not lengths:
        raise ValueError("random_split: lengths expects at least one length but got none")
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int | float | np.integer | np.floating):
            raise TypeError(f"random_split: lengths expects integers or fractions but got {type(length).__name__}")
        if not 0 <= length < math.inf:
            raise ValueError(f"random_split: lengths expects no negative length but got {length}")
    if all(isinstance(length, int | np.integer) for length in lengths):
        if sum(lengths) != size:
            raise ValueError(f"random_split: lengths expects the sum {size} but got {lengths}, sum {sum(lengths)}")
        return [int(length) for length in lengths]
    if not math.isclose(sum(lengths), 1):
        raise ValueError(f"random_split: lengths expects fractions of sum 1 but got {lengths}, sum {sum(lengths)}")
    counts = [math.floor(size * fraction) for fraction in lengths]
    for i in range(size - sum(counts)):
        counts[i % len(counts)] += 1
    return counts
