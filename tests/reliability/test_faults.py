"""Full disks, folders that refuse, files that change under the reader: the old file survives, the message is clear."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tinygrad_cnn import nn
from tinygrad_cnn.checkpoint import Checkpoint
from tinygrad_cnn.files import FormatError
from tinygrad_cnn.serialization import load, save

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has such limits and permissions")


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@posix
def test_a_full_disk_keeps_the_checkpoints_before(tmp_path):
    script = """if True:
        import resource, signal, sys
        from tinygrad_cnn import nn
        from tinygrad_cnn.checkpoint import Checkpoint
        checkpoint = Checkpoint(sys.argv[1], keep=1, model=nn.Linear(300, 300))
        checkpoint.save(1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            checkpoint.save(2)
        except OSError as error:
            sys.exit(f"{error}")
    """
    result = python(script, tmp_path)
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert str(tmp_path / "step-00000002.npz") in result.stderr
    assert os.listdir(tmp_path) == ["step-00000001.npz"]
    assert Checkpoint(tmp_path, model=nn.Linear(300, 300)).restore() == {"step": 1}


@posix
@pytest.mark.parametrize("name", ["x.npz", "x.safetensors"])
def test_a_read_only_folder_keeps_its_file(name):
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    folder = Path(tempfile.mkdtemp())  # tmp_path lies below folders that another user may not enter
    try:
        save({"a": np.zeros(2)}, folder / name)
        folder.chmod(0o555)
        script = """if True:
            import os, sys
            import numpy as np
            from tinygrad_cnn.serialization import load, save
            load(sys.argv[1])
            if sys.argv[1].endswith("safetensors"):  # imported while Python's own folders can still be read
                import safetensors, safetensors.numpy
            if os.geteuid() == 0:  # who may write everywhere
                os.setuid(65534)
            try:
                save({"a": np.ones(2)}, sys.argv[1])
            except OSError as error:
                sys.exit(f"{type(error).__name__}: {error}")
        """
        result = python(script, folder / name)
        assert (result.returncode, os.listdir(folder)) == (1, [name]), result.stderr
        assert f"PermissionError: [Errno 13] Permission denied: '{folder / name}'" in result.stderr
        assert np.array_equal(np.asarray(load(folder / name)["a"]), np.zeros(2))
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


WRITER = """if True:
    import sys
    import numpy as np
    from tinygrad_cnn.serialization import save
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(60):
        save({"whole": np.full(20_000, number), "who": sys.argv[2]}, sys.argv[1])
"""


def test_two_processes_that_save_to_one_path_leave_whole_files(tmp_path):
    """And a reader meanwhile sees one version or another, never a mixture."""
    path = tmp_path / "x.npz"
    save({"whole": np.zeros(20_000), "who": "first"}, path)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), who], **pipes) for who in "AB"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        content = load(path)
        assert np.ptp(content["whole"]) == 0
        seen.add(content["who"])
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert seen & {"A", "B"}
    assert os.listdir(tmp_path) == ["x.npz"]


def test_a_file_that_is_cut_off_under_the_reader_is_refused(tmp_path, monkeypatch):
    """By a program that writes in place; the file has been opened and measured by then."""
    path = tmp_path / "x.npz"
    save({"a": np.arange(1000)}, path)
    real = os.stat

    def cut_after(name, *args, **kwargs):
        result = real(name, *args, **kwargs)
        if os.fspath(name) == str(path):
            os.truncate(path, 500)
        return result

    monkeypatch.setattr(os, "stat", cut_after)
    with pytest.raises(FormatError, match="truncated or corrupt"):
        load(str(path))
