"""Where the files of a data set are looked for on this machine, and where downloaded ones are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["cache_folder", "find_file", "find_files", "search_folders"]


def cache_folder() -> Path:
    """Return this library's cache folder: ``$XDG_CACHE_HOME/tinygrad_cnn``, or in ``~/.cache``."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification asks to ignore a relative path.
    base = configured if os.path.isabs(configured) else os.path.expanduser("~/.cache")
    return Path(base) / "tinygrad_cnn"


def search_folders(root: str | os.PathLike[str] | None) -> list[Path]:
    """Return `root`, what ``TINYGRAD_CNN_DATA`` names, and the cache folder; the first two if set."""
    folders = [cache_folder()]
    if configured := os.environ.get("TINYGRAD_CNN_DATA"):
        folders.insert(0, Path(os.path.expanduser(configured)))
    if root is not None:
        folders.insert(0, Path(os.path.expanduser(root)))
    return folders


def find_files(
    names: Sequence[str], folders: Sequence[Path], subfolders: Sequence[str], suffixes: Sequence[str] = ("", ".gz")
) -> list[Path] | None:
    """Return the paths of the files in the first place that has them all, plain or gzipped; or None.

    The places are each folder itself and its subfolders, in order.
    """
    for place in _places(folders, subfolders):
        paths = [path for name in names if (path := find_file(place, name, suffixes)) is not None]
        if len(paths) == len(names):
            return paths
    return None


def _places(folders: Sequence[Path], subfolders: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        yield folder
        for subfolder in subfolders:
            yield folder / subfolder


def find_file(place: Path, name: str, suffixes: Sequence[str] = ("", ".gz")) -> Path | None:
    """Return the path of the file in this folder, plain or gzipped; None if there is neither."""
    for path in (place / f"{name}{suffix}" for suffix in suffixes):
        if os.path.isfile(path):
            return path
    return None
