"""Layers: what they compute is proven at their functions; here, that they pass everything on, and say what is wrong."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim


def same(a, b):
    np.testing.assert_array_equal(a.data, b.data)


X = tg.Tensor(np.random.default_rng(0).standard_normal((2, 4, 9, 8)).astype(np.float32))

LAYERS = [
    (nn.ReLU(), F.relu, "ReLU()"),
    (nn.ReLU(inplace=True), F.relu, "ReLU(inplace=True)"),
    (nn.LeakyReLU(), lambda x: F.leaky_relu(x, 0.01), "LeakyReLU(negative_slope=0.01)"),
    (nn.LeakyReLU(0.2, True), lambda x: F.leaky_relu(x, 0.2), "LeakyReLU(negative_slope=0.2, inplace=True)"),
    (nn.ELU(0.5), lambda x: F.elu(x, 0.5), "ELU(alpha=0.5)"),
    (nn.SELU(inplace=True), F.selu, "SELU(inplace=True)"),
    (nn.GELU(), F.gelu, "GELU(approximate='none')"),
    (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh"), "GELU(approximate='tanh')"),
    (nn.SiLU(), F.silu, "SiLU()"),
    (nn.Mish(), F.mish, "Mish()"),
    (nn.Softplus(2, 1.5), lambda x: F.softplus(x, 2, 1.5), "Softplus(beta=2, threshold=1.5)"),
    (nn.LogSigmoid(), F.logsigmoid, "LogSigmoid()"),
    (nn.Hardtanh(-0.5, 0.25), lambda x: F.hardtanh(x, -0.5, 0.25), "Hardtanh(min_val=-0.5, max_val=0.25)"),
    (nn.ReLU6(), F.relu6, "ReLU6()"),
    (nn.Hardsigmoid(), F.hardsigmoid, "Hardsigmoid()"),
    (nn.Hardswish(), F.hardswish, "Hardswish()"),
    (nn.Softmin(1), lambda x: F.softmin(x, 1), "Softmin(dim=1)"),
    (nn.Sigmoid(), F.sigmoid, "Sigmoid()"),
    (nn.Tanh(), F.tanh, "Tanh()"),
    (nn.Softmax(dim=1), lambda x: F.softmax(x, 1), "Softmax(dim=1)"),
    (nn.LogSoftmax(-1), lambda x: F.log_softmax(x, -1), "LogSoftmax(dim=-1)"),
    (nn.Identity(3, unused=True), lambda x: x, "Identity()"),
    (nn.Flatten(), lambda x: x.flatten(1), "Flatten(start_dim=1, end_dim=-1)"),
    (nn.Flatten(2, 3), lambda x: x.flatten(2, 3), "Flatten(start_dim=2, end_dim=3)"),
    (
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=True)",
    ),
    (
        nn.MaxPool2d((2, 3), dilation=2),
        lambda x: F.max_pool2d(x, (2, 3), dilation=2),
        "MaxPool2d(kernel_size=(2, 3), stride=(2, 3), padding=0, dilation=2, ceil_mode=False)",
    ),
    (
        nn.AvgPool2d(3, 2, 1, True, False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
        "AvgPool2d(kernel_size=3, stride=2, padding=1)",
    ),
    (
        nn.AvgPool2d(2, divisor_override=3),
        lambda x: F.avg_pool2d(x, 2, divisor_override=3),
        "AvgPool2d(kernel_size=2, stride=2, padding=0)",
    ),
    (
        nn.AdaptiveAvgPool2d((3, None)),
        lambda x: F.adaptive_avg_pool2d(x, (3, None)),
        "AdaptiveAvgPool2d(output_size=(3, None))",
    ),
    (nn.Dropout(0.3).eval(), lambda x: x, "Dropout(p=0.3, inplace=False)"),
    (nn.Dropout2d().eval(), lambda x: x, "Dropout2d(p=0.5, inplace=False)"),
]


@pytest.mark.parametrize(("layer", "function", "shown"), LAYERS, ids=lambda value: str(value)[:40])
def test_layers_without_parameters_call_their_function(layer, function, shown):
    same(layer(X), function(X))
    assert repr(layer) == shown
    assert not list(layer.parameters())


def test_the_slopes_of_prelu_are_parameters():
    layer = nn.PReLU(4, init=0.1)
    assert repr(layer) == "PReLU(num_parameters=4)"
    assert layer.weight.tolist() == [np.float32(0.1)] * 4
    layer(X).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.data, np.minimum(X.data, 0).sum((0, 2, 3)), rtol=1e-4)
    same(layer(X), F.leaky_relu(X, 0.1))
    with pytest.raises(ValueError, match="prelu: weight expects"):
        nn.PReLU(3)(X)


def test_hardtanh_needs_room_between_its_limits():
    with pytest.raises(ValueError, match="Hardtanh: max_val expects more than min_val"):
        nn.Hardtanh(1.0, 1.0)


def test_activations_stay_finite():
    x = tg.tensor([-1e30, -1e4, 1e4, 1e30], requires_grad=True)
    for f in (F.elu, F.selu, F.gelu, F.silu, F.mish, F.softplus, F.logsigmoid, F.hardswish, tg.sigmoid, tg.erf):
        y = f(x)
        (g,) = tg.grad(y.sum(), [x], create_graph=True)
        (h,) = tg.grad(g.sum(), [x])
        assert tg.isfinite(tg.stack([y, g, h])).all(), f


def test_max_pooling_can_return_positions():
    values, positions = nn.MaxPool2d(2, return_indices=True)(X)
    same(values, nn.MaxPool2d(2)(X))
    assert positions.dtype == np.int64


CONVOLUTIONS = [
    (nn.Conv2d, (4, 6, 3), {}, "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1))"),
    (
        nn.Conv2d,
        (4, 6, (3, 2), 2, (1, 0), 1, 2, False),
        {},
        "Conv2d(4, 6, kernel_size=(3, 2), stride=(2, 2), padding=(1, 0), groups=2, bias=False)",
    ),
    (
        nn.Conv2d,
        (4, 6, 3),
        {"padding": "same", "dilation": 2},
        "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=same, dilation=(2, 2))",
    ),
    (
        nn.ConvTranspose2d,
        (4, 6, 3, 2, 1, 1, 2, False, (1, 2)),
        {},
        (
            "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 2), "
            "output_padding=(1, 1), groups=2, bias=False)"
        ),
    ),
]


@pytest.mark.parametrize(("kind", "args", "kwargs", "shown"), CONVOLUTIONS)
def test_convolutions_call_their_function(kind, args, kwargs, shown):
    layer = kind(*args, **kwargs)
    if kind is nn.Conv2d:
        expected = F.conv2d(X, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        expected = F.conv_transpose2d(
            X, layer.weight, layer.bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
        )
    same(layer(X), expected)
    assert repr(layer) == shown


@given(st.integers(1, 3), st.integers(0, 2), st.integers(1, 3), st.integers(6, 9))
def test_a_transposed_convolution_goes_back_to_the_size_it_came_from(kernel_size, padding, stride, size):
    padding = min(padding, kernel_size // 2)
    down = nn.Conv2d(1, 1, kernel_size, stride, padding)
    up = nn.ConvTranspose2d(1, 1, kernel_size, stride, padding)
    x = tg.ones(1, 1, size, size)
    assert up(down(x), output_size=(size, size)).shape == x.shape
    assert up(down(x), output_size=x.shape).shape == x.shape


def test_linear():
    layer = nn.Linear(8, 3)
    same(layer(X), F.linear(X, layer.weight, layer.bias))
    assert repr(nn.Linear(8, 3, bias=False)) == "Linear(in_features=8, out_features=3, bias=False)"
    assert list(nn.Linear(8, 3, bias=False).state_dict()) == ["weight"]
    assert nn.Linear(8, 3, dtype=tg.float64, device="cpu").weight.dtype == np.float64


def test_dropout_drops_in_training_alone():
    tg.manual_seed(0)
    x = tg.ones(4, 8, 5, 5)
    dropped = nn.Dropout(0.5)(x).data
    assert set(np.unique(dropped)) == {0, 2}
    channels = nn.Dropout2d(0.5)(x).data
    assert set(np.unique(channels.mean((2, 3)))) == {0, 2}


BAD = [
    (lambda: nn.Linear(-1, 2), ValueError, "Linear: in_features expects at least 0 but got -1"),
    (lambda: nn.Linear(2, 1.5), TypeError, "Linear: out_features expects an integer but got 1.5"),
    (lambda: nn.Linear(2, 2, device="cuda"), ValueError, "device expects 'cpu'"),
    (lambda: nn.Linear(2, 2, dtype=tg.int64), TypeError, "floating"),
    (lambda: nn.Linear(3, 2)(tg.ones(1, 4)), ValueError, "linear"),
    (lambda: nn.Conv2d(1, 2, 0), ValueError, "Conv2d: kernel_size expects at least 1 but got 0"),
    (lambda: nn.Conv2d(1, 2, 3, stride=0), ValueError, "Conv2d: stride expects at least 1 but got 0"),
    (lambda: nn.Conv2d(1, 2, 3, stride=-1), ValueError, "Conv2d: stride expects at least 1 but got -1"),
    (lambda: nn.Conv2d(1, 2, (3, 3, 3)), ValueError, r"kernel_size expects one integer or a pair but got \(3, 3, 3\)"),
    (lambda: nn.Conv2d(1, 2, "3"), TypeError, "Conv2d: kernel_size expects an integer but got '3'"),
    (lambda: nn.Conv2d(3, 2, 3, groups=2), ValueError, "in_channels expects a multiple of groups=2 but got 3"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels expects a multiple of groups=2 but got 3"),
    (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, "groups expects at least 1 but got 0"),
    (lambda: nn.Conv2d(1, 1, 3, padding="full"), ValueError, "padding expects an int, a pair, 'same' or 'valid'"),
    (lambda: nn.Conv2d(1, 1, 3, 2, padding="same"), ValueError, "padding='same' expects stride 1"),
    (lambda: nn.Conv2d(1, 1, 3, padding=-1), ValueError, "padding expects at least 0"),
    (lambda: nn.Conv2d(1, 1, 3, padding_mode="odd"), ValueError, "padding_mode expects 'zeros' but got 'odd'"),
    (lambda: nn.Conv2d(1, 1, 5)(tg.ones(1, 1, 4, 4)), ValueError, "conv2d"),
    (lambda: nn.Conv2d(1, 1, 5)(tg.ones(4, 4)), ValueError, "conv2d"),
    (
        lambda: nn.ConvTranspose2d(1, 1, 3)(tg.ones(1, 1, 4, 4), output_size=(9, 9)),
        ValueError,
        r"output_size expects sizes from \[6, 6\] to \[6, 6\] but got \(9, 9\)",
    ),
    (
        lambda: nn.ConvTranspose2d(1, 1, 3)(tg.ones(1, 1, 4, 4), output_size=(9,)),
        ValueError,
        "output_size expects 2 or 4 sizes",
    ),
    (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: kernel_size expects at least 1"),
    (lambda: nn.MaxPool2d(2, 0), ValueError, "MaxPool2d: stride expects at least 1"),
    (lambda: nn.AvgPool2d(2, padding=-1), ValueError, "AvgPool2d: padding expects at least 0"),
    (lambda: nn.AdaptiveAvgPool2d(-1), ValueError, "AdaptiveAvgPool2d: output_size expects at least 0"),
    (lambda: nn.MaxPool2d(5)(tg.ones(1, 1, 4, 4)), ValueError, "max_pool2d"),
    (lambda: nn.Dropout(1.5), ValueError, "Dropout: p expects a probability between 0 and 1 but got 1.5"),
    (lambda: nn.Dropout2d(-0.1), ValueError, "Dropout2d: p expects"),
    (
        lambda: nn.BatchNorm2d(3)(tg.ones(2, 3)),
        ValueError,
        r"BatchNorm2d: input expects 4-d but got 2-d shape \(2, 3\)",
    ),
    (lambda: nn.BatchNorm1d(3)(tg.ones(2, 3, 4, 4)), ValueError, "BatchNorm1d: input expects 2-d or 3-d but got 4-d"),
    (lambda: nn.BatchNorm2d(3)(tg.ones(2, 4, 2, 2)), ValueError, "batch_norm"),
    (lambda: nn.BatchNorm2d(-3), ValueError, "BatchNorm2d: num_features expects at least 0"),
    (
        lambda: nn.MSELoss(reduction="max"),
        ValueError,
        "MSELoss: reduction expects 'none', 'mean' or 'sum' but got 'max'",
    ),
    (lambda: nn.NLLLoss(None, True), ValueError, "NLLLoss: size_average expects None"),
    (lambda: nn.CrossEntropyLoss(reduce=False), ValueError, "CrossEntropyLoss: reduce expects None"),
    (lambda: nn.CrossEntropyLoss()(tg.ones(2, 3), tg.tensor([0, 3])), (ValueError, IndexError), "cross_entropy"),
    (lambda: nn.LazyLinear(3)(tg.tensor(1.0)), ValueError, "LazyLinear: input expects at least 1 dimension"),
    (lambda: nn.LazyConv2d(3, 3)(tg.ones(4, 4)), ValueError, "LazyConv2d: input expects"),
    (lambda: nn.LazyConv2d(4, 3, groups=2)(tg.ones(3, 4, 4)), ValueError, "a multiple of groups=2 channels but got 3"),
    (lambda: nn.LazyLinear(3, dtype=tg.int32), TypeError, "expects a floating dtype but got int32"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------------------ losses


def test_losses_call_their_function():
    logits, target = X.mean((2, 3)), tg.tensor([1, 3])
    weight = tg.tensor([1.0, 2.0, 3.0, 4.0])
    same(
        nn.CrossEntropyLoss(weight, ignore_index=3, reduction="sum", label_smoothing=0.1)(logits, target),
        F.cross_entropy(logits, target, weight, ignore_index=3, reduction="sum", label_smoothing=0.1),
    )
    log_probabilities = F.log_softmax(logits, 1)
    same(
        nn.NLLLoss(weight, reduction="none")(log_probabilities, target),
        F.nll_loss(log_probabilities, target, weight, reduction="none"),
    )
    same(nn.MSELoss()(X, X * 2), F.mse_loss(X, X * 2))
    assert list(nn.NLLLoss(weight).state_dict()) == ["weight"]
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"


# ------------------------------------------------------------------------------------------------ batch norm


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_running_statistics_are_weighted_means_of_the_batches(momentum):
    layer = nn.BatchNorm2d(4, momentum=momentum)
    mean, var = np.zeros(4), np.ones(4)
    for count, scale in enumerate((1.0, 2.0, 3.0), start=1):
        batch = (X * scale).data.astype(np.float64)
        share = 1 / count if momentum is None else momentum
        mean += share * (batch.mean((0, 2, 3)) - mean)
        var += share * (batch.var((0, 2, 3), ddof=1) - var)
        layer(X * scale)
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.data, var, rtol=1e-4)
    assert layer.num_batches_tracked.item() == 3
    layer.eval()
    expected = (X.data - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
    np.testing.assert_allclose(layer(X).data, expected, rtol=1e-3, atol=1e-5)
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_var.data.all()


def test_batch_norm_without_running_statistics_uses_the_batch_in_evaluation_too():
    layer = nn.BatchNorm2d(4, track_running_stats=False)
    assert list(layer.state_dict()) == ["weight", "bias"]
    same(layer(X), layer.eval()(X))


def test_batch_norm_normalises_vectors_and_sequences():
    x = tg.Tensor(X.data[:, :, 0])
    y = nn.BatchNorm1d(4)(x).data
    np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var((0, 2)), 1, rtol=1e-3)
    assert nn.BatchNorm1d(4)(tg.ones(3, 4)).shape == (3, 4)


def test_batch_norm_parameters_are_optional():
    assert not list(nn.BatchNorm2d(4, affine=False).parameters())
    assert list(dict(nn.BatchNorm2d(4, bias=False).named_parameters())) == ["weight"]
    assert list(nn.BatchNorm2d(4).state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]


def test_frozen_running_statistics():
    layer = nn.BatchNorm2d(4)
    layer.track_running_stats = False
    layer(X)
    assert layer.num_batches_tracked.item() == 0
    assert not layer.running_mean.data.any()
    counted = nn.BatchNorm2d(4)
    counted.num_batches_tracked = None
    counted(X)
    assert counted.running_mean.data.any()


# ------------------------------------------------------------------------------------------------ lazy layers


def test_lazy_layers_learn_their_sizes_and_become_ordinary():
    model = nn.Sequential(nn.LazyConv2d(6, 3, groups=2), nn.Flatten(), nn.LazyLinear(5, bias=False))
    assert repr(model[0]) == "LazyConv2d(0, 6, kernel_size=(3, 3), stride=(1, 1), groups=2)"
    assert repr(model[2]) == "LazyLinear(in_features=0, out_features=5, bias=False)"
    parameters = list(model.parameters())
    optimizer = optim.SGD(parameters, lr=0.1)
    model(X).sum().backward()
    optimizer.step()
    assert repr(model[0]) == "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), groups=2)"
    assert repr(model[2]) == "Linear(in_features=252, out_features=5, bias=False)"
    assert type(model[0]) is nn.Conv2d
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert {type(p) for p in parameters} == {nn.Parameter}
    assert model[0].weight.shape == (6, 2, 3, 3)
    assert nn.LazyConv2d(3, 1, bias=False)(tg.ones(2, 4, 4)).shape == (3, 4, 4)


def test_lazy_initial_values_are_those_of_the_ordinary_layer():
    tg.manual_seed(3)
    lazy = nn.LazyLinear(5)
    lazy(tg.ones(1, 7))
    tg.manual_seed(3)
    ordinary = nn.Linear(7, 5)
    same(lazy.weight, ordinary.weight)
    same(lazy.bias, ordinary.bias)


def test_parameters_without_a_shape_say_so_when_used():
    layer = nn.LazyLinear(3, dtype=tg.float64)
    weight = layer.weight
    assert isinstance(weight, nn.UninitializedParameter)
    assert repr(weight) == "<UninitializedParameter>"
    assert weight.dtype == np.float64
    assert layer.has_uninitialized_params()
    for use in (lambda: weight.shape, lambda: weight + 1, lambda: weight.data, lambda: weight.sum()):
        with pytest.raises(RuntimeError, match="run the model once"):
            use()
    layer.requires_grad_(False)
    layer.to(tg.float32)
    twin = copy.deepcopy(layer)
    assert twin.weight is not weight
    assert twin(tg.ones(1, 2)).dtype == np.float32
    assert not twin.weight.requires_grad
    assert layer.has_uninitialized_params()


def test_lazy_layers_load_state_dicts():
    trained = nn.Linear(4, 3)
    lazy = nn.LazyLinear(3)
    lazy.load_state_dict(trained.state_dict())
    x = tg.ones(2, 4)
    same(lazy(x), trained(x))
    partly = nn.LazyLinear(3)
    partly.load_state_dict({"weight": trained.weight}, strict=False)
    partly(x)
    same(partly.weight, trained.weight)
    assert np.abs(partly.bias.data).max() <= 0.5
    nn.LazyLinear(3).load_state_dict(nn.LazyLinear(3).state_dict())
    with pytest.raises(RuntimeError, match="uninitialized"):
        trained.load_state_dict(nn.LazyLinear(3).state_dict())
    wrong = nn.LazyLinear(3)
    wrong.load_state_dict(trained.state_dict())
    with pytest.raises(ValueError, match="linear"):
        wrong(tg.ones(2, 5))


def test_a_new_kind_of_lazy_layer_must_say_what_it_infers():
    class Lazy(nn.LazyLinear):
        pass

    layer = Lazy(2)
    assert math.prod(layer(tg.ones(3, 4)).shape) == 6
    assert type(layer) is nn.Linear
