"""Kill training runs at random moments, resume them, and compare the bits that they end with.

    python tests/reliability/kill_runs.py                 200 runs, a few minutes
    python tests/reliability/kill_runs.py --runs 20 --seconds 60 --seed 1

Each run trains a small CNN with dropout, batch normalisation and momentum on the shipped digits and saves a checkpoint
after every second step. It is killed with SIGKILL at a moment drawn uniformly from the time that a run takes, or, every
second one, in the first save after that moment; then it is resumed, and some are killed a second and a third time. All
must end with the weights, the optimizer's state and the generator's state of a run that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim
from tinygrad_cnn.checkpoint import Checkpoint
from tinygrad_cnn.data import DataLoader, Subset, datasets, transforms

EPOCHS, BATCH_SIZE, EVERY = 3, 64, 2
AGAIN, AIMED = 1 / 3, 1 / 2


def digits() -> Subset:
    return Subset(datasets.Digits(train=True, transform=transforms.ToTensor()), np.arange(600))


def train(folder: str, data: Subset) -> str:
    """Train from the newest checkpoint in `folder` to the end; return a digest of the final state."""
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 5),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(144, 10),
    )
    loader = DataLoader(data, BATCH_SIZE, shuffle=True)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=EPOCHS, steps_per_epoch=len(loader))
    checkpoint = Checkpoint(folder, every=EVERY, model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    start = checkpoint.restore()
    for epoch in range(start.get("epoch", 0), EPOCHS):
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            checkpoint.update(scheduler.last_epoch, epoch=epoch)
    return digest(model, optimizer)


def digest(model: nn.Module, optimizer: optim.Optimizer) -> str:
    hashed = hashlib.sha256(repr(tg.random.get_state()).encode())
    momenta = [state["momentum_buffer"] for state in optimizer.state_dict()["state"].values()]
    for tensor in [*model.state_dict().values(), *momenta]:
        hashed.update(np.ascontiguousarray(tensor.data).tobytes())
    return hashed.hexdigest()


def start_process(work: Callable[[], str], result: Path) -> int:
    """Fork a process that writes what `work` returns to `result`; the parent never trains, so that all start alike."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        result.write_text(work())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def killed_after(pid: int, seconds: float, saving_in: Path | None) -> bool:
    """Kill a process after so many seconds, or in the next save after that; whether it was still at work."""
    time.sleep(seconds)
    while True:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
        if saving_in is None or any(saving_in.glob(".*.tmp")):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True


class Campaign:
    """Runs that are killed, and what has been seen so far."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder, self.draw, self.data = folder, draw, digits()
        self.seen: Counter[str] = Counter()
        begin = time.perf_counter()
        self.expected = self.finish(folder / "undisturbed")
        self.duration = time.perf_counter() - begin

    def start(self, folder: Path) -> int:
        return start_process(lambda: train(str(folder), self.data), folder.with_suffix(".sha256"))

    def finish(self, folder: Path) -> str:
        _, status = os.waitpid(self.start(folder), 0)
        return folder.with_suffix(".sha256").read_text() if status == 0 else f"exit status {status}"

    def one_run(self, number: int) -> None:
        """Start a run, kill it at least once, let it finish, compare."""
        folder = self.folder / f"run{number}"
        kills = 0
        while not kills or self.draw.random() < AGAIN:
            moment, in_a_save = self.draw.uniform(0, self.duration), self.draw.random() < AIMED
            if not killed_after(self.start(folder), moment, folder if in_a_save else None):
                if kills:
                    break
                shutil.rmtree(folder)  # it was faster than its death: once more from the beginning
                continue
            kills += 1
            self.seen["kills"] += 1
            self.seen["kills while a file was being written"] += any(folder.glob(".*.tmp"))
            self.seen["kills before the first checkpoint"] += not any(folder.glob("step-*"))
        self.seen["runs"] += 1
        outcome = self.finish(folder)
        self.seen["ended in the same bits"] += outcome == self.expected
        if outcome != self.expected:
            print(f"run {number} ended with {outcome}, not {self.expected}; it is kept in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1200, help="stop after so many, whatever is left")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    begin = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="kill_runs-"))
    campaign = Campaign(folder, random.Random(args.seed))
    for number in range(args.runs):
        if time.perf_counter() - begin > args.seconds:
            print(f"stopped after {args.seconds:g} s")
            break
        campaign.one_run(number)
    seen = campaign.seen
    for name in ("runs", "kills", "kills while a file was being written", "kills before the first checkpoint"):
        print(f"{name}: {seen[name]}")
    print(f"ended in the same bits: {seen['ended in the same bits']} of {seen['runs']}")
    print(f"{time.perf_counter() - begin:.0f} s, an undisturbed run {campaign.duration:.2f} s")
    if not seen["runs"] or seen["ended in the same bits"] < seen["runs"]:
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
