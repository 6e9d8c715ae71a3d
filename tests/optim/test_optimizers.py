"""Optimizers follow their published update rules, written out here plainly, step by step."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.optim import rules

# ------------------------------------------------------------------------------------------------ the rules, plainly
# Each is a generator-like function: called with step number t = 1, 2, ..., parameter, gradient, and a dict to keep
# things in, it returns the next parameter.


def sgd(t, p, g, s, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False):
    d = g + weight_decay * p
    if momentum == 0:
        return p - lr * d
    s["b"] = d if t == 1 else momentum * s["b"] + (1 - dampening) * d
    return p - lr * (d + momentum * s["b"] if nesterov else s["b"])


def adam(t, p, g, s, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, decoupled=False):
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    s["max"] = np.maximum(s.get("max", 0), s["v"])
    v = s["max"] if amsgrad else s["v"]
    return p - lr * (s["m"] / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def adamw(t, p, g, s, weight_decay=1e-2, **options):
    return adam(t, p, g, s, weight_decay=weight_decay, decoupled=True, **options)


def nadam(
    t, p, g, s, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3, decoupled_weight_decay=False
):
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    mu, mu_next = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
    s["product"] = s.get("product", 1) * mu
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    ahead = mu_next * s["m"] / (1 - s["product"] * mu_next) + (1 - mu) * g / (1 - s["product"])
    return p - lr * ahead / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def adagrad(t, p, g, s, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10):
    g = g + weight_decay * p
    s["sum"] = s.get("sum", initial_accumulator_value) + g**2
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


def adadelta(t, p, g, s, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0):
    g = g + weight_decay * p
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    delta = np.sqrt(s.get("u", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = rho * s.get("u", 0) + (1 - rho) * delta**2
    return p - lr * delta


def rmsprop(t, p, g, s, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False):
    g = g + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
    s["a"] = alpha * s.get("a", 0) + (1 - alpha) * g
    variance = s["v"] - s["a"] ** 2 if centered else s["v"]
    s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(variance) + eps)
    return p - lr * s["b"]


small = st.floats(0, 0.5)
decay = st.sampled_from([0, 0.1])
below_one = st.floats(0, 0.99)
flag = st.booleans()
OPTIONS = {
    "SGD": (sgd, {"lr": small, "momentum": st.sampled_from([0, 0.9]), "dampening": small, "weight_decay": decay}),
    "Nesterov": (
        lambda *args, **options: sgd(*args, nesterov=True, **options),
        {"lr": small, "momentum": st.floats(0.1, 0.99), "weight_decay": decay},
    ),
    "Adam": (adam, {"lr": small, "betas": st.tuples(below_one, below_one), "weight_decay": decay, "amsgrad": flag}),
    "AdamW": (adamw, {"lr": small, "betas": st.tuples(below_one, below_one), "weight_decay": decay, "amsgrad": flag}),
    "NAdam": (
        nadam,
        {
            "lr": small,
            "betas": st.tuples(below_one, below_one),
            "weight_decay": decay,
            "momentum_decay": small,
            "decoupled_weight_decay": flag,
        },
    ),
    "Adagrad": (
        adagrad,
        {"lr": small, "lr_decay": small, "weight_decay": decay, "initial_accumulator_value": st.sampled_from([0, 0.1])},
    ),
    "Adadelta": (adadelta, {"lr": small, "rho": below_one, "eps": st.floats(1e-6, 1e-2), "weight_decay": decay}),
    "RMSprop": (
        rmsprop,
        {
            "lr": small,
            "alpha": st.floats(0.5, 0.99),
            "eps": st.floats(1e-3, 1e-2),
            "weight_decay": decay,
            "momentum": st.sampled_from([0, 0.9]),
            "centered": flag,
        },
    ),
}


def make(name, params, **options):
    if name == "Nesterov":
        return optim.SGD(params, nesterov=True, **options)
    return getattr(optim, name)(params, **options)


def gradients(shape, steps, seed=0):
    return np.random.default_rng(seed).standard_normal((steps, *shape))


@pytest.mark.parametrize("name", OPTIONS)
@given(data=st.data(), maximize=st.booleans())
def test_an_optimizer_follows_its_rule(name, data, maximize):
    rule, choices = OPTIONS[name]
    options = {key: data.draw(strategy, label=key) for key, strategy in choices.items()}
    if options.get("momentum") == 0:
        options["dampening"] = 0.0
        options = {k: v for k, v in options.items() if k != "dampening" or name == "SGD"}
    expected, state = np.array([[1.0, -2.0, 3.0]]), {}
    p = nn.Parameter(expected.copy())
    optimizer = make(name, [p], maximize=maximize, **options)
    for t, g in enumerate(gradients((1, 3), 5), start=1):
        p.grad = tg.Tensor(g.copy())
        optimizer.step()
        expected = rule(t, expected, -g if maximize else g, state, **options)
        np.testing.assert_allclose(p.data, expected, rtol=1e-7, atol=1e-9)
        np.testing.assert_array_equal(p.grad.data, g)


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_those_of_the_rule(name):
    rule, _choices = OPTIONS[name]
    options = {"momentum": 0.9} if name == "Nesterov" else {}
    expected, state, p = np.ones(2), {}, nn.Parameter(np.ones(2))
    optimizer = make(name, [p], **options)
    for t, g in enumerate(gradients((2,), 5), start=1):
        p.grad = tg.Tensor(g)
        optimizer.step()
        expected = rule(t, expected, g, state, **options)
    np.testing.assert_allclose(p.data, expected, rtol=1e-9)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("size", [rules.BLOCK - 1, rules.BLOCK, 2 * rules.BLOCK + 3])
def test_blocks_and_threads_do_not_show_in_the_result(name, size):
    options = {"momentum": 0.9, "weight_decay": 0.1} if name == "Nesterov" else {"weight_decay": 0.1}
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(size, np.float32), rng.standard_normal((2, size), np.float32)

    def train(threads, pieces):
        before = tg.get_num_threads()
        tg.set_num_threads(threads)
        params = [nn.Parameter(piece.copy()) for piece in np.array_split(start, pieces)]
        optimizer = make(name, params, **options)
        for g in grads:
            for p, piece in zip(params, np.array_split(g, pieces), strict=True):
                p.grad = tg.Tensor(piece.copy())
            optimizer.step()
        tg.set_num_threads(before)
        return np.concatenate([p.data for p in params])

    whole = train(1, 1)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(train(2, 1), whole)
    np.testing.assert_array_equal(train(2, 7), whole)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", [(3, 4), (300, 300)])
def test_memory_layout_does_not_show_in_the_result(name, shape):
    options = {"momentum": 0.9} if name == "Nesterov" else {}
    start, g = gradients(shape, 2)
    results = []
    for order_p in "CF":
        for order_g in "CF":
            p = nn.Parameter(np.array(start, order=order_p))
            p.grad = tg.Tensor(np.array(g, order=order_g))
            optimizer = make(name, [p], **options)
            optimizer.step()
            optimizer.step()
            results.append(p.data)
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_the_state_follows_a_parameter_to_another_dtype(name):
    options = {"momentum": 0.9} if name == "Nesterov" else {}
    layer = nn.Linear(3, 2)
    optimizer = make(name, layer.parameters(), **options)
    for dtype in (np.float32, np.float64, np.float32):
        layer.to(dtype)
        layer.weight.grad = tg.ones(2, 3, dtype=dtype)
        optimizer.step()
        kept = [value.dtype for value in optimizer.state[layer.weight].values() if isinstance(value, tg.Tensor)]
        assert all(of_state == dtype for of_state in kept)


def test_scalars_empty_parameters_and_missing_gradients():
    scalar, empty, frozen = nn.Parameter(tg.tensor(1.0)), nn.Parameter(tg.empty(0)), nn.Parameter(tg.ones(2))
    optimizer = optim.Adam([scalar, empty, frozen], lr=0.5)
    scalar.grad, empty.grad = tg.tensor(3.0), tg.empty(0)
    optimizer.step()
    assert scalar.item() == pytest.approx(0.5)
    assert frozen.tolist() == [1, 1]
    assert list(optimizer.state_dict()["state"]) == [0, 1]


# ------------------------------------------------------------------------------------------------ groups and state


def test_groups_have_options_of_their_own():
    a, b = nn.Parameter(tg.ones(1)), nn.Parameter(tg.ones(1))
    optimizer = optim.SGD([{"params": a, "lr": 0.5}, {"params": [b]}], lr=0.1)
    a.grad = b.grad = tg.ones(1)
    optimizer.step()
    assert a.item() == 0.5
    assert b.item() == pytest.approx(0.9)
    optimizer.param_groups[1]["lr"] = 0.2
    optimizer.step()
    assert b.item() == pytest.approx(0.7)
    c = nn.Parameter(tg.ones(1))
    optimizer.add_param_group({"params": [c], "momentum": 0.9})
    assert [group["momentum"] for group in optimizer.param_groups] == [0, 0, 0.9]


def test_zero_grad():
    p = nn.Parameter(tg.ones(1))
    p.grad = tg.ones(1)
    optimizer = optim.SGD([p])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None


def test_step_runs_the_closure_with_gradients():
    p = nn.Parameter(tg.tensor(2.0))
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = p * p
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 4
    assert p.item() == 1
    assert optimizer.step() is None


def test_a_step_is_noticed_by_a_recorded_graph():
    p = nn.Parameter(tg.ones(2))
    loss = (p * p).sum()
    p.grad = tg.ones(2)
    optim.SGD([p]).step()
    with pytest.raises(RuntimeError, match="modified"):
        loss.backward()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(name, tmp_path):
    options = {"momentum": 0.9} if name == "Nesterov" else {}
    grads = gradients((3,), 6)

    def run(p, optimizer, steps):
        for g in steps:
            p.grad = tg.Tensor(g.copy())
            optimizer.step()

    p = nn.Parameter(np.ones(3))
    optimizer = make(name, [p], **options)
    run(p, optimizer, grads[:3])
    tg.save(optimizer.state_dict(), tmp_path / "optimizer.npz")
    q = nn.Parameter(p.data.copy())
    restored = make(name, [q], lr=0.7, **options)
    restored.load_state_dict(tg.load(tmp_path / "optimizer.npz"))
    run(p, optimizer, grads[3:])
    run(q, restored, grads[3:])
    np.testing.assert_array_equal(p.data, q.data)


def test_state_dict_has_pytorchs_layout():
    a, b = nn.Parameter(tg.ones(1)), nn.Parameter(tg.ones(2))
    optimizer = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.5}], amsgrad=True)
    a.grad, b.grad = tg.ones(1), tg.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    assert set(state["state"][1]) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert state["state"][1]["exp_avg"].shape == (2,)
    assert [group["params"] for group in state["param_groups"]] == [[0], [1]]
    assert state["param_groups"][1]["lr"] == 0.5
    state["state"][0]["step"] = tg.tensor(7.0)  # as PyTorch keeps it
    optimizer.load_state_dict(state)
    assert optimizer.state[a]["step"] == 7
    assert optimizer.state[a]["exp_avg"].data is not state["state"][0]["exp_avg"].data
    state["state"][0]["note"] = ["kept"]
    optimizer.load_state_dict(state)
    assert optimizer.state[a]["note"] == ["kept"]


def test_loading_what_does_not_fit_changes_nothing():
    p = nn.Parameter(tg.ones(2))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = tg.ones(2)
    optimizer.step()
    for change, message in (
        (lambda s: s["param_groups"].append({"params": [1]}), r"expects groups of \[1\] parameters but has \[1, 1\]"),
        (lambda s: s["param_groups"][0]["params"].append(1), r"but has \[2\]"),
        (lambda s: s["state"].update({5: {}}), "expects positions of parameters but has 5"),
        (lambda s: s["state"][0].update(momentum_buffer=tg.ones(3)), r"momentum_buffer expects the shape .* \(3,\)"),
        (lambda s: s["param_groups"][0].update(lr=-1), "lr expects"),
    ):
        state = copy.deepcopy(optimizer.state_dict())
        change(state)
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.state[p]["momentum_buffer"].tolist() == [1, 1]


@pytest.mark.parametrize(("name", "missing"), [("Adam", "betas"), ("RMSprop", "alpha"), ("NAdam", "momentum_decay")])
def test_the_state_of_another_optimizer_is_refused(name, missing):
    layer = nn.Linear(2, 2)
    sgd, other = optim.SGD(layer.parameters(), lr=3.0), make(name, list(layer.parameters()))
    before = repr(other)
    with pytest.raises(ValueError, match=rf"^{name}\.load_state_dict: param_groups expects the options .*'{missing}'"):
        other.load_state_dict(sgd.state_dict())
    assert repr(other) == before
    with pytest.raises(ValueError, match=r"^SGD\.load_state_dict: param_groups expects the options .*'dampening'"):
        sgd.load_state_dict(other.state_dict())


def test_switches_of_later_versions_may_be_missing():
    adam = optim.Adam(nn.Linear(2, 2).parameters())
    state = adam.state_dict()
    del state["param_groups"][0]["amsgrad"], state["param_groups"][0]["maximize"]
    adam.load_state_dict(state)
    assert adam.param_groups[0]["amsgrad"] is False


def test_named_parameters_keep_their_names():
    layer = nn.Linear(2, 2)
    optimizer = optim.SGD(layer.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    other = optim.SGD(nn.Linear(2, 2).named_parameters())
    other.load_state_dict(optim.SGD(layer.parameters(), lr=3).state_dict())
    assert other.param_groups[0]["param_names"] == ["weight", "bias"]
    assert other.param_groups[0]["lr"] == 3


def test_repr_is_pytorchs():
    optimizer = optim.Adadelta([nn.Parameter(tg.ones(1))], lr=0.5)
    assert repr(optimizer) == (
        "Adadelta (\nParameter Group 0\n    eps: 1e-06\n    lr: 0.5\n    maximize: False\n    rho: 0.9\n"
        "    weight_decay: 0\n)"
    )


P = nn.Parameter(tg.ones(1))
BAD = [
    (lambda: optim.SGD(P), TypeError, "params expects an iterable of tensors or dicts but got a single tensor"),
    (lambda: optim.SGD([]), ValueError, "at least one parameter but got an empty list"),
    (lambda: optim.SGD([3]), TypeError, "params expects tensors but got int"),
    (lambda: optim.SGD([{"params": [P]}, [P]]), TypeError, "a parameter group expects a dict but got list"),
    (lambda: optim.SGD([{"lr": 1}]), ValueError, "expects the key 'params'"),
    (lambda: optim.SGD([{"params": {P}}]), TypeError, "ordered collection such as a list but got a set"),
    (lambda: optim.SGD([P, P]), ValueError, "each parameter once"),
    (lambda: optim.SGD([{"params": P}, {"params": P}]), ValueError, "each parameter once"),
    (lambda: optim.SGD([P * 2]), ValueError, "expects leaf tensors"),
    (lambda: optim.SGD([("a", P), nn.Parameter(tg.ones(1))]), ValueError, "names for all parameters or for none"),
    (lambda: optim.SGD([P], lr=-1), ValueError, "SGD: lr expects a finite number, at least 0 but got -1"),
    (lambda: optim.SGD([P], lr="1"), TypeError, "SGD: lr expects a number but got '1'"),
    (lambda: optim.SGD([P], lr=float("nan")), ValueError, "lr expects a finite number"),
    (lambda: optim.SGD([P], momentum=-1), ValueError, "momentum expects"),
    (lambda: optim.SGD([P], weight_decay=-1), ValueError, "weight_decay expects"),
    (lambda: optim.SGD([P], dampening=float("inf")), ValueError, "dampening expects a finite number but got inf"),
    (lambda: optim.SGD([P], nesterov=True), ValueError, "nesterov expects a momentum and zero dampening"),
    (lambda: optim.SGD([{"params": P, "lr": -1}]), ValueError, "lr expects"),
    (
        lambda: optim.Adam([P], betas=(0.9, 1.0)),
        ValueError,
        r"betas\[1\] expects a finite number, at least 0, less than 1",
    ),
    (lambda: optim.AdamW([P], betas=0.9), ValueError, "AdamW: betas expects a pair of numbers but got 0.9"),
    (lambda: optim.Adam([P], eps=-1), ValueError, "Adam: eps expects"),
    (lambda: optim.NAdam([P], momentum_decay=-1), ValueError, "NAdam: momentum_decay expects"),
    (lambda: optim.NAdam([P], betas=(1, 0)), ValueError, r"NAdam: betas\[0\] expects"),
    (lambda: optim.Adagrad([P], lr_decay=-1), ValueError, "Adagrad: lr_decay expects"),
    (lambda: optim.Adadelta([P], rho=1.5), ValueError, "Adadelta: rho expects a finite number, at least 0, at most 1"),
    (lambda: optim.RMSprop([P], alpha=-0.5), ValueError, "RMSprop: alpha expects"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_gradient_of_another_shape_is_refused():
    p = nn.Parameter(tg.ones(2))
    p.grad = tg.ones(2)
    p.data = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"expects the parameter's shape \(3, 2\) but has \(2,\)"):
        optim.SGD([p]).step()


@pytest.mark.parametrize("size", [3, rules.BLOCK + 1])
def test_parameters_before_an_error_have_taken_their_step(size):
    first, wrong = nn.Parameter(tg.ones(size)), nn.Parameter(tg.ones(2))
    first.grad, wrong.grad = tg.ones(size), tg.ones(2)
    wrong.data = np.ones((3, 2), np.float32)
    optimizer = optim.Adam([first, wrong], lr=0.5)
    with pytest.raises(ValueError, match="the gradient expects the parameter's shape"):
        optimizer.step()
    assert optimizer.state[first]["step"] == 1
    np.testing.assert_allclose(first.data, 0.5, rtol=1e-6)


def test_an_optimizer_of_ones_own():
    class SignSGD(optim.Optimizer):
        def update(self, p, g, state, group):
            p -= group["lr"] * np.sign(g)

    p = nn.Parameter(tg.ones(2))
    p.grad = tg.tensor([3.0, -4.0])
    SignSGD([p], {"lr": 0.5}).step()
    assert p.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("size", [3, 4 * rules.BLOCK])
def test_rules_that_are_applied_one_after_the_other(size):
    def double(p, out):
        time.sleep(0.01 * (p[-1] == 3))  # the other thread gets as far as it may
        np.multiply(p, 2, out=out)

    class Affine(optim.Optimizer):
        def update(self, p, g, state, group):
            self.apply(lambda temporaries, p: [(double, p, p)], (p,))
            self.apply(lambda temporaries, p, g: [(np.add, p, g, p)], (p, g))

    p = nn.Parameter(tg.ones(size))
    p.data[-1] = 3
    p.grad = tg.ones(size)
    Affine([p], {}).step()
    assert np.unique(p.data).tolist() == [3, 7]
