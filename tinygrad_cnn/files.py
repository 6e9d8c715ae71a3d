"""Files: writing that never leaves half a file, reading that never hangs, and what can go wrong."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

__all__ = ["Checksum", "DownloadError", "FormatError", "TEMPORARY", "atomic_write", "open_regular"]

# The names of files that are being written. One that lies around is what a process left that was killed meanwhile.
TEMPORARY = re.compile(r"\.tinygrad_cnn-[0-9a-f]{16}\.tmp")

# What writing raises without a file name: no space, over quota, over the file-size limit.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FormatError(ValueError):
    """A file does not hold what it should: it is truncated, corrupt, foreign or hostile.

    Parameters
    ----------
    path : str or path-like
        The file; kept, as a string, in the attribute `path`.
    fault : str
        What is wrong with it; kept in the attribute `fault`.
    """

    def __init__(self, path: str | os.PathLike[str], fault: str) -> None:
        super().__init__(os.fspath(path), fault)
        self.path = os.fspath(path)
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"


class DownloadError(OSError):
    """A file can't be had: its folder can't be written to, or no mirror delivered it intact."""


class Checksum(NamedTuple):
    """What a file holds: its size in bytes, and its SHA-256 in hexadecimal digits.

    Of a gzipped file, both are those of its decompressed content, unless `decompressed` is False.
    """

    size: int
    sha256: str
    decompressed: bool = True


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a stream whose content becomes the file `path` when the block ends, and not before.

    The stream is a temporary file in the same folder, readable as well. When the block ends it is flushed to
    the disk and renamed, and the folder is flushed too: after a crash at any moment `path` holds either its
    old content or the new one. If the block raises, the temporary file is removed and `path` is as it was. A
    symbolic link is followed; a file that is replaced hands on its permissions.

    Raises
    ------
    OSError
        If the folder does not exist or can't be written to, `path` is not a regular file, or the disk is
        full.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    mode = _mode_of_replaceable(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {target}: the folder {folder} does not exist")
    temporary = os.path.join(folder, f".tinygrad_cnn-{os.urandom(8).hex()}.tmp")
    try:
        # Not `tempfile`, which makes files that only the owner can read whatever the umask says.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(temporary, flags, 0o666), "w+b") as stream:
            if mode is not None:
                os.chmod(temporary, mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and (error.filename == temporary or error.errno in _FULL):
            error.filename = target
        raise
    _flush_folder(folder)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading.

    Raises
    ------
    FormatError
        If `path` is a pipe, a socket or a device: opening or reading one may never end.
    OSError
        If the file does not exist or can't be read.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FormatError(path, "is not a regular file")
    return open(path, "rb")


def _mode_of_replaceable(target: str) -> int | None:
    """Return the permissions of the file that is going to be replaced, None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"cannot write {target}: it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(f"cannot write {target}: it is not a regular file")
    return stat.S_IMODE(mode)


def _flush_folder(folder: str) -> None:
    """Make a rename durable. Only POSIX can open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
