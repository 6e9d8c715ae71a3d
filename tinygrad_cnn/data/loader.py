"""The loader: walks through a data set in batches."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import random
from tinygrad_cnn.data.dataset import fetch, random_generator
from tinygrad_cnn.data.prefetch import prefetched
from tinygrad_cnn.errors import check_int
from tinygrad_cnn.tensor import Tensor

__all__ = ["DataLoader"]

_SEEDS = 2**63


class DataLoader:
    """Iterate over a data set in batches; each iteration is one epoch.

    The library's own data sets and transforms deliver a whole batch by array indexing; any other data set or
    transform is asked sample by sample, and the samples are put together by `default_collate`. The two ways
    give the same batches; only what several random transforms draw comes in another order.

    With workers, a thread makes the next batches while the present one is used; they are the same to the last bit.
    For that, each batch draws its random numbers (those of transforms) from a stream of its own: it follows from a seed
    that is drawn when the epoch begins, and from the position of the batch.

    Parameters
    ----------
    dataset : Dataset
        Anything with a length and an index.
    batch_size : int, default 1
        Samples in a batch; the last batch of an epoch may have fewer.
    shuffle : bool, default False
        Whether each epoch has a new random order. It is drawn when the epoch begins.
    num_workers : int, default 0
        0: batches are made when they are asked for, by the thread that asks. Otherwise one thread makes them in
        advance, whatever the number: the library's own transforms use all cores by themselves.
    pin_memory, persistent_workers
        Accepted so that PyTorch scripts run, and without effect: there is no memory to pin without a GPU.
    collate_fn : callable, optional
        Makes a batch out of a list of samples; with one, every data set is asked sample by sample.
    drop_last : bool, default False
        Whether to leave out a last batch that is not full.
    generator : numpy.random.Generator, optional
        Where order and seed of each epoch come from; by default the library's, which `manual_seed` seeds.
    prefetch_factor : int, optional
        How many batches the thread may be ahead; with workers the default is 2, without them it can't be set.

    Raises
    ------
    TypeError
        If an argument has a wrong type.
    ValueError
        If `batch_size` or `prefetch_factor` is not positive or `num_workers` is negative, or `prefetch_factor` is set
        without workers.

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
        prefetch_factor: SupportsIndex | None = None,
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
        self._batch_size = check_int("DataLoader", "batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.num_workers = check_int("DataLoader", "num_workers", num_workers, 0)
        self.prefetch_factor = _prefetch_factor(prefetch_factor, self.num_workers)
        self.collate_fn = collate_fn
        self.pin_memory = bool(pin_memory)
        self.drop_last = bool(drop_last)
        self.generator = generator
        self.persistent_workers = bool(persistent_workers)
        self._resumed: Epoch | None = None  # what the next iteration goes on with
        # Weak: an epoch that nobody holds any more was left by `break`.
        self._latest: Callable[[], Epoch | None] = _no_epoch

    @property
    def batch_size(self) -> int:
        """Samples in a batch. It can't be changed, as an epoch may be running."""
        return self._batch_size

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        epoch = self._resumed or self._new_epoch()
        self._resumed = None
        self._latest = weakref.ref(epoch)
        return epoch

    def _new_epoch(self) -> Epoch:
        # Order and seed are drawn now, not when the first batch is asked for.
        size, generator = len(self.dataset), random_generator("DataLoader", self.generator)
        order = generator.permutation(size) if self.shuffle else np.arange(size)
        return Epoch(self, order, int(generator.integers(_SEEDS)))

    def _batch(self, order: NDArray[np.intp], seed: int, position: int) -> Any:
        """Make the batch at `position` of an epoch."""
        start = position * self.batch_size
        indices = order[start : start + self.batch_size]
        try:
            with random.stream(seed + position):  # fits into 64 bits, as every seed does
                if self.collate_fn is None:
                    return fetch(self.dataset, indices)
                return self.collate_fn([self.dataset[index] for index in indices.tolist()])
        except StopIteration as error:  # would end the epoch as if it were over
            raise RuntimeError(f"DataLoader: batch {position} raised StopIteration") from error

    def state_dict(self) -> dict[str, Any]:
        """Return where the epoch that was begun last stands, for `tinygrad_cnn.save`.

        An epoch that has come to its end, or that was left by ``break``, is over: the next one will be a new one. In
        the body of the loop over its last batch an epoch is not over.

        Returns
        -------
        dict
            ``"samples"`` and ``"batch_size"``, to recognise the loader by; ``"order"``, the positions (N,) of the
            samples in the epoch, and ``"seed"``, of its batches' random numbers, both None between epochs;
            ``"position"``, how many batches have been delivered (what was only prefetched will be made again); and
            ``"generator"``, the state of the loader's own generator, or None.
        """
        epoch = self._resumed or self._latest()
        running = epoch is not None and not epoch.is_over
        return {
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
            "order": epoch.order if epoch is not None and running else None,
            "seed": epoch.seed if epoch is not None and running else None,
            "position": epoch.position if epoch is not None and running else 0,
            "generator": None if self.generator is None else self.generator.bit_generator.state,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next iteration go on where `state_dict` says: with the batches that were left of the epoch.

        Raises
        ------
        TypeError
            If `state_dict` is not a mapping.
        ValueError
            If it is not the state of a loader with as many samples, this batch size, and a generator of this kind.
            Nothing is changed then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"DataLoader.load_state_dict: expects a mapping but got {type(state_dict).__name__}")
        epoch = _loaded_epoch(self, state_dict)
        _load_generator(self.generator, state_dict["generator"])
        self._resumed = epoch
        self._latest = _no_epoch


class Epoch:
    """One walk through the data set: an iterator over batches that knows how far it is.

    Attributes
    ----------
    order : ndarray
        The positions (N,) of the samples.
    seed : int
        What the random numbers of its batches follow from.
    position : int
        How many batches have been delivered.
    is_over : bool
        Whether somebody asked for a batch after the last one.
    """

    def __init__(self, loader: DataLoader, order: NDArray[np.intp], seed: int, position: int = 0) -> None:
        self.order = order
        self.seed = seed
        self.position = position
        self.is_over = False
        self._count = len(loader)
        self._make = partial(loader._batch, order, seed)  # holds no reference to the epoch: see `prefetched`
        self._ahead = loader.prefetch_factor
        self._prefetched: Iterator[Any] | None = None
        self._process = os.getpid()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.is_over = self.is_over or self.position >= self._count
        if self.is_over:
            raise StopIteration
        batch = self._make(self.position) if self._ahead is None else self._next_prefetched(self._ahead)
        self.position += 1
        return batch

    def _next_prefetched(self, ahead: int) -> Any:
        if self._prefetched is None or self._process != os.getpid():  # a forked child has no threads but its own
            self._process = os.getpid()
            self._prefetched = prefetched(self._make, range(self.position, self._count), ahead)
        try:
            return next(self._prefetched)
        except BaseException:
            self._prefetched = None  # who goes on after an error begins again with this batch
            raise


def _prefetch_factor(value: SupportsIndex | None, num_workers: int) -> int | None:
    if value is None:
        return 2 if num_workers else None
    if not num_workers:
        raise ValueError(f"DataLoader: prefetch_factor expects None without workers but got {value}")
    return check_int("DataLoader", "prefetch_factor", value, 1)


def _no_epoch() -> None:
    """Stand for the weak reference to an epoch that is gone."""


def _loaded_epoch(loader: DataLoader, state: Mapping[str, Any]) -> Epoch | None:
    """Return the epoch that `state` describes, None if it was made between epochs."""
    who = "DataLoader.load_state_dict"
    keys = {"samples", "batch_size", "order", "seed", "position", "generator"}
    if set(state) != keys:
        raise ValueError(f"{who}: expects the keys {sorted(keys)} but got {sorted(map(str, state))}")
    size = len(loader.dataset)
    for name, own in (("samples", size), ("batch_size", loader.batch_size)):
        if isinstance(state[name], np.ndarray | Tensor) or state[name] != own:
            raise ValueError(f"{who}: the loader has {name}={own} but the state {state[name]}")
    order, seed, position = state["order"], state["seed"], state["position"]
    if order is None:
        return None
    is_permutation = isinstance(order, np.ndarray) and order.shape == (size,) and order.dtype.kind == "i"
    if not is_permutation or not np.array_equal(np.sort(order), np.arange(size)):
        raise ValueError(f"{who}: order expects each position of {size} samples once")
    if type(seed) is not int or not 0 <= seed < _SEEDS:
        raise ValueError(f"{who}: seed expects an int from 0 to {_SEEDS - 1} but got {seed!r}")
    if type(position) is not int or not 0 <= position <= len(loader):
        raise ValueError(f"{who}: position expects 0 to {len(loader)} batches but got {position!r}")
    return Epoch(loader, order.astype(np.intp), seed, position)


def _load_generator(generator: np.random.Generator | None, state: Any) -> None:
    if generator is None or state is None:
        if generator is not None or state is not None:
            raise ValueError("DataLoader.load_state_dict: either the loader or the state has a generator of its own")
        return
    before = generator.bit_generator.state
    try:
        generator.bit_generator.state = state
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        generator.bit_generator.state = before
        raise ValueError(f"DataLoader.load_state_dict: generator expects a state of its kind ({error!r})") from None
