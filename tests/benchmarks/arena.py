"""Rivals in processes of their own, which take turns."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rows import REPEATS, Row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Peer:
    """A library to measure.

    Attributes
    ----------
    key : str
        Its name on the command line.
    title : str
        Its name in the table.
    worker : str
        The module in `workers` that speaks for it.
    imports : str
        What a user imports first.
    needs : tuple of str
        Packages that must be installed.
    arguments : tuple of str
        Further arguments of the worker.
    """

    key: str
    title: str
    worker: str
    imports: str
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether all that it needs is there."""
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


OURS = Peer("tinygrad_cnn", "tinygrad_cnn", "ours", "tinygrad_cnn")
RIVALS = (
    Peer("torch", "PyTorch eager", "torch_eager", "torch", ("torch",)),
    Peer("channels_last", "PyTorch channels_last", "torch_eager", "torch", ("torch",), ("channels_last",)),
    Peer("jax", "JAX jit", "jax_jit", "jax.numpy", ("jax",)),
    Peer("mygrad", "MyGrad", "mygrad_unguarded", "mygrad", ("mygrad",)),
    Peer("autograd", "HIPS autograd", "hips_autograd", "autograd.numpy", ("autograd", "scipy")),
    Peer("onnxruntime", "ONNX Runtime", "onnx_runtime", "onnxruntime", ("onnxruntime", "onnx")),
)


class WorkerError(Exception):
    """A worker died or reported an error."""


class Worker:
    """A process that speaks for a library: JSON, one message a line, over its pipes."""

    def __init__(self, peer: Peer, threads: int) -> None:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed in close
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"workers.{peer.worker}", str(threads), *peer.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            cwd=HERE,
            env=_environment(threads),
            preexec_fn=_limit(threads),
        )

    def ask(self, do: str, **message: Any) -> dict[str, Any]:
        """Send a message and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **message}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise WorkerError("the worker died: " + "".join(self._log.readlines()[-5:]).strip())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


def _environment(threads: int) -> dict[str, str]:
    """The library of this checkout, and as many threads for the BLAS of NumPy as for everybody else."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}


def _limit(threads: int) -> Callable[[], None] | None:
    """What keeps a process on as many cores as it has threads: some libraries have no other setting."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    available = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, available[:threads])


@dataclass
class Arena:
    """Measures rows.

    Attributes
    ----------
    peers : list of Peer
        The first one, `OURS`, is what the others are compared with.
    threads : int
    rounds : int
        How many turns each one gets.
    seconds : float
        The length of a turn.
    pause : float
        Seconds before each turn: threads of some libraries keep spinning for a while after their work, and the next
        library should not suffer from it.
    steps : int
        The length of a training run whose memory is measured.
    """

    peers: list[Peer]
    threads: int
    rounds: int
    seconds: float
    pause: float
    steps: int
    versions: list[str] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[Arena]:
        """Start the workers, and end them. A library that does not start is left out."""
        self._workers: dict[str, Worker] = {}
        try:
            for peer in list(self.peers):
                try:
                    self.versions.append(self._worker(peer).ask("version")["version"])
                except WorkerError as error:
                    if peer is OURS:
                        raise
                    self._failed(peer, "start", error)
                    self.peers.remove(peer)
            yield self
        finally:
            for worker in self._workers.values():
                worker.close()

    def _worker(self, peer: Peer) -> Worker:
        if peer.key not in self._workers:
            self._workers[peer.key] = Worker(peer, self.threads)
        return self._workers[peer.key]

    def _failed(self, peer: Peer, what: str, error: WorkerError) -> None:
        """Say what happened; the next row gets a fresh worker."""
        print(f"{what}: {peer.title}: {error}", file=sys.stderr)
        if peer.key in self._workers:
            self._workers.pop(peer.key).close()

    def measure(self, row: Row) -> dict[str, list[float]]:
        """Turn by turn the seconds (or bytes) of a row, by the key of the peer; peers without such a thing are absent.

        Turns are interleaved, so that what slows the machine down for a while slows down everybody.
        """
        if row.task["what"] == "memory":
            return self._memory(row)
        if row.task["what"] == "import":
            with tempfile.TemporaryDirectory() as bytecode:
                for peer in self.peers:
                    with suppress(WorkerError):  # comes again below
                        self._import(peer, bytecode)
                return self._rounds(row, self.peers, lambda peer: self._import(peer, bytecode))
        return self._rounds(row, self._prepare(row), self._turn)

    def _rounds(self, row: Row, peers: list[Peer], turn: Callable[[Peer], float]) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {peer.key: [] for peer in peers}
        order = list(peers)
        for _ in range(self.rounds):
            for peer in list(order):
                time.sleep(self.pause)
                try:
                    times[peer.key].append(turn(peer))
                except WorkerError as error:
                    self._failed(peer, row.name, error)
                    order.remove(peer)
                    del times[peer.key]
            order.reverse()  # nobody always follows the same one
        return times

    def _turn(self, peer: Peer) -> float:
        return float(self._workers[peer.key].ask("turn", seconds=self.seconds)["seconds"])

    def _import(self, peer: Peer, bytecode: str) -> float:
        """The time that the import takes in a fresh interpreter; what is compiled for it is kept in a folder."""
        code = f"import time; start = time.perf_counter(); import {peer.imports}; print(time.perf_counter() - start)"
        environment = {**_environment(self.threads), "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        if run.returncode:
            raise WorkerError(run.stderr.strip())
        return float(run.stdout.split()[-1])

    def _prepare(self, row: Row) -> list[Peer]:
        """Give the task to all; those that can do it, and come to the same result as the first one, stay."""
        task = {**row.task, "repeats": REPEATS}
        able: list[Peer] = []
        expected: list[float] | None = None
        for peer in self.peers:
            try:
                answer = self._worker(peer).ask("prepare", task=task)
                if answer.get("unsupported"):
                    continue
                expected = expected or answer["check"]
                _compare(expected, answer["check"], row.tolerance)
            except WorkerError as error:
                self._failed(peer, row.name, error)
                continue
            able.append(peer)
        return able

    def _memory(self, row: Row) -> dict[str, list[float]]:
        peaks: dict[str, list[float]] = {}
        for peer in self.peers:
            worker = Worker(peer, self.threads)
            try:
                answer = worker.ask("memory", task=row.task, steps=self.steps)
            except WorkerError as error:
                print(f"{row.name}: {peer.title}: {error}", file=sys.stderr)
                continue
            finally:
                worker.close()
            if not answer.get("unsupported"):
                peaks[peer.key] = [answer["peak"]]
        return peaks


def _compare(expected: list[float], result: list[float], tolerance: float) -> None:
    """Raise WorkerError if two results differ by more than they may."""
    for a, b in zip(expected, result, strict=True):
        if not abs(a - b) <= tolerance * abs(a):
            raise WorkerError(f"the result differs: {result} instead of {expected}")


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over the rounds of our time divided by theirs in the same round: below 1 we are faster."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
