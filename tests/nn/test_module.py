"""Modules know their parameters, buffers and children, at any depth and under the right names."""

from __future__ import annotations

import copy
from collections import OrderedDict
from decimal import Decimal

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.classifier = nn.Linear(2, 3)
        self.scale = nn.Parameter(tg.ones(1))
        self.register_buffer("offset", tg.zeros(1))
        self.register_buffer("cache", tg.zeros(1), persistent=False)
        self.depth = 2

    def forward(self, x, extra=None):
        return self.classifier(self.features(x).mean((2, 3))) * self.scale


def values(module):
    return {key: tensor.data.copy() for key, tensor in module.state_dict().items()}


# ------------------------------------------------------------------------------------------------ registration


def test_attributes_register_themselves_in_order():
    assert [name for name, _ in Net().named_parameters()] == [
        "scale",
        "features.0.weight",
        "features.0.bias",
        "features.1.weight",
        "features.1.bias",
        "classifier.weight",
        "classifier.bias",
    ]
    names = [name for name, _ in Net().named_modules()]
    assert names == ["", "features", "features.0", "features.1", "features.2", "classifier"]
    assert [name for name, _ in Net().named_children()] == ["features", "classifier"]
    assert [name for name, _ in Net().named_buffers()][:3] == ["offset", "cache", "features.1.running_mean"]
    assert [name for name, _ in Net().named_parameters(prefix="net", recurse=False)] == ["net.scale"]
    assert len(list(Net().parameters(recurse=False))) == 1
    assert len(list(Net().buffers(recurse=False))) == 2


def test_a_shared_parameter_is_yielded_once_but_saved_under_both_names():
    net = nn.Module()
    net.a, net.b = nn.Linear(2, 2), nn.Linear(2, 2)
    net.b.weight = net.a.weight
    net.c = net.a
    assert len(list(net.parameters())) == 3
    assert len(list(net.children())) == 2
    assert len(list(net.modules())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert net.state_dict()["b.weight"].data is net.a.weight.data
    assert list(net.state_dict()) == [f"{m}.{t}" for m in "abc" for t in ("weight", "bias")]


def test_assigning_replaces_whatever_had_the_name():
    net = nn.Module()
    net.x = 1
    net.x = nn.Parameter(tg.ones(1))
    assert list(dict(net.named_parameters())) == ["x"]
    net.x = nn.ReLU()
    assert not list(net.parameters())
    assert list(dict(net.named_children())) == ["x"]
    net.x = None
    assert not list(net.children())
    assert net.x is None
    del net.x
    assert not hasattr(net, "x")
    net.y = 3
    del net.y
    assert not hasattr(net, "y")


def test_a_buffer_takes_another_tensor_and_stays_a_buffer():
    net = Net()
    net.offset = tg.ones(1)
    assert net.state_dict()["offset"].item() == 1
    net.offset = None
    assert "offset" not in net.state_dict()
    net.offset = nn.Parameter(tg.ones(1))
    assert "offset" in dict(net.named_parameters())
    assert "cache" not in net.state_dict()
    del net.cache
    net.register_buffer("cache", tg.zeros(1))
    assert "cache" in net.state_dict()


def test_registering_rejects_what_does_not_fit():
    net = Net()
    with pytest.raises(TypeError, match=r"cannot assign 'Tensor' object to parameter 'scale' \(nn.Parameter or None"):
        net.scale = tg.ones(1)
    with pytest.raises(TypeError, match="cannot assign 'int' object to child module 'features'"):
        net.features = 3
    with pytest.raises(TypeError, match="cannot assign 'ndarray' object to buffer 'offset'"):
        net.offset = np.ones(1)
    for register in (net.register_parameter, net.register_buffer, net.register_module, net.add_module):
        with pytest.raises(TypeError, match="name expects a string but got int"):
            register(1, None)
        with pytest.raises(KeyError, match="without dots"):
            register("a.b", None)
        with pytest.raises(KeyError, match="non-empty"):
            register("", None)
        with pytest.raises(KeyError, match="attribute 'depth' already exists"):
            register("depth", None)
        with pytest.raises(TypeError, match="or None but got int"):
            register("fresh", 3)
    with pytest.raises(ValueError, match="does not contain its own parent"):
        net.features.parent = net
    with pytest.raises(ValueError, match="does not contain its own parent"):
        net.itself = net


def test_forgetting_super_init_is_said():
    class Forgetful(nn.Module):
        def __init__(self, **attributes):
            for name, value in attributes.items():
                setattr(self, name, value)

    assert Forgetful(a=3).a == 3
    with pytest.raises(AttributeError, match=r"cannot assign parameter 'p' before Module.__init__\(\) call"):
        Forgetful(p=nn.Parameter(tg.ones(1)))
    with pytest.raises(AttributeError, match="cannot assign child module 'm' before"):
        Forgetful(m=nn.ReLU())
    with pytest.raises(AttributeError, match="register_buffer: cannot register 'b' before"):
        Forgetful().register_buffer("b", None)
    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Forgetful()(tg.ones(1))
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'missing'"):
        _ = Net().missing


def test_paths_lead_to_submodules_parameters_and_buffers():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("features.0") is net.features[0]
    assert net.get_parameter("features.0.bias") is net.features[0].bias
    assert net.get_buffer("offset") is net.offset
    with pytest.raises(AttributeError, match=r"Sequential has no submodule '7' \(path 'features.7'\)"):
        net.get_submodule("features.7")
    with pytest.raises(AttributeError, match="Linear has no parameter 'w'"):
        net.get_parameter("classifier.w")
    with pytest.raises(AttributeError, match="Net has no buffer 'scale'"):
        net.get_buffer("scale")


# ------------------------------------------------------------------------------------------------ calling


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)


def test_an_error_says_which_submodule_raised_it():
    net = Net()
    net.features.append(nn.Sequential(nn.Conv2d(7, 1, 1)))
    with pytest.raises(ValueError, match=r"^features\.3\.0: conv2d: weight expects 7 input channel"):
        net(tg.ones(1, 1, 5, 5))
    with pytest.raises(ValueError, match=r"^conv2d: "):
        nn.Conv2d(1, 1, 1)(tg.ones(2))

    class Through(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(3, 3)])

        def forward(self, x):
            return self.layers[1](x)

    with pytest.raises(ValueError, match=r"^0\.layers\.1: linear"):
        nn.Sequential(Through())(tg.ones(1, 2))


def test_an_error_that_is_raised_once_more_says_where_it_comes_from_now():
    error = ValueError("no such class")

    class Failing(nn.Module):
        def forward(self, x):
            raise error

    failing = Failing()
    outer = nn.Sequential(nn.Sequential(failing))
    for net, where in ((outer, r"0\.0: "), (failing, ""), (outer[0], "0: ")):
        for _ in range(2):
            with pytest.raises(ValueError, match=f"^{where}no such class$"):
                net(1)


def test_errors_without_a_message_pass_unchanged():
    class Odd(nn.Module):
        def forward(self, error):
            raise error

    for error in (ValueError(), ValueError(1, 2), KeyError("k")):
        with pytest.raises(type(error)) as caught:
            nn.Sequential(Odd())(error)
        assert caught.value is error
        assert caught.value.args == error.args


def test_a_state_dict_of_another_library_is_told_from_ours():
    with pytest.raises(RuntimeError, match=r'For "weight": expected .* but got decimal.Decimal.'):
        nn.Linear(1, 1).load_state_dict({"weight": Decimal(1), "bias": np.zeros(1)})
    with pytest.raises(TypeError, match=r"^add: expected tensors, arrays or numbers but got decimal.Decimal$"):
        tg.ones(2) + Decimal(1)


def test_hooks_see_and_change_what_passes():
    net, seen = nn.Linear(2, 2), []
    x = tg.ones(1, 2)
    plain = net(x).data.copy()
    first = net.register_forward_hook(lambda module, args, output: seen.append((module, args, output.shape)))
    net(x)
    assert seen == [(net, (x,), (1, 2))]
    first.remove()
    first.remove()
    with net.register_forward_pre_hook(lambda module, args: args[0] * 2):
        np.testing.assert_allclose(net(x).data, 2 * plain - net.bias.data, rtol=1e-5)
    with net.register_forward_hook(lambda module, args, output: output * 0):
        assert not net(x).data.any()
    np.testing.assert_array_equal(net(x).data, plain)
    assert len(seen) == 1


def test_hooks_run_in_order_and_may_be_put_in_front():
    net, order = nn.Identity(), []
    net.register_forward_hook(lambda *_: order.append("second"))
    net.register_forward_hook(lambda *_: order.append("first"), prepend=True)
    net.register_forward_pre_hook(lambda *_: order.append("before"))
    net(1)
    assert order == ["before", "first", "second"]


def test_hooks_with_keywords():
    net = Net()
    net.register_forward_pre_hook(lambda m, args, kwargs: (args, {**kwargs, "extra": 1}), with_kwargs=True)
    seen = []
    net.register_forward_hook(lambda m, args, kwargs, output: seen.append(kwargs), with_kwargs=True)
    net.register_forward_pre_hook(lambda m, args, kwargs: None, with_kwargs=True)
    net(tg.ones(1, 1, 4, 4))
    assert seen == [{"extra": 1}]
    net.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match="a pair"):
        net(tg.ones(1, 1, 4, 4))
    with pytest.raises(TypeError, match="hook expects a callable"):
        net.register_forward_hook(3)


# ------------------------------------------------------------------------------------------------ state


def test_a_state_dict_shares_memory_and_loading_restores_it():
    net, other = Net(), Net()
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert not any(tensor.requires_grad for tensor in state.values())
    assert state["scale"].data is net.scale.data
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert next(iter(net.state_dict(prefix="net."))) == "net.scale"
    result = other.load_state_dict(state)
    assert repr(result) == str(result) == "<All keys matched successfully>"
    assert all(np.array_equal(a, b) for a, b in zip(values(net).values(), values(other).values(), strict=True))
    assert other.scale.data is not net.scale.data
    other.load_state_dict({key: tensor.numpy() for key, tensor in state.items()})


def test_loading_reports_every_problem_and_changes_nothing():
    net = Net()
    before = values(net)
    state = {key: tg.Tensor(array + 1) for key, array in values(net).items()}
    del state["scale"]
    state["surplus"] = tg.ones(1)
    state["classifier.weight"] = tg.ones(4, 4)
    state["classifier.bias"] = tg.ones(3).long()
    state["features.1.num_batches_tracked"] = tg.tensor(1.0)
    state["offset"] = "text"
    state["features.0.bias"] = nn.LazyLinear(2).weight
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith('Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "scale".\n')
    assert 'Unexpected key(s) in state_dict: "surplus".' in message
    assert "size mismatch for classifier.weight: copying a param with shape (4, 4) from checkpoint" in message
    assert "dtype mismatch for classifier.bias: copying a param of dtype int64" in message
    assert "dtype mismatch for features.1.num_batches_tracked: copying a param of dtype float32" in message
    assert 'For "offset": expected a tensor or an array in the state dict but got str.' in message
    assert 'For "features.0.bias": the state dict holds an uninitialized parameter.' in message
    for key, array in values(net).items():
        np.testing.assert_array_equal(array, before[key])


def test_loading_loosely_tells_what_was_missing_and_unexpected():
    net = nn.Linear(2, 2)
    result = net.load_state_dict({"weight": tg.ones(2, 2), "other": tg.ones(1)}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["other"]
    assert repr(result) == "IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['other'])"
    assert net.weight.data.all()
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict({"weight": tg.ones(3, 3)}, strict=False)
    with pytest.raises(TypeError, match="state_dict expects a mapping but got list"):
        net.load_state_dict([1])
    with pytest.raises(TypeError, match="string keys but got 1"):
        net.load_state_dict({1: tg.ones(1)})


def test_a_checkpoint_of_another_floating_dtype_is_converted():
    net = nn.Linear(2, 2)
    net.load_state_dict({"weight": np.full((2, 2), 0.1), "bias": np.zeros(2)})
    assert net.weight.dtype == np.float32
    np.testing.assert_array_equal(net.weight.data, np.float32(0.1))


def test_loading_is_noticed_by_a_recorded_graph():
    net = nn.Linear(2, 2)
    loss = net(tg.ones(1, 2, requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="modified"):
        loss.backward()


# ------------------------------------------------------------------------------------------------ modes


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())
    with pytest.raises(ValueError, match="mode expects a bool"):
        net.train("yes")


def test_train_asks_a_submodule_that_overrides_it():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Frozen(nn.BatchNorm1d(2)), nn.Dropout()))
    net.train()
    assert [name for name, module in net.named_modules() if not module.training] == ["1.0", "1.0.0"]


def test_requires_grad_freezes_and_zero_grad_forgets():
    net = Net()
    net.features.requires_grad_(False)
    net(tg.ones(2, 1, 4, 4)).sum().backward()
    assert net.features[0].weight.grad is None
    grad = net.scale.grad
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.data is grad.data
    assert not grad.data.any()
    assert net.features[0].weight.grad is None
    net.zero_grad()
    assert net.scale.grad is None


def test_apply_visits_children_before_parents():
    visited = []
    net = Net()
    assert net.apply(lambda module: visited.append(type(module).__name__)) is net
    assert visited == ["Conv2d", "BatchNorm2d", "ReLU", "Sequential", "Linear", "Net"]


def test_to_converts_floating_tensors_and_gradients_in_place():
    net = Net()
    parameters = list(net.parameters())
    net(tg.ones(2, 1, 4, 4)).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {np.dtype(np.float64)}
    assert net.features[1].running_mean.dtype == np.float64
    assert net.features[1].num_batches_tracked.dtype == np.int64
    assert net(tg.ones(2, 1, 4, 4).double()).dtype == np.float64
    assert net.to("cpu").scale.dtype == np.float64
    assert net.to(tg.device("cpu")).cpu().scale.dtype == np.float64
    assert net.to(tg.ones(1)).scale.dtype == np.float32
    assert net.to("cpu", tg.float64).scale.dtype == np.float64
    assert net.to(dtype=tg.float32).scale.dtype == np.float32
    assert net.double().float().scale.dtype == np.float32
    with pytest.raises(TypeError, match=r"Net.to: dtype expects a floating dtype but got int64"):
        net.to(tg.int64)
    with pytest.raises(ValueError, match="cuda"):
        net.to("cuda")


def test_a_deep_copy_is_independent_and_keeps_what_is_shared():
    net = Net()
    net.register_forward_hook(lambda *_: None)
    net.again = net.classifier
    twin = copy.deepcopy(net)
    assert isinstance(twin.scale, nn.Parameter)
    assert twin.again is twin.classifier
    twin.scale.data[...] = 7
    assert net.scale.item() == 1
    x = tg.ones(2, 1, 4, 4)
    twin.scale.data[...] = 1
    np.testing.assert_array_equal(net.eval()(x).data, twin.eval()(x).data)


# ------------------------------------------------------------------------------------------------ showing


def test_repr_is_pytorchs():
    assert repr(Net()) == (
        "Net(\n"
        "  (features): Sequential(\n"
        "    (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))\n"
        "    (1): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "    (2): ReLU()\n"
        "  )\n"
        "  (classifier): Linear(in_features=2, out_features=3, bias=True)\n"
        ")"
    )
    assert repr(nn.Module()) == "Module()"


def test_a_parameter_shows_itself_and_checks_its_data():
    assert repr(nn.Parameter(tg.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert nn.Parameter().shape == (0,)
    array = np.ones(2, np.float32)
    assert nn.Parameter(array).data is array
    assert type(nn.Parameter(array) * 2) is tg.Tensor
    with pytest.raises(TypeError, match="data expects a Tensor or an ndarray but got list"):
        nn.Parameter([1.0])
    with pytest.raises(TypeError, match="floating"):
        nn.Parameter(tg.tensor([1]))
    assert not nn.Parameter(tg.tensor([1]), requires_grad=False).requires_grad
