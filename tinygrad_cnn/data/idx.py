"""IDX, the file format of MNIST: two zero bytes, type, number of dimensions, sizes, big-endian values.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "FILE FORMATS".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.files import FormatError, atomic_write, open_regular

__all__ = ["read_idx", "write_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name): code for code, name in _DTYPES.items()}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 16
# A gzip file may expand a thousandfold. Images never do; what expands more than this is taken for an attack.
_MAX_EXPANSION = 100
_ALWAYS_ALLOWED = 64 << 20
_MAX_NDIM = 64


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, plain or gzipped; its content decides which, not its name.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    ndarray
        A writable array in native byte order: uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    FormatError
        If the file is truncated, has bytes left over, a wrong magic number or impossible sizes, is a corrupt
        gzip file or expands more than a hundredfold to over 64 MiB. No more memory is asked for than a small
        multiple of what the file really holds.
    OSError
        If the file does not exist or can't be read.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        magic = stream.read(2)
        stream.seek(0)
        if magic != _GZIP_MAGIC:
            return _parse(stream, path, size)
        with gzip.GzipFile(fileobj=stream) as plain:
            try:
                return _parse(plain, path, None, max(_ALWAYS_ALLOWED, _MAX_EXPANSION * size))
            except EOFError:
                raise FormatError(path, "is truncated: the gzip data end too early") from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise FormatError(path, f"is a corrupt gzip file ({error})") from None


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an array as an IDX file, gzipped if the name ends in ``.gz``. The write is atomic.

    Parameters
    ----------
    path : str or path-like
        The file; an existing one is replaced.
    array : ndarray
        uint8, int8, int16, int32, float32 or float64, of any shape, layout and byte order.

    Raises
    ------
    TypeError
        If `array` is not an ndarray of one of these dtypes.
    ValueError
        If a dimension is longer than IDX can tell (``2**32 - 1``).
    OSError
        If the file can't be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte.gz")
    ...     write_idx(path, np.array([5, 0, 4], np.uint8))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"write_idx: array expects an ndarray but got {type(array).__name__}")
    big_endian = array.dtype.newbyteorder(">")
    if big_endian not in _CODES:
        allowed = "uint8, int8, int16, int32, float32 or float64"
        raise TypeError(f"write_idx: array expects dtype {allowed} but got {array.dtype}")
    if any(length >= 2**32 for length in array.shape):
        raise ValueError(f"write_idx: array expects dimensions below 2**32 but got shape {array.shape}")
    header = struct.pack(f">HBB{array.ndim}I", 0, _CODES[big_endian], array.ndim, *array.shape)
    body = np.ascontiguousarray(array, big_endian).data
    with atomic_write(path) as stream:
        if os.fspath(path).endswith(".gz"):
            # No name and no time in the file: the same array gives the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed:
                compressed.write(header)
                compressed.write(body)
        else:
            stream.write(header)
            stream.write(body)


def _parse(
    stream: BinaryIO | gzip.GzipFile, path: str | os.PathLike[str], size: int | None, limit: float = math.inf
) -> NDArray[Any]:
    """Read header and values from a stream of `size` bytes (None: unknown); `limit` are allowed."""
    dtype, shape = _read_header(stream, path)
    header_size = 4 + 4 * len(shape)
    expected = math.prod(shape) * dtype.itemsize
    # An array without values may still have sizes that no address space holds; NumPy refuses those.
    if math.prod(length for length in shape if length) * dtype.itemsize >= 2**63:
        raise FormatError(path, f"has impossible sizes {shape}")
    if header_size + expected > limit:
        raise FormatError(
            path,
            f"has impossible sizes {shape}: {expected} bytes of {dtype.name} values are more than "
            f"{_MAX_EXPANSION} times the gzipped file; if you trust it, decompress it with gunzip",
        )
    if size is not None and size < header_size + expected:
        raise FormatError(path, _truncated(size - header_size, expected, shape))
    values = bytearray()  # grows with what arrives: sizes that the file only claims to have cost nothing
    while len(values) < expected and (chunk := stream.read(min(_CHUNK, expected - len(values)))):
        values += chunk
    if len(values) < expected:
        raise FormatError(path, _truncated(len(values), expected, shape))
    if stream.read(1):
        raise FormatError(path, f"has trailing bytes after its {expected} bytes of values, sizes {shape}")
    array = np.frombuffer(values, dtype).reshape(shape)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _read_header(
    stream: BinaryIO | gzip.GzipFile, path: str | os.PathLike[str]
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise FormatError(path, f"is truncated: an IDX file starts with 4 bytes but this one has {len(magic)}")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise FormatError(path, f"is not an IDX file: its magic number is 0x{magic.hex()}")
    ndim = magic[3]
    if ndim > _MAX_NDIM:
        raise FormatError(path, f"has impossible sizes: {ndim} dimensions, where {_MAX_NDIM} are possible")
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise FormatError(path, f"is truncated: it ends within its {ndim} sizes")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{ndim}I", sizes)


def _truncated(found: int, expected: int, shape: tuple[int, ...]) -> str:
    return f"is truncated: sizes {shape} need {expected} bytes of values but it holds {found}"
