"""Functions of functions: what derivatives are, how they compose, and how levels stay apart."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn
from tinygrad_cnn.func import functional_call, grad, grad_and_value, hessian, hvp, jacrev, jvp, vjp

close = np.testing.assert_allclose


def vectors(size: int) -> st.SearchStrategy[tg.Tensor]:
    numbers = st.floats(-2, 2, allow_subnormal=False)
    return hnp.arrays(np.float64, size, elements=numbers).map(tg.Tensor)


def bend(x: tg.Tensor) -> tg.Tensor:
    """A smooth map from three numbers to two, of which no derivative vanishes."""
    return tg.stack([(x * x * x[0]).sum().tanh(), (x.exp() * x[1]).sum()])


def bowl(x: tg.Tensor) -> tg.Tensor:
    return (bend(x) ** 2).sum()


def cubes(x: tg.Tensor) -> tg.Tensor:
    return (x**3).sum()


# ------------------------------------------------------------------------------------- what they compute


@given(vectors(3), vectors(3), vectors(2))
def test_left_and_right_products_with_the_jacobian_are_adjoint(x, tangent, cotangent):
    value, pull = vjp(bend, x)
    other, pushed = jvp(bend, (x,), (tangent,))
    close(value.data, other.data)
    close((cotangent * pushed).sum().data, (pull(cotangent)[0] * tangent).sum().data, atol=1e-9)


@given(vectors(3), vectors(3))
def test_the_jacobian_times_a_vector_is_the_product(x, tangent):
    jacobian = jacrev(bend)(x)
    assert jacobian.shape == (2, 3)
    close((jacobian @ tangent).data, jvp(bend, (x,), (tangent,))[1].data, atol=1e-9)


@given(vectors(3), vectors(3))
def test_a_product_is_the_limit_of_differences(x, tangent):
    step = 1e-6
    difference = (bend(x + tangent * step) - bend(x - tangent * step)) / (2 * step)
    close(jvp(bend, (x,), (tangent,))[1].data, difference.data, rtol=1e-4, atol=1e-4)


@given(vectors(3), vectors(3))
def test_the_hessian_is_symmetric_and_its_product_is_hvp(x, v):
    h = hessian(bowl)(x)
    close(h.data, h.T.data, atol=1e-9)
    value, product = hvp(bowl, x, v)
    close(value.data, bowl(x).data)
    close(product.data, (h @ v).data, atol=1e-9)


def test_a_third_derivative():
    assert grad(grad(grad(lambda x: x**4)))(tg.tensor(2.0)).item() == 48


def test_hessian_of_jacobian_has_four_axes():
    sixes = jacrev(jacrev(jacrev(lambda x: x**3)))(tg.tensor([1.0, 2.0]))
    expected = np.zeros((2, 2, 2, 2), np.float32)
    expected[0, 0, 0, 0] = expected[1, 1, 1, 1] = 6
    close(sixes.data, expected)


def test_jvp_of_grad_grad_of_jvp_and_hvp_agree():
    x, v = tg.tensor([0.3, -0.2, 0.5]), tg.tensor([1.0, 2.0, 3.0])
    expected = hvp(bowl, x, v)[1].data
    close(jvp(grad(bowl), (x,), (v,))[1].data, expected, rtol=1e-5)
    close(grad(lambda x: jvp(bowl, (x,), (v,))[1])(x).data, expected, rtol=1e-5)
    close(vjp(grad(bowl), x)[1](v)[0].data, expected, rtol=1e-5)


def test_a_pullback_is_itself_a_linear_function():
    x = tg.tensor([1.0, 2.0, 3.0])
    _, pull = vjp(bend, x)
    (jacobian,) = jacrev(pull)(tg.tensor([0.0, 0.0]))
    close(jacobian.data, jacrev(bend)(x).T.data)
    assert not jacobian.requires_grad


# ------------------------------------------------------------------------------------------- forms


def test_arguments_and_outputs_may_be_trees():
    tree = OrderedDict(a=tg.tensor([1.0, 2.0]), b=[tg.tensor(3.0), (tg.tensor(4.0),)])
    gradient = grad(lambda p: (p["a"] ** 2).sum() * p["b"][0] + p["b"][1][0])(tree)
    assert isinstance(gradient, OrderedDict)
    assert gradient["a"].tolist() == [6, 12]
    assert [gradient["b"][0].item(), gradient["b"][1][0].item()] == [5, 1]

    output, pull = vjp(lambda p: {"sum": p["a"].sum(), "all": (p["a"], p["b"][0])}, tree)
    cotangents = {"all": (tg.tensor([1.0, 0.0]), tg.tensor(7.0)), "sum": tg.tensor(10.0)}  # in another order
    (pulled,) = pull(cotangents)
    assert output["sum"].item() == 3
    assert pulled["a"].tolist() == [11, 10]
    assert [pulled["b"][0].item(), pulled["b"][1][0].item()] == [7, 0]


def test_blocks_of_a_jacobian_stand_where_output_and_argument_meet():
    jacobian = jacrev(lambda x, y: {"product": x * y, "sum": y.sum()}, argnums=(0, 1))(tg.ones(2), 3 * tg.ones(2))
    close(jacobian["product"][0].data, 3 * np.eye(2))
    close(jacobian["product"][1].data, np.eye(2))
    close(jacobian["sum"][0].data, np.zeros(2))
    close(jacobian["sum"][1].data, np.ones(2))


def test_argnums_choose_the_arguments():
    def f(x, n, y, *, scale):
        return (x**n * y).sum() * scale

    x, y = tg.tensor(2.0), tg.tensor(5.0)
    assert grad(f)(x, 3, y, scale=2).item() == 120
    assert grad(f, argnums=2)(x, 3, y, scale=2).item() == 16
    assert [g.item() for g in grad(f, argnums=(-1, 0))(x, 3, y, scale=2)] == [16, 120]
    assert [g.item() for g in grad(f, argnums=(0,))(x, 3, y, scale=2)] == [120]


def test_aux_is_passed_on():
    def f(x):
        return (x * x).sum(), {"twice": 2 * x, "name": "f"}

    x = tg.tensor([1.0, 2.0])
    gradient, aux = grad(f, has_aux=True)(x)
    assert (gradient.tolist(), aux["twice"].tolist(), aux["name"]) == ([2, 4], [2, 4], "f")
    gradient, (value, aux) = grad_and_value(f, has_aux=True)(x)
    assert (value.item(), aux["name"]) == (5, "f")
    assert vjp(f, x, has_aux=True)[2]["twice"].tolist() == [2, 4]
    assert jvp(f, (x,), (x,), has_aux=True)[2]["twice"].tolist() == [2, 4]
    assert jacrev(f, has_aux=True)(x)[1]["name"] == "f"
    assert not aux["twice"].requires_grad


def test_aux_stays_usable_when_it_hangs_in_the_callers_graph():
    x = tg.tensor(3.0, requires_grad=True)
    gradient, aux = grad(lambda y: (y * y, x * y * y), has_aux=True)(tg.tensor(2.0))
    assert (gradient.item(), aux.item()) == (4, 12)
    aux.backward()
    assert x.grad.item() == 4


def test_what_does_not_matter_has_a_gradient_of_zeros():
    x, y = tg.ones(2), tg.ones(3)
    unused = grad(lambda x, y: x.sum(), argnums=(0, 1))(x, y)
    assert [g.tolist() for g in unused] == [[1, 1], [0, 0, 0]]
    assert grad(lambda x: tg.tensor(1.0))(x).tolist() == [0, 0]
    assert jacrev(lambda x: tg.ones(2))(x).tolist() == [[0, 0], [0, 0]]
    assert jvp(lambda x: tg.ones(2), (x,), (x,))[1].tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="strict"):
        jvp(lambda x: (x, tg.ones(2)), (x,), (x,), strict=True)


def test_the_input_may_be_the_output():
    x = tg.tensor([1.0, 2.0])
    assert jacrev(lambda x: x)(x).tolist() == [[1, 0], [0, 1]]
    assert jacrev(lambda x: (x, x))(x)[1].tolist() == [[1, 0], [0, 1]]
    assert grad(lambda x: x)(tg.tensor(1.0)).item() == 1
    assert jvp(lambda x: x, (x,), (x,))[1].tolist() == [1, 2]


def test_an_empty_output_has_an_empty_jacobian():
    assert jacrev(lambda x: x[:0])(tg.ones(3)).shape == (0, 3)


# ------------------------------------------------------------------------------------------- levels


def test_levels_are_not_confused():
    # d/dx (x * d/dy (x + y)) = 1 and not 2 (Siskind & Pearlmutter 2005).
    one = tg.tensor(1.0)
    assert grad(lambda x: x * grad(lambda y: x + y)(one))(one).item() == 1
    assert grad(lambda x: x * jvp(lambda y: x + y, (one,), (one,))[1])(one).item() == 1
    # The same tensor at both levels: d/dx (x * d/dy (x y)) = d/dx (x * x).
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(tg.tensor(3.0)).item() == 6
    assert grad(lambda x: grad(lambda x: x**3)(x))(tg.tensor(2.0)).item() == 12


def test_inputs_are_left_alone():
    x = tg.tensor([1.0, 2.0])
    grad(cubes)(x)
    assert not x.requires_grad
    assert x.grad is None
    leaf = tg.tensor([1.0, 2.0], requires_grad=True)
    leaf.grad = tg.ones(2)
    hessian(cubes)(leaf)
    assert leaf.grad.tolist() == [1, 1]
    assert leaf.is_leaf


def test_of_constants_everything_is_constant():
    x = tg.tensor([1.0, 2.0, 3.0])
    gradient, value = grad_and_value(bowl)(x)
    output, pull = vjp(bend, x)
    results = [gradient, value, output, *pull(tg.ones(2)), *jvp(bend, (x,), (x,)), *hvp(bowl, x, x), jacrev(bend)(x)]
    assert not any(t.requires_grad for t in [*results, hessian(bowl)(x)])


def test_results_hang_in_the_graph_of_what_requires_a_gradient():
    x = tg.tensor(2.0, requires_grad=True)
    z = tg.tensor(5.0, requires_grad=True)
    result = grad(lambda y: y**3 * z)(x)
    assert [t.item() for t in tg.grad(result, (x, z))] == [60, 12]
    constant = grad(lambda y: y * y + z)(tg.tensor(2.0))
    assert not constant.requires_grad
    closed = grad(lambda y: y * y * z)(tg.tensor(2.0))
    closed.backward()
    assert z.grad.item() == 4


def test_an_outer_no_grad_is_about_the_result_and_an_inner_one_about_the_function():
    x = tg.tensor(2.0, requires_grad=True)
    with tg.no_grad():
        gradient = grad(lambda x: x**3)(x)
        product = jvp(lambda x: x**3, (x,), (x,))[1]
        assert not tg.is_grad_enabled()
    assert (gradient.item(), gradient.requires_grad) == (12, False)
    assert (product.item(), product.requires_grad) == (24, False)

    def half_constant(x):
        with tg.no_grad():
            frozen = x**2
        return x**2 + frozen

    assert grad(half_constant)(x).item() == 4


def test_a_pullback_can_be_used_again_and_again():
    _, pull = vjp(bend, tg.tensor([1.0, 2.0, 3.0]))
    first = pull(tg.tensor([1.0, 0.0]))[0].tolist()
    assert pull(tg.tensor([1.0, 0.0]))[0].tolist() == first


# -------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grad(lambda x: x)(tg.ones(2)), ValueError, r"grad: func expects .* 0-d tensor .*\(2,\)"),
        (lambda: grad(lambda x: (x, x))(tg.ones(())), ValueError, "grad: func expects .* tuple"),
        (lambda: grad(lambda x: 1.0)(tg.ones(2)), TypeError, "grad: the output of func expects tensors"),
        (lambda: grad(lambda x: x)(2.0), TypeError, "grad: argument 0 expects tensors.*float"),
        (lambda: grad(lambda x: x)(tg.ones(2).long()), TypeError, "argument 0 expects floating .*int64"),
        (lambda: grad(lambda x: x.sum(), argnums=1)(tg.ones(2)), IndexError, "grad: argnums 1"),
        (lambda: grad(lambda x: x.sum(), argnums=())(tg.ones(2)), ValueError, "argnums"),
        (lambda: grad(lambda x: x.sum(), argnums=(0, -1))(tg.ones(2)), ValueError, "argnums"),
        (lambda: grad(lambda x: x.sum(), argnums="0")(tg.ones(2)), TypeError, "argnums"),
        (lambda: grad(lambda x: x.sum(), has_aux=True)(tg.ones(2)), TypeError, "has_aux"),
        (lambda: vjp(lambda: tg.ones(2)), ValueError, "vjp: primals"),
        (lambda: vjp(lambda x: x.argmax(), tg.ones(2)), TypeError, "vjp: the output of func .*int64"),
        (lambda: vjp(lambda x: x, tg.ones(2))[1](tg.ones(3)), ValueError, r"vjp: expected .* got shape \(3,\)"),
        (lambda: vjp(lambda x: x, tg.ones(2))[1](1.0), ValueError, "but got float"),
        (lambda: vjp(lambda x: x, tg.ones(2))[1]((tg.ones(2),)), ValueError, "cotangents expects a tensor"),
        (lambda: vjp(lambda x: {"a": x}, tg.ones(2))[1]({"b": tg.ones(2)}), ValueError, "keys"),
        (lambda: jvp(lambda x: x, tg.ones(2), (tg.ones(2),)), TypeError, "jvp: primals expects a tuple"),
        (lambda: jvp(lambda x: x, (tg.ones(2),), (tg.ones(2), tg.ones(2))), ValueError, "jvp: tangents"),
        (lambda: jvp(lambda x: x, (tg.ones(2),), (tg.ones(3),)), ValueError, r"\(3,\)"),
        (lambda: jacrev(lambda x: x, chunk_size=0), ValueError, "chunk_size"),
        (lambda: hvp(lambda x: x.sum(), tg.ones(2), tg.ones(3)), ValueError, r"\(3,\)"),
        (lambda: hvp(lambda x: x.sum(), tg.ones(2), None), ValueError, "got NoneType"),
        (lambda: functional_call(print, {}, tg.ones(2)), TypeError, "module expects a Module"),
        (lambda: functional_call(Net(), None, tg.ones(2)), TypeError, "expects dicts .* NoneType"),
        (lambda: functional_call(Net(), [tg.ones(2)], tg.ones(2)), TypeError, r"expects dicts .* \['Tensor'\]"),
    ],
)
def test_errors_say_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_failing_function_leaves_the_mode_as_it_was():
    def fail(x):
        raise KeyError("x")

    with tg.no_grad():
        with pytest.raises(KeyError):
            grad(fail)(tg.ones(2))
        assert not tg.is_grad_enabled()


# ----------------------------------------------------------------------------------- functional_call


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        self.head = nn.Linear(4, 2)

    def forward(self, x, scale=1.0):
        return self.head(self.features(x)) * scale


def test_a_module_is_a_function_of_its_parameters():
    net, x, y = Net(), tg.randn(5, 3), tg.tensor([0, 1, 1, 0, 1])
    parameters = dict(net.named_parameters())
    F.cross_entropy(net(x, scale=2.0), y).backward()
    loss = lambda p: F.cross_entropy(functional_call(net, p, (x,), {"scale": 2.0}), y)  # noqa: E731
    detached = {name: p.detach() for name, p in parameters.items()}
    for name, gradient in grad(loss)(detached).items():
        close(gradient.data, parameters[name].grad.data, rtol=1e-5, atol=1e-7)


def test_what_is_not_given_is_the_modules_own_and_everything_comes_back():
    net, x = Net(), tg.randn(5, 3)
    own = dict(net.named_parameters())
    before = net(x)
    zero = functional_call(net, {"head.weight": tg.zeros(2, 4)}, x)
    close(zero.data, np.broadcast_to(net.head.bias.data, (5, 2)))
    with pytest.raises(ValueError, match="linear"):
        functional_call(net, [{"head.weight": tg.zeros(2, 5)}, {"head.bias": tg.zeros(2)}], x)
    assert all(own[name] is p for name, p in net.named_parameters())
    assert functional_call(net, {}, (), {"x": x}).tolist() == before.tolist()
    assert net(x).tolist() == before.tolist()


def test_a_shared_parameter_is_replaced_under_all_its_names():
    net = Net()
    net.twin = net.head
    net.shared = nn.Linear(4, 2)
    net.shared.weight = net.head.weight
    inner = []
    net.register_forward_hook(lambda module, args, output: inner.append(module.shared.weight))
    given = tg.zeros(2, 4)
    functional_call(net, {"head.weight": given}, tg.ones(1, 3))
    assert inner.pop() is given
    functional_call(net, {"head.weight": given}, tg.ones(1, 3), tie_weights=False)
    assert inner.pop() is net.head.weight
    with pytest.raises(ValueError, match="one parameter"):
        functional_call(net, {"head.weight": given, "shared.weight": tg.ones(2, 4)}, tg.ones(1, 3))


def test_buffers_are_written_where_they_were_given():
    net, x = nn.BatchNorm2d(2), tg.randn(4, 2, 3, 3)
    state = {name: t.detach().clone() for name, t in net.state_dict().items()}
    functional_call(net, state, x)
    assert state["num_batches_tracked"].item() == 1
    assert net.num_batches_tracked.item() == 0
    assert net.running_mean.tolist() == [0, 0]


def test_a_buffer_that_is_replaced_is_replaced_in_the_dict():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", tg.tensor(0))

        def forward(self):
            self.count = self.count + 1

    counter, state = Counter(), {"count": tg.tensor(5)}
    functional_call(counter, state)
    assert (state["count"].item(), counter.count.item()) == (6, 0)


@pytest.mark.parametrize(
    ("given", "strict", "error", "message"),
    [
        ({"nose": tg.ones(1)}, False, ValueError, "Net has no parameter or buffer 'nose'"),
        ({"head.weight": np.ones((2, 4))}, False, TypeError, "head.weight expects a tensor but got ndarray"),
        ({"head.weight": tg.ones(2, 4)}, True, ValueError, "strict.*features.0.weight"),
        ([{"head.bias": tg.ones(2)}, {"head.bias": tg.ones(2)}], False, ValueError, "given twice"),
    ],
)
def test_functional_call_refuses_what_it_cannot_place(given, strict, error, message):
    with pytest.raises(error, match=message):
        functional_call(Net(), given, tg.ones(1, 3), strict=strict)
