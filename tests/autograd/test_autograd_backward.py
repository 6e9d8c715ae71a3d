"""`backward`: what it computes, accumulates, frees and refuses."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn.autograd import backward


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def test_the_gradient_of_a_sum_is_ones():
    x = leaf(1, 2, 3)
    x.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_gradients_accumulate_across_calls_and_within_one():
    x = leaf(2, 3)
    (x * x).sum().backward()
    assert x.grad.tolist() == [4, 6]
    (x + x + x).sum().backward()
    assert x.grad.tolist() == [7, 9]


def test_a_node_with_many_users_is_visited_once():
    visits = []
    x = leaf(1)
    y = x * 2
    y.register_hook(lambda g: visits.append(g.tolist()))
    z = y
    for _ in range(30):
        z = z + z
    (z + y).backward(np.ones(1))
    assert visits == [[2**30 + 1]]
    assert x.grad.tolist() == [2 * (2**30 + 1)]


@given(st.lists(st.sampled_from(["add", "mul", "join"]), max_size=12), st.integers(0, 2**32 - 1))
def test_any_graph_of_sums_and_products_agrees_with_the_chain_rule_by_hand(operations, seed):
    """Forward-mode derivatives, carried along with the values, are an independent witness."""
    draws = np.random.default_rng(seed)
    x = leaf(*draws.uniform(-1, 1, 3))
    values = [(x[i], np.eye(3)[i]) for i in range(3)]
    for operation in operations:
        (a, da), (b, db) = (values[k] for k in draws.integers(0, len(values), 2))
        if operation == "add":
            values.append((a + b, da + db))
        elif operation == "mul":
            values.append((a * b, da * b.item() + db * a.item()))
        else:
            values.append((tg.stack([a, b]).sum(), da + db))
    y, expected = values[-1]
    y.backward()
    np.testing.assert_allclose(x.grad.data, expected, rtol=1e-12, atol=1e-12)


def test_the_cotangent_weighs_the_outputs():
    x = leaf(1, 2)
    (x * x).backward(tg.tensor([10.0, 100.0]))
    assert x.grad.tolist() == [20, 400]
    assert x.grad.dtype == np.float64
    x.grad = None
    backward([x * x, x * 3], [np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    assert x.grad.tolist() == [2, 3]


def test_a_non_scalar_needs_a_gradient_of_its_shape():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match=r"backward: a tensor of shape \(2,\) needs a gradient of that shape"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"backward: the gradient of a tensor of shape \(2,\) must have that shape"):
        (x * 2).backward(tg.ones(3))
    with pytest.raises(ValueError, match=r"expected 1 gradient\(s\) but got 2"):
        backward(x * 2, [tg.ones(2), tg.ones(2)])


def test_what_requires_no_gradient_has_no_backward():
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        tg.ones(1).backward()
    with pytest.raises(TypeError, match="backward: tensors expects tensors but got float"):
        backward([3.0])


# ---------------------------------------------------------------------------- the graph's life


def test_a_freed_graph_cannot_be_walked_again():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward pass.*retain_graph=True"):
        y.backward()


def test_a_retained_graph_can():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6, 12]
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_create_graph_retains_unless_told_otherwise():
    x = leaf(1, 2)
    y = (x * x).sum()
    (first,) = tg.grad(y, x, create_graph=True)
    y.backward()
    assert first.requires_grad
    y = (x * x).sum()
    tg.grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


@pytest.mark.parametrize("operation", [lambda x: x * 1.0000001, lambda x: x + 1, tg.relu])
def test_a_long_chain_goes_forward_and_backward(operation):
    x = tg.ones(1, requires_grad=True)
    y = x
    for _ in range(200_000 if operation is tg.relu else 20_000):
        y = operation(y)
    y.backward()
    assert x.grad.item() > 0


def test_a_graph_is_freed_by_reference_counting_alone():
    gc.collect()
    gc.disable()
    try:
        x = tg.randn(3, 3, requires_grad=True)
        y = tg.softmax(tg.relu(x @ x), 1).log().sum()
        node = weakref.ref(y.grad_fn)
        middle = weakref.ref(y.grad_fn.edges[0])
        y.backward()
        del y
        assert node() is None
        assert middle() is None
        z = tg.tanh(x).exp()
        (gradient,) = tg.grad(z.sum(), x, create_graph=True)
        nodes = [weakref.ref(z.grad_fn), weakref.ref(gradient.grad_fn)]
        del z, gradient
        assert [n() for n in nodes] == [None, None]
    finally:
        gc.enable()


def test_backward_lets_go_of_what_was_kept():
    x = leaf(1, 2)
    y = x * 2
    kept = weakref.ref(y)
    z = (y * y).sum()
    del y
    assert kept() is not None
    z.backward()
    assert kept() is None


# ------------------------------------------------------------------------ ownership of gradients


def arrays_of_leaves(*leaves):
    return [x.grad.data for x in leaves]


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: (x + y).sum(),
        lambda x, y: x.sum() + y.sum(),
        lambda x, y: (x.reshape(4) + y.reshape(4)).sum(),
        lambda x, y: tg.cat([x, y]).sum(),
        lambda x, y: (x.T + y.T).mean(),
        lambda x, y: x.clone().sum() - (-y).sum(),
        lambda x, y: (x.expand(3, 2, 2) * y).sum(),
    ],
)
def test_a_leafs_gradient_is_writable_and_shared_with_nobody(loss):
    x, y = (tg.ones(2, 2, requires_grad=True) for _ in range(2))
    loss(x, y).backward()
    a, b = arrays_of_leaves(x, y)
    before = b.copy()
    assert a.flags.writeable
    assert b.flags.writeable
    assert not np.shares_memory(a, b)
    a[...] = 7
    assert (b == before).all()


def test_the_cotangent_that_was_handed_over_is_not_taken():
    x = tg.ones(3, requires_grad=True)
    g = np.ones(3, np.float32)
    backward(x, [g])
    (x + 0).backward(tg.Tensor(g))
    x.grad.data[...] = 5
    assert g.tolist() == [1, 1, 1]


def test_nobody_writes_into_a_gradient_they_were_handed():
    """The cotangent of y goes to both branches; adding up x's share must not change what y's hook saw."""
    seen = []
    x = leaf(1, 2)
    y = x * 1
    y.register_hook(lambda g: seen.append(g))
    (y + x + x).sum().backward()
    assert seen[0].tolist() == [1, 1]
    assert x.grad.tolist() == [3, 3]


def test_gradients_add_up_in_the_leafs_buffer():
    x = leaf(1, 2)
    (x * 2).sum().backward()
    buffer = x.grad
    (x * 2).sum().backward()
    assert x.grad is buffer
    assert buffer.tolist() == [4, 4]


def test_a_gradient_has_the_shape_and_dtype_of_its_tensor():
    x = tg.ones(1, 3, requires_grad=True)
    w = tg.ones(2, 1, dtype=tg.float64, requires_grad=True)
    (x * w).sum().backward()
    assert (x.grad.shape, x.grad.dtype) == ((1, 3), np.float32)
    assert (w.grad.shape, w.grad.dtype) == ((2, 1), np.float64)
