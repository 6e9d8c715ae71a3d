"""Downloading a file from the first mirror that has it: whole and unaltered, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import queue
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from tinygrad_cnn.files import Checksum, DownloadError, atomic_write

__all__ = ["download"]

_CHUNK = 1 << 16
_BAR_WIDTH = 30


def download(
    name: str,
    mirrors: Sequence[str],
    folder: str | os.PathLike[str],
    checksum: Checksum,
    timeout: float = 6.0,
) -> Path:
    """Download the file `name` into `folder`, which is made if need be, and return its path.

    The mirrors are tried in order. The file gets its name only after its content has been checked; a failed
    attempt leaves nothing behind. Progress goes to the standard error stream.

    Parameters
    ----------
    name : str
        The name of the file, on the mirrors and in the folder.
    mirrors : sequence of str
        URLs of folders.
    folder : str or path-like
        Where the file goes.
    checksum : Checksum
        Size and SHA-256, of the decompressed content of a gzipped file, or of the file as it is.
    timeout : float, default 6.0
        Seconds to wait for an answer, and then for the next bytes.

    Raises
    ------
    DownloadError
        If the folder can't be written to, or no mirror delivered the file; the message tells each one's
        fault.
    """
    # Here, and not at the top: Python's network modules cost a fifth of what this library takes to import, and most
    # programs never download anything.
    from http.client import HTTPException

    target = Path(folder) / name
    _make_writable(Path(folder))
    faults = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{name}"
        try:
            with atomic_write(target) as stream:
                _copy(url, stream, _largest(checksum), timeout)
                _verify(stream, checksum)
        except (OSError, EOFError, ValueError, zlib.error, HTTPException) as error:
            faults.append(f"{url}: {_explain(error)}")
        else:
            return target
    raise DownloadError(f"cannot download {name}: " + ("; ".join(faults) or "there is no mirror"))


def _largest(checksum: Checksum) -> int:
    """Return how many bytes the file can have."""
    size = checksum.size
    return size + size // 100 + 1024 if checksum.decompressed else size  # gzip never makes a file much larger


def _copy(url: str, stream: BinaryIO, limit: int, timeout: float) -> None:
    """Copy what the server sends, at most `limit` bytes."""
    with _open(url, timeout) as response:
        announced = response.headers.get("Content-Length", "")
        expected = int(announced) if announced.isdecimal() else None
        received = 0
        with _ProgressBar(url, expected) as bar:
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if received > limit:
                    raise ValueError(f"the server sends more than the {limit} bytes that the file can have")
                stream.write(chunk)
                bar.update(received)
    if expected is not None and received < expected:
        raise EOFError(f"the connection was cut off after {received} of {expected} bytes")


def _open(url: str, timeout: float) -> Any:
    """Ask for `url` and return the answer, or give up after `timeout` seconds.

    A thread does the asking, and is left behind if need be: looking up a name has no time-out at all, and
    each of the addresses that a name may have would have one of its own.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given_up = threading.Event()

    def ask() -> None:
        try:
            response = _request(url, timeout)
            if given_up.is_set():
                response.close()
            answers.put(response)
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"ask {url}", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        given_up.set()
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _request(url: str, timeout: float) -> Any:
    """Ask for `url`, following redirections, but never from https to something weaker.

    Raises
    ------
    OSError
        If there is no answer, or it is not the file.
    """
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    opener = urllib.request.build_opener(_secure_redirects())
    try:
        return opener.open(urllib.request.Request(url, headers={"User-Agent": "tinygrad_cnn"}), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()  # an answer, with a connection
        raise OSError(f"the server answers {error.code} {error.reason}") from None
    except HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from None


def _secure_redirects() -> Any:
    """A handler that follows redirections, but never from https to something weaker."""
    import urllib.error
    import urllib.request

    class SecureRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            if req.type == "https" and not newurl.lower().startswith("https:"):
                raise urllib.error.URLError(f"redirected from https to {newurl}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return SecureRedirects()


def _verify(stream: BinaryIO, checksum: Checksum) -> None:
    """Check the content, never decompressing more than it should have."""
    digest = hashlib.sha256()
    size = 0
    stream.seek(0)
    with gzip.GzipFile(fileobj=stream) if checksum.decompressed else nullcontext(stream) as plain:
        while size <= checksum.size and (chunk := plain.read(_CHUNK)):
            size += len(chunk)
            digest.update(chunk)
    if size > checksum.size:
        raise ValueError(f"it decompresses to more than {checksum.size} bytes")
    if digest.hexdigest() != checksum.sha256:
        raise ValueError(f"its SHA-256 is {digest.hexdigest()} instead of {checksum.sha256}")


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DownloadError(f"cannot write to the folder {folder}")


def _explain(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # of a URLError
    if isinstance(reason, OSError):
        error = reason
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _ProgressBar:
    """A bar on a terminal's line; where the error stream is not a terminal, one line at the beginning."""

    def __init__(self, url: str, total: int | None) -> None:
        self._name = url.rpartition("/")[2]
        self._total = total
        self._shown = 0.0
        self._bar = sys.stderr is not None and sys.stderr.isatty()
        if sys.stderr is not None and not self._bar:
            size = "" if total is None else f" ({total / 1e6:.1f} MB)"
            print(f"downloading {url}{size}", file=sys.stderr, flush=True)

    def update(self, received: int) -> None:
        """Show that so many bytes have come, at most ten times a second."""
        now = time.monotonic()
        complete = received == self._total
        if not self._bar or (now - self._shown < 0.1 and not complete):
            return
        self._shown = now
        if self._total:
            done = min(1.0, received / self._total)
            filled = "#" * round(done * _BAR_WIDTH)
            text = f"[{filled:<{_BAR_WIDTH}}] {done:4.0%} of {self._total / 1e6:.1f} MB"
        else:
            text = f"{received / 1e6:.1f} MB"
        print(f"\r{self._name} {text}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            print(file=sys.stderr, flush=True)
