"""The contract of a primitive: what VJPs ask for, what is kept, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
from tinygrad_cnn.autograd import Primitive, Residuals, primitive
from tinygrad_cnn.ops import elementwise, piecewise, reduction
from tinygrad_cnn.testing import gradcheck, gradgradcheck


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def test_arrays_give_arrays_and_tensors_give_tensors():
    @primitive
    def double(x):
        """Twice."""
        return 2 * x

    assert isinstance(double, Primitive)
    assert (double.__name__, double.__doc__, repr(double)) == ("double", "Twice.", "<primitive double>")
    assert type(double(np.ones(2))) is np.ndarray
    assert type(double(tg.ones(2))) is tg.Tensor


def test_positional_keyword_and_default_arguments():
    @primitive
    def affine(x, scale=2.0, shift=1.0):
        return scale * x + shift

    @affine.vjp("x")
    def _(g, scale):
        return g * scale

    x = leaf(1)
    for y in (affine(x, shift=0.0), affine(x, 2.0, 0.0), affine(x=x, shift=0.0), affine(shift=0.0, x=x, scale=2.0)):
        assert y.tolist() == [2]
        assert tg.grad(y, x)[0].tolist() == [2]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "argument 'x' is missing"),
        ((1, 2, 3), {}, "expected at most 2 arguments but got 3"),
        ((1,), {"z": 1}, "got an unexpected argument 'z'"),
        ((1,), {"x": 1}, "got argument 'x' twice"),
    ],
)
def test_calls_that_do_not_fit_the_signature(args, kwargs, message):
    @primitive
    def identity(x, y=0):
        return x

    with pytest.raises(TypeError, match=f"identity: {message}"):
        identity(*(tg.ones(1) if a == 1 else a for a in args), **kwargs)


def test_a_vjp_is_declared_for_known_arguments_once():
    @primitive
    def f(x):
        return x

    with pytest.raises(ValueError, match=r"f: expected one of the arguments \('x',\) but got 'y'"):
        f.vjp("y")
    with pytest.raises(ValueError, match="f: vjp expects at least one argument name"):
        f.vjp()
    f.vjp("x")(lambda g: g)
    with pytest.raises(ValueError, match="f: argument 'x' has a VJP already"):
        f.vjp("x")
    with pytest.raises(ValueError, match="f: expected one of the arguments"):
        primitive(constants=("y",))(f.forward)


def test_a_tensor_that_requires_a_gradient_where_there_is_no_vjp_is_an_error():
    @primitive
    def product(x, y):
        return x * y

    product.vjp("x")(lambda g, y: g * y)
    x, y = leaf(2), leaf(3)
    with pytest.raises(NotImplementedError, match="product: argument 'y' requires a gradient, but"):
        product(x, y)
    assert product(x, y.detach()).requires_grad
    with tg.no_grad():
        assert product(x, y).tolist() == [6]


def test_unless_it_is_declared_constant():
    @primitive(constants=("y",))
    def product(x, y):
        return x * y

    product.vjp("x")(lambda g, y: g * y)
    x, y = leaf(2), leaf(3)
    dx, dy = tg.grad(product(x, y), [x, y], allow_unused=True)
    assert dx.tolist() == [3]
    assert dy is None
    assert not product(x.detach(), y).requires_grad


def test_a_vjp_asks_by_name():
    seen = {}

    @primitive
    def f(x, y, n):
        return Residuals(x * y + n, mask=x > 0)

    @f.vjp("x")
    def _(g, n, mask, output, x_shape, y):
        seen.update(n=n, mask=mask.tolist(), output=output.tolist(), x_shape=x_shape, y=y.tolist(), kind=type(y))
        return g * y

    f(leaf(1, -1), np.array([2.0, 3.0]), 10).backward(np.ones(2))
    assert seen == {
        "n": 10,
        "mask": [True, False],
        "output": [12, 7],
        "x_shape": (2,),
        "y": [2, 3],
        "kind": np.ndarray,
    }


def test_a_name_that_nobody_provides():
    @primitive
    def f(x):
        return Residuals(x, sign=1)

    f.vjp("x")(lambda g, unknown: g)
    with pytest.raises(TypeError, match=r"f: a VJP asks for 'unknown', which is neither.*residuals: \['sign'\]"):
        f(leaf(1))


def test_just_what_some_vjp_asks_for_is_kept():
    x = leaf(1, 2)
    assert list(elementwise.add(x, x).grad_fn.saved) == []
    relu = piecewise.relu(x)
    assert list(relu.grad_fn.saved) == []
    assert relu.grad_fn.output[0] is relu.data
    product = x * leaf(3, 4).detach()
    assert [saved.tolist() for saved in product.grad_fn.saved] == [[3, 4]]
    assert reduction.sum(x).grad_fn.saved[-1] == (2,)


def test_just_the_vjps_that_are_needed_run():
    ran = []

    @primitive
    def product(x, y):
        return x * y

    @product.vjp("x")
    def _(g, y):
        ran.append("x")
        return g * y

    @product.vjp("y")
    def _(g, x):
        ran.append("y")
        return g * x

    for x, y in ((leaf(1), leaf(2).detach()), (leaf(1).detach(), leaf(2)), (leaf(1), leaf(2))):
        product(x, y).backward()
    assert ran == ["x", "y", "x", "y"]


def test_a_vjp_that_serves_several_inputs_is_told_which_are_wanted():
    seen = []

    @primitive
    def product(x, y):
        return x * y

    @product.vjp("x", "y")
    def _(g, x, y, wanted):
        seen.append(wanted)
        return (g * y if wanted[0] else None, g * x if wanted[1] else None)

    x, y = leaf(2), leaf(3)
    product(x, y).backward()
    product(x.detach(), y).backward()
    assert seen == [(True, True), (False, True)]
    assert (x.grad.tolist(), y.grad.tolist()) == ([3], [4])
    assert gradcheck(product, (x, y))
    assert gradgradcheck(product, (x, y))


def test_variadic_inputs():
    @primitive
    def total(*terms, scale=1.0):
        return scale * sum(terms)

    @total.vjp("terms")
    def _(g, terms_shape, scale, wanted):
        assert len(terms_shape) == len(wanted)
        return [g * scale if is_wanted else None for is_wanted in wanted]

    x, y = leaf(1, 2), leaf(3)
    z = total(x, np.ones(2), y, scale=10.0)
    assert z.tolist() == [50, 60]
    dx, dy = tg.grad(z, [x, y], np.ones(2))
    assert (dx.tolist(), dy.tolist()) == ([10, 10], [20])
    assert gradcheck(lambda *terms: total(*terms, scale=3.0), (x, y, x))
    with pytest.raises(NotImplementedError, match="total: just the inputs may require gradients"):
        total(x, scale=leaf(2))


def test_several_outputs():
    @primitive
    def split(x):
        return x[:1] * 2, x[1:] * 3

    @split.vjp("x")
    def _(g):
        a, b = g
        return tg.cat([a * 2, b * 3])

    x = leaf(1, 10)
    a, b = split(x)
    assert (a.tolist(), b.tolist()) == ([2], [30])
    assert tg.grad(a, x, retain_graph=True)[0].tolist() == [2, 0]
    assert tg.grad(b, x, retain_graph=True)[0].tolist() == [0, 3]
    dx, da = tg.grad((a * a * b).sum(), [x, a])
    assert da.tolist() == [2 * 2 * 30]
    assert dx.tolist() == [2 * 120, 3 * 4]


def test_several_outputs_of_which_some_are_not_floating():
    @primitive
    def sorted_with_order(x):
        order = np.argsort(x)
        return x[order], order

    @sorted_with_order.vjp("x")
    def _(g, output):
        return g[0][np.argsort(output[1])]

    x = leaf(3, 1, 2)
    y, order = sorted_with_order(x)
    assert y.requires_grad
    assert not order.requires_grad
    (y * np.array([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [100, 1, 10]


def test_named_outputs_are_several_outputs():
    @primitive
    def slogdet(x):
        return np.linalg.slogdet(x)

    @slogdet.vjp("x")
    def _(g, x):
        return g[1] * np.linalg.inv(x).T

    x = tg.tensor([[2.0, 0.0], [0.0, 4.0]], requires_grad=True)
    sign, logarithm = slogdet(x)
    (3 * logarithm).backward()
    assert sign.item() == 1
    np.testing.assert_allclose(x.grad.data, [[1.5, 0], [0, 0.75]])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "an array, a tuple of arrays, or Residuals, but returned NoneType"),
        ([np.ones(2), np.ones(2)], "an array, a tuple of arrays, or Residuals, but returned list"),
        ((np.ones(2), None), "an array, a tuple of arrays, or Residuals, but returned NoneType"),
        (Residuals("y"), "an array, a tuple of arrays, or Residuals, but returned str"),
        (np.ones(2) * 1j, "real numbers but returned complex128"),
    ],
)
def test_a_function_returns_arrays(returned, message):
    @primitive
    def wrong(x):
        return returned

    wrong.vjp("x")(lambda g: g)
    with pytest.raises(TypeError, match=f"wrong: the function expects to return {message}"):
        wrong(tg.ones(2, requires_grad=True))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, *, k=1: x * k,
        lambda x, *more: x,
        lambda x, **more: x,
        lambda *xs, **more: xs[0],
        lambda *xs, recorded: xs[0],
    ],
)
def test_parameters_that_a_call_could_not_fill_are_refused(function):
    with pytest.raises(TypeError, match=r"<lambda>: a primitive expects .* but the function has"):
        primitive(function)


def test_residuals_of_a_call_on_arrays_are_dropped():
    @primitive
    def f(x):
        return Residuals(x + 1, mask=x > 0)

    assert f(np.ones(1)).tolist() == [2]


def test_a_missing_gradient_stands_for_zero():
    @primitive
    def f(x, y):
        return x * 1

    f.vjp("x")(lambda g: g)
    f.vjp("y")(lambda g: None)
    x, y = leaf(1), leaf(2, 3)
    f(x, y).backward()
    assert y.grad.tolist() == [0, 0]


def test_a_vjp_whose_gradient_has_no_legal_shape_is_named():
    @primitive
    def f(x):
        return x.sum()

    f.vjp("x")(lambda g: np.ones((3, 2)))
    with pytest.raises(RuntimeError, match=r"f: a VJP returned a gradient of shape \(3, 2\) for an input of shape"):
        f(leaf(1, 2, 4)).backward()


@pytest.mark.parametrize(
    ("returned", "came"),
    [
        (lambda g: g, "ndarray"),
        (lambda g: None, "NoneType"),
        (lambda g: (g,), "1 of them"),
        (lambda g: (g, g, g), "3 of them"),
    ],
)
def test_a_vjp_for_several_inputs_returns_as_many_gradients(returned, came):
    @primitive
    def add(a, b):
        return a + b

    add.vjp("a", "b")(returned)

    @primitive
    def total(*xs):
        return sum(xs)

    total.vjp("xs")(returned)

    x, y = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    for z in (add(x, y), total(x, y)):
        with pytest.raises(RuntimeError, match=f"a VJP for 2 inputs returned {came} instead of a tuple of 2 gradients"):
            z.backward(tg.ones(2))


def test_broadcasting_and_dtypes_are_the_engines_affair():
    @primitive
    def product(x, y):
        return x * y

    product.vjp("x")(lambda g, y: g * y)
    product.vjp("y")(lambda g, x: g * x)
    x = tg.ones(2, 1, requires_grad=True)
    y = tg.ones(1, 3, dtype=tg.float64, requires_grad=True)
    product(x, y).sum().backward()
    assert (x.grad.tolist(), x.grad.dtype) == ([[3], [3]], np.float32)
    assert (y.grad.tolist(), y.grad.dtype) == ([[2, 2, 2]], np.float64)


def test_the_output_that_a_vjp_asks_for_can_be_differentiated():
    """exp' = exp, tied to its node again, to any order, without a reference cycle."""

    @primitive
    def exponential(x):
        return np.exp(x)

    exponential.vjp("x")(lambda g, output: g * output)
    x = leaf(0.5)
    y = exponential(x)
    for _ in range(4):
        (y,) = tg.grad(y, x, create_graph=True)
    assert y.item() == pytest.approx(np.exp(0.5))


def test_gradients_reach_an_output_through_vjps_that_asked_for_it():
    """With s = exp(x) and ds/dx = s g, the second pass must arrive at s itself, when s is an input of `grad`."""
    x = leaf(0.5)
    s = tg.exp(x)
    (dx,) = tg.grad(s, x, create_graph=True)
    (through,) = tg.grad(dx, s)
    assert through.item() == 1


def test_a_primitive_works_as_a_method():
    class Box:
        double = primitive(lambda self: 2 * self)

    assert isinstance(Box.double, Primitive)
    with pytest.raises(TypeError):
        Box().double()


def test_a_node_shows_its_place_in_the_graph():
    x = leaf(1)
    y = x * 2
    node = (y + 1).grad_fn
    assert (node.name, repr(node)) == ("add", "<add>")
    assert node.next_functions == ((y.grad_fn, 0),)
    assert y.grad_fn.next_functions == ((x, 0),)


@primitive
def _sine_and_cosine(x):
    return np.sin(x), np.cos(x)


@_sine_and_cosine.vjp("x")
def _(g, output):
    return g[0] * output[1] - g[1] * output[0]


def test_a_second_derivative_reaches_an_output_among_several():
    x = leaf(0.5, 1.0)
    sine, _ = _sine_and_cosine(x)
    (first,) = tg.grad(sine.sum(), x, create_graph=True)
    (second,) = tg.grad(first.sum(), x)
    np.testing.assert_allclose(second.data, -np.sin(x.data))


def test_a_gradient_with_respect_to_an_output_that_a_vjp_asked_for():
    x = leaf(0.5, 1.0)
    sine, cosine = _sine_and_cosine(x)
    (first,) = tg.grad(sine.sum(), x, create_graph=True)  # is the cosine itself
    (second,) = tg.grad(first.sum(), cosine)
    np.testing.assert_allclose(second.data, 1)


def test_an_output_among_several_that_was_changed_in_place():
    sine, cosine = _sine_and_cosine(leaf(0.5))
    with tg.no_grad():
        cosine.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        sine.backward()
