"""Reading the files of `tinygrad_cnn.save` without trusting them.

What a file says about itself is checked against what it holds before anything is allocated, and nothing in it
is evaluated. Members are not compressed, so none can be larger than the file.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.tensor import Tensor

__all__ = ["DTYPES", "FORMAT", "MAX_DEPTH", "STRUCTURE", "VERSION", "Archive", "Fault"]

FORMAT = "tinygrad_cnn"
VERSION = 1
STRUCTURE = "structure.json"
MAX_DEPTH = 100
_MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(~\d+)?\.npy", re.ASCII)
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufc]\d{1,2})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \} *\n"
)
DTYPES = frozenset("?bhilqBHILQefdFD")
_CHUNK = 1 << 20


class Fault(Exception):  # noqa: N818 - it never reaches a user
    """What is wrong with a file, told by code that does not know the file's name."""


class Archive:
    """A file's content, distrusted: everything that it says is checked before it is believed.

    Raises
    ------
    Fault
        From every method, and nothing else.
    """

    def __init__(self, content: bytes) -> None:
        _check_kind(content)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except _ZIP_ERRORS as error:
            raise Fault(f"is truncated or corrupt ({error})") from None
        self._members = {info.filename: info for info in self._zip.infolist()}
        self._check_members(len(content))
        self._unread = set(self._members) - {STRUCTURE}

    def decode(self) -> Any:
        """Return the object that was saved."""
        try:
            structure = json.loads(self._read(STRUCTURE).decode("ascii"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Fault(f"is corrupt: {STRUCTURE} can't be read ({error})") from None
        if not isinstance(structure, dict) or structure.get("format") != FORMAT:
            raise Fault("was not written by tinygrad_cnn.save")
        if structure.get("version") != VERSION:
            raise Fault(f"has format version {structure.get('version')!r}, this library reads {VERSION}")
        obj = self._decode(structure.get("object"), 0)
        if self._unread:
            raise Fault(f"has a member that belongs to nothing: {min(self._unread)!r}")
        return obj

    def _check_members(self, size: int) -> None:
        infos = self._zip.infolist()
        if any(info.filename.endswith(".pkl") for info in infos):
            raise Fault(
                "was written by torch.save and contains a pickle, which is never loaded; what safetensors writes is"
            )
        if STRUCTURE not in self._members:
            raise Fault(f"was not written by tinygrad_cnn.save: it has no {STRUCTURE}")
        if len(self._members) != len(infos):
            raise Fault("has two members of the same name")
        for info in infos:
            if info.filename != STRUCTURE and not _MEMBER.fullmatch(info.filename):
                raise Fault(f"has a member with an unexpected name: {info.filename!r}")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
                raise Fault(f"has a member that is compressed or encrypted: {info.filename!r}")
            if info.file_size != info.compress_size:
                raise Fault(f"is corrupt: {info.filename!r} has two sizes")
        if sum(info.file_size for info in infos) > size:
            raise Fault("is corrupt: its members are larger than the file")

    def _read(self, name: str) -> bytearray:
        """Return a member's content; its checksum is verified."""
        content = bytearray()
        try:
            with self._zip.open(self._members[name]) as member:
                while chunk := member.read(_CHUNK):
                    content += chunk
        except _ZIP_ERRORS as error:
            raise Fault(f"is truncated or corrupt ({name!r}: {error})") from None
        return content

    def _decode(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if not isinstance(value, dict) or len(value) != 1 or depth > MAX_DEPTH:
            raise Fault(f"is corrupt: {STRUCTURE} does not describe an object")
        [(kind, content)] = value.items()
        if kind in ("list", "tuple", "dict"):
            if not isinstance(content, list):
                raise Fault(f"is corrupt: {STRUCTURE} has a {kind} that is none")
            if kind == "dict":
                return self._decode_dict(content, depth)
            items = [self._decode(item, depth + 1) for item in content]
            return items if kind == "list" else tuple(items)
        if kind in ("tensor", "array", "scalar"):
            array = self._decode_array(content)
            if kind == "scalar" and array.ndim:
                raise Fault(f"is corrupt: {STRUCTURE} has a scalar of shape {array.shape}")
            return _tensor(array) if kind == "tensor" else array if kind == "array" else array[()]
        return _decode_number(kind, content)

    def _decode_dict(self, pairs: list[Any], depth: int) -> dict[Any, Any]:
        decoded: dict[Any, Any] = {}
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise Fault(f"is corrupt: {STRUCTURE} has a dict that is none")
            key = _decode_key(pair[0], 0)
            if key in decoded:
                raise Fault(f"is corrupt: {STRUCTURE} has the key {key!r} twice")
            decoded[key] = self._decode(pair[1], depth + 1)
        return decoded

    def _decode_array(self, name: Any) -> NDArray[Any]:
        if not isinstance(name, str) or name not in self._unread:
            raise Fault(f"is corrupt: the array {name!r} is missing, or used twice")
        self._unread.remove(name)
        try:
            return _parse_npy(self._read(name))
        except Fault as fault:
            raise Fault(f"is corrupt: {name!r} {fault}") from None


# What zipfile raises on files made to confuse it, as found by fuzzing.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


def _check_kind(content: bytes) -> None:
    """Name the files that one may take for ours."""
    if not content:
        raise Fault("is empty")
    if content.startswith((b"\x80", b"(")):
        raise Fault("is a pickle, which is never loaded")
    if content.startswith(b"\x93NUMPY"):
        raise Fault("is a single NumPy array: use numpy.load")
    if not content.startswith(b"PK"):
        raise Fault("was not written by tinygrad_cnn.save")


def _tensor(array: NDArray[Any]) -> Tensor:
    try:
        return Tensor(array)
    except TypeError:
        raise Fault(f"is corrupt: it has a tensor of dtype {array.dtype}, which tensors can't have") from None


def _parse_npy(content: bytearray) -> NDArray[Any]:
    """Return the array of a ``.npy`` member, on the memory of `content`.

    Not `numpy.lib.format.read_array`: that evaluates the header as Python text, and allocates before it has
    seen how much there is.
    """
    if content[:8] != b"\x93NUMPY\x01\x00" or len(content) < 10:
        raise Fault("is not in NumPy's .npy format, version 1.0")
    start = 10 + int.from_bytes(content[8:10], "little")
    header = _HEADER.fullmatch(content[10:start])
    if header is None:
        raise Fault("has a header that save does not write")
    dtype = _parse_dtype(header[1].decode("ascii"))
    shape = _parse_shape(header[3].decode("ascii"))
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise Fault(f"has {len(content) - start} bytes of values, which is not {dtype} {shape}")
    if len(shape) > 64 or math.prod(length for length in shape if length) * dtype.itemsize >= 2**63:
        raise Fault(f"has the impossible shape {shape}")
    del content[:start]
    array: NDArray[Any] = np.frombuffer(content, dtype)
    if dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise Fault("has bools that are neither 0 nor 1")
    return array.reshape(shape, order="F" if header[2] == b"True" else "C")


def _parse_dtype(text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text)
    except TypeError:
        raise Fault(f"has the unknown dtype {text!r}") from None
    if dtype.char not in DTYPES:
        raise Fault(f"has the unexpected dtype {text!r}")
    return dtype


def _parse_shape(text: str) -> tuple[int, ...]:
    lengths = text.split(",")
    if lengths[-1].strip() == "":
        lengths.pop()  # (), (3,)
    if not all(re.fullmatch(r" ?\d{1,19}", length) for length in lengths):
        raise Fault(f"has a shape that is none: ({text[:100]})")
    return tuple(int(length) for length in lengths)


def _decode_number(kind: str, content: Any) -> int | float:
    if kind == "int" and isinstance(content, str) and re.fullmatch(r"-?0x[0-9a-f]+", content):
        return int(content, 16)
    if kind == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    raise Fault(f"is corrupt: {STRUCTURE} does not describe an object")


def _decode_key(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict) and len(value) == 1 and depth <= MAX_DEPTH:
        [(kind, content)] = value.items()
        if kind == "tuple" and isinstance(content, list):
            return tuple(_decode_key(part, depth + 1) for part in content)
        return _decode_number(kind, content)
    raise Fault(f"is corrupt: {STRUCTURE} has a key that is none")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
