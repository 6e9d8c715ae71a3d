"""NumPy's functions on tensors: NumPy's values and conventions, this library's derivatives, nothing silent."""

from __future__ import annotations

import inspect
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.numpy_functions import FUNCTIONS, QUESTIONS, REFUSED
from tinygrad_cnn.numpy_protocol import _UFUNCS

A = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 4))
MATRIX = A[0].T
OLD = np.lib.NumpyVersion(np.__version__) < "2.1.0"
LIMITS = np.linspace(1.0, 1.4, 12).reshape(3, 4)

#: A call of every function that is covered, on an array or a tensor of shape (2, 3, 4).
CALLS = {
    np.sum: [{}, {"axis": 1}, {"axis": (0, -1), "keepdims": True}, {"axis": ()}],
    np.mean: [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": ()}],
    np.var: [{}, {"axis": 1, "ddof": 1}, {"axis": (0, 2), "correction": 1, "keepdims": True}, {"axis": ()}],
    np.std: [{}, {"axis": 1}, {"axis": -1, "ddof": 1, "keepdims": True}],
    np.max: [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": ()}],
    np.min: [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}],
    np.amax: [{"axis": 0}],
    np.amin: [{"axis": 0}],
    np.argmax: [{}, {"axis": 1}, {"axis": 1, "keepdims": True}],
    np.argmin: [{}, {"axis": 1}],
    np.any: [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": ()}],
    np.all: [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}],
    np.round: [{}, {"decimals": 1}],
    np.around: [{"decimals": 1}],
    np.ravel: [{}],
    np.transpose: [{}, {"axes": (1, 0, 2)}, {"axes": [-1, 0, 1]}],
    np.matrix_transpose: [{}],
    np.swapaxes: [{"axis1": 0, "axis2": -1}],
    np.moveaxis: [{"source": 0, "destination": -1}, {"source": (0, 1), "destination": (2, 0)}],
    np.expand_dims: [{"axis": 0}, {"axis": -1}, {"axis": (0, -1)}, {"axis": (1, 3)}],
    np.broadcast_to: [{"shape": (5, 2, 3, 4)}],
    np.flip: [{}, {"axis": 1}, {"axis": (0, 2)}],
    np.pad: [
        {"pad_width": 1},
        {"pad_width": (1, 2)},
        {"pad_width": ((0, 1), (2, 0), (0, 0)), "constant_values": 7.0},
        {"pad_width": 1, "mode": "reflect"},
        {"pad_width": ((0, 1), (2, 0), (0, 0)), "mode": "edge"},
        {"pad_width": ((1, 2), (0, 0), (3, 1)), "mode": "wrap"},
    ],
    np.prod: [{}, {"axis": 1}, {"axis": (0, -1), "keepdims": True}, {"axis": ()}, {"keepdims": True}],
    np.cumsum: [{}, {"axis": 1}],
    np.count_nonzero: [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": ()}],
    np.linalg.norm: [
        {},
        {"axis": 1},
        {"axis": (0, 2), "keepdims": True},
        {"ord": 3, "axis": 0},
        {"ord": np.inf, "axis": 1},
    ],
    np.sort: [{}, {"axis": 0}, {"axis": None}],
    np.argsort: [{}, {"axis": 0}, {"axis": None}],
    np.tile: [{"reps": 2}, {"reps": (2, 1)}, {"reps": (2, 1, 1, 2)}],
    np.roll: [{"shift": 5}, {"shift": 1, "axis": 1}, {"shift": (1, -1), "axis": (0, 2)}, {"shift": 1, "axis": (0, 1)}],
    np.tril: [{}, {"k": 1}],
    np.triu: [{}, {"k": -1}],
    np.clip: [{"a_min": 1, "a_max": 1.5}, {"a_min": None, "a_max": 1}, {"a_min": LIMITS, "a_max": None}],
    np.copy: [{}],
    np.zeros_like: [{}, {"dtype": np.float32}],
    np.ones_like: [{}],
}


def same(result: object, expected: np.ndarray) -> None:
    assert isinstance(result, tg.Tensor)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.data, expected, rtol=1e-12)


def cases() -> list[tuple[object, dict[str, object]]]:
    return [pytest.param(f, kwargs, id=f"{f.__name__} {kwargs}") for f, all in CALLS.items() for kwargs in all]


@pytest.mark.parametrize(("function", "kwargs"), cases())
def test_functions_mean_what_they_mean_in_numpy(function, kwargs):
    same(function(tg.Tensor(A), **kwargs), function(A, **kwargs))


@pytest.mark.parametrize(("function", "kwargs"), cases())
def test_results_are_recorded(function, kwargs):
    x = tg.Tensor(A, requires_grad=True)
    result = function(x, **kwargs)
    constant = (np.argmax, np.argmin, np.argsort, np.count_nonzero, np.zeros_like, np.ones_like, np.any, np.all)
    assert result.requires_grad == (function not in constant)
    if result.requires_grad:
        tangent = np.random.default_rng(1).standard_normal(A.shape)
        g = np.random.default_rng(2).standard_normal(result.shape)
        result.backward(g)
        step = 1e-6
        difference = (function(A + step * tangent, **kwargs) - function(A - step * tangent, **kwargs)) / (2 * step)
        np.testing.assert_allclose(np.sum(x.grad.data * tangent), np.sum(difference * g), rtol=1e-6, atol=1e-7)


def test_every_function_in_the_table_is_called_here():
    elsewhere = {np.reshape, np.squeeze, np.concatenate, np.stack, np.where, np.dot}
    elsewhere |= {np.outer, np.einsum, np.split, np.array_split}
    assert FUNCTIONS.keys() == CALLS.keys() | elsewhere


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_arguments_stand_where_they_stand_in_numpy(function):
    if function is np.reshape and OLD:
        pytest.skip("NumPy 2.0 says newshape")
    try:
        theirs = inspect.signature(function)
    except ValueError:
        pytest.skip("NumPy tells no signature")
    named = [p.name for p in theirs.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    ours = inspect.signature(FUNCTIONS[function]).parameters.values()
    assert [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD] == named


@pytest.mark.parametrize("ufunc", _UFUNCS, ids=lambda f: f.__name__)
@given(data=st.data())
def test_ufuncs_agree_with_numpy(ufunc, data):
    bits = ufunc in (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert)
    if ufunc is np.matmul:
        arrays = [A, MATRIX]
    elif bits:
        arrays = [data.draw(hnp.arrays(np.int64, (2, 3))) for _ in range(ufunc.nin)]
    else:
        shapes = hnp.mutually_broadcastable_shapes(num_shapes=ufunc.nin, max_dims=3, max_side=3)
        arrays = [
            data.draw(hnp.arrays(np.float64, shape, elements=st.floats(0.25, 4)))
            for shape in data.draw(shapes).input_shapes
        ]
    expected = ufunc(*arrays)
    same(ufunc(*map(tg.Tensor, arrays)), np.asarray(expected))
    if ufunc.nin == 2:
        same(ufunc(arrays[0], tg.Tensor(arrays[1])), np.asarray(expected))
        same(ufunc(tg.Tensor(arrays[0]), arrays[1]), np.asarray(expected))


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("operation", OPERATORS + COMPARISONS, ids=lambda f: f.__name__)
def test_an_array_on_the_left_asks_the_tensor(operation):
    array, other = A[0, :, :3], A[1, :, :3]
    x = tg.Tensor(other, requires_grad=True)
    result = operation(array, x)
    same(result, operation(array, other))
    assert result.requires_grad == (operation in OPERATORS)
    if operation is not operator.matmul:
        same(operation(np.float64(2), x), operation(np.float64(2), other))


def test_numpy_scalars_are_weak_and_float32_stays():
    x = tg.ones(2)
    for result in (np.float64(2) * x, x * np.float64(2), np.exp(x), np.mean(x), np.var(x), np.add(x, 2.0)):
        assert result.dtype == np.float32
    assert np.mean(tg.arange(4)).dtype == np.float32
    assert np.sum(x, dtype=np.float64).dtype == np.mean(x, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum])
def test_extremes_of_a_tensor_and_a_number(ufunc):
    x = tg.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    for number in (0.5, 1, True, np.float64(0.5)):
        same(ufunc(x, number), ufunc(x.data, number))
        same(ufunc(number, x), ufunc(number, x.data))
    assert ufunc(tg.tensor([1, 2]), 1.5).dtype == np.float32
    np.sum(ufunc(x, 0.5)).backward()
    assert x.grad.tolist() == ([0, 0.5, 1] if ufunc is np.maximum else [1, 0.5, 0])


def test_joining_tensors_and_arrays():
    x = tg.Tensor(A, requires_grad=True)
    same(np.concatenate([x, A], axis=1), np.concatenate([A, A], axis=1))
    same(np.concatenate((A, x), axis=None), np.concatenate((A, A), axis=None))
    same(np.stack([A, x], axis=-1), np.stack([A, A], axis=-1))
    assert np.stack([A, x], dtype=np.float32).dtype == np.float32
    np.concatenate([A, x]).sum().backward()
    assert np.array_equal(x.grad, np.ones_like(A))


def test_selecting_shaping_and_multiplying():
    x = tg.Tensor(A, requires_grad=True)
    same(np.where(A > 1, x, 0), np.where(A > 1, A, 0))
    same(np.where(x > 1, A, A), A)
    for shape in ((4, 6), -1, [6, -1]):
        same(np.reshape(x, shape), np.reshape(A, shape))
    same(np.squeeze(x[:1]), A[0])
    same(np.squeeze(x[:, :1], axis=1), A[:, 0])
    same(np.dot(MATRIX, tg.Tensor(MATRIX.T)), MATRIX @ MATRIX.T)
    same(np.dot(tg.Tensor(MATRIX[0]), MATRIX[1]), np.asarray(MATRIX[0] @ MATRIX[1]))
    same(np.dot(x, 2.0), 2 * A)
    same(np.outer(x[0], A[1]), np.outer(A[0], A[1]))
    same(np.einsum("ijk,kl->jl", x, MATRIX[:4]), np.einsum("ijk,kl->jl", A, MATRIX[:4]))
    cuts = [(np.split, 3, 1), (np.split, [1, 2], 2), (np.split, [3, 1, 9], -1)]
    for split, where, axis in [*cuts, (np.array_split, 3, 2), (np.array_split, 5, 0)]:
        for piece, expected in zip(split(x, where, axis), split(A, where, axis), strict=True):
            same(piece, expected)
    if not OLD:
        same(np.clip(x, min=1.0, max=1.5), np.clip(A, 1.0, 1.5))


def test_a_vjp_written_with_numpy_is_differentiable_too():
    @primitive
    def swish(x):
        return x / (1 + np.exp(-x))

    @swish.vjp("x")
    def _(g, x):
        s = 1 / (1 + np.exp(-x))
        return g * (s + x * s * (1 - s))

    x = tg.Tensor(A, requires_grad=True)
    (first,) = tg.grad(swish(x).sum(), x, create_graph=True)
    (second,) = tg.grad(first.sum(), x)
    s = 1 / (1 + np.exp(-A))
    np.testing.assert_allclose(second.data, s * (1 - s) * (2 + A * (1 - 2 * s)))


def test_questions_are_answered_plainly():
    x = tg.Tensor(A)
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((2, 3, 4), 3, 24, 3)
    assert np.allclose(x, A + 1e-12)
    assert np.array_equal(x, b := A.copy()) is True
    assert np.shares_memory(x, A)
    assert not np.may_share_memory(x, b)
    assert len(QUESTIONS) == 7


def test_asarray_leaves_the_graph():
    x = tg.Tensor(A, requires_grad=True)
    assert type(np.asarray(x)) is np.ndarray
    assert np.shares_memory(np.asarray(x), A)
    assert not np.shares_memory(np.array(x), A)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda x, a: np.sinh(x), "numpy.sinh is not supported"),
        (lambda x, a: np.logaddexp(a, x), "numpy.logaddexp is not supported"),
        (lambda x, a: np.cumprod(x), "numpy.cumprod is not supported"),
        (lambda x, a: np.linalg.inv(x), "numpy.linalg.inv is not supported"),
        (lambda x, a: np.kron(x, a), "numpy.kron is not supported"),
        (lambda x, a: np.add.reduce(x), "numpy.add.reduce is not supported"),
        (lambda x, a: np.multiply.outer(x, a), "numpy.multiply.outer is not supported"),
        (lambda x, a: np.add.at(a, 0, x), "numpy.add.at is not supported"),
        (lambda x, a: np.exp(x, out=a), "numpy.exp: argument 'out' is not supported"),
        (lambda x, a: np.add(a, a, out=x), "numpy.add: argument 'out' is not supported"),
        (lambda x, a: np.exp(x, where=a > 0), "numpy.exp: argument 'where' is not supported"),
        (lambda x, a: np.exp(x, dtype=np.float32), "numpy.exp: argument 'dtype' is not supported"),
        (lambda x, a: np.sum(x, out=a), "numpy.sum: argument 'out' is not supported"),
        (lambda x, a: np.sum(x, None, None, a), "numpy.sum: argument 'out' is not supported"),
        (lambda x, a: np.sum(x, where=a > 0), "numpy.sum: argument 'where' is not supported"),
        (lambda x, a: np.max(x, initial=0), "numpy.max: argument 'initial' is not supported"),
        (lambda x, a: np.var(x, mean=a), "numpy.var: argument 'mean' is not supported"),
        (lambda x, a: np.concatenate([x, a], out=a), "numpy.concatenate: argument 'out' is not supported"),
        (lambda x, a: np.where(x > 0), "numpy.where: missing"),
        (lambda x, a: np.reshape(x, 6, order="F"), "numpy.reshape: argument 'order' expects 'C'"),
        (lambda x, a: np.pad(x, 1, mode="linear_ramp"), "numpy.pad: argument 'mode' expects one of"),
        (lambda x, a: np.pad(x, 1, mode="mean", stat_length=2), "numpy.pad: argument 'stat_length' is not supported"),
        (lambda x, a: np.pad(x, 1, constant_values=(1, 2)), "numpy.pad: argument 'constant_values'"),
        (lambda x, a: np.concatenate([x, [[1.0, 2.0]]]), "concatenate: item 1 expects .* but got list"),
        (lambda x, a: np.add(x, [1.0, 2.0]), "add: expected tensors, arrays or numbers but got list"),
        (lambda x, a: operator.iadd(a, x), "numpy.add: argument 'out' is not supported"),
        (lambda x, a: operator.imatmul(a, x.T), "numpy.matmul: argument 'out' is not supported"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(call, names):
    a = np.ones((2, 3))
    with pytest.raises(TypeError, match=names.replace("[", r"\[")):
        call(tg.Tensor(2 * a, requires_grad=True), a)
    assert np.array_equal(a, np.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: np.squeeze(x, axis=0), ValueError),
        (lambda x: np.broadcast_to(x, (2, -1)), ValueError),
        (lambda x: np.moveaxis(x, (0, 0), (0, 1)), ValueError),
        (lambda x: np.pad(x, -1), ValueError),
        (lambda x: np.clip(x, None, None), ValueError),
        (lambda x: np.sum(x, axis=5), IndexError),
        (lambda x: np.dot(x, tg.ones(2, 2, 2)), ValueError),
    ],
)
def test_wrong_values_are_errors_as_in_numpy(call, error):
    with pytest.raises(error):
        call(tg.ones(2, 3))


def test_a_refused_argument_may_be_given_as_none():
    same(np.sum(tg.Tensor(A), axis=0, out=None), A.sum(0))
    assert REFUSED is not None
