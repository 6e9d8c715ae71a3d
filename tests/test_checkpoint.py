"""Checkpoints: what is restored, what is kept, and what happens to damaged ones."""

from __future__ import annotations

import os
import signal
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import nn, optim, random
from tinygrad_cnn.checkpoint import Checkpoint
from tinygrad_cnn.data import DataLoader, TensorDataset
from tinygrad_cnn.files import FormatError
from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.optim.lr_scheduler import ReduceLROnPlateau
from tinygrad_cnn.serialization import load, save
from tinygrad_cnn.tensor import Tensor

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adadelta": optim.Adadelta,
    "RMSprop": lambda p: optim.RMSprop(p, momentum=0.5, centered=True),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
}
SCHEDULERS = {
    "OneCycleLR": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=50, cycle_momentum=False),
    "StepLR": lambda o: optim.lr_scheduler.StepLR(o, 4),
    "CosineAnnealingLR": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 20),
    "MultiStepLR": lambda o: optim.lr_scheduler.MultiStepLR(o, [4, 9]),
    "ExponentialLR": lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9),
    "LinearLR": lambda o: optim.lr_scheduler.LinearLR(o, total_iters=9),
    "ConstantLR": lambda o: optim.lr_scheduler.ConstantLR(o, total_iters=9),
    "CosineAnnealingWarmRestarts": lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
    "LambdaLR": lambda o: optim.lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
    "ReduceLROnPlateau": lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=1, factor=0.5),
    "SWALR": lambda o: optim.swa_utils.SWALR(o, 0.01, 8),
    "SequentialLR": lambda o: optim.lr_scheduler.SequentialLR(
        o, [optim.lr_scheduler.LinearLR(o), optim.lr_scheduler.CosineAnnealingLR(o, 9)], [6]
    ),
    "ChainedScheduler": lambda o: optim.lr_scheduler.ChainedScheduler(
        [optim.lr_scheduler.LinearLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)]
    ),
}
EPOCHS, BATCHES = 3, 5


class Killed(Exception):
    """Stands for the end of a process: nothing of the run is used afterwards."""


class Run:
    """A small training run with dropout, buffers, momentum and shuffled batches."""

    def __init__(self, folder, optimizer="SGD", scheduler="StepLR", every=2, own_generator=False):
        random.manual_seed(0)
        data = np.random.default_rng(1)
        images = data.standard_normal((18, 6), dtype=np.float32)
        generator = np.random.Generator(np.random.MT19937(3)) if own_generator else None
        self.loader = DataLoader(TensorDataset(images, np.arange(18) % 3), 4, shuffle=True, generator=generator)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scheduler = SCHEDULERS[scheduler](self.optimizer)
        self.averaged = optim.swa_utils.AveragedModel(self.model)
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler, "loader": self.loader}
        parts["averaged"] = self.averaged
        self.checkpoint = Checkpoint(folder, every=every, **parts)

    def train(self, killed_after=None, at_epoch_end=False):
        start = self.checkpoint.restore()
        step = start.get("step", 0)
        for epoch in range(start.get("epoch", 0), EPOCHS):
            for images, labels in self.loader:
                loss = F.cross_entropy(self.model(images), labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                # A metric that improves now and then, for the scheduler that wants one.
                metrics = (1 / (1 + step // 4),) if isinstance(self.scheduler, ReduceLROnPlateau) else ()
                self.scheduler.step(*metrics)
                self.averaged.update_parameters(self.model)
                step += 1
                self.checkpoint.update(step, epoch=epoch)
                if step == killed_after:
                    raise Killed
            if at_epoch_end:
                self.checkpoint.save(step, epoch=epoch + 1)
        return self.bits()

    def bits(self):
        state = {**self.model.state_dict(), **self.averaged.state_dict(), "draw": Tensor(random.generator().random(3))}
        return {name: tensor.data.tobytes() for name, tensor in state.items()}


# Every optimizer with every scheduler would say nothing more.
PAIRS = [*((optimizer, "StepLR") for optimizer in OPTIMIZERS), *(("SGD", scheduler) for scheduler in SCHEDULERS)]


@pytest.mark.parametrize(("optimizer", "scheduler"), PAIRS)
def test_a_killed_run_ends_in_the_same_bits(tmp_path, optimizer, scheduler):
    expected = Run(None, optimizer, scheduler).train()
    for steps in (3, 5, 8, 11):
        with pytest.raises(Killed):
            Run(tmp_path, optimizer, scheduler).train(killed_after=steps)
    assert Run(tmp_path, optimizer, scheduler).train() == expected


@pytest.mark.parametrize("steps", range(1, EPOCHS * BATCHES + 1))
def test_wherever_in_the_epoch_it_was(tmp_path, steps):
    expected = Run(None, own_generator=True).train()
    with pytest.raises(Killed):
        Run(tmp_path, own_generator=True, every=1).train(killed_after=steps, at_epoch_end=steps % 2 == 0)
    assert Run(tmp_path, own_generator=True).train() == expected


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    first = Run(tmp_path)
    expected = first.train(at_epoch_end=True)
    again = Run(tmp_path)
    assert again.checkpoint.restore() == {"step": EPOCHS * BATCHES, "epoch": EPOCHS}
    assert again.bits() == expected


def test_the_first_run_finds_nothing(tmp_path):
    assert Run(tmp_path / "new").checkpoint.restore() == {}
    assert os.listdir(tmp_path) == []


# --- which ones are kept


def checkpoint_of(folder, **options):
    return Checkpoint(folder, model=nn.Linear(2, 1), **options)


@given(st.integers(1, 4), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_the_last_few_are_kept(tmp_path_factory, keep, gaps):
    folder = tmp_path_factory.mktemp("run")
    checkpoint = checkpoint_of(folder, keep=keep)
    steps = [int(step) for step in np.cumsum(gaps)]
    for step in steps:
        checkpoint.save(step)
    assert checkpoint.steps == steps[-keep:]
    assert sorted(os.listdir(folder)) == [f"step-{step:08}.npz" for step in steps[-keep:]]


def test_update_saves_now_and_then(tmp_path):
    checkpoint = checkpoint_of(tmp_path, every=4, keep=10)
    for step in range(1, 14):
        checkpoint.update(step)
    assert checkpoint.steps == [4, 8, 12]


def test_notes_come_back(tmp_path):
    checkpoint = checkpoint_of(tmp_path)
    checkpoint.save(7, epoch=2, best=0.5, history=[1, 2])
    assert checkpoint.restore() == {"step": 7, "epoch": 2, "best": 0.5, "history": [1, 2]}


def test_another_run_is_not_mixed_in(tmp_path):
    checkpoint_of(tmp_path).save(100)
    with pytest.raises(RuntimeError, match=r"holds checkpoints of another run; call restore\(\)"):
        checkpoint_of(tmp_path).save(5)
    assert os.listdir(tmp_path) == ["step-00000100.npz"]


def test_other_files_are_left_alone(tmp_path):
    for name in ("notes.txt", "step-1.npz", "step-000000001.npz", ".tinygrad_cnn-x.tmp"):
        (tmp_path / name).write_text("mine")
    (tmp_path / f".tinygrad_cnn-{'0' * 16}.tmp").write_text("what a killed run left")
    checkpoint = checkpoint_of(tmp_path, keep=1)
    assert checkpoint.restore() == {}
    checkpoint.save(1)
    checkpoint.save(2)
    assert len(os.listdir(tmp_path)) == 5
    assert checkpoint.steps == [2]


# --- damage


@pytest.mark.parametrize("damage", [lambda c: c[:-7], lambda c: b"", lambda c: c[:300] + b"\xff" + c[301:]])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage):
    expected = Run(None).train()
    with pytest.raises(Killed):
        Run(tmp_path).train(killed_after=8)
    newest = tmp_path / "step-00000008.npz"
    newest.write_bytes(damage(newest.read_bytes()))
    run = Run(tmp_path)
    with pytest.warns(UserWarning, match=r"a damaged checkpoint is passed over: .*step-00000008\.npz: is"):
        assert run.checkpoint.restore() == {"step": 6, "epoch": 1}
    run.checkpoint.save(6, epoch=1)
    assert 8 not in run.checkpoint.steps  # of a future that did not come about
    with pytest.raises(Killed):
        Run(tmp_path).train(killed_after=8)
    assert Run(tmp_path).train() == expected


def test_a_foreign_file_is_damage_too(tmp_path):
    checkpoint_of(tmp_path).save(1)
    for number, obj in enumerate([[1], {"format": "tinygrad_cnn checkpoint"}], start=2):
        save(obj, tmp_path / f"step-{number:08}.npz")
    with pytest.warns(UserWarning, match="is not a checkpoint"):
        assert checkpoint_of(tmp_path).restore() == {"step": 1}


def test_if_all_are_damaged_nothing_is_started_over(tmp_path):
    checkpoint_of(tmp_path).save(1)
    (tmp_path / "step-00000001.npz").write_bytes(b"x")
    with pytest.warns(UserWarning, match="passed over"), pytest.raises(FormatError, match="was not written by"):
        checkpoint_of(tmp_path).restore()


def test_a_disk_that_reports_errors(tmp_path, monkeypatch):
    checkpoint = checkpoint_of(tmp_path)
    checkpoint.save(1)

    def fail(path):
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr("tinygrad_cnn.checkpoint.load", fail)
    code = 5
    with pytest.warns(UserWarning, match="passed over"), pytest.raises(FormatError, match="its disk reports an error"):
        checkpoint.restore()
    code = 13
    with pytest.raises(PermissionError):
        checkpoint.restore()


def test_a_checkpoint_of_another_model_is_no_damage(tmp_path):
    checkpoint_of(tmp_path).save(1)
    with pytest.raises(RuntimeError, match="size mismatch"):
        Checkpoint(tmp_path, model=nn.Linear(3, 1)).restore()
    with pytest.raises(ValueError, match=r"has the parts \['model'\] but the run has \['model', 'net'\]"):
        Checkpoint(tmp_path, model=nn.Linear(2, 1), net=nn.Linear(2, 1)).restore()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_that_diverged_overwrites_nothing(tmp_path, value):
    model = nn.Linear(2, 1)
    checkpoint = Checkpoint(tmp_path, keep=1, model=model)
    checkpoint.save(1)
    good = (tmp_path / "step-00000001.npz").read_bytes()
    model.weight.data[0, 0] = value
    with pytest.raises(ValueError, match=r"model\.weight holds NaN or Inf at step 2; nothing has been written"):
        checkpoint.save(2)
    assert os.listdir(tmp_path) == ["step-00000001.npz"]
    assert (tmp_path / "step-00000001.npz").read_bytes() == good


# --- Ctrl-C


def test_the_first_interrupt_waits_for_the_end_of_the_step(tmp_path):
    checkpoint = checkpoint_of(tmp_path)
    before = signal.getsignal(signal.SIGINT)

    def step():
        signal.raise_signal(signal.SIGINT)
        assert checkpoint.interrupted
        checkpoint.update(3, epoch=1)

    with pytest.raises(KeyboardInterrupt), checkpoint.finishing_steps():
        step()
    assert load(tmp_path / "step-00000003.npz")["notes"] == {"step": 3, "epoch": 1}
    assert signal.getsignal(signal.SIGINT) is before
    assert not checkpoint.interrupted


def test_the_second_interrupt_does_not_wait(tmp_path):
    checkpoint = checkpoint_of(tmp_path)

    def step():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not reached")

    with pytest.raises(KeyboardInterrupt), checkpoint.finishing_steps():
        step()
    assert os.listdir(tmp_path) == []


def test_interrupts_are_left_alone_elsewhere(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with checkpoint_of(None).finishing_steps():
        assert signal.getsignal(signal.SIGINT) is before
    seen = []

    def work():
        with checkpoint_of(tmp_path).finishing_steps():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


# --- arguments


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = checkpoint_of(None, every=1)
    checkpoint.update(1)
    assert checkpoint.restore() == {}
    assert checkpoint.steps == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: Checkpoint(f, model=3), TypeError, r"Checkpoint: model expects a state_dict\(\) but int has none"),
        (lambda f: Checkpoint(f, keep=0), ValueError, "keep expects at least 1 but got 0"),
        (lambda f: Checkpoint(f, every=0.5), TypeError, "every expects an int"),
        (lambda f: Checkpoint(f).save(-1), ValueError, "step expects at least 0"),
        (lambda f: Checkpoint(f).save(1, model=nn.ReLU()), TypeError, r"obj\['notes'\]\['model'\]"),
        (lambda f: Checkpoint(f / "file" / "x").save(1), OSError, "file"),
    ],
)
def test_bad_arguments(tmp_path, call, error, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(error, match=message):
        call(tmp_path)


def test_restoring_warns_of_nothing_else(tmp_path):
    checkpoint_of(tmp_path).save(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint_of(tmp_path).restore()
