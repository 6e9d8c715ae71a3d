"""Files that end in .safetensors: what the package refuses, and what it lets through."""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn import nn
from tinygrad_cnn.files import FormatError
from tinygrad_cnn.npz_reader import Fault
from tinygrad_cnn.safetensors_format import decode, encode
from tinygrad_cnn.serialization import load, save
from tinygrad_cnn.tensor import Tensor

pytest.importorskip("safetensors")

DTYPES = st.sampled_from(["?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]).map(np.dtype)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__")
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


def content(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@given(st.dictionaries(NAMES, ARRAYS, max_size=4), st.booleans())
def test_what_is_saved_is_loaded_under_the_same_names(arrays, transposed):
    arrays = {name: array.T if transposed else array for name, array in arrays.items()}
    back = decode(encode(arrays))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert type(back[name]) is Tensor
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].data.tobytes() == array.tobytes()


def test_a_model_survives_the_suffix(tmp_path):
    model, other = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()) for _ in range(2))
    path = tmp_path / "model.safetensors"
    save(model.state_dict(), path)
    other.load_state_dict(load(str(path)))
    for ours, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert np.array_equal(ours.data, theirs.data)
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_other_byte_orders_are_values_all_the_same():
    back = decode(encode({"a": np.arange(3, dtype=">i4")}))["a"]
    assert back.dtype == np.int32
    assert back.tolist() == [0, 1, 2]


def test_loaded_tensors_are_writable():
    tensor = decode(encode({"a": np.zeros(3)}))["a"]
    tensor.data[0] = 5
    assert not tensor.requires_grad


def test_bfloat16_comes_back_as_float32():
    bits = np.array([0x3F80, 0xC000, 0x7F80], "<u2")
    back = decode(content({"w": entry("BF16", [3], 0, 6)}, bits.tobytes()))["w"]
    assert back.dtype == np.float32
    assert back.tolist() == [1.0, -2.0, float("inf")]


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        ([np.ones(2)], TypeError, "expects a dict of tensors but got list"),
        ({1: np.ones(2)}, TypeError, "expects strings as keys but got 1"),
        ({"a": 1.0}, TypeError, r"obj\['a'\] expects a tensor or an array, .* but got float"),
        ({"a": {"b": np.ones(2)}}, TypeError, "but got dict"),
        ({"a": np.ones(2, complex)}, TypeError, "a dtype of tensors but got complex128"),
        ({"a": np.ones(2, np.uint64)}, TypeError, "but got uint64"),
        ({"__metadata__": np.ones(2)}, ValueError, "can't hold the name '__metadata__'"),
        ({"\ud800": np.ones(2)}, ValueError, "can't hold the name"),
    ],
)
def test_what_the_format_has_no_place_for(tmp_path, obj, error, message):
    with pytest.raises(error, match=f"save: .*{message}"):
        save(obj, tmp_path / "x.safetensors")
    assert os.listdir(tmp_path) == []


GOOD = encode({"w": np.arange(6.0).reshape(2, 3), "n": np.array([True])})
BAD = {
    "empty": b"",
    "text": b"hello",
    "a zip": b"PK\3\4" + bytes(30),
    "only a length": struct.pack("<Q", 10),
    "an absurd length": struct.pack("<Q", 2**63) + b"{}",
    "no JSON": content(b"{"),
    "no UTF-8": content(b'{"\xff": 1}'),
    "deep": content(b'{"a":' + b"[" * 10**5),
    "list": content([]),
    "absurd shape": content({"w": entry("F32", [2**40, 2**40], 0, 4)}, bytes(4)),
    "overflowing shape": content({"w": entry("F32", [2**62, 4], 0, 0)}),
    "impossible empty": content({"w": entry("F32", [0, 2**62, 9], 0, 0)}),
    "many dimensions": content({"w": entry("F32", [1] * 65, 0, 4)}, bytes(4)),
    "negative": content({"w": entry("F32", [-1], 0, 4)}, bytes(4)),
    "overlap": content({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4)),
    "hole": content({"a": entry("F32", [1], 4, 8)}, bytes(8)),
    "past the end": content({"a": entry("F32", [2], 0, 8)}, bytes(4)),
    "left over": GOOD + b"\0",
    "truncated": GOOD[:-1],
    "bools": content({"a": entry("BOOL", [2], 0, 2)}, b"\1\2"),
    "complex": content({"a": entry("C64", [1], 0, 8)}, bytes(8)),
    "unsigned": content({"a": entry("U64", [1], 0, 8)}, bytes(8)),
    "eight bits": content({"a": entry("F8_E4M3", [1], 0, 1)}, bytes(1)),
    "no such dtype": content({"a": entry("F31", [1], 0, 4)}, bytes(4)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_name_and_fault(tmp_path, name):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD[name])
    tracemalloc.start()
    with pytest.raises(FormatError) as caught:
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: is ")
    assert peak < 8 * len(BAD[name]) + (1 << 20)


def test_every_truncation_is_noticed():
    for length in range(len(GOOD)):
        with pytest.raises(Fault):
            decode(GOOD[:length])


def test_every_changed_byte_raises_the_one_error_or_none():
    for position in range(len(GOOD)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(GOOD)
            damaged[position] ^= flip
            try:
                tensors = decode(bytes(damaged))
            except Fault:
                continue
            assert all(isinstance(tensor, Tensor) for tensor in tensors.values())


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "x.safetensors").write_bytes(GOOD)
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for attempt in (lambda path: load(path), lambda path: save({"a": np.ones(1)}, path)):
        with pytest.raises(ImportError, match=r"package safetensors: pip install 'tinygrad_cnn\[safetensors\]'"):
            attempt(tmp_path / "x.safetensors")
