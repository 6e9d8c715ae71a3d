from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tinygrad_cnn.data import datasets, write_idx
from tinygrad_cnn.data.download import _open, _secure_redirects, download
from tinygrad_cnn.files import Checksum, DownloadError

CONTENT = bytes(range(256)) * 300
GZIPPED = gzip.compress(CONTENT)
CHECKSUM = Checksum(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Server:
    """A loopback mirror farm: the first folder of a URL tells how the mirror behaves."""

    def __init__(self):
        self.files: dict[str, bytes] = {"file.gz": GZIPPED}
        self.requests: list[str] = []
        farm = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                farm.requests.append(self.path)
                behaviour, name = self.path.strip("/").split("/")
                body = farm.files.get(name)
                if body is None or behaviour == "missing":
                    return self.send_error(404)
                if behaviour == "broken":
                    return self.send_error(503)
                if behaviour == "silent":
                    time.sleep(0.6)
                    return None
                if behaviour == "mute":
                    return None  # hangs up without an answer
                if behaviour == "redirect":
                    self.send_response(302)
                    self.send_header("Location", f"/good/{name}")
                    self.end_headers()
                    return None
                if behaviour == "altered":
                    body = gzip.compress(gzip.decompress(body)[:-1] + b"?")
                if behaviour == "longer":
                    body = gzip.compress(gzip.decompress(body) + b"?")
                if behaviour == "endless":
                    body = body * 100
                if behaviour == "html":
                    body = b"<html>please log in</html>"
                self.send_response(200)
                if behaviour != "unannounced":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                half = body[: len(body) // 2]
                self.wfile.write(half if behaviour in ("cut", "stalled") else body)
                if behaviour == "stalled":
                    self.wfile.flush()
                    time.sleep(0.6)
                return None

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __getitem__(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{behaviour}/"


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.mark.parametrize("behaviour", ["good", "unannounced", "redirect"])
def test_a_good_mirror_delivers(server, tmp_path, behaviour):
    path = download("file.gz", [server[behaviour]], tmp_path / "new" / "folder", CHECKSUM)
    assert path == tmp_path / "new" / "folder" / "file.gz"
    assert path.read_bytes() == GZIPPED
    assert os.listdir(path.parent) == ["file.gz"]


FAULTS = {
    "missing": "answers 404",
    "broken": "answers 503",
    "silent": "timed out",
    "mute": "closed connection|reset",
    "stalled": "timed out",
    "cut": f"cut off after {len(GZIPPED) // 2} of {len(GZIPPED)} bytes",
    "altered": "its SHA-256 is",
    "longer": f"more than {len(CONTENT)} bytes",
    "endless": "sends more than",
    "html": "[Nn]ot a gzipped file",
}


@pytest.mark.parametrize("behaviour", FAULTS)
def test_a_bad_mirror_is_passed_over_and_leaves_nothing(server, tmp_path, behaviour):
    timeout = 0.3
    if behaviour == "endless":
        server.files["file.gz"] = gzip.compress(CONTENT, 0)
    with pytest.raises(DownloadError, match=FAULTS[behaviour]) as caught:
        download("file.gz", [server[behaviour]], tmp_path, CHECKSUM, timeout)
    assert server[behaviour] in str(caught.value)
    assert os.listdir(tmp_path) == []
    if behaviour != "endless":
        path = download("file.gz", [server[behaviour], server["good"]], tmp_path, CHECKSUM, timeout)
        assert path.read_bytes() == GZIPPED


WHOLE = Checksum(len(GZIPPED), hashlib.sha256(GZIPPED).hexdigest(), decompressed=False)


def test_a_checksum_of_the_file_itself_asks_for_no_gzip(server, tmp_path):
    assert download("file.gz", [server["good"]], tmp_path, WHOLE).read_bytes() == GZIPPED
    server.files["file.gz"] = b"plain"
    plain = Checksum(5, hashlib.sha256(b"plain").hexdigest(), decompressed=False)
    assert download("file.gz", [server["good"]], tmp_path, plain).read_bytes() == b"plain"


@pytest.mark.parametrize("behaviour", ["altered", "cut", "html", "longer", "stalled"])
def test_a_bad_mirror_is_passed_over_by_the_checksum_of_the_file_too(server, tmp_path, behaviour):
    with pytest.raises(DownloadError, match=r"its SHA-256 is|sends more than|cut off|timed out"):
        download("file.gz", [server[behaviour]], tmp_path, WHOLE, 0.3)
    assert os.listdir(tmp_path) == []
    download("file.gz", [server[behaviour], server["good"]], tmp_path, WHOLE, 0.3)


def test_a_cut_off_file_without_a_length_is_noticed(server, tmp_path):
    server.files["file.gz"] = GZIPPED[:-5]
    with pytest.raises(DownloadError, match="ended before"):
        download("file.gz", [server["unannounced"]], tmp_path, CHECKSUM)
    assert os.listdir(tmp_path) == []


def test_mirrors_are_tried_in_order(server, tmp_path):
    download("file.gz", [server["missing"], server["good"], server["broken"]], tmp_path, CHECKSUM)
    assert server.requests == ["/missing/file.gz", "/good/file.gz"]


def test_the_error_tells_every_mirrors_fault(server, tmp_path):
    mirrors = [server["missing"], "http://127.0.0.1:1/", "https://name.invalid/", server["cut"]]
    with pytest.raises(DownloadError) as caught:
        download("file.gz", mirrors, tmp_path, CHECKSUM, 2.0)
    assert all(f"{mirror}file.gz: " in str(caught.value) for mirror in mirrors)
    with pytest.raises(DownloadError, match="no mirror"):
        download("file.gz", [], tmp_path, CHECKSUM)


def test_a_failed_download_keeps_the_file_that_was_there(server, tmp_path):
    (tmp_path / "file.gz").write_bytes(b"old")
    with pytest.raises(DownloadError):
        download("file.gz", [server["altered"]], tmp_path, CHECKSUM)
    assert (tmp_path / "file.gz").read_bytes() == b"old"


def test_an_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_cnn.data.download._verify", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download("file.gz", [server["good"]], tmp_path, CHECKSUM)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_can_not_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=f"cannot make the folder {tmp_path}/file/x"):
        download("file.gz", [server["good"]], tmp_path / "file" / "x", CHECKSUM)
    assert server.requests == []


def test_a_folder_that_can_not_be_written_to(server, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args, **kwargs: False)
    with pytest.raises(DownloadError, match=f"cannot write to the folder {tmp_path}"):
        download("file.gz", [server["good"]], tmp_path, CHECKSUM)
    assert server.requests == []


def test_a_name_that_is_never_found_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: time.sleep(1) or [])
    with pytest.raises(DownloadError, match="timed out"):
        download("file.gz", ["http://name/"], tmp_path, CHECKSUM, 0.1)


def test_an_answer_that_comes_too_late_is_hung_up_on(monkeypatch):
    hung_up = threading.Event()

    class Late:
        def open(self, *args, **kwargs):
            time.sleep(0.2)
            return self

        def close(self):
            hung_up.set()

    monkeypatch.setattr("urllib.request.build_opener", lambda *args: Late())
    with pytest.raises(TimeoutError):
        _open("http://name/", 0.05)
    assert hung_up.wait(10)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_goes_to_the_error_stream(server, tmp_path, monkeypatch, capsys):
    download("file.gz", [server["good"]], tmp_path, CHECKSUM)
    out, err = capsys.readouterr()
    assert out == ""
    assert server["good"] in err
    assert "\r" not in err
    for behaviour, shown in (("good", "[##############################] 100%"), ("unannounced", "MB")):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        download("file.gz", [server[behaviour]], tmp_path, CHECKSUM)
        assert "\rfile.gz " in terminal.getvalue()
        assert shown in terminal.getvalue()
        assert terminal.getvalue().endswith("\n")
    monkeypatch.setattr("sys.stderr", None)
    download("file.gz", [server["good"]], tmp_path, CHECKSUM)


def test_https_is_never_left():
    request = urllib.request.Request("https://host/file")
    with pytest.raises(urllib.error.URLError, match="redirected from https"):
        _secure_redirects().redirect_request(request, io.BytesIO(), 302, "Found", {}, "http://host/file")


@pytest.mark.parametrize("cls", [datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST, datasets.CIFAR10])
def test_the_mirrors_are_https(cls):
    assert cls.mirrors
    assert all(mirror.startswith("https://") for mirror in cls.mirrors)


@pytest.fixture
def mirrored_mnist(server, tmp_path, monkeypatch):
    """MNIST with two images, whose files only the server has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGRAD_CNN_DATA", raising=False)
    checksums = {}
    for name, array in (
        ("train-images-idx3-ubyte", np.ones((2, 28, 28), np.uint8)),
        ("train-labels-idx1-ubyte", np.array([3, 1], np.uint8)),
    ):
        write_idx(tmp_path / "original", array)
        content = (tmp_path / "original").read_bytes()
        server.files[f"{name}.gz"] = gzip.compress(content)
        checksums[name] = Checksum(len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(datasets.MNIST, "checksums", checksums)
    monkeypatch.setattr(datasets.MNIST, "mirrors", (server["missing"], server["good"]))
    return tmp_path


def test_mnist_is_downloaded_once_into_the_cache(mirrored_mnist, server):
    assert datasets.MNIST(download=True).targets.data.tolist() == [3, 1]
    folder = mirrored_mnist / "cache" / "tinygrad_cnn" / "MNIST" / "raw"
    assert sorted(os.listdir(folder)) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    asked = len(server.requests)
    assert len(datasets.MNIST(download=True)) == 2
    assert len(datasets.MNIST()) == 2
    assert len(server.requests) == asked


def test_mnist_is_downloaded_into_root_where_torchvision_looks(mirrored_mnist):
    assert len(datasets.MNIST(mirrored_mnist / "root", download=True)) == 2
    assert (mirrored_mnist / "root" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").exists()
    assert not (mirrored_mnist / "cache").exists()


def test_only_what_is_missing_is_downloaded(mirrored_mnist, server):
    datasets.MNIST(mirrored_mnist, download=True)
    os.unlink(mirrored_mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz")
    server.requests.clear()
    assert len(datasets.MNIST(mirrored_mnist, download=True)) == 2
    assert all("labels" in request for request in server.requests)


def test_nothing_is_downloaded_unasked(mirrored_mnist, server):
    with pytest.raises(FileNotFoundError):
        datasets.MNIST()
    assert server.requests == []


def test_kmnist_is_checked_by_its_gzipped_files(mirrored_mnist, server, monkeypatch):
    names = [name for name in server.files if "ubyte" in name]
    checksums = {
        name.removesuffix(".gz"): Checksum(len(body), hashlib.sha256(body).hexdigest(), decompressed=False)
        for name, body in server.files.items()
        if name in names
    }
    monkeypatch.setattr(datasets.KMNIST, "checksums", checksums)
    monkeypatch.setattr(datasets.KMNIST, "mirrors", (server["altered"], server["good"]))
    monkeypatch.setattr(datasets.MNIST, "checksums", {})
    assert datasets.KMNIST(download=True).targets.tolist() == [3, 1]
    folder = mirrored_mnist / "cache" / "tinygrad_cnn" / "KMNIST" / "raw"
    assert sorted(os.listdir(folder)) == sorted(names)
    assert len(server.requests) == 4


@pytest.fixture
def mirrored_cifar(server, tmp_path, monkeypatch):
    """CIFAR-10's test set with three images, in an archive that only the server has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYGRAD_CNN_DATA", raising=False)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.size = 3 * 3073
        archive.addfile(member, io.BytesIO(bytes(3 * 3073)))
    body = server.files["cifar-10-binary.tar.gz"] = stream.getvalue()
    checksum = Checksum(len(body), hashlib.sha256(body).hexdigest(), decompressed=False)
    monkeypatch.setattr(datasets.CIFAR10, "checksum", checksum)
    monkeypatch.setattr(datasets.CIFAR10, "mirrors", (server["missing"], server["cut"], server["good"]))
    return tmp_path


def test_cifar_is_downloaded_once_and_never_unpacked(mirrored_cifar, server):
    for root, folder in ((None, "cache/tinygrad_cnn"), (mirrored_cifar / "root", "root")):
        with pytest.raises(FileNotFoundError, match="download=True"):
            datasets.CIFAR10(root, train=False)
        assert len(datasets.CIFAR10(root, train=False, download=True)) == 3
        assert os.listdir(mirrored_cifar / folder) == ["cifar-10-binary.tar.gz"]
        asked = len(server.requests)
        assert len(datasets.CIFAR10(root, train=False, download=True)) == 3
        assert len(server.requests) == asked
        (mirrored_cifar / folder / "cifar-10-binary.tar.gz").unlink()


def test_an_archive_that_no_mirror_has_intact_is_not_kept(mirrored_cifar, server, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10, "mirrors", (server["cut"], server["altered"], "http://127.0.0.1:1/"))
    with pytest.raises(DownloadError, match="cut off") as caught:
        datasets.CIFAR10(mirrored_cifar, train=False, download=True)
    assert "SHA-256" in str(caught.value) or "more than" in str(caught.value)
    assert os.listdir(mirrored_cifar) == []


def test_an_unwritable_cache_is_named(mirrored_mnist):
    (mirrored_mnist / "cache").write_text("not a folder")
    with pytest.raises(DownloadError, match=str(mirrored_mnist / "cache")):
        datasets.MNIST(download=True)
