"""A saved value that was modified since makes `backward` raise, whichever view modified it."""

from __future__ import annotations

import pytest

import tinygrad_cnn as tg

MODIFIED = "was modified in place since"


@pytest.fixture
def x():
    return tg.tensor([1.0, 2.0], requires_grad=True)


def test_a_saved_input_that_was_modified(x):
    y = (x * x).sum()
    with tg.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match=f"backward: a value that mul keeps.*{MODIFIED}"):
        y.backward()


def test_a_saved_constant_that_was_modified(x):
    c = tg.ones(2)
    y = (x * c).sum()
    c.add_(1)
    with pytest.raises(RuntimeError, match=MODIFIED):
        y.backward()


def test_a_saved_output_that_was_modified(x):
    y = tg.exp(x)
    with tg.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match=f"exp.*{MODIFIED}"):
        y.sum().backward()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.detach(),
        lambda x: x.reshape(2, 1),
        lambda x: x.view(1, 2),
        lambda x: x[1:],
        lambda x: x.T,
        lambda x: x.unsqueeze(0).permute(1, 0),
        lambda x: x.detach().detach()[0],
        lambda x: x.flatten(),
    ],
)
def test_views_share_the_version(x, view):
    y = (x * x).sum()
    with tg.no_grad():
        view(x).mul_(2)
    with pytest.raises(RuntimeError, match=MODIFIED):
        y.backward()


def test_a_base_that_was_modified_invalidates_a_saved_view(x):
    y = (x[:1] * x[1:]).sum()
    with tg.no_grad():
        x.fill_(0)
    with pytest.raises(RuntimeError, match=MODIFIED):
        y.backward()


@pytest.mark.parametrize("copy", [lambda x: x.clone(), lambda x: x * 1, lambda x: x[[0, 1]], lambda x: tg.tensor(x)])
def test_copies_do_not(x, copy):
    y = (x * x).sum()
    with tg.no_grad():
        copy(x).mul_(2)
    y.backward()
    assert x.grad.tolist() == [2, 4]


def test_values_that_nobody_kept_may_be_modified(x):
    """`add` keeps nothing, `relu` keeps its output and lets its input go."""
    y = tg.relu(x + 1).sum()
    with tg.no_grad():
        x.mul_(-1)
    y.backward()
    assert x.grad.tolist() == [1, 1]


def test_modifying_after_the_backward_pass_is_fine(x):
    for _ in range(2):
        x.grad = None
        (x * x).sum().backward()
        with tg.no_grad():
            x -= 0.5 * x.grad
    assert x.tolist() == [0, 0]


def test_operations_that_failed_do_not_count(x):
    y = (x * x).sum()
    with tg.no_grad(), pytest.raises(ValueError, match="could not be broadcast"):
        x.add_(tg.ones(3))
    y.backward()
    assert x.grad.tolist() == [2, 4]


def test_bump_version_reports_a_write_behind_the_back(x):
    y = (x * x).sum()
    x.data[0] = 5
    x.bump_version()
    with pytest.raises(RuntimeError, match=MODIFIED):
        y.backward()


def test_a_variadic_primitive_that_keeps_its_inputs_notices_too():
    @tg.autograd.primitive
    def product(*factors):
        return factors[0] * factors[1]

    @product.vjp("factors")
    def _(g, factors):
        return g * factors[1], g * factors[0]

    a, b = (tg.ones(2, requires_grad=True) for _ in range(2))
    y = product(a, b).sum()
    with tg.no_grad():
        a.mul_(2)
    with pytest.raises(RuntimeError, match=MODIFIED):
        y.backward()
