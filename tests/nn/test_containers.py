"""Containers hold modules like a tuple, a list and a dictionary would."""

from __future__ import annotations

import operator
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn


@pytest.fixture
def chain():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_sequential_is_function_composition(chain):
    x = tg.ones(4, 2)
    assert (chain(x).data == chain[2](chain[1](chain[0](x))).data).all()
    assert nn.Sequential()(x) is x


@st.composite
def poolings(draw):
    """Draw images with many equal values, some of them special, and a max pooling that takes them."""
    values = st.sampled_from([-np.inf, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan])
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(4, 9), st.integers(4, 9)))
    kernel = draw(st.integers(1, 3))
    options = {
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, kernel // 2)),
        "dilation": draw(st.sampled_from([1, 1, 2])) if kernel < 3 else 1,
        "ceil_mode": draw(st.booleans()),
    }
    return draw(arrays(np.float64, shape, elements=values)), nn.MaxPool2d(kernel, **options)


@given(poolings())
def test_a_relu_commutes_with_the_max_pooling_behind_it(drawn):
    """`Sequential` does both at once, but where there is a hook."""
    images, pool = drawn
    watched = nn.ReLU()
    watched.register_forward_hook(lambda *_: None)
    results = []
    for chain in (nn.Sequential(nn.ReLU(), pool), nn.Sequential(watched, pool)):
        x = tg.tensor(images, requires_grad=True)
        y = chain(x)
        cotangent = tg.tensor(np.arange(1.0, y.data.size + 1).reshape(y.shape), requires_grad=True)
        (first,) = tg.grad(y, x, cotangent, create_graph=True)
        (second,) = tg.grad(first, cotangent, tg.ones(*first.shape, dtype=tg.float64))
        results.append((y, first, second))
    for pooled_first, in_order in zip(*results, strict=True):
        np.testing.assert_array_equal(pooled_first.data, in_order.data)


@pytest.mark.parametrize("calls", ["ReLU", "MaxPool2d"])
def test_sequential_calls_layers_with_hooks_as_they_are_written(calls):
    chain, seen = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), []
    x = tg.ones(1, 1, 4, 4)
    for layer in chain:
        if type(layer).__name__ == calls:
            layer.register_forward_hook(lambda layer, args, output: seen.append((args[0].shape, output.shape)))
    chain(x)
    assert seen == [(x.shape, x.shape) if calls == "ReLU" else (x.shape, (1, 1, 2, 2))]


def test_sequential_calls_a_layer_with_a_forward_of_its_own_as_it_is_written():
    image = tg.arange(-8.0, 8.0).view(1, 1, 4, 4)
    relu = nn.ReLU()
    relu.forward = lambda x: -F.relu(x)
    assert nn.Sequential(relu, nn.MaxPool2d(2))(image).tolist() == F.max_pool2d(-F.relu(image), 2).tolist()


def test_sequential_rectifies_and_pools_at_once(monkeypatch):
    image = tg.arange(-32.0, 32.0).view(1, 1, 8, 8)
    expected = F.max_pool2d(F.relu(image), 4)
    monkeypatch.delattr(F, "relu")
    chain = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2))
    assert chain(image).tolist() == expected.tolist()


def test_sequential_keeps_the_order_of_what_does_not_commute():
    class Mirrored(nn.ReLU):
        def forward(self, input):
            return -super().forward(input)

    image = tg.arange(-8.0, 8.0).view(1, 1, 4, 4)
    on_padding_alone = nn.MaxPool2d(2, padding=1, dilation=5)
    assert on_padding_alone(image).tolist() == [[[[-np.inf]]]]
    for layer in (nn.MaxPool2d(2, return_indices=True), nn.AvgPool2d(2), on_padding_alone):
        chain = nn.Sequential(nn.ReLU(), layer)
        made, expected = chain(image), layer(F.relu(image))
        for one, other in zip(*((t if isinstance(t, tuple) else (t,)) for t in (made, expected)), strict=True):
            assert one.tolist() == other.tolist()
    with_subclass = nn.Sequential(Mirrored(), nn.MaxPool2d(2))
    assert with_subclass(image).tolist() == F.max_pool2d(Mirrored()(image), 2).tolist()


def test_sequential_indexes_and_slices(chain):
    layers = list(chain)
    assert chain[-1] is layers[2]
    assert list(chain[1:]) == layers[1:]
    assert list(dict(chain[1:].named_children())) == ["1", "2"]
    assert list(chain[:2] + chain[2:]) == layers
    with pytest.raises(IndexError, match="index 3 is out of range for 3"):
        chain[3]
    with pytest.raises(TypeError):
        chain["a"]
    with pytest.raises(TypeError):
        operator.add(chain, [nn.ReLU()])


def test_sequential_takes_names():
    chain = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    assert chain.a is chain[0]
    assert repr(chain) == "Sequential(\n  (a): ReLU()\n  (b): Tanh()\n)"
    with pytest.raises(TypeError, match="expects a Module or None but got int"):
        nn.Sequential(3)


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_editing_keeps_order_and_numbers(kind):
    a, b, c, d = nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()
    modules = kind().append(a).extend([b, c])
    assert modules.insert(1, d) is modules
    assert list(modules) == [a, d, b, c]
    modules.insert(-1, a)
    assert list(modules) == [a, d, b, a, c]
    assert modules.pop() is c
    assert modules.pop(1) is d
    del modules[0]
    assert list(modules) == [b, a]
    assert list(modules._modules) == ["0", "1"]
    modules[0] = c
    assert modules[0] is c
    del modules[:]
    assert len(modules) == 0
    assert repr(modules) == f"{kind.__name__}()"
    with pytest.raises(IndexError, match="out of range"):
        modules.insert(3, a)
    with pytest.raises(TypeError):
        modules.append(3)


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_inserting_what_does_not_fit_changes_nothing(kind):
    a, b = nn.ReLU(), nn.Tanh()
    modules = kind().extend([a, b])
    with pytest.raises(TypeError, match="1 expects a Module or None but got int"):
        modules.insert(1, 3)
    with pytest.raises(ValueError, match="does not contain its own parent"):
        modules.insert(0, nn.Sequential(modules))
    assert list(modules) == [a, b]


@pytest.mark.parametrize("kind", [lambda *modules: nn.Sequential(*modules), lambda *modules: nn.ModuleList(modules)])
def test_adding_in_place_is_seen_under_every_name(kind):
    net = nn.Module()
    net.layers = kind(nn.ReLU())
    layers = net.layers
    layers += kind(nn.Tanh())
    assert net.layers is layers
    assert len(net.layers) == 2
    with pytest.raises(TypeError):
        layers += 3


def test_module_list_behaves_like_a_list():
    layers = nn.ModuleList([nn.ReLU()])
    layers += [nn.Tanh()]
    assert len(layers) == 2
    assert isinstance(layers[:1], nn.ModuleList)
    assert len(operator.add(layers, [nn.ReLU()])) == 3
    doubled = nn.ModuleList()
    doubled.extend(layers)
    doubled.extend(doubled)
    assert len(doubled) == 4
    with pytest.raises(NotImplementedError):
        layers(1)


def test_module_list_groups_equal_neighbours_when_shown():
    layers = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Sequential(nn.Tanh())])
    assert repr(layers) == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Sequential(\n    (0): Tanh()\n  )\n)"


def test_module_dict_behaves_like_a_dict():
    a, b = nn.ReLU(), nn.Tanh()
    modules = nn.ModuleDict({"a": a})
    modules["b"] = b
    assert list(modules) == list(modules.keys()) == ["a", "b"]
    assert list(modules.values()) == [a, b]
    assert dict(modules.items()) == {"a": a, "b": b}
    assert "a" in modules
    assert len(modules) == 2
    assert modules.pop("a") is a
    modules.update([("c", a)])
    modules.update(nn.ModuleDict({"d": b}))
    assert list(modules) == ["b", "c", "d"]
    del modules["b"]
    with pytest.raises(KeyError):
        modules["b"]
    modules.clear()
    assert len(modules) == 0
    with pytest.raises(TypeError):
        modules["x"] = 3
