"""`check_primitive` finds every kind of broken promise, and the strategies draw what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations.sweep import few_examples

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import testing
from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.testing import (
    Call,
    GradcheckError,
    broadcastable_shapes,
    check_call,
    check_primitive,
    conv2d_cases,
    loss_cases,
    pool2d_cases,
    reals,
    shapes,
    tensors,
)
from tinygrad_cnn.testing.calls import LAYOUTS, laid_out
from tinygrad_cnn.testing.check import check_arrays

SHAPE = tensors((2, 3))
PAIR = st.tuples(SHAPE, SHAPE)


def check(forward, strategy, reference=None, **vjps):
    """Check a primitive that is made on the spot."""
    made = primitive(forward)
    for name, vjp in vjps.items():
        made.vjp(name)(vjp)
    with few_examples(5):
        check_primitive(made, strategy, reference)


def double(g):
    return 2 * g


def test_a_right_primitive_passes():
    check(lambda x: 2 * x, SHAPE, lambda x: x + x, x=double)
    check(lambda x, y: x * y, PAIR, np.multiply, x=lambda g, y: g * y, y=lambda g, x: g * x)
    check(lambda x: x > 0, tensors((2, 3), requires_grad=False), lambda x: x > 0)


@pytest.mark.parametrize(
    ("message", "forward", "vjp"),
    [
        ("the value is that of the reference", lambda x: 3 * x, lambda g: 3 * g),
        ("the dtype is of the reference's kind", lambda x: (2 * x).astype(int) * 0 + 2, double),
        ("float32 stays float32", lambda x: np.multiply(x, 2, dtype=np.float64), double),
        ("same for inputs in transposed layout", lambda x: 2 * x.ravel("K").reshape(x.shape), double),
        ("same for inputs in negative layout", lambda x: 2 * (x if x.strides[0] > 0 else x[::-1]), double),
    ],
)
def test_broken_promises_about_values(message, forward, vjp):
    reference = {"dtype": lambda x: 2.0 + 0 * x}.get(message[4:9], lambda x: 2 * x)
    with pytest.raises(AssertionError, match=message):
        check(forward, tensors((2, 3), layout="contiguous"), reference, x=vjp)


def test_inputs_must_not_be_written_to():
    def greedy(x):
        x *= 2
        return x

    with pytest.raises(ValueError, match="read-only"):
        check(greedy, SHAPE, x=double)


def test_cotangents_of_any_layout():
    def careless(g):
        return 2 * np.frombuffer(g.data, g.dtype).reshape(g.shape) if isinstance(g, np.ndarray) else 2 * g

    with pytest.raises((AssertionError, BufferError, ValueError)):
        check(lambda x: 2 * x, SHAPE, x=careless)


def test_wrong_derivatives_of_first_and_second_order():
    with pytest.raises(GradcheckError, match=r"1\.5 times the numeric one"):
        check(lambda x: 2 * x, SHAPE, x=lambda g: 3 * g)
    with pytest.raises(GradcheckError):
        check(lambda x: x**3, SHAPE, x=lambda g, x: 3 * g * (x.data if isinstance(x, tg.Tensor) else x) ** 2)


def test_zeros_are_not_taken_for_a_broadcast_input():
    x = tg.tensor([[[1.0, 2.0, 3.0, 4.0]]], dtype=tg.float64, requires_grad=True)
    kernel = tg.tensor([[[0.0, 1.0, 2.0]]], dtype=tg.float64, requires_grad=True)
    check_call(F.conv1d, Call(x, kernel, padding="same"))


@pytest.mark.parametrize(("x", "w"), [([1.0, 3.0], 2.0), ([3.0, 1.0], 0.0)])
def test_what_does_not_broadcast_may_agree_at_a_point(x, w):
    x, w = (tg.tensor(values, dtype=tg.float64, requires_grad=True) for values in (x, w))
    check_call(lambda x, w: tg.prod(x) * w, Call(x, w))


def test_a_broadcast_input_gets_the_sum():
    """Wrong just where an input is narrow: with the shapes drawn here no derivative alone would tell."""

    def forgetful(g, x):
        return g[:1] if x.shape[0] == 1 else g * 1.0

    with pytest.raises(AssertionError, match="the gradient of a broadcast input is the sum over its copies"):
        check(lambda x, y: x + y, PAIR, x=forgetful, y=lambda g: g)


def test_gradients_do_not_depend_on_what_else_is_needed():
    def sloppy(g, x, y, wanted):
        return (g * y if wanted[1] else g * 0, g * x)

    made = primitive(lambda x, y: x * y)
    made.vjp("x", "y")(sloppy)
    with pytest.raises(AssertionError, match="the same if it is the only one that is needed"), few_examples(5):
        check_primitive(made, PAIR)


def test_check_call_takes_compositions_and_several_outputs():
    x = tg.tensor(np.linspace(0.1, 2, 6).reshape(2, 3), requires_grad=True)
    check_call(lambda x: (x.exp(), x.argmax(), x.sum(0)), Call(x), lambda x: (np.exp(x), np.argmax(x), np.sum(x, 0)))
    check_call(lambda parts: tg.cat(parts["a"], 0), Call({"a": [x, x * 1]}), lambda parts: np.concatenate(parts["a"]))


def test_check_call_takes_arguments_as_they_are():
    x = tg.tensor(np.linspace(0.1, 2, 6).reshape(2, 3), requires_grad=True)
    check_call(tg.exp, x, np.exp)
    check_call(tg.sum, (x, 1), np.sum)


def test_arrays_give_arrays():
    with pytest.raises(AssertionError, match="arrays alone give arrays"):
        check(lambda x: tg.Tensor(x), tensors(requires_grad=False))
    with pytest.raises(AssertionError, match="arrays and tensors give the same value"):
        check_arrays(lambda x: x + isinstance(x, tg.Tensor), Call(tg.ones(2)))


# -------------------------------------------------------------------------------------- strategies


@given(tensors(), st.sampled_from([*LAYOUTS, "broadcast"]))
def test_layouts_hold_the_same_values(x, layout):
    y = laid_out(x.data, layout)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    if layout != "broadcast":
        np.testing.assert_array_equal(y, x.data)
    if layout == "negative" and x.numel() and x.ndim:
        assert all(stride < 0 for stride in y.strides)
    with pytest.raises(ValueError, match="laid_out: layout expects one of"):
        laid_out(x.data, "diagonal")


@given(st.data())
def test_tensors_are_as_asked_for(data):
    assert data.draw(tensors((2, 3), np.float32)).dtype == np.float32
    assert data.draw(tensors(shapes(min_dims=2))).ndim >= 2
    assert data.draw(tensors()).requires_grad
    assert not data.draw(tensors(requires_grad=False)).requires_grad
    assert not data.draw(tensors(dtype=np.int64)).requires_grad
    assert data.draw(tensors((4,), layout="negative")).data.strides == (-8,)
    assert data.draw(tensors((3,), elements=st.just(0.5))).tolist() == [0.5] * 3
    assert set(data.draw(tensors((9,), np.bool_)).tolist()) <= {True, False}


@given(st.data())
def test_kinks_and_ties_are_avoided(data):
    x = data.draw(tensors((5, 30), elements=reals(-1, 1, away_from=[0, 0.5], distinct=True)))
    values = np.sort(x.data.ravel())
    assert np.diff(values).min() > 1e-3
    assert np.abs(values).min() > 1e-3
    assert np.abs(values - 0.5).min() > 1e-3
    assert values[0] >= -1.01
    assert values[-1] <= 1.01
    a, b = (data.draw(tensors((30,), elements=reals(phase=phase))) for phase in (0, 0.5))
    assert not np.intersect1d(a.data, b.data).size


@given(broadcastable_shapes(3))
def test_shapes_broadcast(drawn):
    assert len(np.broadcast_shapes(*drawn)) <= 3


@pytest.mark.parametrize(
    ("operation", "cases"),
    [
        (F.conv2d, conv2d_cases()),
        (F.conv_transpose2d, conv2d_cases(transposed=True)),
        (F.max_pool2d, pool2d_cases("max")),
        (F.avg_pool2d, pool2d_cases("avg")),
        (F.adaptive_avg_pool2d, pool2d_cases("adaptive")),
        (F.nll_loss, loss_cases()),
        (F.cross_entropy, loss_cases("probabilities", smoothing=True)),
        (F.mse_loss, loss_cases("values", dtype=np.float32)),
    ],
)
@given(st.data())
def test_cases_are_valid_calls(operation, cases, data):
    call = data.draw(cases)
    assert np.isfinite(call.of(operation).data).all()
    assert repr(call).startswith("Call(tensor(")


def test_the_module_lists_what_it_has():
    assert set(testing.__all__) <= set(dir(testing))
    assert all(hasattr(testing, name) for name in testing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        testing.nothing  # noqa: B018
