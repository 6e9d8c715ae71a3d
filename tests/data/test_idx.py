from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.data import read_idx, write_idx
from tinygrad_cnn.files import FormatError

DTYPES = st.sampled_from([order + name for name in ("u1", "i1", "i2", "i4", "f4", "f8") for order in "<>"])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
GOOD = struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@given(ARRAYS, st.sampled_from(["x", "x.gz"]), st.booleans())
def test_what_is_written_is_read(folder, array, name, transposed):
    array = array.T if transposed else array
    write_idx(folder / name, array)
    result = read_idx(folder / name)
    assert result.dtype == array.dtype.newbyteorder("=")
    assert result.dtype.isnative
    assert result.shape == array.shape
    assert result.tobytes() == array.astype(result.dtype).tobytes()
    assert result.flags.writeable


@given(ARRAYS)
def test_content_decides_about_gzip_not_the_name(folder, array):
    write_idx(folder / "a.gz", array)
    (folder / "b").write_bytes((folder / "a.gz").read_bytes())
    (folder / "c.gz").write_bytes(gzip.decompress((folder / "a.gz").read_bytes()))
    assert (
        read_idx(folder / "b").tobytes() == read_idx(folder / "c.gz").tobytes() == read_idx(folder / "a.gz").tobytes()
    )


def test_the_layout_is_lecuns(tmp_path):
    assert read_idx(written(tmp_path, GOOD)).tolist() == [[0, 1, 2], [3, 4, 5]]
    write_idx(tmp_path / "x", np.array([1, -2], np.int16))
    assert (tmp_path / "x").read_bytes() == bytes.fromhex("00000b01 00000002 0001 fffe")


def test_the_same_array_gives_the_same_bytes(tmp_path):
    write_idx(tmp_path / "a.gz", np.arange(9, dtype=np.uint8))
    write_idx(tmp_path / "b.gz", np.arange(9, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


FAULTS = {
    "empty": (b"", "truncated"),
    "short magic": (b"\0\0\x08", "truncated"),
    "short sizes": (GOOD[:9], "truncated: it ends within its 2 sizes"),
    "short values": (GOOD[:-1], r"truncated: sizes \(2, 3\) need 6 bytes of values but it holds 5"),
    "trailing bytes": (GOOD + b"\0", "trailing bytes"),
    "wrong first byte": (b"\x01" + GOOD[1:], "magic number is 0x01000802"),
    "wrong type": (b"\0\0\x0a\x02" + GOOD[4:], "magic number is 0x00000a02"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
    "too many dimensions": (b"\0\0\x08\xff" + b"\0\0\0\1" * 255, "impossible sizes: 255 dimensions"),
    "sizes beyond memory": (b"\0\0\x0e\x04" + b"\xff" * 16, "impossible sizes"),
    "sizes beyond the file": (b"\0\0\x08\x01\xff\xff\xff\xff", "truncated: .* need 4294967295 bytes"),
    "empty with impossible sizes": (b"\0\0\x08\x04\0\0\0\0" + b"\xff" * 12, "impossible sizes"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_fault_has_its_own_error(tmp_path, name, compressed):
    content, fault = FAULTS[name]
    path = written(tmp_path, gzip.compress(content) if compressed else content)
    if compressed and name == "sizes beyond the file":
        fault = "impossible sizes"
    with pytest.raises(FormatError, match=fault) as caught:
        read_idx(path)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)


GZIPPED = gzip.compress(GOOD * 1, mtime=0)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (GZIPPED[:2], "truncated"),
        (GZIPPED[:12], "truncated"),
        (GZIPPED[:-1], "truncated"),
        (GZIPPED[:-8], "truncated"),
        (GZIPPED[:-8] + bytes(8), "corrupt gzip"),
        (GZIPPED[:2] + b"\xff" + GZIPPED[3:], "corrupt gzip"),
        (GZIPPED[:12] + b"\xff\xff\xff" + GZIPPED[15:], "corrupt gzip"),
        (GZIPPED + b"garbage", "corrupt gzip"),
        (GZIPPED + gzip.compress(b"more"), "trailing bytes"),
    ],
)
def test_damaged_gzip_files(tmp_path, content, fault):
    with pytest.raises(FormatError, match=fault):
        read_idx(written(tmp_path, content))


@given(st.data())
def test_random_damage_is_harmless(folder, data):
    content = bytearray(data.draw(st.sampled_from([GOOD, GZIPPED])))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with suppress(FormatError):
        read_idx(written(folder, bytes(content)))


def peak_of_refusal(path) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_claim_costs_no_memory(tmp_path):
    claim = b"\0\0\x08\x01" + struct.pack(">I", 60_000_000)
    assert peak_of_refusal(written(tmp_path, claim)) < 1 << 20
    assert peak_of_refusal(written(tmp_path, gzip.compress(claim))) < 1 << 20


@pytest.mark.parametrize("claimed", [100, 200_000_000])
def test_a_gzip_bomb_is_not_expanded(tmp_path, claimed):
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(b"\0\0\x08\x01" + struct.pack(">I", claimed))
    bomb += b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    assert peak_of_refusal(written(tmp_path, bomb)) < 2 << 20


def test_blank_images_compress_well_and_are_no_bomb(tmp_path):
    write_idx(tmp_path / "blank.gz", np.zeros((10_000, 28, 28), np.uint8))
    assert read_idx(tmp_path / "blank.gz").shape == (10_000, 28, 28)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        read_idx(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FormatError, match="not a regular file"):
            read_idx(tmp_path / "pipe")


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint16, np.complex64, "U1", object])
def test_dtypes_that_idx_lacks_are_refused(tmp_path, dtype):
    with pytest.raises(TypeError, match="write_idx: array expects dtype"):
        write_idx(tmp_path / "x", np.zeros(2, dtype))
    assert os.listdir(tmp_path) == []


def test_what_can_not_be_written(tmp_path):
    with pytest.raises(TypeError, match="expects an ndarray but got list"):
        write_idx(tmp_path / "x", [1, 2])
    with pytest.raises(ValueError, match=r"below 2\*\*32"):
        write_idx(tmp_path / "x", np.broadcast_to(np.uint8(0), (2**32,)))
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist"):
        write_idx(tmp_path / "missing" / "x", np.zeros(2, np.uint8))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif("TINYGRAD_CNN_DATA" not in os.environ, reason="TINYGRAD_CNN_DATA is not set")
def test_real_files_survive_a_round_trip(tmp_path):
    source = Path(os.environ["TINYGRAD_CNN_DATA"]) / "mnist" / "t10k-labels-idx1-ubyte.gz"
    if not source.exists():
        pytest.skip("MNIST is not in TINYGRAD_CNN_DATA")
    write_idx(tmp_path / "labels", read_idx(source))
    assert (tmp_path / "labels").read_bytes() == gzip.decompress(source.read_bytes())
