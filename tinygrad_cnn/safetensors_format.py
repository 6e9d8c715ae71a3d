"""The ``.safetensors`` format: a state dict for other libraries, written and read by the `safetensors` package.

The package is loaded when the first such file is saved or loaded; `tinygrad_cnn` itself does without. It checks
what a file claims, the lengths above all, before it hands anything over; the rest is checked here.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.npz_reader import Fault
from tinygrad_cnn.ops.dtypes import is_dtype
from tinygrad_cnn.tensor import Tensor

__all__ = ["SUFFIX", "decode", "encode", "is_safetensors"]

SUFFIX = ".safetensors"
_RESERVED = "__metadata__"
_DTYPES = {
    "BOOL": np.dtype("bool"),
    "U8": np.dtype("uint8"),
    "I8": np.dtype("int8"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


def is_safetensors(path: str) -> bool:
    """Whether the name of a file asks for this format."""
    return path.lower().endswith(SUFFIX)


def encode(obj: Any) -> bytes:
    """Return the content of a file that holds the state dict `obj`.

    Raises
    ------
    TypeError
        If `obj` is not a dict of strings to tensors or arrays of a tensor's dtype.
    ValueError
        If a name can't be stored.
    ImportError
        If the package is not installed.
    """
    if not isinstance(obj, dict):
        raise TypeError(f"save: a {SUFFIX} file expects a dict of tensors but got {type(obj).__name__}")
    arrays = {name: _checked(name, value) for name, value in obj.items()}
    writer = _package("safetensors.numpy")
    # What PyTorch's libraries look for; it marks a file of plain tensors.
    return bytes(writer.save(arrays, metadata={"format": "pt"}))


def _checked(name: Any, value: Any) -> NDArray[Any]:
    if not isinstance(name, str):
        raise TypeError(f"save: a {SUFFIX} file expects strings as keys but got {name!r}")
    if name == _RESERVED or not _is_unicode(name):
        raise ValueError(f"save: a {SUFFIX} file can't hold the name {name!r}")
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(
            f"save: obj[{name!r}] expects a tensor or an array, all that a {SUFFIX} file holds, "
            f"but got {type(value).__name__}"
        )
    array = value.data if isinstance(value, Tensor) else value
    if not is_dtype(array.dtype.newbyteorder("=")):
        raise TypeError(f"save: obj[{name!r}] expects a dtype of tensors but got {array.dtype}")
    # The package copies memory as it lies. (`np.ascontiguousarray` would make a 0-d array 1-d.)
    return np.array(array, array.dtype.newbyteorder("="), order="C", copy=None)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file by name; those in bfloat16, which NumPy lacks, in float32, without a loss.

    Raises
    ------
    Fault
        If the content is not a whole file of this format, or has a dtype that tensors don't have.
    ImportError
        If the package is not installed.
    """
    package = _package("safetensors")
    if content.startswith(b"PK"):
        raise Fault(f"is a zip archive, whatever its suffix {SUFFIX} says")
    try:
        entries = package.deserialize(content)
    except package.SafetensorError as error:
        raise Fault(f"is not an intact {SUFFIX} file ({error})") from None
    tensors = {}
    for name, entry in entries:
        try:
            tensors[name] = Tensor(_array(entry["dtype"], tuple(entry["shape"]), entry["data"]))
        except Fault as fault:
            raise Fault(f"is corrupt or foreign: {name!r} {fault}") from None
    return tensors


def _array(dtype: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    """Return an array, writable and in memory of its own."""
    if dtype not in _DTYPES and dtype != "BF16":
        raise Fault(f"has the dtype {dtype}, which tensors can't have")
    stored = np.dtype("<u2") if dtype == "BF16" else _DTYPES[dtype]
    if math.prod(shape) * stored.itemsize != len(data):
        raise Fault(f"has {len(data)} bytes of values, which is not {dtype} {shape}")
    # The sizes of an array without values are not bounded by the file.
    if len(shape) > 64 or math.prod(length for length in shape if length) * 8 >= 2**63:
        raise Fault(f"has the impossible shape {shape}")
    values: NDArray[Any] = np.frombuffer(data, stored)
    if dtype == "BF16":
        return (values.astype("<u4") << 16).view(np.float32).reshape(shape)  # its bits are the upper half
    if dtype == "BOOL" and values.size and values.view(np.uint8).max() > 1:
        raise Fault("has bools that are neither 0 nor 1")
    return values.reshape(shape).astype(stored.newbyteorder("="))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(
            f"{SUFFIX} files need the package safetensors: pip install 'tinygrad_cnn[safetensors]'"
        ) from None
