"""`tg.func` against `torch.func`: the same functions, the same trees, the same numbers, composed in every order."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional
from tinygrad_cnn import func

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

RNG = np.random.default_rng(0)
TREE = {"w": RNG.standard_normal((2, 3)), "rest": [RNG.standard_normal(3), RNG.standard_normal(())]}
X, V = RNG.standard_normal(3), RNG.standard_normal(3)
IMAGES, KERNELS = RNG.standard_normal((2, 1, 5, 5)), RNG.standard_normal((2, 1, 3, 3))

BOTH = ((tg, func), (torch, torch.func))


def on(library: Any, tree: Any) -> Any:
    """The tree with tensors of a library."""
    if isinstance(tree, np.ndarray):
        return library.tensor(tree)
    if isinstance(tree, dict):
        return {key: on(library, branch) for key, branch in tree.items()}
    return type(tree)(on(library, branch) for branch in tree)


def numbers(tree: Any) -> Any:
    """The tree with arrays, and whether each hangs in a graph."""
    if isinstance(tree, dict):
        return {key: numbers(branch) for key, branch in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [numbers(branch) for branch in tree]
    return np.asarray(tree.detach()), bool(tree.requires_grad)


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, (dict, list, tuple)):
        branches = tree.values() if isinstance(tree, dict) else tree
        return [leaf for branch in branches for leaf in leaves(branch)]
    return [tree]


def check(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = list(ours.values()), [theirs[key] for key in ours]
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            check(a, b)
        return
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-9)
    assert ours[0].shape == theirs[0].shape
    assert ours[1] <= theirs[1]  # PyTorch lets constants hang in the graph too, where it computes them in one batch


def agree(compute: Any) -> None:
    check(*(numbers(compute(library, functions)) for library, functions in BOTH))


def energy(x: Any, p: Any) -> Any:
    return ((p["w"] @ x).tanh() * p["rest"][1].exp()).sum() + (p["rest"][0] * x).sum() ** 2


def field(x: Any, p: Any) -> Any:
    return {"left": p["w"] @ x, "right": (p["rest"][0] * x.exp(), p["rest"][1] * x.sum())}


TRANSFORMS = {
    "grad": lambda f: f.grad(energy),
    "grad in the tree": lambda f: f.grad(energy, argnums=1),
    "grad in both": lambda f: f.grad(energy, argnums=(1, 0)),
    "grad_and_value": lambda f: f.grad_and_value(energy, argnums=(0,)),
    "jacrev": lambda f: f.jacrev(field, argnums=(0, 1)),
    "hessian": lambda f: f.hessian(energy, argnums=(0, 1)),
    "hessian in the tree": lambda f: f.hessian(energy, argnums=1),
    "jacrev of grad": lambda f: f.jacrev(f.grad(energy, argnums=1), argnums=0),
    "hessian of a field": lambda f: f.hessian(field),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("requires", [False, True])
def test_transforms_of_trees(name, requires):
    def compute(library, functions):
        x, tree = on(library, X), on(library, TREE)
        tree["rest"][0].requires_grad_(requires)
        result = TRANSFORMS[name](functions)(x, tree)
        if not requires:
            return result
        sum((leaf**2).sum() for leaf in leaves(result)).backward()
        return [result, tree["rest"][0].grad]

    agree(compute)


@pytest.mark.parametrize("requires", [(False, False), (True, False), (False, True)])
def test_products(requires):
    def compute(library, functions):
        x, v, tree = on(library, X), on(library, V), on(library, TREE)
        x.requires_grad_(requires[0])
        tree["w"].requires_grad_(requires[1])
        of_x = lambda x: field(x, tree)  # noqa: E731
        output, pull = functions.vjp(of_x, x)
        value, pushed = functions.jvp(of_x, (x,), (v,))
        return [output, pull(output), value, pushed]

    agree(compute)


def test_nested_levels_with_the_same_tensor():
    def compute(library, functions):
        x = on(library, X)
        x.requires_grad_()
        inner = functions.grad(lambda y: (x * y * y).sum())
        outer = functions.grad(lambda x: (x * inner(x)).sum())(x)
        outer.sum().backward()
        return [outer, x.grad]

    agree(compute)


def test_a_convolution_differentiated_three_times():
    def compute(library, functions):
        conv2d = library.nn.functional.conv2d
        images, kernels = on(library, IMAGES), on(library, KERNELS)
        loss = lambda w: (conv2d(images, w).tanh() ** 2).mean()  # noqa: E731
        gradient = functions.grad(loss)
        _, product = functions.jvp(gradient, (kernels,), (kernels,))
        third = functions.grad(lambda w: functions.jvp(gradient, (w,), (kernels,))[1].sum())(kernels)
        return [product, third]

    agree(compute)


def test_hvp_is_that_of_torch_autograd_functional():
    x, v = on(torch, X), on(torch, V)
    tree = on(torch, TREE)
    theirs = torch.autograd.functional.hvp(lambda x: energy(x, tree), x, v)
    tree = on(tg, TREE)
    ours = func.hvp(lambda x: energy(x, tree), on(tg, X), on(tg, V))
    check(numbers(ours), numbers(theirs))


@pytest.mark.parametrize("name", ["vjp", "jvp", "grad", "grad_and_value", "jacrev", "hessian", "functional_call"])
def test_signatures_are_theirs(name):
    def parameters(function):
        listed = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in listed if not p.name.startswith("_")]

    assert parameters(getattr(func, name)) == parameters(getattr(torch.func, name))


@pytest.mark.parametrize("recording", [True, False])
def test_under_an_outer_mode(recording):
    def compute(library, functions):
        x = on(library, X)
        x.requires_grad_()
        with library.set_grad_enabled(recording):
            return [functions.grad(lambda x: (x**3).sum())(x), functions.jvp(lambda x: x**3, (x,), (x,))[1]]

    agree(compute)
