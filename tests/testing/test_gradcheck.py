"""`gradcheck` and `gradgradcheck`: what they accept, what they find, how they explain it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.testing import GradcheckError, gradcheck, gradgradcheck


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def square(*vjps):
    """A matrix product whose VJPs are given."""

    @primitive
    def product(x, y):
        return x @ y

    for name, vjp in zip("xy", vjps, strict=True):
        product.vjp(name)(vjp)
    return product


X = leaf([0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [1.0, 2.0, 3.0])
Y = leaf([1.0, 0.5, -0.5], [0.3, -1.2, 0.8], [2.0, 1.0, -3.0])


def right_x(g, y):
    return g @ y.mT


def right_y(g, x):
    return x.mT @ g


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize("fast_mode", [False, True])
def test_right_derivatives_pass(check, fast_mode):
    assert check(square(right_x, right_y), (X, Y), fast_mode=fast_mode)
    assert check(tg.tanh, X, fast_mode=fast_mode)
    assert check(lambda x, n, y: (x**n * y, (x + y).sum(), x > 0), (X, 2, Y), fast_mode=fast_mode)
    assert check(tg.exp, tg.zeros(0, 2, dtype=tg.float64, requires_grad=True), fast_mode=fast_mode)


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda g, x: -(x.mT @ g), "-1 times the numeric one everywhere: a wrong sign"),
        (lambda g, x: 0.5 * (x.mT @ g), "0.5 times the numeric one everywhere: a factor is wrong or missing"),
        (lambda g, x: (x.mT @ g).mT, "the gradient is transposed"),
        (lambda g, x: x @ g, "the Jacobian is transposed"),
        (
            lambda g, x: x.mT @ g * np.array([[1.0], [1.0], [0.0]]),
            "where the analytic derivative is not zero it is right",
        ),
        (
            lambda g, x: (x.mT @ g).sum(0, keepdims=True) / 3 + 0 * x,
            "summed over dimension 0 of the input the two agree",
        ),
        (lambda g, x: 0 * x, "zero everywhere: is the input detached, or its VJP missing"),
        (lambda g, x: g * np.nan, "the analytic derivative is not finite"),
        (lambda g, x: x.mT @ g + 1, ""),
    ],
)
def test_a_wrong_derivative_is_explained(wrong, hint, fast_mode):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(square(right_x, wrong), (X, Y), fast_mode=fast_mode)
    message = str(caught.value)
    assert message.startswith("gradcheck: output 0, input 1: ")
    assert "derivatives differ" in message
    assert "analytic" in message
    assert "numeric" in message
    assert (hint in message) if hint else ("hint" not in message)
    assert not gradcheck(square(right_x, wrong), (X, Y), fast_mode=fast_mode, raise_exception=False)


def test_the_place_and_both_values_are_named():
    @primitive
    def double(x):
        return 2 * x

    @double.vjp("x")
    def _(g):
        return g * np.array([[2.0, 2.0], [2.0, 5.0]])

    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, x: (a * 2, double(x)), (leaf(1), leaf([1, 2], [3, 4])))
    assert "output 1, input 1: 1 of 16 derivatives differ" in str(caught.value)
    assert "d output[1, 1] / d input[1, 1]: analytic 5, numeric 2" in str(caught.value)


def test_swapped_vjps_are_recognized():
    @primitive
    def difference(x, y):
        return x - 3 * y * y

    difference.vjp("x")(lambda g, y: -6 * g * y)
    difference.vjp("y")(lambda g: g)
    with pytest.raises(GradcheckError, match="two VJPs are swapped"):
        gradcheck(difference, (leaf(1, 2), leaf(0.5, -1)))


def test_a_kink_nearby_is_recognized():
    with pytest.raises(GradcheckError, match=r"a kink or a jump is nearby: .* 1 to the right and 0 to the left"):
        gradcheck(tg.relu, leaf(1, 0))
    assert gradcheck(tg.relu, leaf(1, -1))


def test_a_detached_input_is_noticed():
    with pytest.raises(GradcheckError, match="zero everywhere"):
        gradcheck(lambda x: x.detach() * 2, leaf(1))
    assert gradcheck(lambda x: (x * 0).detach(), leaf(1))


def test_a_wrong_second_derivative_is_found():
    """The square of the input is kept as a constant: right once, wrong twice."""

    @primitive
    def cube(x):
        return tg.autograd.Residuals(x**3, square=x**2)

    cube.vjp("x")(lambda g, square: 3 * g * square)
    x = leaf(0.5, 2)
    assert gradcheck(cube, x)
    with pytest.raises(GradcheckError, match="zero everywhere") as caught:
        gradgradcheck(cube, x)
    assert str(caught.value).startswith("gradgradcheck: output 0, input 0: ")
    assert "the outputs are first derivatives here, and the inputs from 1 on their cotangents" in str(caught.value)
    assert not gradgradcheck(cube, x, raise_exception=False, fast_mode=True)


def test_a_backward_pass_that_varies_is_found():
    @primitive
    def identity(x):
        return x * 1

    count = iter(range(1000))
    identity.vjp("x")(lambda g: g * (1 + 1e-9 * next(count)))
    with pytest.raises(GradcheckError, match="two backward passes through one graph give different gradients"):
        gradcheck(identity, leaf(1))


def test_a_vjp_that_writes_into_its_cotangent_is_found():
    @primitive
    def floor_at_one(x):
        return np.maximum(x, 1)

    @floor_at_one.vjp("x")
    def _(g, x):
        g[x < 1] = 0
        return g

    with pytest.raises(GradcheckError, match="output 0: a VJP writes into the gradient that it is handed"):
        gradcheck(floor_at_one, leaf([0.5, 1.5]))


def test_other_inputs_are_left_alone():
    x, labels, constant = leaf(1, 2, 3), tg.tensor([0, 1, 0]), tg.ones(3, dtype=tg.float64)
    before = x.data
    assert gradcheck(lambda x, labels, c, name: x[labels] * c, (x, labels, constant, "name"))
    assert x.data is before
    assert x.tolist() == [1, 2, 3]
    assert x.grad is None
    with pytest.raises(ValueError, match="inputs expects at least one tensor that requires a gradient"):
        gradcheck(tg.exp, constant)
    with pytest.raises(TypeError, match="func expects to return floating tensors but returned Tensor"):
        gradcheck(tg.argmax, x)


def test_parameters_that_the_function_knows_otherwise_are_moved_too():
    """As in ``gradcheck(lambda *parameters: model(x), tuple(model.parameters()))``."""
    w = leaf(1, 2)
    assert gradcheck(lambda *_: w * w, (w,))


def test_inputs_in_any_layout():
    strided = tg.Tensor(np.arange(12.0).reshape(3, 4)[::-1, ::2], requires_grad=True)
    repeated = tg.Tensor(np.broadcast_to(2.0, (2, 2)), requires_grad=True)
    assert gradcheck(lambda a, b: tg.tanh(a) @ (b * b), (strided, repeated))


def test_cotangents_may_be_given():
    x = leaf(1, 2)
    assert gradgradcheck(lambda x: x**3, x, leaf(1, 1))
    assert gradgradcheck(lambda x: (x**3, x * x), x, [leaf(1, 1), leaf(0, 2)])
    assert gradgradcheck(lambda x: x.detach(), x * 1)


def test_float32_is_too_coarse():
    with pytest.warns(UserWarning, match="inputs expects float64"):
        gradcheck(tg.exp, tg.ones(1, requires_grad=True), eps=1e-2, atol=1e-1)


def test_gradcheck_works_without_hypothesis():
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import tinygrad_cnn as tg\n"
        "from tinygrad_cnn.testing import check_call, gradcheck, gradgradcheck, Call\n"
        "x = tg.ones(2, dtype=tg.float64, requires_grad=True)\n"
        "assert gradcheck(tg.exp, x) and gradgradcheck(tg.exp, x)\n"
        "check_call(tg.exp, Call(x))\n"
        "try:\n"
        "    from tinygrad_cnn.testing import tensors\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "hypothesis" in result.stdout
