"""`grad`: gradients returned, of leaves and of tensors in between, of any order."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def test_grad_leaves_every_grad_alone():
    x, y = leaf(2), leaf(3)
    dx, dy = tg.grad((x * y).sum(), (x, y))
    assert (dx.tolist(), dy.tolist()) == ([3], [2])
    assert x.grad is None
    assert y.grad is None


def test_a_single_input_gives_a_tuple_of_one():
    x = leaf(2)
    assert isinstance(tg.grad((x * x).sum(), x), tuple)


def test_inputs_may_be_tensors_in_between():
    x = leaf(1, 2)
    y = x * 3
    z = (y * y).sum()
    dy, dx = tg.grad(z, [y, x])
    assert dy.tolist() == [6, 12]
    assert dx.tolist() == [18, 36]


def test_nothing_beyond_the_inputs_is_walked():
    """The part of the graph before y stays intact."""
    x = leaf(1, 2)
    y = x * x
    tg.grad((y * y).sum(), y)
    (dx,) = tg.grad(y.sum(), x)
    assert dx.tolist() == [2, 4]


def test_an_output_may_be_an_input():
    x = leaf(1, 2)
    y = x * 2
    dy, dx = tg.grad(y, [y, x], [np.array([5.0, 6.0])])
    assert dy.tolist() == [5, 6]
    assert dx.tolist() == [10, 12]
    assert tg.grad(x.sum() + 0, x)[0].tolist() == [1, 1]


def test_several_outputs_add_up():
    x = leaf(1, 2)
    (dx,) = tg.grad([x.sum(), (x * x).sum()], x)
    assert dx.tolist() == [3, 5]


def test_an_input_given_twice_gets_two_gradients_of_its_own():
    x = leaf(1, 2)
    a, b = tg.grad((x * 3).sum(), [x, x])
    assert a.tolist() == b.tolist() == [3, 3]
    assert not np.shares_memory(a.data, b.data)


def test_unused_inputs():
    x, y = leaf(1), leaf(1)
    with pytest.raises(RuntimeError, match=r"grad: input 1 was not used.*allow_unused=True"):
        tg.grad(x.sum(), [x, y])
    dx, dy = tg.grad(x.sum(), [x, y], allow_unused=True)
    assert dx.tolist() == [1]
    assert dy is None


def test_the_arguments_come_in_the_order_of_pytorch():
    x, y = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    gradients = tg.grad(x.sum(), (x, y), None, None, False, True, True)
    assert gradients[0].tolist() == [1, 1]
    assert gradients[1] is None
    with pytest.raises(ValueError, match="grad: only_inputs expects True but got False"):
        tg.grad(x.sum(), x, only_inputs=False)


def test_inputs_must_require_a_gradient():
    x = leaf(1)
    with pytest.raises(RuntimeError, match="grad: input 1 does not require a gradient"):
        tg.grad(x.sum(), [x, tg.ones(1)])
    with pytest.raises(RuntimeError, match="needs a gradient of that shape"):
        tg.grad(leaf(1, 2) * 2, x)


def test_outputs_and_inputs_are_tensors():
    x = leaf(1)
    with pytest.raises(TypeError, match=r"^grad: outputs expects tensors but got function$"):
        tg.grad(lambda x: x * x, x)
    with pytest.raises(TypeError, match=r"^grad: inputs expects tensors but got float64$"):
        tg.grad(x.sum(), [x, np.float64(1)])
    with pytest.raises(TypeError, match=r"^grad: inputs expects tensors but got str$"):
        tg.grad(x.sum(), {"x": x})
    with pytest.raises(TypeError, match=r"^backward: tensors expects tensors but got int$"):
        tg.autograd.backward([x.sum(), 3])
    with pytest.raises(TypeError, match=r"^backward: inputs expects tensors but got ndarray$"):
        x.sum().backward(inputs=[x.data])
    assert x.grad is None


def test_derivatives_of_any_order():
    x = leaf(0.5)
    y = tg.exp(2 * x)
    for order in range(1, 6):
        (y,) = tg.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(2**order * np.exp(1))


def test_the_third_derivative_of_the_sine_through_tanh():
    """d³/dx³ tanh = (1 - t²)(6t² - 2), with t = tanh(x)."""
    x = leaf(-0.7, 0.0, 1.3)
    y = tg.tanh(x).sum()
    for _ in range(3):
        (g,) = tg.grad(y, x, create_graph=True)
        y = g.sum()
    t = np.tanh(x.data)
    np.testing.assert_allclose(g.data, (1 - t**2) * (6 * t**2 - 2), rtol=1e-12)


def test_without_create_graph_gradients_are_constants():
    x = leaf(1, 2)
    (dx,) = tg.grad((x * x).sum(), x)
    assert not dx.requires_grad
    assert dx.is_leaf


def test_a_gradient_penalty_reaches_the_weights():
    """d/dw of |d(w x²)/dx|² = d/dw (2 w x)² = 8 w x²."""
    x, w = leaf(3), leaf(0.5)
    (dx,) = tg.grad(w * x * x, x, create_graph=True)
    (dx * dx).sum().backward()
    assert w.grad.item() == pytest.approx(8 * 0.5 * 9)


def test_backward_with_create_graph_leaves_recorded_gradients():
    x = leaf(2)
    (x * x * x).backward(create_graph=True)
    assert x.grad.requires_grad
    first = x.grad
    x.grad = None
    first.backward()
    assert x.grad.item() == 12


def test_cotangents_can_be_differentiated():
    """The gradient is linear in the cotangent: the derivative of that is the Jacobian times a vector."""
    x, v = leaf(1, 2), leaf(1, 1)
    (g,) = tg.grad(x * x, x, v, create_graph=True)
    (jv,) = tg.grad(g, v, np.array([1.0, 10.0]))
    assert jv.tolist() == [2, 40]
