"""Clipping bounds the norm and keeps the direction; a vector of parameters is all of them in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.nn import utils

values = st.floats(-100, 100)
gradients = st.lists(arrays(np.float64, array_shapes(min_dims=0, max_dims=3), elements=values), min_size=1, max_size=4)


def with_gradients(grads):
    parameters = []
    for g in grads:
        p = nn.Parameter(np.zeros_like(g))
        p.grad = tg.Tensor(g.copy())
        parameters.append(p)
    return parameters


def concatenated(grads):
    return np.concatenate([np.ravel(g) for g in grads])


@given(gradients, st.sampled_from([1, 2, 3.5, np.inf]), st.floats(0.1, 10))
def test_clipping_by_norm_bounds_the_norm_and_keeps_the_direction(grads, p, limit):
    parameters = with_gradients(grads)
    before = concatenated(grads)
    norm = np.linalg.norm(before, p)
    total = utils.clip_grad_norm_(parameters, limit, norm_type=p)
    np.testing.assert_allclose(total.item(), norm, rtol=1e-12)
    after = concatenated([q.grad.data for q in parameters])
    np.testing.assert_allclose(after, before * min(1, limit / (norm + 1e-6)), rtol=1e-12)
    assert np.linalg.norm(after, p) <= limit * (1 + 1e-12)


@given(gradients, st.floats(0, 10))
def test_clipping_by_value_bounds_every_element(grads, bound):
    parameters = with_gradients(grads)
    utils.clip_grad_value_(parameters, bound)
    for p, g in zip(parameters, grads, strict=True):
        np.testing.assert_array_equal(p.grad.data, np.clip(g, -bound, bound))


@given(gradients)
def test_a_vector_goes_back_into_the_parameters(grads):
    parameters = [nn.Parameter(g.copy()) for g in grads]
    vector = utils.parameters_to_vector(parameters)
    np.testing.assert_array_equal(vector.data, concatenated(grads))
    utils.vector_to_parameters(vector.detach() * 2, parameters)
    for p, g in zip(parameters, grads, strict=True):
        np.testing.assert_array_equal(p.data, 2 * g)


def test_a_vector_without_elements_goes_back_into_no_parameters():
    utils.vector_to_parameters(tg.zeros(0), [])


def test_gradients_flow_through_the_vector():
    layer = nn.Linear(3, 2)
    (utils.parameters_to_vector(layer.parameters()) ** 2).sum().backward()
    for p in layer.parameters():
        np.testing.assert_allclose(p.grad.data, 2 * p.data)


@pytest.mark.parametrize("order", ["C", "F", "gaps"])
def test_large_gradients_in_any_layout(order):
    g = np.random.default_rng(0).standard_normal((600, 700), dtype=np.float32)
    p = nn.Parameter(np.zeros_like(g))
    p.grad = tg.Tensor(np.repeat(g, 2, axis=1)[:, ::2] if order == "gaps" else np.array(g, order=order))
    total = utils.clip_grad_norm_(p, 1.0)
    assert total.dtype == np.float32
    np.testing.assert_allclose(total.item(), np.linalg.norm(g.astype(np.float64)), rtol=1e-6)
    np.testing.assert_allclose(p.grad.data, g / (total.item() + 1e-6), rtol=1e-5)
    utils.clip_grad_value_(p, 1e-4)
    assert np.abs(p.grad.data).max() == np.float32(1e-4)


@pytest.mark.parametrize("p", [2, 3])
def test_the_norm_of_halves_is_right_where_their_powers_overflow(p):
    tensors = [tg.tensor(np.full(n, 10, np.float16)) for n in (1, 999)]
    norm = utils.get_total_norm(tensors, p)
    assert norm.dtype == np.float16
    assert norm.item() == pytest.approx(10 * 1000 ** (1 / p), rel=1e-3)


def test_the_norm_of_order_0_counts_the_tensors_that_are_not_zero():
    assert utils.get_total_norm([tg.ones(3)], 0).item() == 1
    assert utils.get_total_norm([tg.ones(3), tg.zeros(2), tg.ones(1)], 0).item() == 2


def test_parameters_without_gradients_are_passed_over():
    p, q = nn.Parameter(tg.zeros(2)), nn.Parameter(tg.zeros(2))
    assert utils.clip_grad_norm_([p, q], 1.0).item() == 0
    q.grad = tg.tensor([3.0, 4.0])
    assert utils.clip_grad_norm_(iter([p, q]), 10.0).item() == 5
    assert q.grad.tolist() == [3, 4]
    assert p.grad is None


def test_a_norm_that_is_not_finite():
    p = nn.Parameter(tg.zeros(2))
    p.grad = tg.tensor([1.0, float("inf")])
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [1, float("inf")]
    with np.errstate(invalid="ignore"):
        utils.clip_grad_norm_(p, 1.0)
    np.testing.assert_array_equal(p.grad.data, [0, np.nan])


def test_writing_is_noticed_by_a_recorded_graph():
    p = nn.Parameter(tg.ones(2))
    p.grad = tg.tensor([3.0, 4.0])
    g = p.grad
    g.requires_grad = True
    loss = (g * g).sum()
    utils.clip_grad_norm_(p, 1.0)
    with pytest.raises(RuntimeError, match="modified"):
        loss.backward()
    loss = (p * p).sum()
    utils.vector_to_parameters(tg.zeros(2), [p])
    with pytest.raises(RuntimeError, match="modified"):
        loss.backward()


def test_a_generator_that_has_been_used_up():
    parameters = nn.Linear(2, 2).parameters()
    list(parameters)
    with pytest.warns(UserWarning, match="empty generator"):
        utils.clip_grad_norm_(parameters, 1.0)


P = nn.Parameter(tg.zeros(2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: utils.clip_grad_norm_([3], 1.0), TypeError, "clip_grad_norm_: expects tensors but got int"),
        (lambda: utils.clip_grad_norm_(P, "1"), TypeError, "max_norm expects a number"),
        (lambda: utils.clip_grad_norm_(P, -1), ValueError, "max_norm expects"),
        (lambda: utils.clip_grad_norm_(P, 1, "two"), TypeError, "norm_type expects a number but got 'two'"),
        (lambda: utils.get_total_norm([tg.tensor([1, 2])], 3), TypeError, "expects a floating dtype but has int64"),
        (lambda: utils.clip_grads_with_norm_(P, 1.0, 2.0), TypeError, "total_norm expects a tensor but got 2.0"),
        (lambda: utils.clip_grad_value_(P, -1), ValueError, "clip_value expects"),
        (lambda: utils.clip_grad_value_([None], 1), TypeError, "clip_grad_value_: expects tensors but got NoneType"),
        (lambda: utils.vector_to_parameters(np.zeros(2), [P]), TypeError, "vec expects a Tensor but got ndarray"),
        (lambda: utils.vector_to_parameters(tg.zeros(3), [P]), ValueError, r"expects shape \(2,\) but has \(3,\)"),
        (lambda: utils.parameters_to_vector([1]), TypeError, "expects tensors but got int"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert P.tolist() == [0, 0]
