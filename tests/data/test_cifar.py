"""CIFAR-10's binary files, in folders and in the archive."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_cnn.data import DataLoader, datasets, transforms
from tinygrad_cnn.data.cifar import read_members
from tinygrad_cnn.files import FormatError

FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
TRAIN = [f"data_batch_{number}.bin" for number in range(1, 6)]


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """Nothing is found but what a test has put into its own folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TINYGRAD_CNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.CIFAR10, "mirrors", ())


def batch(seed: int, count: int = 2) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file as CIFAR's page describes it; and its images (N, 3, 32, 32) and labels."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 3, 32, 32)).astype(np.uint8)
    labels = generator.integers(0, 10, count).astype(np.uint8)
    records = (bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True))
    return b"".join(records), images, labels


FILES = {name: batch(seed)[0] for seed, name in enumerate([*TRAIN, "test_batch.bin"])}
FILES["batches.meta.txt"] = b"airplane\n"


def put(folder: Path, files=FILES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def archived(files=FILES, prefix=f"{FOLDER}/") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("place", ["root", "data", "cache/tinygrad_cnn"])
@pytest.mark.parametrize("subfolder", ["", FOLDER, "cifar10", f"cifar10/{FOLDER}"])
@pytest.mark.parametrize("packed", [True, False])
def test_files_and_archive_are_found_in_every_place(tmp_path, place, subfolder, packed):
    put(tmp_path / place / subfolder, {ARCHIVE: archived()} if packed else FILES)
    train, test = datasets.CIFAR10(tmp_path / "root"), datasets.CIFAR10(tmp_path / "root", train=False)
    assert (len(train), len(test)) == (10, 2)
    for dataset, seeds in ((train, range(5)), (test, [5])):
        batches = [batch(seed) for seed in seeds]
        expected = np.concatenate([images for _, images, _ in batches]).transpose(0, 2, 3, 1)
        assert np.array_equal(dataset.data.data, expected)
        assert dataset.data.dtype == np.uint8
        assert dataset.targets.tolist() == [int(label) for _, _, labels in batches for label in labels]
        assert dataset.targets.dtype == np.int64


def test_the_archive_is_not_unpacked(tmp_path):
    put(tmp_path, {ARCHIVE: archived()})
    datasets.CIFAR10(tmp_path)
    assert os.listdir(tmp_path) == [ARCHIVE]


def test_samples_and_batches(tmp_path):
    put(tmp_path)
    plain = datasets.CIFAR10(str(tmp_path))
    image, label = plain[3]
    assert (type(image), image.shape, image.dtype, type(label)) == (np.ndarray, (32, 32, 3), np.uint8, int)
    assert plain.classes[6] == "frog"
    assert plain.class_to_idx["frog"] == 6
    tensors = datasets.CIFAR10(tmp_path, transform=transforms.ToTensor())
    [(images, labels)] = DataLoader(tensors, 10)
    assert images.shape == (10, 3, 32, 32)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images.data[2:4] * 255, batch(1)[1], rtol=1e-6)
    assert labels.tolist() == plain.targets.tolist()
    assert np.array_equal(tensors[3][0].data, images.data[3])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it holds 0 bytes"),
        (batch(0)[0][:-1], "it holds 6145 bytes, in records of 3073"),
        (batch(0)[0] + b"\0", "it holds 6147 bytes"),
        (bytes(3073) + b"\x0a" + bytes(3072), "labels below 10 but number 1 is 10"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_files_are_named(tmp_path, content, fault, packed):
    files = {**FILES, "data_batch_3.bin": content}
    put(tmp_path, {ARCHIVE: archived(files)} if packed else files)
    with pytest.raises(FormatError, match=fault) as caught:
        datasets.CIFAR10(tmp_path)
    assert caught.value.path.endswith("data_batch_3.bin")
    assert str(tmp_path) in str(caught.value)
    assert len(datasets.CIFAR10(tmp_path, train=False)) == 2


GOOD = archived()
PLAIN = gzip.decompress(GOOD)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not a .tar.gz archive"),
        (b"<html>", "not a .tar.gz archive"),
        (GOOD[: len(GOOD) // 2], "truncated"),
        (gzip.compress(PLAIN[:5000]), "truncated"),
        (gzip.compress(PLAIN[:512]), "truncated"),
        (gzip.compress(b"no archive" * 1000), "not a .tar.gz archive"),
        (archived({}), f"lacks {FOLDER}/data_batch_1.bin"),
        (archived({"data_batch_1.bin": b""}), "lacks .*data_batch_2.bin"),
        (archived(prefix=""), "lacks"),
        (archived(prefix="../"), "lacks"),
    ],
)
def test_damaged_archives_are_refused(tmp_path, content, fault):
    put(tmp_path, {ARCHIVE: content})
    with pytest.raises(FormatError, match=fault):
        datasets.CIFAR10(tmp_path)


def test_links_and_folders_in_an_archive_have_no_effect(tmp_path):
    put(tmp_path, {"secret": batch(0)[0]})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
            member.type, member.linkname = kind, str(tmp_path / "secret")
            archive.addfile(member)
        outside = tarfile.TarInfo(f"../../{tmp_path.name}/outside")
        archive.addfile(outside, io.BytesIO())
    put(tmp_path / "in", {ARCHIVE: stream.getvalue()})
    with pytest.raises(FormatError, match="lacks"):
        datasets.CIFAR10(tmp_path / "in", train=False)
    assert sorted(os.listdir(tmp_path)) == ["in", "secret"]


def test_an_archive_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tinygrad_cnn.data.cifar._ALWAYS_ALLOWED", 1 << 16)
    put(tmp_path, {ARCHIVE: archived({"zeros": bytes(1 << 20), **FILES})})
    assert (tmp_path / ARCHIVE).stat().st_size * 20 < 1 << 20
    with pytest.raises(FormatError, match="expands to more than 20 times its size"):
        datasets.CIFAR10(tmp_path)


def test_a_sparse_file_in_an_archive_claims_no_memory(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
        member.size = 1
        member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
        archive.addfile(member, io.BytesIO(b"1"))
    put(tmp_path, {ARCHIVE: stream.getvalue()})
    with pytest.raises(FormatError, match="lacks"):
        datasets.CIFAR10(tmp_path, train=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=4), st.integers(0, 3000))
def test_no_archive_raises_anything_undocumented(tmp_path, changes, end):
    """Bytes of the tar are overwritten, most of them in the headers."""
    content = bytearray(archived({"a": b"1", "b": b"2" * 600}, prefix=""))
    plain = bytearray(gzip.decompress(content))
    for start, new in changes:
        plain[start : start + len(new)] = new
    path = tmp_path / ARCHIVE
    path.write_bytes(gzip.compress(plain[: len(plain) - end], 1))
    with contextlib.suppress(FormatError):
        assert all(isinstance(member, bytes) for member in read_members(path, ["a", "b"]))


def test_without_files_the_error_tells_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=True") as caught:
        datasets.CIFAR10(tmp_path / "root")
    for place in ("root", "data", "cache/tinygrad_cnn"):
        assert str(tmp_path / place) in str(caught.value)


def test_wrong_arguments():
    for arguments in ({"train": "test"}, {"download": 1}, {"root": 3}):
        with pytest.raises(TypeError, match=f"CIFAR10: {next(iter(arguments))} expects"):
            datasets.CIFAR10(**arguments)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="not a regular file"):
        read_members(tmp_path / "pipe", ["a"])
