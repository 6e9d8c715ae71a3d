"""The half of a conversation that a worker speaks: JSON, one message a line, over its standard input and output."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .models import MODELS, Model, batch_of, parameters

Call = Callable[[], Any]

#: Random numbers of a shape, by the names that rows give them.
DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = {
    "numbers": lambda random, shape: random.standard_normal(shape, np.float32),
    "fractions": lambda random, shape: random.uniform(0.01, 0.99, shape).astype(np.float32),
    "booleans": lambda random, shape: random.random(shape) < 0.5,
    "classes": lambda random, shape: random.integers(0, shape[1], shape[0]),
}

# A call of so many seconds is a turn by itself; it does not matter to it what the caches held before.
_LONG = 1.0


class Unsupported(Exception):
    """The library has no such function."""


class Library:
    """What a worker tells about its library. What it does not override is unsupported.

    The methods prepare a task and return what is then called again and again, and timed. Each call returns its result,
    finished, so that results can be compared between the libraries: the loss *before* the step for a training step,
    the logits for inference, the output and the gradients of all inputs for an operation.
    """

    def version(self) -> str:
        """Name and version, and what else a reader should know."""
        raise NotImplementedError

    def train(self, model: Model, start: list[Any], images: Any, labels: Any) -> Call:
        """Prepare training steps: forward, cross-entropy, backward, SGD with momentum."""
        raise Unsupported

    def inference(self, model: Model, start: list[Any], images: Any) -> Call:
        """Prepare forward passes without recording."""
        raise Unsupported

    def operation(self, function: str, inputs: list[Any], cotangent: Any, arguments: dict[str, Any]) -> Call:
        """Prepare one operation, forward and backward.

        All `inputs` get a gradient; arrays among the `arguments`, places and masks, do not. `cotangent` is a function
        from the shape of an output to the array that the backward pass starts from.
        """
        raise Unsupported

    def affine(self, images: Any, matrices: Any, mode: str) -> Call:
        """Prepare the resampling of images (N, C, H, W) under maps (N, 2, 3) of coordinates that run from -1 to 1."""
        raise Unsupported

    def transform(self, name: str, images: Any, arguments: dict[str, Any]) -> Call:
        """Prepare a transform of images (N, C, H, W); what is random about it is drawn anew by each call."""
        raise Unsupported

    def overhead(self, kind: str, x: Any, repeats: int) -> Call:
        """Prepare `repeats` operations on a tiny array."""
        raise Unsupported


def serve(make: Callable[[list[str]], Library]) -> None:
    """Answer messages until standard input ends. `make` gets the arguments of the worker behind the threads."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    library = make(sys.argv[1:])
    call: Call = time.time
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if message["do"] == "version":
                answer: dict[str, Any] = {"version": library.version()}
            elif message["do"] == "prepare":
                call = _prepare(library, message["task"])
                answer = {"check": [_check(call()) for _ in range(3)]}
            elif message["do"] == "memory":
                call = _prepare(library, {**message["task"], "what": "train"})
                for _ in range(message["steps"]):
                    call()
                answer = {"peak": _peak()}
            else:
                answer = {"seconds": _turn(call, message["seconds"])}
        except Unsupported:
            answer = {"unsupported": True}
        except Exception as error:  # whatever a library raises ends its row, not the run
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _prepare(library: Library, task: dict[str, Any]) -> Call:
    if task["what"] in ("train", "inference"):
        model = MODELS[task["model"]]
        images, labels = batch_of(task["batch"])
        if task["what"] == "train":
            return library.train(model, parameters(model), images, labels)
        return library.inference(model, parameters(model), images)
    if task["what"] == "operation":
        random = np.random.default_rng(2)
        inputs = [DRAWS[task["draw"]](random, tuple(shape)) for shape in task["shapes"]]
        constants = {name: DRAWS[draw](random, inputs[0].shape) for name, draw in task["constants"].items()}
        drawn = {name: _argument(value, random) for name, value in task["arguments"].items()}
        arguments = {**drawn, **constants}

        def cotangent(shape: tuple[int, ...]) -> Any:
            return np.random.default_rng(3).standard_normal(shape, np.float32) if shape else np.ones((), np.float32)

        return library.operation(task["function"], inputs, cotangent, arguments)
    if task["what"] in ("affine", "transform"):
        random = np.random.default_rng(4)
        images = random.random(task["shape"], np.float32)
        if task["what"] == "transform":
            return library.transform(task["transform"], images, task["arguments"])
        matrices = np.eye(2, 3) + random.uniform(-0.2, 0.2, (len(images), 2, 3))
        return library.affine(images, matrices.astype(np.float32), task["mode"])
    return library.overhead(task["kind"], np.linspace(0.99, 1.01, 10, dtype=np.float32), task["repeats"])


def _argument(value: Any, random: np.random.Generator) -> Any:
    """An argument of a row: as it is, or what is to be drawn."""
    if not isinstance(value, dict):
        return value
    return random.integers(0, value["below"], value["shape"]).astype(bool if value["below"] == 2 else np.int64)


def _turn(call: Call, seconds: float) -> float:
    """The median time of a call, of as many as fit into `seconds`, three at least."""
    start = time.perf_counter()
    call()
    now = time.perf_counter()
    if now - start > _LONG:
        return now - start
    times: list[float] = []  # the first call is not among them: the others had the caches meanwhile
    end = now + seconds
    while now < end or len(times) < 3:
        start = now
        call()
        now = time.perf_counter()
        times.append(now - start)
    return statistics.median(times)


def _check(result: Any) -> float:
    """One number for a result: the sum of the magnitudes of everything in it."""
    if isinstance(result, list | tuple):
        return sum(_check(part) for part in result)
    return float(np.abs(np.asarray(result), dtype=np.float64).sum())


def _peak() -> int:
    """The largest resident memory that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))
        if peak:
            return int(peak.group(1)) << 10
    raise Unsupported
