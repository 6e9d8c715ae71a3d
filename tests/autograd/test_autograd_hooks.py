"""Hooks, and gradients that are retained on the way."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x * 1], ids=["leaf", "interior"])
def test_a_hook_sees_the_complete_gradient_and_may_replace_it(make):
    x = leaf(1, 2)
    y = make(x)
    seen = []

    def hook(g):
        seen.append(g.tolist())
        return g * 10

    handle = y.register_hook(hook)
    (y * 2 + y * 3).sum().backward()
    assert seen == [[5, 5]]
    assert x.grad.tolist() == [50, 50]
    handle.remove()
    handle.remove()
    x.grad = None
    (make(x) * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_hooks_run_in_the_order_of_registration():
    x = leaf(1)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 10)
    x.sum().backward()
    assert x.grad.tolist() == [20]


def test_a_hook_that_returns_nothing_changes_nothing():
    x = leaf(1)
    with x.register_hook(lambda g: None):
        x.sum().backward()
    assert x.grad.tolist() == [1]


def test_hooks_run_in_grad_and_are_recorded_with_create_graph():
    x = leaf(2)
    x.register_hook(lambda g: g * g)
    (g,) = tg.grad((x * x).sum(), x, create_graph=True)  # (2x)² = 4x²
    assert g.tolist() == [16]
    (second,) = tg.grad(g, x)  # 8x, through the hook on the way: (8x)²
    assert second.tolist() == [256]


def test_a_hook_cannot_change_what_others_were_handed():
    x, y = leaf(1), leaf(1)
    x.register_hook(lambda g: g.data.__imul__(7) and None)
    z = x + y
    z.backward(tg.ones(1, dtype=tg.float64))
    assert y.grad.tolist() in ([1], [7])  # PyTorch shares it too; but a leaf's gradient is its own afterwards
    x.grad.data[...] = 3
    assert y.grad.tolist() != [3]


@pytest.mark.parametrize(
    ("replacement", "error", "message"),
    [
        (2.0, TypeError, "a tensor or None but returned 2.0"),
        (np.ones(2, np.float32), TypeError, "a tensor or None but returned array"),
        (tg.ones(1), ValueError, r"the gradient's shape, \(2,\), but returned \(1,\)"),
        (tg.ones(2, dtype=tg.float16), TypeError, "the gradient's dtype, float64, but returned float16"),
    ],
)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_returns_a_gradient_like_the_one_it_was_given(replacement, error, message, create_graph):
    x = leaf(1, 2)
    y = x * 3
    for tensor in (x, y):
        with tensor.register_hook(lambda g: replacement), pytest.raises(error, match=message):
            y.sum().backward(retain_graph=True, create_graph=create_graph)
    assert x.grad is None


def test_a_hook_is_a_callable():
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match="register_hook: hook expects a callable but got int"):
        x.register_hook(3)
    x.sum().backward()


def test_what_requires_no_gradient_takes_no_hook():
    with pytest.raises(RuntimeError, match="register_hook: the tensor does not require a gradient"):
        tg.ones(1).register_hook(print)


def test_retain_grad_fills_in_the_gradient_of_an_interior_tensor():
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6, 12]
    assert x.grad.tolist() == [18, 36]


def test_interior_tensors_have_no_gradient_otherwise():
    x = leaf(1)
    y = x * 3
    y.sum().backward()
    assert y.grad is None


def test_retained_gradients_come_after_hooks_and_accumulate():
    x = leaf(1)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.backward(retain_graph=True)
    y.backward()
    assert y.grad.tolist() == [4]
    assert x.grad.tolist() == [12]


def test_a_retained_gradient_is_shared_with_nobody():
    x = leaf(1)
    y = x + 0
    y.retain_grad()
    y.backward()
    y.grad.data[...] = 5
    assert x.grad.tolist() == [1]


def test_retain_grad_on_a_leaf_does_nothing_and_on_a_constant_raises():
    x = leaf(1)
    x.retain_grad()
    x.sum().backward()
    assert x.grad.tolist() == [1]
    with pytest.raises(RuntimeError, match="retain_grad: the tensor does not require a gradient"):
        tg.ones(1).retain_grad()
