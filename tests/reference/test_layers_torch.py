"""Layers are PyTorch's: the same repr, the same state dict, the same outputs and gradients from the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracle.libraries import Library  # noqa: E402
from oracle.values import Array  # noqa: E402

Build = Callable[[Any], Any]


def script_model(nn: Any) -> Any:
    """The classic model, written as a class."""

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3, 1)
            self.conv2 = nn.Conv2d(4, 6, 3, stride=2, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.dropout1 = nn.Dropout(0.25)
            self.features = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
            self.heads = nn.ModuleList([nn.Linear(24, 5), nn.Linear(24, 5)])
            self.scales = nn.ModuleDict({"a": nn.Identity(), "b": nn.Tanh()})

        def forward(self, x: Any) -> Any:
            x = self.features(self.norm(self.conv2(self.conv1(x))))
            return self.scales["a"](self.heads[0](x)) + self.scales["b"](self.heads[1](x))

    return Net()


# The text is evaluated with `nn`; beside it the shape of an input.
LAYERS: list[tuple[str, tuple[int, ...]]] = [
    ("nn.Conv2d(3, 8, 3)", (2, 3, 7, 6)),
    ("nn.Conv2d(3, 8, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))", (2, 3, 7, 6)),
    ("nn.Conv2d(4, 8, 3, padding='same', groups=2, bias=False)", (2, 4, 7, 6)),
    ("nn.Conv2d(4, 8, 3, padding='valid')", (2, 4, 7, 6)),
    ("nn.Conv2d(4, 4, 1, groups=4)", (4, 5, 5)),
    ("nn.Conv1d(3, 8, 3)", (2, 3, 7)),
    ("nn.Conv1d(4, 8, (2,), stride=2, padding=(1,), dilation=3, groups=2)", (2, 4, 9)),
    ("nn.Conv1d(4, 8, 3, padding='same', bias=False)", (4, 7)),
    ("nn.ConvTranspose2d(4, 6, 3)", (2, 4, 5, 4)),
    ("nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)", (2, 4, 5, 4)),
    ("nn.ConvTranspose2d(4, 6, (2, 3), stride=(1, 2), dilation=2, bias=False)", (2, 4, 5, 4)),
    ("nn.Linear(6, 4)", (5, 6)),
    ("nn.Linear(6, 4, bias=False)", (2, 3, 6)),
    ("nn.MaxPool2d(2)", (2, 3, 6, 7)),
    ("nn.MaxPool2d(3, stride=2, padding=1)", (2, 3, 6, 7)),
    ("nn.MaxPool2d((3, 2), (2, 1), dilation=(1, 2), ceil_mode=True)", (2, 3, 6, 7)),
    ("nn.MaxPool2d(2, return_indices=True)", (2, 3, 6, 7)),
    ("nn.AvgPool2d(2)", (2, 3, 6, 7)),
    ("nn.ReflectionPad2d(2)", (2, 3, 6, 7)),
    ("nn.ReflectionPad2d((1, 0, 2, -1))", (3, 6, 7)),
    ("nn.ReplicationPad2d((1, 0, 2, 3))", (2, 3, 6, 7)),
    ("nn.CircularPad2d((1, 0, 2, 3))", (2, 3, 6, 7)),
    ("nn.ConstantPad2d((1, -1, 2, 3), 0.5)", (2, 3, 6, 7)),
    ("nn.ZeroPad2d(1)", (2, 3, 6, 7)),
    ("nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)", (2, 3, 6, 7)),
    ("nn.AvgPool2d((3, 2), (1, 2), divisor_override=3)", (2, 3, 6, 7)),
    ("nn.AdaptiveAvgPool2d(1)", (2, 3, 6, 7)),
    ("nn.AdaptiveAvgPool2d((3, None))", (2, 3, 6, 7)),
    ("nn.AdaptiveMaxPool2d(1)", (2, 3, 6, 7)),
    ("nn.AdaptiveMaxPool2d((4, None), return_indices=True)", (2, 3, 6, 7)),
    ("nn.MaxPool1d(2)", (2, 3, 7)),
    ("nn.MaxPool1d((3,), stride=2, padding=1, ceil_mode=True)", (3, 6)),
    ("nn.LPPool2d(2, 2)", (2, 3, 6, 7)),
    ("nn.LPPool2d(4, (3, 2), stride=(1, 2), ceil_mode=True)", (2, 3, 6, 7)),
    ("nn.LPPool2d(float('inf'), 3)", (2, 3, 6, 7)),
    ("nn.LPPool2d(1, 3)", (2, 3, 6, 7)),
    ("nn.Unfold(2)", (2, 3, 6, 7)),
    ("nn.Unfold((3, 2), dilation=(1, 2), padding=(2, 1), stride=(1, 2))", (2, 3, 6, 7)),
    ("nn.Unfold(3, stride=2)", (3, 6, 7)),
    ("nn.Fold((4, 3), 2)", (2, 12, 6)),
    ("nn.Fold((5, 6), (3, 2), dilation=(1, 2), padding=(2, 1), stride=(1, 2))", (2, 12, 21)),
    ("nn.Fold(5, 3, stride=2)", (18, 4)),
    ("nn.Upsample(scale_factor=2)", (2, 3, 4, 5)),
    ("nn.Upsample(5, mode='linear')", (2, 3, 4)),
    ("nn.Upsample((5, 9), mode='bilinear')", (2, 3, 4, 5)),
    ("nn.Upsample(scale_factor=(1.5, 2.25), mode='bicubic', align_corners=True)", (2, 3, 4, 5)),
    ("nn.Upsample(scale_factor=1.7, mode='trilinear', recompute_scale_factor=True)", (1, 2, 3, 4, 2)),
    ("nn.UpsamplingNearest2d(size=(3, 8))", (2, 3, 4, 5)),
    ("nn.UpsamplingBilinear2d(scale_factor=2)", (2, 3, 4, 5)),
    ("nn.ReLU()", (3, 4)),
    ("nn.ReLU(inplace=True)", (3, 4)),
    ("nn.LeakyReLU()", (3, 4)),
    ("nn.LeakyReLU(0.2)", (3, 4)),
    ("nn.PReLU()", (3, 4)),
    ("nn.PReLU(3, init=0.1)", (2, 3, 4, 2)),
    ("nn.ELU()", (3, 4)),
    ("nn.ELU(0.5, inplace=True)", (3, 4)),
    ("nn.SELU()", (3, 4)),
    ("nn.SiLU(True)", (3, 4)),
    ("nn.Mish()", (3, 4)),
    ("nn.GELU()", (3, 4)),
    ("nn.GELU('tanh')", (3, 4)),
    ("nn.Softplus()", (3, 4)),
    ("nn.Softplus(2, threshold=1.0)", (3, 4)),
    ("nn.Hardtanh()", (3, 4)),
    ("nn.Hardtanh(-0.5, 0.25, inplace=True)", (3, 4)),
    ("nn.ReLU6(inplace=True)", (3, 4)),
    ("nn.Hardsigmoid()", (3, 4)),
    ("nn.Hardswish()", (3, 4)),
    ("nn.LogSigmoid()", (3, 4)),
    ("nn.Softmin(dim=1)", (3, 4)),
    ("nn.Tanh()", (3, 4)),
    ("nn.Sigmoid()", (3, 4)),
    ("nn.Softmax(dim=1)", (3, 4)),
    ("nn.LogSoftmax(dim=-1)", (3, 4)),
    ("nn.Flatten()", (2, 3, 4)),
    ("nn.Flatten(0, 1)", (2, 3, 4)),
    ("nn.Identity()", (3, 4)),
    ("nn.Identity(54, unused=True)", (3, 4)),
    ("nn.Dropout(0.0)", (3, 4)),
    ("nn.Dropout2d(0.0)", (2, 3, 4, 4)),
    ("nn.BatchNorm1d(4)", (6, 4)),
    ("nn.BatchNorm1d(4)", (6, 4, 3)),
    ("nn.BatchNorm2d(3)", (4, 3, 5, 5)),
    ("nn.BatchNorm2d(3, eps=0.01, momentum=0.3)", (4, 3, 5, 5)),
    ("nn.BatchNorm2d(3, momentum=None)", (4, 3, 5, 5)),
    ("nn.BatchNorm2d(3, affine=False)", (4, 3, 5, 5)),
    ("nn.BatchNorm2d(3, track_running_stats=False)", (4, 3, 5, 5)),
    ("nn.LayerNorm(6)", (4, 3, 6)),
    ("nn.LayerNorm((3, 6), eps=0.01, bias=False)", (4, 3, 6)),
    ("nn.LayerNorm([3, 5, 6], elementwise_affine=False)", (4, 3, 5, 6)),
    ("nn.GroupNorm(2, 6)", (4, 6, 5, 4)),
    ("nn.GroupNorm(6, 6, eps=0.01, bias=False)", (4, 6, 5)),
    ("nn.GroupNorm(2, 6, affine=False)", (4, 6)),
    ("nn.InstanceNorm2d(3)", (4, 3, 5, 5)),
    ("nn.InstanceNorm2d(3, affine=True)", (3, 5, 5)),
    ("nn.InstanceNorm2d(3, eps=0.01, momentum=0.3, affine=True, track_running_stats=True)", (4, 3, 5, 5)),
    ("nn.InstanceNorm2d(3, momentum=None, track_running_stats=True)", (4, 3, 5, 5)),
    ("nn.LocalResponseNorm(5)", (2, 7, 4, 4)),
    ("nn.LocalResponseNorm(2, alpha=0.5, beta=0.6, k=2.0)", (2, 7, 4)),
    ("nn.LazyLinear(4)", (5, 6)),
    ("nn.LazyLinear(4, bias=False)", (5, 6)),
    ("nn.LazyConv1d(4, 3, padding=1)", (2, 3, 6)),
    ("nn.LazyConv1d(6, 3, groups=3, bias=False)", (3, 6)),
    ("nn.LazyConv2d(4, 3, padding=1)", (2, 3, 6, 6)),
    ("nn.LazyConv2d(6, 3, groups=3, bias=False)", (2, 3, 6, 6)),
    ("nn.Sequential()", (3, 4)),
    ("nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()))", (3, 4)),
    ("nn.Sequential(OrderedDict(first=nn.Linear(4, 3), second=nn.Tanh()))", (3, 4)),
    (
        "nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())",
        (2, 1, 8, 8),
    ),
    ("script_model(nn)", (3, 1, 11, 11)),
]
# Only the repr: no input to call them with.
CONTAINERS = [
    "nn.ModuleList()",
    "nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(3, 2)])",
    "nn.ModuleList([nn.Sequential(nn.Linear(2, 3), nn.ReLU()) for _ in range(4)])",
    "nn.ModuleDict()",
    "nn.ModuleDict({'conv': nn.Conv2d(1, 2, 3), 'pool': nn.MaxPool2d(2)})",
    "nn.Dropout()",
    "nn.Dropout(0.2, inplace=True)",
    "nn.Dropout2d()",
    "nn.LeakyReLU(0.2, inplace=True)",
    "nn.Softmax()",
    "nn.Softmin()",
    "nn.ReLU6()",
    "nn.MSELoss()",
    "nn.MSELoss(reduction='sum')",
    "nn.L1Loss()",
    "nn.SmoothL1Loss(beta=0.5)",
    "nn.HuberLoss(delta=0.5)",
    "nn.BCELoss()",
    "nn.BCEWithLogitsLoss(reduction='sum')",
    "nn.KLDivLoss(reduction='batchmean', log_target=True)",
    "nn.NLLLoss()",
    "nn.CrossEntropyLoss()",
    "nn.CrossEntropyLoss(label_smoothing=0.1)",
    "nn.Module()",
    "nn.LazyConv1d(4, 3)",
    "nn.LazyConv2d(4, (3, 2), stride=2)",
    "nn.MaxUnpool2d(2)",
    "nn.MaxUnpool2d((3, 2), stride=(2, 1), padding=1)",
    "nn.Conv2d(3, 8, 3, padding_mode='zeros', device='cpu')",
]

# (the loss, the logits' shape, the target's shape or None for class indices of shape (4,))
LOSSES: list[tuple[str, tuple[int, ...], tuple[int, ...] | None]] = [
    ("nn.MSELoss()", (4, 3), (4, 3)),
    ("nn.MSELoss(reduction='sum')", (4, 3), (4, 3)),
    ("nn.MSELoss(reduction='none')", (4, 3), (4, 3)),
    ("nn.L1Loss()", (4, 3), (4, 3)),
    ("nn.SmoothL1Loss(beta=0.5)", (4, 3), (4, 3)),
    ("nn.HuberLoss(delta=0.5, reduction='sum')", (4, 3), (4, 3)),
    ("nn.BCEWithLogitsLoss()", (4, 3), (4, 3)),
    ("nn.KLDivLoss(reduction='batchmean', log_target=True)", (4, 3), (4, 3)),
    ("nn.NLLLoss()", (4, 5), None),
    ("nn.NLLLoss(ignore_index=2, reduction='sum')", (4, 5), None),
    ("nn.CrossEntropyLoss()", (4, 5), None),
    ("nn.CrossEntropyLoss(label_smoothing=0.2, reduction='none')", (4, 5), None),
    ("nn.CrossEntropyLoss(reduction='sum')", (4, 5), (4, 5)),
]


def made(text: str, library: Library) -> Any:
    from collections import OrderedDict

    scope = {"nn": library.package.nn, "script_model": script_model, "OrderedDict": OrderedDict}
    library.package.manual_seed(0)
    return eval(text, scope)


def tensor(library: Library, shape: tuple[int, ...], seed: int = 0, dtype: str = "float32") -> Any:
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return library.tensor(Array(values, requires_grad=True))


def copy_state(source: Any, theirs: Library, target: Any, ours: Library) -> None:
    state = {name: ours.tensor(Array(theirs.array(value).copy())) for name, value in source.state_dict().items()}
    target.load_state_dict(state)


def first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("text", [text for text, _ in LAYERS] + CONTAINERS)
def test_repr(text: str, pytorch: Library, ours: Library) -> None:
    assert repr(made(text, ours)) == repr(made(text, pytorch))


@pytest.mark.parametrize(("text", "shape"), LAYERS)
def test_state_dict(text: str, shape: tuple[int, ...], pytorch: Library, ours: Library) -> None:
    """Names in order, shapes and dtypes, and which of them are parameters; for lazy layers, after the first call."""
    found = []
    for library in (pytorch, ours):
        module = made(text, library)
        module(tensor(library, shape).detach())
        state = {k: (library.array(v).shape, library.array(v).dtype) for k, v in module.state_dict().items()}
        names = [name for name, _ in module.named_parameters()]
        modules = [(name, type(m).__name__) for name, m in module.named_modules()]
        buffers = [name for name, _ in module.named_buffers()]
        found.append((list(state.items()), names, modules, buffers, repr(module)))
    assert found[1] == found[0]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("text", "shape"), LAYERS)
def test_forward_and_backward(
    text: str, shape: tuple[int, ...], training: bool, pytorch: Library, ours: Library
) -> None:
    """From PyTorch's weights: outputs, gradients of inputs and parameters, and buffers, twice in a row."""
    theirs, own = made(text, pytorch), made(text, ours)
    theirs(tensor(pytorch, shape).detach())  # lazy layers get their weights
    own(tensor(ours, shape).detach())
    copy_state(theirs, pytorch, own, ours)
    results = []
    for library, module in ((pytorch, theirs), (ours, own)):
        module.train(training)
        result: dict[str, np.ndarray] = {}
        for round_ in range(2):
            x = tensor(library, shape, seed=round_)
            scaled = x * 1.5  # an in-place ReLU may not write into a leaf
            y = first(module(scaled))
            (y * tensor(library, tuple(y.shape), seed=2).detach()).sum().backward()
            result[f"output {round_}"] = np.array(library.array(y))
            result[f"input gradient {round_}"] = np.array(library.array(x.grad))
        for name, parameter in module.named_parameters():
            result[f"gradient of {name}"] = np.array(library.array(parameter.grad))
        for name, value in module.state_dict().items():
            result[name] = np.array(library.array(value))
        results.append(result)
    expected, actual = results
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("text", "shape", "target_shape"), LOSSES)
def test_losses(
    text: str,
    shape: tuple[int, ...],
    target_shape: tuple[int, ...] | None,
    pytorch: Library,
    ours: Library,
) -> None:
    results = []
    for library in (pytorch, ours):
        x = tensor(library, shape, dtype="float64")
        if target_shape is None:
            target = library.tensor(Array(np.array([1, 2, 0, 4])))
        else:
            target = tensor(library, target_shape, seed=1, dtype="float64").detach()
        loss = made(text, library)(x, target)
        loss.sum().backward()
        results.append((np.array(library.array(loss)), np.array(library.array(x.grad))))
    for actual, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_weighted_losses(pytorch: Library, ours: Library) -> None:
    values = []
    for library in (pytorch, ours):
        weight = library.tensor(Array(np.array([0.5, 1.0, 2.0, 0.0, 3.0])))
        loss = library.package.nn.CrossEntropyLoss(weight=weight)
        assert list(loss.state_dict()) == ["weight"]
        target = library.tensor(Array(np.array([1, 2, 0, 4])))
        values.append(loss(tensor(library, (4, 5), dtype="float64"), target).item())
    assert values[1] == pytest.approx(values[0], rel=1e-12)


ERRORS: dict[str, Callable[[Any, Callable[..., Any]], Any]] = {
    "groups do not divide in": lambda nn, x: nn.Conv2d(3, 8, 3, groups=2),
    "groups do not divide out": lambda nn, x: nn.Conv2d(4, 7, 3, groups=2),
    "groups zero": lambda nn, x: nn.Conv2d(4, 8, 3, groups=0),
    "unknown padding": lambda nn, x: nn.Conv2d(4, 8, 3, padding="full"),
    "same padding with a stride": lambda nn, x: nn.Conv2d(4, 8, 3, padding="same", stride=2),
    "unknown padding mode": lambda nn, x: nn.Conv2d(4, 8, 3, padding_mode="nonsense"),
    "stride zero": lambda nn, x: nn.Conv2d(3, 8, 3, stride=0)(x(2, 3, 8, 8)),
    "negative padding": lambda nn, x: nn.Conv2d(3, 8, 3, padding=-1)(x(2, 3, 8, 8)),
    "kernel too large": lambda nn, x: nn.Conv2d(3, 8, 9)(x(2, 3, 8, 8)),
    "wrong channels": lambda nn, x: nn.Conv2d(3, 8, 3)(x(2, 4, 8, 8)),
    "wrong dimensions": lambda nn, x: nn.Conv2d(3, 8, 3)(x(3, 8)),
    "float64 into float32": lambda nn, x: nn.Conv2d(3, 8, 3)(x(2, 3, 8, 8).double()),
    "integers into conv": lambda nn, x: nn.Conv2d(3, 8, 3)(x(2, 3, 8, 8).long()),
    "no channels given": lambda nn, x: nn.Conv2d(3),
    "transposed: output_padding too large": lambda nn, x: nn.ConvTranspose2d(3, 8, 3, output_padding=1)(x(2, 3, 4, 4)),
    "transposed: wrong channels": lambda nn, x: nn.ConvTranspose2d(3, 8, 3)(x(2, 4, 8, 8)),
    "linear: wrong features": lambda nn, x: nn.Linear(4, 3)(x(2, 5)),
    "linear: integers": lambda nn, x: nn.Linear(4, 3)(x(2, 4).long()),
    "linear: negative": lambda nn, x: nn.Linear(-1, 3),
    "pool: kernel too large": lambda nn, x: nn.MaxPool2d(9)(x(2, 3, 8, 8)),
    "pool: padding too large": lambda nn, x: nn.MaxPool2d(2, padding=2)(x(2, 3, 8, 8)),
    "pool: two dimensions": lambda nn, x: nn.MaxPool2d(2)(x(8, 8)),
    "average pool: divisor zero": lambda nn, x: nn.AvgPool2d(2, divisor_override=0)(x(2, 3, 8, 8)),
    "average pool: padding too large": lambda nn, x: nn.AvgPool2d(2, padding=2)(x(2, 3, 8, 8)),
    "adaptive: negative": lambda nn, x: nn.AdaptiveAvgPool2d(-1)(x(2, 3, 8, 8)),
    "batch norm 2d of 2-d": lambda nn, x: nn.BatchNorm2d(3)(x(4, 3)),
    "batch norm 1d of 4-d": lambda nn, x: nn.BatchNorm1d(3)(x(4, 3, 2, 2)),
    "batch norm: wrong channels": lambda nn, x: nn.BatchNorm2d(3)(x(4, 5, 2, 2)),
    "batch norm: one value a channel": lambda nn, x: nn.BatchNorm1d(3)(x(1, 3)),
    "layer norm: another shape": lambda nn, x: nn.LayerNorm(4)(x(3, 5)),
    "group norm: groups do not divide": lambda nn, x: nn.GroupNorm(4, 6),
    "group norm: wrong channels": lambda nn, x: nn.GroupNorm(2, 6)(x(2, 4, 3)),
    "instance norm: one position": lambda nn, x: nn.InstanceNorm2d(3)(x(2, 3, 1, 1)),
    "instance norm: two dimensions": lambda nn, x: nn.InstanceNorm2d(3)(x(2, 3)),
    "instance norm: wrong channels": lambda nn, x: nn.InstanceNorm2d(3, affine=True)(x(2, 4, 3, 3)),
    "local response norm: two dimensions": lambda nn, x: nn.LocalResponseNorm(2)(x(4, 3)),
    "bce: not a probability": lambda nn, x: nn.BCELoss()(x(3) * 0 + 2, x(3)),
    "bce: another shape": lambda nn, x: nn.BCEWithLogitsLoss()(x(3, 2), x(3)),
    "huber: delta zero": lambda nn, x: nn.HuberLoss(delta=0)(x(3), x(3)),
    "smooth l1: negative beta": lambda nn, x: nn.SmoothL1Loss(beta=-1)(x(3), x(3)),
    "kl: unknown reduction": lambda nn, x: nn.KLDivLoss(reduction="median")(x(3), x(3)),
    "dropout above one": lambda nn, x: nn.Dropout(1.5),
    "dropout below zero": lambda nn, x: nn.Dropout2d(-0.1),
    "softmax: dim out of range": lambda nn, x: nn.Softmax(dim=3)(x(4, 3)),
    "flatten: dim out of range": lambda nn, x: nn.Flatten(3)(x(4, 3)),
    "flatten: dims in the wrong order": lambda nn, x: nn.Flatten(2, 1)(x(4, 3, 2)),
    "loss: unknown reduction": lambda nn, x: nn.MSELoss(reduction="median")(x(3), x(3)),
    "loss: shapes that do not broadcast": lambda nn, x: nn.MSELoss()(x(3, 2), x(3, 4)),
    "cross entropy: target out of range": lambda nn, x: nn.CrossEntropyLoss()(x(2, 3), (x(2) * 0 + 3).long()),
    "cross entropy: target negative": lambda nn, x: nn.CrossEntropyLoss()(x(2, 3), (x(2) * 0 - 1).long()),
    "cross entropy: batch sizes differ": lambda nn, x: nn.CrossEntropyLoss()(x(2, 3), (x(4) * 0).long()),
    "cross entropy: probabilities of another shape": lambda nn, x: nn.CrossEntropyLoss()(x(2, 3), x(2, 4)),
    "cross entropy: smoothing above one": lambda nn, x: nn.CrossEntropyLoss(label_smoothing=1.5)(
        x(2, 3), (x(2) * 0).long()
    ),
    "nll: float target": lambda nn, x: nn.NLLLoss()(x(2, 3), x(2)),
    "nll: weight of another size": lambda nn, x: nn.NLLLoss(weight=x(4).detach())(x(2, 3), (x(2) * 0).long()),
    "lazy: groups do not divide": lambda nn, x: nn.LazyConv2d(4, 3, groups=2)(x(2, 3, 8, 8)),
    "sequential: not a module": lambda nn, x: nn.Sequential(nn.ReLU(), 3),
    "sequential: index out of range": lambda nn, x: nn.Sequential(nn.ReLU())[1],
    "module list: index out of range": lambda nn, x: nn.ModuleList([nn.ReLU()])[1],
    "module list: not a module": lambda nn, x: nn.ModuleList([3]),
    "module dict: missing key": lambda nn, x: nn.ModuleDict({"a": nn.ReLU()})["b"],
    "no such attribute": lambda nn, x: nn.ReLU().weight,
    "no forward": lambda nn, x: nn.Module()(x(2)),
    "buffer: a dot in the name": lambda nn, x: nn.Module().register_buffer("a.b", x(2).detach()),
    "buffer: an empty name": lambda nn, x: nn.Module().register_buffer("", x(2).detach()),
    "buffer: name taken": lambda nn, x: nn.Linear(2, 2).register_buffer("weight", x(2).detach()),
    "buffer: not a tensor": lambda nn, x: nn.Module().register_buffer("a", 3),
    "parameter: not a tensor": lambda nn, x: setattr(nn.Linear(2, 2), "weight", 3),
    "parameter: a plain tensor": lambda nn, x: setattr(nn.Linear(2, 2), "weight", x(2, 2)),
    "parameter: a dot in the name": lambda nn, x: nn.Module().register_parameter("a.b", nn.Parameter(x(2).detach())),
    "parameter of integers": lambda nn, x: nn.Parameter(x(2).detach().long()),
    "module: name taken": lambda nn, x: nn.Linear(2, 2).add_module("weight", nn.ReLU()),
    "module: not a module": lambda nn, x: nn.Module().add_module("a", 3),
    "train: not a bool": lambda nn, x: nn.ReLU().train("yes"),
    "load: a missing key": lambda nn, x: nn.Linear(2, 2).load_state_dict({"weight": x(2, 2).detach()}),
    "load: an unexpected key": lambda nn, x: nn.Linear(2, 2, bias=False).load_state_dict(
        {"weight": x(2, 2).detach(), "bias": x(2).detach()}
    ),
    "load: another shape": lambda nn, x: nn.Linear(2, 2, bias=False).load_state_dict({"weight": x(3, 2).detach()}),
    "load: another shape, not strict": lambda nn, x: nn.Linear(2, 2).load_state_dict(
        {"weight": x(3, 2).detach()}, strict=False
    ),
    "load: not a dict": lambda nn, x: nn.Linear(2, 2).load_state_dict([x(2, 2)]),
    "load: not a tensor": lambda nn, x: nn.Linear(2, 2, bias=False).load_state_dict({"weight": "text"}),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_pytorch_rejects_is_rejected(case: str, pytorch: Library, ours: Library) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011 - any error of PyTorch's
        ERRORS[case](pytorch.package.nn, lambda *shape: tensor(pytorch, shape))
    allowed = (ValueError, TypeError, IndexError, RuntimeError, expected.type)
    with pytest.raises(allowed):
        ERRORS[case](ours.package.nn, lambda *shape: tensor(ours, shape))


def test_loading_is_not_strict_on_request(pytorch: Library, ours: Library) -> None:
    results = []
    for library in (pytorch, ours):
        layer = library.package.nn.Linear(2, 2)
        state = {"weight": tensor(library, (2, 2)).detach(), "more": tensor(library, (1,)).detach()}
        outcome = layer.load_state_dict(state, strict=False)
        results.append((list(outcome.missing_keys), list(outcome.unexpected_keys)))
        np.testing.assert_array_equal(library.array(layer.weight), library.array(state["weight"]))
    assert results[1] == results[0]


def test_shared_modules_and_walks(pytorch: Library, ours: Library) -> None:
    """A module that appears twice is one module, under its first name."""
    results = []
    for library in (pytorch, ours):
        nn = library.package.nn
        shared = nn.Linear(3, 3)
        model = nn.Sequential(shared, nn.ReLU(), shared, nn.ModuleDict({"inner": nn.Sequential(shared, nn.Tanh())}))
        order: list[str] = []
        model.apply(lambda module, order=order: order.append(type(module).__name__))
        results.append(
            (
                [name for name, _ in model.named_parameters()],
                [name for name, _ in model.named_parameters(prefix="p", remove_duplicate=False)],
                [name for name, _ in model.named_modules()],
                [name for name, _ in model.named_children()],
                list(model.state_dict()),
                list(model.state_dict(prefix="m.")),
                len(list(model.parameters())),
                len(list(model[-1].parameters(recurse=False))),
                order,
            )
        )
    assert results[1] == results[0]


def test_hooks(pytorch: Library, ours: Library) -> None:
    """Pre-hooks may change the arguments, hooks the output, and both can be removed."""
    results = []
    for library in (pytorch, ours):
        layer = library.package.nn.Identity()
        x = tensor(library, (3,)).detach()
        before = layer.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        after = layer.register_forward_hook(lambda module, args, output: output + args[0])
        values = [layer(x)]
        before.remove()
        values.append(layer(x))
        after.remove()
        values.append(layer(x))
        results.append([np.array(library.array(v)) for v in values])
    np.testing.assert_allclose(results[1], results[0])


def test_buffers_that_are_not_saved(pytorch: Library, ours: Library) -> None:
    for library in (pytorch, ours):
        module = library.package.nn.Module()
        module.register_buffer("kept", tensor(library, (2,)).detach())
        module.register_buffer("dropped", tensor(library, (2,)).detach(), persistent=False)
        module.register_buffer("nothing", None)
        assert list(module.state_dict()) == ["kept"]
        assert [name for name, _ in module.named_buffers()] == ["kept", "dropped"]


def test_to_changes_floating_parameters_and_buffers(pytorch: Library, ours: Library) -> None:
    results = []
    for library in (pytorch, ours):
        layer = library.package.nn.BatchNorm2d(3).to(library.dtype("float64"))
        results.append([(k, library.array(v).dtype) for k, v in layer.state_dict().items()])
        assert layer.to("cpu") is layer
    assert results[1] == results[0]
