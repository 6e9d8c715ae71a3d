"""Feed the readers with damaged, foreign and hostile input; nothing but the documented errors may come out.

    python tests/reliability/fuzz.py                            a million inputs, some ten minutes
    python tests/reliability/fuzz.py --only idx load --inputs 20000
    python tests/reliability/fuzz.py --engine hypothesis        draws by Hypothesis, which shrinks what it finds
    python tests/reliability/fuzz.py --engine atheris --only picture

The inputs are good files, mutated: bytes changed, cut, repeated, swapped between files, lengths and counts replaced by
absurd ones. Checksums are made right again in most of them, so that the damage reaches what lies behind. Each input has
a time limit of 10 seconds. The address space is limited to 512 MiB more than at the start, so that a length that is
believed ends in a MemoryError, and for every 500th input all allocations are traced: at most 64 times the input, plus
4 MiB. (A picture may take some bytes for each of its pixels, of which it always may have 4 million.)
"""

from __future__ import annotations

import argparse
import functools
import gzip
import inspect
import io
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tinygrad_cnn as tg
from tinygrad_cnn import nn, npz_reader, optim, safetensors_format
from tinygrad_cnn.data import DataLoader, TensorDataset, idx, picture
from tinygrad_cnn.data.idx import read_idx, write_idx
from tinygrad_cnn.data.picture import read_digit
from tinygrad_cnn.files import FormatError
from tinygrad_cnn.safetensors_format import encode

TIME_LIMIT = 10
MEMORY_LIMIT = 512 << 20
TRACED = 500
# The share of the inputs that a target gets: pictures and state dicts take longer.
SHARES = {"idx": 0.3, "load": 0.2, "safetensors": 0.3, "picture": 0.15, "state": 0.05}

INTERESTING = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    64,
    65,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63,
]


class TooSlow(Exception):
    """An input took longer than the time limit."""


# ------------------------------------------------------------------------------------------ mutation


def mutated(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """Change one to four places of `content`; `other` is a file to take pieces from."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(data) + 1) if draw.random() < 0.5 else draw.randrange(min(len(data), 64) + 1)
        length = draw.choice([1, 1, 2, 4, 8, draw.randint(1, 64)])
        way = draw.randrange(7)
        if way == 0 and place < len(data):
            data[place] ^= 1 << draw.randrange(8)
        elif way == 1:
            size = draw.choice([1, 2, 4, 8])
            value = draw.choice(INTERESTING) % (1 << 8 * size)
            data[place : place + size] = value.to_bytes(size, draw.choice(["big", "little"]))
        elif way == 2:
            del data[place : place + length]
        elif way == 3:
            data[place:place] = draw.randbytes(length)
        elif way == 4:
            data[place:place] = data[place : place + length] * draw.choice([1, 2, 50])
        elif way == 5:
            start = draw.randrange(len(other) + 1)
            data[place : place + length] = other[start : start + length]
        elif draw.random() < 0.2:
            del data[place:]
    return bytes(data)


def mutated_text(text: str, words: list[str], draw: random.Random) -> str:
    """Replace a token of JSON or of a header by another one."""
    for _ in range(draw.randint(1, 3)):
        place, length = draw.randrange(len(text) + 1), draw.choice([0, 1, 1, 2, 5])
        text = text[:place] + draw.choice(words) + text[place + length :]
    return text


WORDS = [
    *"[]{}(),:\"'-0129",
    "null",
    "true",
    "NaN",
    "1e999",
    '"list"',
    '"dict"',
    '"array"',
    '"tensor"',
    '"scalar"',
    '"int"',
    '"0x1"',
]
WORDS += [
    "4294967296",
    "9223372036854775807",
    "99999999999999999999",
    "<f8",
    "|b1",
    ">i4",
    "<c16",
    "|O",
    "True",
    '"F32"',
    '"BOOL"',
    '"BF16"',
]


# ------------------------------------------------------------------------------------------ targets


class IDX:
    """Plain and gzipped IDX files."""

    documented = (FormatError,)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.idx"
        arrays = [np.zeros((2, 3, 4), np.uint8), np.arange(5, dtype=np.int32), np.ones((2, 2)), np.array(7, np.uint8)]
        self.good = []
        for array in arrays:
            write_idx(self.path, array)
            self.good.append(self.path.read_bytes())

    def make(self, draw: random.Random) -> bytes:
        content = mutated(draw.choice(self.good), draw.choice(self.good), draw)
        if draw.random() < 0.3:
            content = gzip.compress(content, 1)
            if draw.random() < 0.5:
                content = mutated(content, content, draw)
        return content

    def run(self, content: bytes) -> None:
        self.path.write_bytes(content)
        read_idx(self.path)


class Load:
    """What tinygrad_cnn.save writes: the members of the archive, and the archive itself."""

    documented = (FormatError,)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.npz"
        state = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)).state_dict()
        self.members = []
        for obj in (
            state,
            {"a": [1, (2.5, "x"), {(1, "k"): None}], "b": np.float32(3), "c": np.zeros((0, 2), bool), "d": 2**70},
        ):
            tg.save(obj, self.path)
            with zipfile.ZipFile(self.path) as archive:
                self.members.append({name: archive.read(name) for name in archive.namelist()})

    def make(self, draw: random.Random) -> bytes:
        members = dict(draw.choice(self.members))
        for _ in range(draw.randint(0, 2)):
            name = draw.choice(list(members))
            content = members.pop(name)
            if draw.random() < 0.5:
                content = mutated_text(content.decode("latin-1"), WORDS, draw).encode("latin-1")
            else:
                content = mutated(content, draw.choice(list(members.values()) or [b""]), draw)
            if draw.random() < 0.1:
                name = draw.choice(["../" + name, "/etc/x.npy", name.upper(), "x.pkl", "\u00e9.npy", name + "\0"])
            members[name] = content
        stream = io.BytesIO()
        with zipfile.ZipFile(
            stream, "w", zipfile.ZIP_DEFLATED if draw.random() < 0.05 else zipfile.ZIP_STORED
        ) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        content = stream.getvalue()
        return mutated(content, content, draw) if draw.random() < 0.4 else content

    def run(self, content: bytes) -> None:
        self.path.write_bytes(content)
        tg.load(self.path)


class Safetensors:
    """Headers and bodies of .safetensors files."""

    documented = (FormatError,)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.safetensors"
        arrays = {
            "w": np.ones((2, 3), np.float32),
            "b": np.zeros(3),
            "n": np.array(1),
            "m": np.array([True]),
            "e": np.ones((0, 4)),
        }
        self.good = [encode({}), encode({"w": arrays["w"]}), encode(arrays)]

    def make(self, draw: random.Random) -> bytes:
        content = draw.choice(self.good)
        if draw.random() < 0.3:
            return mutated(content, draw.choice(self.good), draw)
        size = struct.unpack("<Q", content[:8])[0]
        text = mutated_text(content[8 : 8 + size].decode(), WORDS, draw).encode()
        body = content[8 + size :]
        return struct.pack("<Q", len(text)) + text + (mutated(body, text, draw) if draw.random() < 0.2 else body)

    def run(self, content: bytes) -> None:
        self.path.write_bytes(content)
        tg.load(self.path)


class Picture:
    """Pictures in every format, with PNG's checksums made right again."""

    documented = (FormatError,)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.png"
        gray = Image.fromarray(np.pad(np.full((6, 3), 250, np.uint8), 5))
        pictures = {
            "PNG": [
                gray,
                gray.convert("1"),
                gray.convert("P"),
                gray.convert("LA"),
                gray.convert("RGBA"),
                gray.convert("I;16"),
            ],
            "JPEG": [gray, gray.convert("CMYK")],
            "GIF": [gray],
            "BMP": [gray, gray.convert("1")],
            "WEBP": [gray.convert("RGB"), gray.convert("RGBA")],
            "PPM": [gray, gray.convert("1"), gray.convert("RGB"), gray.convert("F")],
        }
        self.good = []
        for kind, several in pictures.items():
            for image in several:
                stream = io.BytesIO()
                exif = Image.Exif()
                exif[0x0112] = 6
                image.save(stream, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}))
                self.good.append(stream.getvalue())

    def make(self, draw: random.Random) -> bytes:
        content = mutated(draw.choice(self.good), draw.choice(self.good), draw)
        return with_checksums(content) if content[:4] == b"\x89PNG" and draw.random() < 0.8 else content

    def run(self, content: bytes) -> None:
        self.path.write_bytes(content)
        read_digit(self.path)


def with_checksums(png: bytes) -> bytes:
    """Give every chunk of a PNG file its right checksum."""
    data, place = bytearray(png), 8
    while place + 8 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(data)


class State:
    """State dicts of a model, an optimizer, a scheduler, a loader and the generator, with entries replaced or lost."""

    documented = (TypeError, ValueError, RuntimeError)
    STRANGE = (
        None,
        True,
        -1,
        2**70,
        1.5,
        float("nan"),
        "x",
        [],
        (),
        {},
        {"params": 3},
        [[]],
        np.zeros(0),
        np.ones((1, 2)),
        np.array("x"),
    )

    def __init__(self, folder: Path) -> None:
        self.model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
        optimizer = optim.Adam(self.model.parameters())
        for parameter in self.model.parameters():
            parameter.grad = tg.ones_like(parameter)
        optimizer.step()
        loader = DataLoader(TensorDataset(np.arange(5)), 2, shuffle=True, generator=np.random.default_rng(0))
        schedules = optim.lr_scheduler
        ramps = [schedules.LambdaLR(optimizer, functools.partial(pow, 0.9)), schedules.MultiStepLR(optimizer, [3])]
        sequence = schedules.SequentialLR(optimizer, [schedules.ChainedScheduler(ramps), ramps[1]], [2])
        self.parts = [self.model, optimizer, schedules.OneCycleLR(optimizer, 0.1, total_steps=9), sequence, loader]
        self.epoch = iter(loader)
        next(self.epoch)

    def make(self, draw: random.Random) -> bytes:
        return draw.randbytes(8)

    def run(self, content: bytes) -> None:
        draw = random.Random(content)
        which = draw.randrange(6)
        if which == 5:
            tg.random.set_state(self.changed(tg.random.get_state(), draw))
            return
        part: Any = self.parts[which]
        saved = part.state_dict()
        try:
            part.load_state_dict(self.changed(saved, draw))
        finally:
            part.load_state_dict(saved)

    def changed(self, state: Any, draw: random.Random) -> Any:
        """Return a copy of nested dicts and lists with something replaced, removed, renamed or added."""
        if draw.random() < 0.05 or not isinstance(state, dict | list) or not state:
            return draw.choice(self.STRANGE)
        if isinstance(state, list):
            place = draw.randrange(len(state))
            return [*state[:place], self.changed(state[place], draw), *state[place + 1 :]]
        changed, key = dict(state), draw.choice(list(state))
        way = draw.randrange(5)
        if way == 0:
            del changed[key]
        elif way == 1:
            changed[draw.choice(["x", 1, None, (1, 2)])] = changed.pop(key)
        else:
            changed[key] = self.changed(changed[key], draw)
        return changed


TARGETS: dict[str, Callable[[Path], Any]] = {
    "idx": IDX, "load": Load, "safetensors": Safetensors, "picture": Picture, "state": State,
}  # fmt: skip


# ------------------------------------------------------------------------------------------ running


class Watch:
    """Runs inputs one by one, and looks at what comes out, how long it takes and what it allocates."""

    def __init__(self, name: str, target: Any, failures: Path) -> None:
        self.name, self.target, self.failures = name, target, failures
        self.inputs = self.accepted = self.failed = 0
        self.slowest = 0.0

    def one(self, content: bytes) -> None:
        """Raise what is not documented."""
        traced = self.inputs % TRACED == 0 and not tracemalloc.is_tracing()
        if traced:
            tracemalloc.start()
        self.inputs += 1
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
        try:
            self.target.run(content)
            self.accepted += 1
        except self.target.documented:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.slowest = max(self.slowest, time.perf_counter() - begin)
            if traced:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
        if traced and peak > 64 * len(content) + (4 << 20) and self.name != "picture":
            raise MemoryError(f"{peak} bytes were allocated for an input of {len(content)}")

    def many(self, count: int, seed: int, until: float) -> None:
        """Run `count` inputs, or as many as there is time for; what goes wrong is kept and counted."""
        draw = random.Random(f"{self.name} {seed}")
        for _ in range(count):
            if time.perf_counter() > until or self.failed >= 10:
                return
            content = self.target.make(draw)
            try:
                self.one(content)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                self.failed += 1
                path = self.failures / f"{self.name}-{self.failed}"
                path.write_bytes(content)
                print(f"\n{self.name}: {path} gave an undocumented error", file=sys.stderr)
                traceback.print_exc()


def by_hypothesis(watch: Watch, count: int) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def run(draw: random.Random) -> None:
        watch.one(watch.target.make(draw))

    run()


def by_atheris(watch: Watch, count: int) -> None:
    import atheris

    def run(data: bytes) -> None:
        watch.one(data)

    corpus = Path(tempfile.mkdtemp(prefix="corpus-"))
    draw = random.Random(0)
    for number in range(200):
        (corpus / str(number)).write_bytes(watch.target.make(draw))
    for module in (idx, npz_reader, safetensors_format, picture):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                setattr(module, name, atheris.instrument_func(function))
    atheris.Setup([sys.argv[0], str(corpus), f"-atheris_runs={count}"], run)
    atheris.Fuzz()


def limit_resources() -> None:
    def too_slow(*_: Any) -> None:
        raise TooSlow(f"more than {TIME_LIMIT} s")

    signal.signal(signal.SIGALRM, too_slow)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=1_100_000, help="a million of them for the readers of files")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so many, whatever is left")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--engine", choices=["mutation", "hypothesis", "atheris"], default="mutation")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of Pillow and zipfile, about what the inputs are made of
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    failures = Path(tempfile.mkdtemp(prefix="fuzz-failures-"))
    watches = [Watch(name, TARGETS[name](folder), failures) for name in args.only]
    if args.engine != "atheris":
        limit_resources()
    begin = time.perf_counter()
    share = sum(SHARES[name] for name in args.only)
    for watch in watches:
        count = round(args.inputs * SHARES[watch.name] / share)
        if args.engine == "mutation":
            watch.many(count, args.seed, begin + args.seconds)
        else:
            (by_hypothesis if args.engine == "hypothesis" else by_atheris)(watch, count)
        print(
            f"{watch.name}: {watch.inputs:,} inputs, {watch.accepted:,} accepted, {watch.failed} undocumented errors, "
            f"slowest {watch.slowest:.2f} s",
            flush=True,
        )
    total, failed = sum(watch.inputs for watch in watches), sum(watch.failed for watch in watches)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{total:,} inputs in {time.perf_counter() - begin:.0f} s, {failed} undocumented errors, {peak} MiB at most")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    if not failed:
        failures.rmdir()
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
