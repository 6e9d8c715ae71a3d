"""Drawing the graph: what the DOT text says, and that Graphviz can draw it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn
from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.graphviz import graph


def boxes(dot: str) -> dict[str, str]:
    return dict(re.findall(r'^  (n\d+) \[label="((?:[^"\\]|\\.)*)"', dot, re.MULTILINE))


def arrows(dot: str) -> list[tuple[str, str]]:
    labels = boxes(dot)
    return [(labels[a], labels[b]) for a, b in re.findall(r"^  (n\d+) -> (n\d+)$", dot, re.MULTILINE)]


def drawn(dot: str) -> str:
    if not shutil.which("dot"):
        pytest.skip("Graphviz is not installed")
    return subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True).stdout


def loss_of_a_model() -> tuple[nn.Module, tg.Tensor]:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    return model, F.cross_entropy(model(tg.randn(4, 1, 8, 8)), tg.tensor([0, 1, 2, 0]))


def test_operations_shapes_and_parameters_are_named():
    model, loss = loss_of_a_model()
    found = arrows(graph(loss, model))
    assert ("0.weight\\n(2, 1, 3, 3)", "conv2d\\n(4, 2, 6, 6)") in found
    assert ("0.bias\\n(2,)", "conv2d\\n(4, 2, 6, 6)") in found
    assert ("conv2d\\n(4, 2, 6, 6)", "relu\\n(4, 2, 6, 6)") in found
    assert ("3.bias\\n(3,)", "linear\\n(4, 3)") in found
    assert found[-1][1] == "output\\n()"


def test_graphviz_draws_it():
    model, loss = loss_of_a_model()
    picture = drawn(graph(loss, model))
    assert picture.count('class="node"') == len(boxes(graph(loss, model)))
    assert "3.weight" in picture


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1))
def test_any_name_is_a_label(name):
    x = tg.ones(2, requires_grad=True)
    dot = graph(x * 2, {name: x})
    assert len(boxes(dot)) == 3
    escaped = boxes(dot)["n0"].removesuffix("\\n(2,)")
    assert re.sub(r"\\(.)", r"\1", escaped) == name


def test_awkward_names_can_be_drawn():
    x = tg.ones(2, requires_grad=True)
    assert "&lt;b&gt;" in drawn(graph(x * 2, {'a"\\n<b>\n{|}\\': x}))


def test_results_in_between_can_have_names_too():
    x = tg.ones(2, requires_grad=True)
    hidden = x * 2
    found = arrows(graph([hidden.sum(), hidden.mean()], {"x": x, "hidden": hidden}))
    assert ("x\\n(2,)", "mul\\nhidden\\n(2,)") in found
    assert {b for _, b in found if b.startswith("output")} == {"output 0\\n()", "output 1\\n()"}


def test_a_tensor_used_twice_has_two_arrows():
    x = tg.ones(2, requires_grad=True)
    assert arrows(graph(x * x)).count(("leaf\\n(2,)", "mul\\n(2,)")) == 2


def test_a_leaf_alone_is_a_graph():
    x = tg.ones(2, requires_grad=True)
    assert arrows(graph(x, [("x", x)])) == [("x\\n(2,)", "x\\n(2,)")]


def test_constants_do_not_appear():
    x = tg.ones(2, requires_grad=True)
    assert len(boxes(graph(x + tg.ones(2)))) == 3


def test_several_outputs_of_one_operation():
    @primitive
    def halves(x):
        return x[:1], x[1:]

    @halves.vjp("x")
    def _(g):
        return tg.cat([*map(tg.Tensor, g)]).data

    left, right = halves(tg.ones(2, requires_grad=True))
    labels = boxes(graph(left * right)).values()
    assert {label.split("\\n")[0] for label in labels} >= {"halves", "output 0 of halves", "output 1 of halves"}


def test_a_freed_graph_says_so():
    model, loss = loss_of_a_model()
    whole = graph(loss, model)
    assert "freed" not in whole
    assert "dashed" not in whole
    loss.backward()
    freed = graph(loss, model)
    assert "A backward pass freed" in freed
    assert freed.count("dashed,") == 0
    assert freed.count('"rounded,dashed"') == len(boxes(freed)) - len(list(model.parameters())) - 1
    assert boxes(freed) == boxes(whole)


def test_a_graph_of_the_gradient():
    x = tg.ones(2, requires_grad=True)
    (gradient,) = tg.grad((x**3).sum(), x, create_graph=True)
    assert "pow" in graph(gradient, {"x": x})


def test_long_chains_need_no_recursion():
    x = tg.ones(1, requires_grad=True)
    y = x
    for _ in range(50_000):
        y = y + x
    assert graph(y).count(" -> ") == 100_001


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(RuntimeError, match="graph: the tensor does not require a gradient"):
        graph(tg.ones(2))
    with pytest.raises(TypeError, match=r"graph: tensor expects .* list"):
        graph([[1.0]])
    with pytest.raises(TypeError, match=r"graph: params .*'w' is a float"):
        graph(tg.ones(1, requires_grad=True), {"w": 1.0})
