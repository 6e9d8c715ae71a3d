"""The one source of randomness: initial weights, dropout masks and shuffled batches draw from it.

`manual_seed(s)` therefore fixes every random draw of the library. The generator is an ordinary
`numpy.random.Generator`; until it is seeded it starts from the operating system's entropy.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, SupportsIndex

import numpy as np

__all__ = ["fork_rng", "generator", "get_state", "initial_seed", "manual_seed", "seed", "set_state", "stream"]

# Made on first use, by `dict.setdefault`, which is atomic: threads that come first at the same time get the
# same generator, and there is no lock that a fork could find held. Afterwards the generator is seeded in
# place and never replaced, so whoever holds it keeps drawing from the library's stream.
_shared: dict[str, Any] = {}
# The stream of a block under `fork_rng`, and of the helper threads that work for it.
_forked: ContextVar[dict[str, Any] | None] = ContextVar("tinygrad_cnn_forked_generator", default=None)


def _stream() -> dict[str, Any]:
    """Return the generator in use here, with the seed that it was last given; each made on first use."""
    forked = _forked.get()
    stream = _shared if forked is None else forked
    if "generator" not in stream:
        entropy = stream.setdefault("seed", _entropy())
        stream.setdefault("generator", np.random.default_rng(entropy))
    return stream


def generator() -> np.random.Generator:
    """Return the library's random number generator.

    It is the same object for the life of the process (but for blocks under `fork_rng`). NumPy locks each draw, so
    threads may share it; the order in which threads draw, and hence what each of them gets, is theirs to fix.

    Examples
    --------
    >>> from tinygrad_cnn import random
    >>> _ = random.manual_seed(0)
    >>> first = random.generator().random(3)
    >>> _ = random.manual_seed(0)
    >>> bool((first == random.generator().random(3)).all())
    True
    """
    shared: np.random.Generator = _stream()["generator"]
    return shared


@contextmanager
def fork_rng() -> Iterator[None]:
    """Within this block, in this thread, the library draws from a copy of its generator.

    Nothing outside notices: what is drawn and seeded in the block is forgotten at its end, and other threads keep
    drawing from their own streams. Threads that train models at the same time get the same bits as one after another if
    each does so in a block of its own::

        with tg.random.fork_rng():
            tg.manual_seed(3)
            train(model)
    """
    stream = _stream()
    own = np.random.default_rng(0)
    own.bit_generator.state = stream["generator"].bit_generator.state
    token = _forked.set({"generator": own, "seed": stream["seed"]})
    try:
        yield
    finally:
        _forked.reset(token)


@contextmanager
def stream(seed: int) -> Iterator[None]:
    """Within this block, in this thread, the library draws from a stream of its own that starts from `seed`.

    It differs from `fork_rng` in that it leaves the generator in use before alone: nothing is copied, and the new
    generator is made only if something is drawn.
    """
    token = _forked.set({"seed": seed})
    try:
        yield
    finally:
        _forked.reset(token)


def manual_seed(seed: SupportsIndex) -> np.random.Generator:
    """Seed the library's generator and return it.

    After `manual_seed(s)` with ``s >= 0`` the generator yields the stream of ``numpy.random.default_rng(s)``.

    Parameters
    ----------
    seed : int
        In ``[-2**63, 2**64)``. A negative seed stands for ``2**64 + seed``, as in PyTorch.

    Raises
    ------
    TypeError
        If `seed` is not an integer.
    ValueError
        If `seed` is out of range.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"manual_seed: seed expects an integer but got {type(seed).__name__}") from None
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"manual_seed: seed expects an integer in [-2**63, 2**64) but got {number}")
    stream = _stream()
    stream["seed"] = number
    shared: np.random.Generator = stream["generator"]
    shared.bit_generator.state = np.random.default_rng(number % 2**64).bit_generator.state
    return shared


def seed() -> int:
    """Seed the generator from the operating system's entropy and return the seed that was drawn."""
    manual_seed(_entropy())
    return initial_seed()


def initial_seed() -> int:
    """Return the seed that the generator was last given."""
    number: int = _stream()["seed"]
    return number


def get_state() -> dict[str, Any]:
    """Return the generator's state: a dict of strings and integers that `tinygrad_cnn.save` can store.

    See Also
    --------
    set_state : goes back to it; every later draw is then the same again.
    """
    return {"initial_seed": initial_seed(), **generator().bit_generator.state}


def set_state(state: Mapping[str, Any]) -> None:
    """Bring the generator to a state that `get_state` returned.

    Raises
    ------
    TypeError
        If `state` is not a mapping.
    ValueError
        If `state` is not the state of this kind of generator. The generator is then left as it was.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"set_state: state expects what get_state() returned but got {type(state).__name__}")
    bits = {key: value for key, value in state.items() if key != "initial_seed"}
    trial = np.random.default_rng(0)
    try:
        seed_of_state = operator.index(state["initial_seed"])
        trial.bit_generator.state = bits
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"set_state: state expects what get_state() returned but got a bad one ({error!r})") from None
    generator().bit_generator.state = bits
    _stream()["seed"] = seed_of_state


def _entropy() -> int:
    return int.from_bytes(os.urandom(8), "little") >> 1
