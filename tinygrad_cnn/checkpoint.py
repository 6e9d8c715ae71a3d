"""Checkpoints: a training run that can be killed at any moment and goes on to the same bits."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, SupportsIndex

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.errors import check_int
from tinygrad_cnn.files import TEMPORARY, FormatError
from tinygrad_cnn.serialization import load, save

__all__ = ["Checkpoint"]

_NAME = re.compile(r"step-(\d{8,18})\.npz", re.ASCII)
_FORMAT = "tinygrad_cnn checkpoint"
_KEYS = {"format", "notes", "generator", "parts"}


class Checkpoint:
    """Saves the state of a training run in a folder every so many steps, and restores it.

    Saved are all parts given here, the state of the library's generator, and what `save` is told. A loader's part holds
    the position within the epoch and the order of the batches that remain, so that a run that was killed at any moment
    and restored ends in the same bits as one that was not (with the same program, on the same machine).

    Parameters
    ----------
    folder : str, path-like or None
        Where to; made when it is needed, and for one run at a time. With None nothing is saved: a script needs no
        second way through its loop.
    keep : int, default 3
        How many checkpoints are left in the folder, the last ones.
    every : int, default 100
        How many steps lie between two saves by `update`.
    **parts : object
        What makes up the run: anything with ``state_dict()`` and ``load_state_dict(state)``, such as a model, an
        optimizer, a scheduler and a `DataLoader`, under any names.

    Raises
    ------
    TypeError
        If a part has no state dict, or a number is none.
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> import tempfile
    >>> from tinygrad_cnn import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(folder, model=model, optimizer=optimizer)
    ...     first = checkpoint.restore().get("step", 0)
    ...     for step in range(first, 250):
    ...         pass                              # train
    ...         checkpoint.update(step + 1)       # saves at the steps 100 and 200
    ...     checkpoint.restore()
    {'step': 200}
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        *,
        keep: SupportsIndex = 3,
        every: SupportsIndex = 100,
        **parts: Any,
    ) -> None:
        for name, part in parts.items():
            if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
                raise TypeError(f"Checkpoint: {name} expects a state_dict() but {type(part).__name__} has none")
        self.folder = None if folder is None else os.fspath(folder)
        self.keep = check_int("Checkpoint", "keep", keep, 1)
        self.every = check_int("Checkpoint", "every", every, 1)
        self.parts = parts
        self.interrupted = False
        self._is_ours = False

    def save(self, step: SupportsIndex, **notes: Any) -> None:
        """Save the run as it is after `step` steps, then delete all but the last `keep` checkpoints.

        Parameters
        ----------
        step : int
            How many steps have been taken.
        **notes
            What else `restore` shall return, such as the number of the epoch: whatever `tinygrad_cnn.save` can store.

        Raises
        ------
        ValueError
            If a parameter holds NaN or Inf: nothing is written then, the checkpoints before are as they were.
        RuntimeError
            If the folder has checkpoints of another run: call `restore` first, or take another folder.
        OSError
            If the checkpoint can't be written. Those before are as they were.
        """
        number = check_int("Checkpoint.save", "step", step, 0)
        if self.folder is None:
            return
        self._check_finite(number)
        if not self._is_ours and self.steps:
            raise RuntimeError(
                f"Checkpoint.save: {self.folder} holds checkpoints of another run; call restore() to go on from them, "
                "or choose another folder"
            )
        content = {
            "format": _FORMAT,
            "notes": {"step": number, **notes},
            "generator": random.get_state(),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        os.makedirs(self.folder, exist_ok=True)
        save(content, self._path(number))
        self._is_ours = True
        # Later ones are of a future that did not come about: the run was restored from an earlier one.
        steps = self.steps
        kept = [saved for saved in steps if saved <= number][-self.keep :]
        for saved in set(steps) - set(kept):
            with suppress(FileNotFoundError):
                os.unlink(self._path(saved))

    def update(self, step: SupportsIndex, **notes: Any) -> None:
        """Save after every `every`-th step; and after Ctrl-C, within `finishing_steps`. To be called after each step.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C was pressed, once the run is saved.
        """
        number = check_int("Checkpoint.update", "step", step, 0)
        if self.interrupted or number % self.every == 0:
            self.save(number, **notes)
        if self.interrupted:
            raise KeyboardInterrupt

    def restore(self) -> dict[str, Any]:
        """Bring all parts and the library's generator to the state of the newest checkpoint that is intact.

        Returns
        -------
        dict
            ``"step"`` and the notes that `save` was given; empty if there is no checkpoint yet.

        Raises
        ------
        FormatError
            If there are checkpoints but all of them are damaged.
        ValueError, TypeError, RuntimeError
            If the newest intact one does not fit the parts. Some of them may have been restored then.

        Warns
        -----
        UserWarning
            For every damaged checkpoint that was passed over.
        """
        self._is_ours = True
        if self.folder is None:
            return {}
        self._remove_temporaries()
        fault = None
        for step in reversed(self.steps):
            try:
                content = self._read(step)
            except FormatError as error:
                fault = error
                warnings.warn(f"a damaged checkpoint is passed over: {error}", UserWarning, stacklevel=2)
                continue
            for name, part in self.parts.items():
                part.load_state_dict(content["parts"][name])
            random.set_state(content["generator"])
            notes: dict[str, Any] = content["notes"]
            return notes
        if fault is not None:
            raise fault
        return {}

    @contextmanager
    def finishing_steps(self) -> Iterator[None]:
        """Within this block Ctrl-C lets the step end: the next `update` saves and raises KeyboardInterrupt.

        A second Ctrl-C does not wait. Works in the main thread; elsewhere, and without a folder, nothing changes.
        """
        before = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if self.folder is None or not is_main or not callable(before):  # a run in the background ignores Ctrl-C
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self.interrupted = False

    def _check_finite(self, step: int) -> None:
        for name, part in self.parts.items():
            named = part.named_parameters() if hasattr(part, "named_parameters") else ()
            for key, parameter in named:
                if not np.isfinite(parameter.data).all():
                    raise ValueError(
                        f"Checkpoint.save: {name}.{key} holds NaN or Inf at step {step}; nothing has been written, "
                        "earlier checkpoints are as they were"
                    )

    def _path(self, step: int) -> str:
        return os.path.join(self.folder or "", f"step-{step:08}.npz")

    @property
    def steps(self) -> list[int]:
        """The steps that the folder has checkpoints of, in order."""
        if self.folder is None:
            return []
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
        return sorted(step for step in found if os.path.basename(self._path(step)) in names)

    def _remove_temporaries(self) -> None:
        """Remove what a run that was killed while it saved has left behind."""
        for name in os.listdir(self.folder) if os.path.isdir(self.folder or "") else ():
            if TEMPORARY.fullmatch(name):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.folder or "", name))

    def _read(self, step: int) -> Mapping[str, Any]:
        path = self._path(step)
        try:
            content = load(path)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise FormatError(path, "can't be read: its disk reports an error") from None
        if not (isinstance(content, dict) and content.get("format") == _FORMAT and set(content) == _KEYS):
            raise FormatError(path, "is not a checkpoint")
        saved, own = set(content["parts"]), set(self.parts)
        if saved != own:
            raise ValueError(f"Checkpoint.restore: {path} has the parts {sorted(saved)} but the run has {sorted(own)}")
        return content
