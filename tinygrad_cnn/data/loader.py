"""The loader: walks through a data set in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import fetch, random_generator
from tinygrad_cnn.errors import check_int

__all__ = ["DataLoader"]


class DataLoader:
    """Iterate over a data set in batches; each iteration is one epoch.

    The library's own data sets and transforms deliver a whole batch by array indexing; any other data set or
    transform is asked sample by sample, and the samples are put together by `default_collate`. The two ways
    give the same batches.

    Parameters
    ----------
    dataset : Dataset
        Anything with a length and an index.
    batch_size : int, default 1
        Samples in a batch; the last batch of an epoch may have fewer.
    shuffle : bool, default False
        Whether each epoch has a new random order. It is drawn when the epoch begins.
    num_workers, pin_memory, persistent_workers
        Accepted so that PyTorch scripts run, and without effect: batches are made by the thread that asks for
        them, and there is no memory to pin without a GPU.
    collate_fn : callable, optional
        Makes a batch out of a list of samples; with one, every data set is asked sample by sample.
    drop_last : bool, default False
        Whether to leave out a last batch that is not full.
    generator : numpy.random.Generator, optional
        Where the order comes from; by default the library's, which `manual_seed` seeds.

    Raises
    ------
    TypeError
        If an argument has a wrong type.
    ValueError
        If `batch_size` is not positive or `num_workers` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.data import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5)), batch_size=2)
    >>> [batch[0].shape for batch in loader]
    [(2,), (2,), (1,)]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: SupportsIndex = 1,
        shuffle: bool = False,
        *,
        num_workers: SupportsIndex = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        generator: np.random.Generator | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"DataLoader: dataset expects a length and an index but {type(dataset).__name__} lacks them"
            )
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(f"DataLoader: collate_fn expects a callable but got {type(collate_fn).__name__}")
        random_generator("DataLoader", generator)
        self.dataset = dataset
        self.batch_size = check_int("DataLoader", "batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.num_workers = check_int("DataLoader", "num_workers", num_workers, 0)
        self.collate_fn = collate_fn
        self.pin_memory = bool(pin_memory)
        self.drop_last = bool(drop_last)
        self.generator = generator
        self.persistent_workers = bool(persistent_workers)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        # Not a generator function: the order is drawn now, not when the first batch is asked for.
        return self._batches(self._order())

    def _order(self) -> NDArray[np.intp]:
        size = len(self.dataset)
        if not self.shuffle:
            return np.arange(size)
        return random_generator("DataLoader", self.generator).permutation(size)

    def _batches(self, order: NDArray[np.intp]) -> Iterator[Any]:
        stop = len(order) - len(order) % self.batch_size if self.drop_last else len(order)
        for start in range(0, stop, self.batch_size):
            indices = order[start : start + self.batch_size]
            if self.collate_fn is None:
                yield fetch(self.dataset, indices)
            else:
                yield self.collate_fn([self.dataset[index] for index in indices.tolist()])
