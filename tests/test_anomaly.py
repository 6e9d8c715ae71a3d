"""Finding the bug: the operation and the line that made the first NaN or infinity; the module that raised."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn
from tinygrad_cnn.autograd import Primitive, detect_anomaly, engine, primitive

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, about what is looked for here


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, requires_grad=True)


def watched(function, *args):
    with detect_anomaly():
        return function(*args)


# ------------------------------------------------------------------------------------------- forward


def test_the_first_operation_is_named_with_its_line():
    def compute(x):
        y = x * 2
        z = y.log()  # here
        z.sum().backward()

    with pytest.raises(RuntimeError, match=r"^log: the forward pass made -inf at index \(1,\)") as caught:
        watched(compute, leaf(1.0, 0.0))
    assert "test_anomaly.py:" in str(caught.value)
    assert "z = y.log()  # here" in str(caught.value)


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda x: x / tg.zeros(2), r"^div: .* made nan at index \(0,\)"),
        (lambda x: tg.exp(x * 1000), r"^exp: .* made inf at index \(1,\) of its output of shape \(2,\)"),
        (lambda x: tg.stack([x, x.log()]), "^log: "),
        (lambda x: np.log(x), r"^log: .*np\.log\(x\)"),
        (lambda x: x.detach().log(), "^log: "),
        (lambda x: x * tg.tensor([np.inf, 1.0]), "^mul: the forward pass made nan .*, from an infinity in 'other'"),
        (lambda x: x + tg.tensor([np.nan, 1.0]), "^add: .* was given a NaN in 'other', which no operation"),
        (lambda x: tg.cat([x, tg.tensor([np.nan])]), r"^cat: .* given a NaN in 'tensors\[1\]'"),
        (lambda x: F.cross_entropy(x.reshape(1, 2) * 1e30 * 1e30, tg.tensor([0])), "^mul: .* made inf"),
    ],
)
def test_what_makes_it_is_named_and_what_passes_it_on_is_not(compute, message):
    with pytest.raises(RuntimeError, match=message), detect_anomaly():
        compute(leaf(0.0, 1.0))


def test_an_infinity_that_was_given_may_pass():
    x = leaf(0.0, 1.0)
    with detect_anomaly():
        masked = tg.where(x > 0.5, x, -np.inf)
        assert masked.softmax(0).tolist() == [0, 1]
        assert (x + tg.tensor([-np.inf, 0.0]))[0].item() == -np.inf
        assert tg.where(tg.tensor([np.nan, 1.0]) > 0, x, 0).tolist() == [0, 1]


def test_without_recording_it_is_found_too():
    with pytest.raises(RuntimeError, match=r"^sqrt: "), tg.no_grad():
        watched(tg.sqrt, tg.tensor([-1.0]))


# ------------------------------------------------------------------------------------------- backward


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_vjp_is_named_with_the_line_of_its_forward_pass(create_graph):
    x = leaf(1.0, 0.0)
    with detect_anomaly():
        root = tg.sqrt(x)  # the line
        loss = (root * 3).sum()
        with pytest.raises(RuntimeError, match=r"^sqrt: its VJP made inf at index \(1,\) .*tg\.sqrt\(x\)  # the line"):
            loss.backward(create_graph=create_graph)


def test_a_forward_pass_from_outside_has_no_line():
    loss = leaf(0.0).sqrt().sum()
    with pytest.raises(RuntimeError, match=r"^sqrt: its VJP .*outside of detect_anomaly"), detect_anomaly():
        loss.backward()


def test_a_vjp_of_a_vjp_has_the_line_of_the_first():
    x = leaf(0.0)
    with detect_anomaly():
        y = (x**1.5).sum()  # a power
        (gradient,) = tg.grad(y, x, create_graph=True)
        with pytest.raises(RuntimeError, match=r"its VJP made inf .*# a power"):
            gradient.sum().backward()


def test_a_wrong_vjp_of_ones_own_is_found():
    @primitive
    def halve(x):
        return x / 2

    @halve.vjp("x")
    def _(g):
        return g * np.nan

    with pytest.raises(RuntimeError, match=r"^halve: its VJP made nan"), detect_anomaly():
        halve(leaf(1.0)).sum().backward()


def test_a_given_cotangent_may_be_infinite_and_unneeded_gradients_do_not_count():
    x, y = leaf(0.0), leaf(1.0)
    with detect_anomaly():
        (x + y).backward(np.array([np.inf], np.float32))
        (gradient,) = tg.grad((x.sqrt() + y).sum(), y)
    assert gradient.item() == 1


def test_errors_of_the_backward_pass_get_a_note():
    x = leaf(1.0)
    with detect_anomaly(check_nan=False):
        loss = (x * x).sum()  # squares
        loss.backward()
        with pytest.raises(RuntimeError, match="freed") as caught:
            loss.backward()
        assert "# squares" in caught.value.__notes__[0]
        assert x.log().requires_grad
        assert np.isnan((x - 2).log().item())


# ---------------------------------------------------------------------------------------- off and on


def test_off_the_engine_is_as_it_was():
    methods = Primitive.__call__, engine._Pass.step, engine._Pass.send
    with detect_anomaly():
        with detect_anomaly():
            assert Primitive.__call__ is not methods[0]
        with pytest.raises(RuntimeError, match=r"^log"):
            leaf(0.0).log()
    assert (Primitive.__call__, engine._Pass.step, engine._Pass.send) == methods
    assert leaf(0.0).log().item() == -np.inf


def test_the_mode_belongs_to_the_thread():
    x = leaf(0.0)
    with detect_anomaly():
        thread = threading.Thread(target=lambda: x.log().backward(np.float32([1.0])))
        thread.start()
        thread.join()
    assert x.grad.item() == np.inf


def test_values_and_gradients_are_the_same_inside():
    def run():
        tg.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
        loss = F.cross_entropy(model(tg.randn(4, 1, 8, 8)), tg.tensor([0, 1, 2, 0]))
        loss.backward()
        return [loss.item(), *(p.grad.tolist() for p in model.parameters())]

    outside = run()
    with detect_anomaly():
        assert run() == outside


# ------------------------------------------------------------------------------------ naming modules


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Sequential(nn.Conv2d(3, 4, 3))])

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = Features()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.features(x))


def test_a_failing_check_names_the_module_by_its_path_and_keeps_its_type():
    with pytest.raises(ValueError, match=r"^features\.stages\.1\.0: conv2d: weight expects 3 input channel"):
        Net()(tg.ones(1, 1, 8, 8))
    with pytest.raises(TypeError, match=r"^features\.stages\.0\.0: conv2d: "):
        Net()(tg.ones(1, 1, 8, 8).double())


def test_the_module_that_one_called_has_no_name():
    with pytest.raises(ValueError, match=r"^conv2d: "):
        nn.Conv2d(3, 4, 3)(tg.ones(1, 1, 8, 8))


@pytest.mark.parametrize("error", [KeyError("key"), UnicodeDecodeError("ascii", b"x", 0, 1, "why"), StopIteration()])
def test_errors_of_other_forms_pass_unchanged(error):
    class Failing(nn.Module):
        def forward(self, x):
            raise error

    before = error.args
    with pytest.raises(type(error)) as caught:
        nn.Sequential(nn.ReLU(), Failing())(tg.ones(1))
    assert caught.value is error
    assert error.args == before


def test_an_anomaly_in_a_module_has_its_path():
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), Log()))
    with pytest.raises(RuntimeError, match=r"^1\.1: log: the forward pass made -inf .*return x\.log\(\)"):
        watched(model, tg.zeros(2))
