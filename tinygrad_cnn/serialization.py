"""Saving nested dicts, lists and tuples of tensors, arrays, numbers and strings; nothing is ever pickled.

The format is NumPy's ``.npz``, a zip archive: each array is an uncompressed member in NumPy's ``.npy``
format, called after its place in the object, so that ``numpy.load(path)["conv1.weight"]`` works without this
library. A further member, ``structure.json``, tells how the object is put together, and which arrays were
tensors.

Since nothing is compressed, a file can't hold more than its size; the reader checks names, types, shapes and
sizes against that before it allocates anything.

Where the name ends in ``.safetensors``, a state dict is written and read in that format instead, which PyTorch and
others share.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.files import FormatError, atomic_write, open_regular
from tinygrad_cnn.npz_reader import DTYPES, FORMAT, MAX_DEPTH, STRUCTURE, VERSION, Archive, Fault
from tinygrad_cnn.safetensors_format import decode, encode, is_safetensors
from tinygrad_cnn.tensor import Tensor

__all__ = ["load", "save"]


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Save an object as a file, in NumPy's ``.npz`` format unless the name ends in ``.safetensors``.

    The file is written atomically: after a crash or on a full disk `f` holds either its old content or the
    new one.

    Parameters
    ----------
    obj : object
        A tensor, an array (of numbers or bools), a NumPy scalar, a number, a string, None, or a dict, list or
        tuple of such things, nested at will. Keys of a dict may be strings, numbers, None, and tuples of
        these. A tensor is saved as its values: without its gradient, its graph, and whether it was a
        `Parameter`.
    f : str, path-like or binary file object
        Where to. A file object is only written to, from where it stands. If the name ends in ``.safetensors``, `obj`
        must be a dict of strings to tensors or arrays, such as a state dict; ``safetensors.torch.load_file`` reads it.

    Raises
    ------
    TypeError
        If `obj` contains anything else; the message tells where.
    ValueError
        If `obj` contains itself, is nested deeper than 100 levels, or has a name that ``.safetensors`` can't hold.
    ImportError
        If the name ends in ``.safetensors`` and the package `safetensors` is not installed.
    OSError
        If the file can't be written. An existing file is then as it was.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> stream = io.BytesIO()
    >>> save({"weight": np.eye(2), "epoch": 3}, stream)
    >>> _ = stream.seek(0)
    >>> load(stream)
    {'weight': array([[1., 0.],
           [0., 1.]]), 'epoch': 3}
    """
    if isinstance(f, str | os.PathLike) and is_safetensors(os.fspath(f)):
        content = encode(obj)
        with atomic_write(f) as stream:
            stream.write(content)
        return
    encoder = _Encoder()
    structure = {"format": FORMAT, "version": VERSION, "object": encoder.encode(obj, "obj", ())}
    if isinstance(f, str | os.PathLike):
        with atomic_write(f) as stream:
            _write_archive(stream, structure, encoder.arrays)
        return
    if isinstance(f, io.TextIOBase) or not hasattr(f, "write"):
        raise TypeError(f"save: f expects a path or a file opened in binary mode but got {type(f).__name__}")
    buffer = io.BytesIO()  # a zip archive is written by going back and forth, which not every stream can
    _write_archive(buffer, structure, encoder.arrays)
    f.write(buffer.getbuffer())


def load(f: str | os.PathLike[str] | BinaryIO, map_location: object = None, weights_only: bool | None = True) -> Any:
    """Load what `save` has saved: the same structure and types, tensors that require no gradient.

    A dict of any kind comes back as a plain one. From a file whose name ends in ``.safetensors``, whoever wrote it,
    comes a dict of tensors; values in bfloat16, which NumPy lacks, are then float32.

    Parameters
    ----------
    f : str, path-like or binary file object
        The file; a file object is read from where it stands to its end.
    map_location
        Accepted for PyTorch scripts: None or the CPU.
    weights_only : bool, optional
        Accepted for PyTorch scripts, and without effect: no file makes this function run code.

    Raises
    ------
    FormatError
        A `ValueError`: if the file is truncated, corrupt, hostile or was not written by `save`. No more
        memory is asked for than a small multiple of the file's size.
    OSError
        If the file does not exist or can't be read.
    ImportError
        If the name ends in ``.safetensors`` and the package `safetensors` is not installed.
    TypeError, ValueError
        If `f` is neither a path nor a binary file, or `map_location` is another device.
    """
    if map_location is not None and str(map_location) != "cpu":
        raise ValueError(f"load: map_location expects None or 'cpu' but got {map_location!r}")
    if isinstance(f, str | os.PathLike):
        with open_regular(f) as stream:
            content, name = stream.read(), os.fspath(f)
    else:
        if isinstance(f, io.TextIOBase) or not hasattr(f, "read"):
            raise TypeError(f"load: f expects a path or a file opened in binary mode but got {type(f).__name__}")
        content, name = f.read(), str(getattr(f, "name", "the stream"))
    try:
        if isinstance(f, str | os.PathLike) and is_safetensors(os.fspath(f)):
            return decode(content)
        return Archive(content).decode()
    except Fault as fault:
        raise FormatError(name, str(fault)) from None


class _Encoder:
    """Turns an object into JSON values, and gathers its arrays under names that fit into an archive."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._used: dict[str, int] = {}
        self._open: set[int] = set()

    def encode(self, obj: Any, where: str, keys: tuple[Any, ...]) -> Any:
        """Return what stands for `obj`: itself if JSON has it, or else ``{type: content}``.

        `where` is its place for error messages, `keys` are the keys and indices that lead to it.
        """
        if isinstance(obj, Tensor):
            return {"tensor": self._add(obj.data, where, keys)}
        if type(obj) in (np.ndarray, np.memmap):
            return {"array": self._add(obj, where, keys)}
        if isinstance(obj, np.generic):
            return {"scalar": self._add(np.asarray(obj), where, keys)}
        if isinstance(obj, dict) or type(obj) in (list, tuple):
            return self._encode_container(obj, where, keys)
        return _encode_plain(obj, where)

    def _encode_container(self, obj: Any, where: str, keys: tuple[Any, ...]) -> Any:
        if id(obj) in self._open:
            raise ValueError(f"save: {where} contains itself")
        if len(keys) >= MAX_DEPTH:
            raise ValueError(f"save: {where[:60]}... is nested deeper than {MAX_DEPTH} levels")
        self._open.add(id(obj))
        if isinstance(obj, dict):
            encoded: Any = [
                [_encode_key(key, where), self.encode(value, f"{where}[{key!r}]", (*keys, key))]
                for key, value in obj.items()
            ]
        else:
            encoded = [self.encode(value, f"{where}[{i}]", (*keys, i)) for i, value in enumerate(obj)]
        self._open.remove(id(obj))
        return {"dict" if isinstance(obj, dict) else type(obj).__name__: encoded}

    def _add(self, array: NDArray[Any], where: str, keys: tuple[Any, ...]) -> str:
        """Put an array under a name of its own, of letters, digits and ``_.-``, perhaps with ``~2`` added."""
        if array.dtype.char not in DTYPES:
            raise TypeError(f"save: {where} expects an array of numbers or bools but got dtype {array.dtype}")
        text = ".".join(str(key) for key in keys) or "object"
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", re.sub(r"^[.-]", "_", text[:150]))
        count = self._used[base] = self._used.get(base, 0) + 1
        name = f"{base}.npy" if count == 1 else f"{base}~{count}.npy"
        self.arrays[name] = array
        return name


def _encode_plain(obj: Any, where: str) -> Any:
    if obj is None or type(obj) in (bool, str):
        return obj
    if type(obj) is int:
        # Decimal digits beyond some thousands are refused by Python itself, and beyond 53 bits by other
        # readers.
        return obj if abs(obj) < 2**53 else {"int": hex(obj)}
    if type(obj) is float:
        return obj if math.isfinite(obj) else {"float": repr(obj)}
    hint = "; save its state_dict() instead" if hasattr(obj, "state_dict") else ""
    raise TypeError(
        f"save: {where} expects tensors, arrays, numbers, strings, None, dicts, lists or tuples but got "
        f"{type(obj).__name__}{hint}"
    )


def _encode_key(key: Any, where: str, depth: int = 0) -> Any:
    if type(key) is tuple and depth < MAX_DEPTH:
        return {"tuple": [_encode_key(part, where, depth + 1) for part in key]}
    if key is not None and type(key) not in (bool, int, float, str):
        raise TypeError(f"save: {where} expects strings, numbers, None or tuples as keys but got {type(key).__name__}")
    return _encode_plain(key, where)


def _write_archive(stream: BinaryIO, structure: Any, arrays: dict[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        # A fixed time stamp: the same object gives the same bytes.
        archive.writestr(zipfile.ZipInfo(STRUCTURE), json.dumps(structure, allow_nan=False, separators=(",", ":")))
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
