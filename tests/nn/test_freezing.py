"""What is frozen costs nothing in the backward pass: its VJPs don't run, and nothing is kept for them."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, ops, optim
from tinygrad_cnn.autograd.primitive import Primitive
from tinygrad_cnn.kernels import conv as kernels

MODULES = [importlib.import_module(f"tinygrad_cnn.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]
PRIMITIVES = {value for module in MODULES for value in vars(module).values() if isinstance(value, Primitive)}


@pytest.fixture
def ran(monkeypatch):
    """A list that grows by ``"primitive: input"`` whenever a VJP runs."""
    calls = []

    def recording(label, function):
        def run(*args):
            calls.append(label)
            return function(*args)

        return run

    for primitive in PRIMITIVES:
        for rule in primitive.rules:
            label = f"{primitive.name.strip('_')}: {', '.join(rule.names)}"
            monkeypatch.setattr(rule, "function", recording(label, rule.function))
        monkeypatch.setattr(primitive, "_plans", {})  # they hold the functions
    return calls


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        tg.manual_seed(0)
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.conv2 = nn.Conv2d(4, 5, 3)
        self.conv3 = nn.Conv2d(5, 6, 3)
        self.fc = nn.Linear(24, 3)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(F.relu(self.conv3(x)).flatten(1))


def backward(model):
    images = tg.Tensor(np.random.default_rng(0).standard_normal((5, 1, 12, 12), dtype=np.float32))
    loss = F.cross_entropy(model(images), tg.tensor([0, 1, 2, 0, 1]))
    loss.backward()
    return loss


def convolutions(ran):
    return sorted(label for label in ran if label.startswith("conv2d"))


def test_nothing_frozen(ran):
    backward(Net())
    # The images need no gradient.
    assert convolutions(ran) == ["conv2d: input"] * 2 + ["conv2d: weight, bias"] * 3


def test_frozen_first_layers_cost_nothing(ran):
    model = Net()
    model.conv1.requires_grad_(False)
    model.conv2.requires_grad_(False)
    model.conv3.requires_grad_(False)
    backward(model)
    assert not any(label.startswith(("conv2d", "relu", "max_pool", "reshape")) for label in ran)
    assert {"linear: weight", "linear: bias"} <= set(ran)
    assert "linear: input" not in ran


def test_nothing_is_kept_for_frozen_first_layers():
    model = Net().requires_grad_(False)
    model.fc.requires_grad_()
    nodes, waiting = set(), [backward(model).grad_fn]
    while waiting:
        node = waiting.pop()
        nodes.add(getattr(node, "name", "leaf"))
        waiting += [target for target, _ in getattr(node, "next_functions", ())]
    assert "_linear" in nodes
    assert not any("conv" in name or "relu" in name or "pool" in name for name in nodes)


def test_a_frozen_middle_layer_passes_the_gradient_on_and_no_more(ran):
    model = Net()
    model.conv2.requires_grad_(False)
    backward(model)
    assert convolutions(ran) == ["conv2d: input"] * 2 + ["conv2d: weight, bias"] * 2
    assert model.conv2.weight.grad is None
    assert model.conv2.bias.grad is None
    assert model.conv1.weight.grad.data.any()


def recorded(monkeypatch, *names):
    """For each of these kernels a list that grows by the channels of the gradient that it is called with."""
    calls = {name: [] for name in names}
    for name, seen in calls.items():
        kernel = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, lambda g, *a, kernel=kernel, seen=seen: seen.append(g.shape[1]) or kernel(g, *a)
        )
    return calls


@pytest.mark.parametrize("frozen", [["conv1"], ["conv2"], ["conv1", "conv2"], ["conv3"], ["fc"], ["conv1", "fc"]])
def test_kernels_run_for_what_is_trained_and_gradients_stay_the_same(frozen, monkeypatch):
    whole = Net()
    backward(whole)
    calls = recorded(monkeypatch, "conv2d_parameter_grads", "conv2d_input_grad")
    model = Net()
    for name in frozen:
        getattr(model, name).requires_grad_(False)
    backward(model)
    trained = [name for name in ("conv1", "conv2", "conv3") if name not in frozen]
    outputs = {"conv1": 4, "conv2": 5, "conv3": 6}  # which tell the layers apart
    assert sorted(calls["conv2d_parameter_grads"]) == [outputs[name] for name in trained]
    first = min(trained)
    assert sorted(calls["conv2d_input_grad"]) == [outputs[name] for name in outputs if name > first]
    for (name, p), q in zip(model.named_parameters(), whole.parameters(), strict=True):
        if name.split(".")[0] in frozen:
            assert p.grad is None
        else:
            np.testing.assert_array_equal(p.grad.data, q.grad.data)


def test_a_single_parameter_may_be_frozen(monkeypatch):
    calls = recorded(monkeypatch, "conv2d_parameter_grads", "conv2d_weight_grad")
    model = Net()
    model.conv1.weight.requires_grad_(False)
    model.conv2.bias.requires_grad_(False)
    backward(model)
    assert calls == {"conv2d_parameter_grads": [6], "conv2d_weight_grad": [5]}
    assert model.conv1.bias.grad.data.any()


def test_frozen_batch_normalisation_leaves_scale_and_shift_alone(ran):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[1].requires_grad_(False).eval()
    before = {key: value.data.copy() for key, value in model[1].state_dict().items()}
    model(tg.rand(6, 3)).sum().backward()
    assert model[1].weight.grad is None
    assert model[1].bias.grad is None
    assert model[0].weight.grad is not None
    for key, value in model[1].state_dict().items():
        np.testing.assert_array_equal(value.data, before[key])


@pytest.mark.parametrize("only_trained", [True, False])
def test_an_optimizer_leaves_frozen_parameters_alone(only_trained):
    model = Net()
    model.conv1.requires_grad_(False)
    model.conv2.requires_grad_(False)
    before = [p.data.copy() for p in model.parameters()]
    given = [p for p in model.parameters() if p.requires_grad] if only_trained else list(model.parameters())
    optimizer = optim.AdamW(given, lr=0.1, weight_decay=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
    for p, value in zip(model.parameters(), before, strict=True):
        assert np.array_equal(p.data, value) is not p.requires_grad
    assert len(optimizer.state) == 4


def test_a_layer_is_trained_again_after_thawing():
    model = Net()
    model.conv1.requires_grad_(False)
    backward(model)
    model.conv1.requires_grad_()
    backward(model)
    assert model.conv1.weight.grad.data.any()
