"""Containers hold modules like a tuple, a list and a dictionary would."""

from __future__ import annotations

import operator
from collections import OrderedDict

import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn


@pytest.fixture
def chain():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_sequential_is_function_composition(chain):
    x = tg.ones(4, 2)
    assert (chain(x).data == chain[2](chain[1](chain[0](x))).data).all()
    assert nn.Sequential()(x) is x


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
