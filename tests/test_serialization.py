from __future__ import annotations

import collections
import io
import json
import math
import os
import pickle
import stat
import struct
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.files import FormatError, atomic_write
from tinygrad_cnn.serialization import load, save
from tinygrad_cnn.tensor import Tensor

DTYPES = hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc" and dtype.char not in "gG")
TENSOR_DTYPES = st.sampled_from(["?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]).map(np.dtype)


def views(dtypes):
    arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ways = [lambda a: a, lambda a: a.T, lambda a: a[..., ::-1] if a.ndim else a, lambda a: a[::2] if a.ndim else a]
    return st.builds(lambda array, way: way(array), arrays, st.sampled_from(ways))


NUMBERS = st.integers() | st.floats() | st.booleans() | st.none()
SCALARS = NUMBERS | st.text() | hnp.from_dtype(np.dtype(np.float32)) | hnp.from_dtype(np.dtype(np.int64))
KEYS = st.recursive(NUMBERS | st.text(), lambda keys: st.tuples(keys, keys), max_leaves=3)
OBJECTS = st.recursive(
    SCALARS | views(DTYPES) | views(TENSOR_DTYPES).map(Tensor),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=8,
)


def dumped(obj) -> bytes:
    stream = io.BytesIO()
    save(obj, stream)
    return stream.getvalue()


def loaded(content: bytes):
    return load(io.BytesIO(content))


def same(a, b) -> bool:
    """Equal to the bit: types, signs of zeros, NaNs, dtypes, byte orders, order of keys."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return same(a.data, b.data)
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return same([*a.items()], [*b.items()])
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    return a == b


@given(OBJECTS)
def test_what_is_saved_is_loaded(obj):
    assert same(loaded(dumped(obj)), obj)


@pytest.mark.parametrize(
    "obj",
    [
        float("nan"),
        float("-inf"),
        -0.0,
        10**5000,
        -(2**53),
        5e-324,
        "\ud800\0",
        {0: {"step": 1}, "0": 2, None: 3, 1.5: 4, (1, ("a",)): 5, True: 6},
        {"tensor": 1},
        [{"dict": [[1, 2]]}, ["int", "0x1"]],
        {"a/b": np.ones(2), "a.b": np.zeros(2), "../../x": np.ones(1), "": np.ones(3), ".": np.ones(4)},
        {"x" * 1000: np.ones(2), "x" * 1001: np.zeros(2)},
        np.arange(6, dtype=">i4").reshape(2, 3).T,
        Tensor(np.array(True)),
        Tensor(np.zeros((0, 3), np.float16)),
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_the_difficult_ones(obj):
    assert same(loaded(dumped(obj)), obj)


def test_loaded_arrays_are_writable_and_tensors_need_no_gradient():
    result = loaded(dumped({"t": Tensor(np.ones(3, np.float32), requires_grad=True), "a": np.ones(2)}))
    assert result["t"].requires_grad is False
    result["a"][0] = 5
    result["t"].data[0] = 5


def test_dicts_of_any_kind_come_back_as_dicts():
    assert type(loaded(dumped(collections.OrderedDict(a=1)))) is dict


@given(st.integers(0, 3))
def test_numpy_can_read_it(count):
    state = {f"layer{i}.weight": Tensor(np.full(3, i, np.float32)) for i in range(count)}
    archive = np.load(io.BytesIO(dumped(state)), allow_pickle=False)
    assert set(archive.files) == {"structure.json", *state}
    assert all(np.array_equal(archive[name], tensor.data) for name, tensor in state.items())


def test_the_same_object_gives_the_same_bytes():
    assert dumped({"a": np.ones(3)}) == dumped({"a": np.ones(3)})


# --- what can't be saved


class Net:
    def state_dict(self):
        return {}


class Pair(collections.namedtuple("Pair", "a b")):
    pass


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"layer": [1, {2}]}, r"save: obj\['layer'\]\[1\] expects .* but got set"),
        (Net(), r"obj expects .* but got Net; save its state_dict\(\) instead"),
        ({"x": np.array([None])}, r"obj\['x'\] expects an array of numbers or bools but got dtype object"),
        (np.array(["a"]), "dtype <U1"),
        (np.zeros(2, "i4,f4"), "dtype"),
        (np.array("2020", "M8[Y]"), "dtype"),
        (np.ma.masked_array([1], [True]), "got MaskedArray"),
        (np.zeros(1, np.longdouble), "dtype float128|longdouble"),
        ([Pair(1, 2)], r"obj\[0\] expects .* got Pair"),
        (1j, "got complex"),
        (b"x", "got bytes"),
        ({b"x": 1}, "as keys but got bytes"),
        ({frozenset(): 1}, "as keys but got frozenset"),
        ({(1, 1j): 1}, "as keys but got complex"),
        (len, "got builtin_function_or_method"),
    ],
)
def test_what_has_no_place_in_a_file(tmp_path, obj, message):
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_objects_that_contain_themselves(tmp_path):
    inner = {"a": [1]}
    inner["a"].append(inner)
    with pytest.raises(ValueError, match=r"save: obj\['a'\]\[1\] contains itself"):
        save(inner, tmp_path / "x")
    twice = [1, 2]
    assert loaded(dumped([twice, twice])) == [[1, 2], [1, 2]]


def test_nesting_has_a_limit():
    def nested(levels):
        obj = 1
        for _ in range(levels):
            obj = [obj]
        return obj

    assert loaded(dumped(nested(100))) == nested(100)
    for levels in (101, 100_000):
        with pytest.raises(ValueError, match="nested deeper than 100 levels"):
            dumped(nested(levels))
    key = ()
    for _ in range(1000):
        key = (key,)
    with pytest.raises(TypeError, match="as keys"):
        dumped({key: 1})


# --- files


@pytest.mark.parametrize("name", ["model.pt", "model.npz", "model"])
def test_the_name_is_taken_as_it_is(tmp_path, name):
    save([1], tmp_path / name)
    save([2], str(tmp_path / name))
    assert os.listdir(tmp_path) == [name]
    assert load(str(tmp_path / name)) == [2]


def test_binary_streams(tmp_path):
    with open(tmp_path / "x", "wb") as stream:
        stream.write(b"before")
        save({"a": np.ones(2)}, stream)
    with open(tmp_path / "x", "rb") as stream:
        stream.seek(6)
        assert load(stream)["a"].tolist() == [1, 1]
    for mode in ("w", "r"):
        with open(tmp_path / "x", mode) as stream, pytest.raises(TypeError, match="binary mode"):
            (save if mode == "w" else lambda _, f: load(f))([1], stream)
    with pytest.raises(TypeError, match="f expects a path"):
        save([1], 3)
    with pytest.raises(TypeError, match="f expects a path"):
        load(None)


def test_pytorchs_arguments(tmp_path):
    save([1], tmp_path / "x")
    assert load(tmp_path / "x", map_location="cpu", weights_only=True) == [1]
    with pytest.raises(ValueError, match="map_location expects None or 'cpu' but got 'cuda'"):
        load(tmp_path / "x", map_location="cuda")


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    save([1], tmp_path / "x")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/x'"):
        save([np.ones(3)], tmp_path / "x")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["x"]
    assert load(tmp_path / "x") == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has file-size limits")
def test_a_full_disk_keeps_the_old_file(tmp_path):
    save([1], tmp_path / "x")
    script = """if True:
        import resource, signal, sys
        import numpy as np
        from tinygrad_cnn.serialization import save
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save(np.ones(100_000), sys.argv[1])
        except OSError as error:
            sys.exit(f"{error}")
    """
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert str(tmp_path / "x") in result.stderr
    assert os.listdir(tmp_path) == ["x"]
    assert load(tmp_path / "x") == [1]


def test_permissions_follow_the_umask_and_the_old_file(tmp_path):
    old = os.umask(0o027)
    try:
        save([1], tmp_path / "x")
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
        os.chmod(tmp_path / "x", 0o604)
        save([2], tmp_path / "x")
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o604
    finally:
        os.umask(old)


def test_links_are_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "x")
    save([1], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "folder" / "x") == [1]


def test_places_that_can_not_be_written_or_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"the folder {tmp_path}/missing does not exist"):
        save([1], tmp_path / "missing" / "x")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        save([1], tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        save([1], os.devnull)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")
    with pytest.raises(FormatError, match="not a regular file"):
        load(os.devnull)


def test_the_content_reaches_the_disk_before_the_name_does(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    with atomic_write(tmp_path / "x") as stream:
        stream.write(b"1")
        assert not (tmp_path / "x").exists()
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_refuses(tmp_path, monkeypatch):
    def refuse(path, *args):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}/x'"):
        save([1], tmp_path / "x")


def test_where_folders_can_not_be_opened(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")
    save([1], tmp_path / "x")
    assert load(tmp_path / "x") == [1]


def test_many_writers_leave_one_whole_file(tmp_path):
    def write(value):
        for _ in range(10):
            save(np.full(1000, value), tmp_path / "x")

    threads = [threading.Thread(target=write, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.ptp(load(tmp_path / "x")) == 0
    assert os.listdir(tmp_path) == ["x"]


# --- files that are not what they should be

GOOD = dumped({"w": np.arange(6.0).reshape(2, 3), "n": [1, "x"]})


def archive(members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return stream.getvalue()


def npy(header: str, values: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


def described(obj: object, **members: bytes) -> bytes:
    structure = json.dumps({"format": "tinygrad_cnn", "version": 1, "object": obj})
    return archive({"structure.json": structure.encode(), **{f"{k}.npy": v for k, v in members.items()}})


def one_array(header: str, values: bytes = b"") -> bytes:
    return described({"array": "a.npy"}, a=npy(header, values))


def numpys_own() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(3))
    return stream.getvalue()


def pickled_member() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([print]), allow_pickle=True)
    return described({"array": "a.npy"}, a=stream.getvalue())


DTYPE, ORDER = "{'descr': '<f8', 'fortran_order': False, 'shape': ", ", }"
BAD = {
    "empty": (b"", "is empty"),
    "text": (b"hello", "was not written by tinygrad_cnn.save"),
    "pickle": (pickle.dumps([1]), "is a pickle, which is never loaded"),
    "npy": (npy(DTYPE + "()" + ORDER, bytes(8)), "is a single NumPy array"),
    "truncated": (GOOD[:-1], "truncated or corrupt"),
    "only the beginning": (GOOD[:40], "truncated or corrupt"),
    "numpy's": (numpys_own(), "was not written by tinygrad_cnn.save: it has no structure.json"),
    "torch's": (archive({"archive/data.pkl": b"", "archive/version": b"3"}), "was written by torch.save"),
    "deflated": (archive({"structure.json": bytes(10**6)}, zipfile.ZIP_DEFLATED), "is compressed"),
    "path": (archive({"structure.json": b"", "../x.npy": b""}), r"unexpected name: '../x.npy'"),
    "absolute path": (archive({"structure.json": b"", "/x.npy": b""}), "unexpected name"),
    "hidden": (archive({"structure.json": b"", ".x.npy": b""}), "unexpected name"),
    "stranger": (archive({"structure.json": b"", "x.exe": b""}), "unexpected name"),
    "no JSON": (archive({"structure.json": b"{"}), "structure.json can't be read"),
    "no ASCII": (archive({"structure.json": b"\xff"}), "structure.json can't be read"),
    "NaN": (archive({"structure.json": b"NaN"}), "structure.json can't be read"),
    "deep": (archive({"structure.json": b"[" * 10**6}), "structure.json can't be read"),
    "long number": (archive({"structure.json": b"1" * 10**5}), "structure.json can't be read"),
    "another JSON": (archive({"structure.json": b"[]"}), "was not written by"),
    "new version": (
        archive({"structure.json": b'{"format": "tinygrad_cnn", "version": 2}'}),
        "format version 2, this library reads 1",
    ),
    "bare list": (described([1]), "does not describe an object"),
    "two kinds": (described({"list": [], "dict": []}), "does not describe an object"),
    "unknown kind": (described({"pickle": ""}), "does not describe an object"),
    "list of nothing": (described({"list": 3}), "has a list that is none"),
    "dict of nothing": (described({"dict": [3]}), "has a dict that is none"),
    "bad key": (described({"dict": [[[], 3]]}), "has a key that is none"),
    "array as key": (described({"dict": [[{"array": "a.npy"}, 3]]}), "does not describe"),
    "key twice": (described({"dict": [[1, 2], [1, 3]]}), "has the key 1 twice"),
    "bad int": (described({"int": "1_0"}), "does not describe"),
    "bad float": (described({"float": "1e5"}), "does not describe"),
    "missing array": (described({"array": "b.npy"}), "the array 'b.npy' is missing, or used twice"),
    "array's name": (described({"array": ["b.npy"]}), "missing"),
    "structure as array": (described({"array": "structure.json"}), "missing"),
    "array twice": (
        described({"list": [{"array": "a.npy"}] * 2}, a=npy(DTYPE + "()" + ORDER, bytes(8))),
        "used twice",
    ),
    "left over": (described(1, a=b""), "a member that belongs to nothing: 'a.npy'"),
    "no npy": (described({"array": "a.npy"}, a=b"xxxx"), "'a.npy' is not in NumPy's .npy format"),
    "pickled array": (pickled_member(), "header that save does not write"),
    "code in header": (one_array("{'descr': '<f8', 'fortran_order': exit(), 'shape': (), }"), "header"),
    "absurd shape": (one_array(DTYPE + "(999999999999, 999999)" + ORDER), "0 bytes of values, which is not"),
    "more than 64 bits": (one_array(DTYPE + "(99999999999999999999,)" + ORDER), "a shape that is none"),
    "impossible empty": (one_array(DTYPE + f"(0, {2**62}, 9)" + ORDER), "impossible shape"),
    "many dimensions": (one_array(DTYPE + "(" + "1, " * 65 + ")" + ORDER, bytes(8)), "impossible shape"),
    "short values": (one_array(DTYPE + "(2,)" + ORDER, bytes(15)), "15 bytes of values"),
    "long values": (one_array(DTYPE + "(2,)" + ORDER, bytes(17)), "17 bytes of values"),
    "bad shape": (one_array(DTYPE + "(1,,2)" + ORDER, bytes(8)), "a shape that is none"),
    "unknown dtype": (
        one_array("{'descr': '<f7', 'fortran_order': False, 'shape': (), }"),
        "unknown dtype '<f7'",
    ),
    "long double": (one_array("{'descr': '<f16', 'fortran_order': False, 'shape': (), }"), "dtype '<f16'"),
    "bools": (
        one_array("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", b"\1\2"),
        "bools that are neither 0 nor 1",
    ),
    "complex tensor": (
        described({"tensor": "a.npy"}, a=npy("{'descr': '<c8', 'fortran_order': False, 'shape': (), }", bytes(8))),
        "tensor of dtype complex64",
    ),
    "big scalar": (
        described({"scalar": "a.npy"}, a=npy(DTYPE + "(1,)" + ORDER, bytes(8))),
        "a scalar of shape",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_name_and_fault(tmp_path, name):
    content, fault = BAD[name]
    (tmp_path / "bad.pt").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(FormatError, match=fault) as caught:
        load(tmp_path / "bad.pt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{tmp_path}/bad.pt: ")
    assert caught.value.path == str(tmp_path / "bad.pt")
    assert peak < 64 * len(content) + (1 << 20)


def test_the_error_of_a_stream_names_it():
    with pytest.raises(FormatError, match="the stream: is empty"):
        loaded(b"")


def test_two_members_of_one_name():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as writer:
        writer.writestr("structure.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            writer.writestr("structure.json", b"[]")
    with pytest.raises(FormatError, match="two members of the same name"):
        loaded(stream.getvalue())


def test_the_directory_may_not_lie_about_sizes():
    directory = GOOD.index(b"PK\x01\x02")
    one_size, both_sizes = bytearray(GOOD), bytearray(GOOD)
    struct.pack_into("<I", one_size, directory + 24, 10**9)
    struct.pack_into("<II", both_sizes, directory + 20, 10**9, 10**9)
    with pytest.raises(FormatError, match=r"'structure\.json' has two sizes"):
        loaded(bytes(one_size))
    with pytest.raises(FormatError, match="its members are larger than the file"):
        loaded(bytes(both_sizes))


def test_every_truncation_is_noticed():
    for length in range(len(GOOD)):
        with pytest.raises(FormatError):
            loaded(GOOD[:length])


def test_every_changed_byte_is_noticed_or_harmless():
    """No exception but the documented one; and where there is none, no value has changed."""
    good = loaded(GOOD)
    for position in range(len(GOOD)):
        for flip in (0x01, 0x80, 0xFF):
            content = bytearray(GOOD)
            content[position] ^= flip
            with suppress(FormatError):
                assert same(loaded(bytes(content)), good)


@given(st.data())
def test_random_damage_raises_nothing_else(data):
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not content:
            break
    with suppress(FormatError):
        loaded(bytes(content))


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.sampled_from(["a.npy", "0x1", "nan"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["list", "tuple", "dict", "array", "tensor", "scalar", "int", "float", "?"]),
            inner,
            max_size=2,
        )
    ),
)


@given(JSON, st.text("<>|=bif248 '(){}:,descrTufalhpon_", max_size=80), st.binary(max_size=20))
def test_random_structures_and_headers_raise_nothing_else(obj, header, values):
    with suppress(FormatError):
        loaded(described(obj, a=npy(header, values)))
