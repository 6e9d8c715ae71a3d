"""A tensor's own surface: how it is made, what it shows, conversions, operators."""

from __future__ import annotations

import array
import copy
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cnn as tg
from tinygrad_cnn.testing import tensors


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


# ------------------------------------------------------------------------------- making tensors


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.5, 2], np.float32),
        ([[1, 2], [3, 4]], np.int64),
        (3, np.int64),
        (True, np.bool_),
        ([], np.float32),
        (np.ones(2), np.float64),
        (np.ones(2, np.float32), np.float32),
        (np.float64(1), np.float64),
        ([np.float64(1)], np.float64),
        ([tg.tensor(1.5), 2.5], np.float32),
        ([[tg.tensor(1.5), tg.tensor(2)]], np.float32),
        ([np.float32(1.5), np.ones((), np.float64)], np.float64),
        (array.array("d", [1.5]), np.float64),
        (np.arange(3), np.int64),
        (np.arange(3, dtype=np.uint8), np.uint8),
    ],
)
def test_python_numbers_become_float32_and_arrays_keep_their_dtype(data, dtype):
    for make in (tg.tensor, tg.Tensor):
        assert make(data).dtype == dtype
        np.testing.assert_array_equal(make(data).data, data)


def test_tensor_copies_and_Tensor_does_not():
    array = np.ones(2)
    assert tg.Tensor(array).data is array
    assert tg.from_numpy(array).data.base is array or tg.from_numpy(array).data is array
    x = tg.tensor(array)
    assert not np.shares_memory(x.data, array)
    assert not np.shares_memory(tg.tensor(x).data, x.data)
    assert not tg.tensor(leaf(1)).requires_grad


def test_big_endian_arrays_come_in_native_order():
    assert tg.tensor(np.ones(2, ">f4")).dtype.isnative
    assert tg.Tensor(np.ones(2, ">f4")).dtype == np.float32


@pytest.mark.parametrize("bad", ["text", [["a"]], None, np.ones(2, complex), np.array([object()]), {}])
def test_what_is_not_numbers_is_refused(bad):
    with pytest.raises(TypeError, match="dtype: expected bool, uint8"):
        tg.tensor(bad)


@pytest.mark.parametrize(
    ("data", "dtype"), [(300, tg.uint8), ([-1, 3], tg.uint8), ([1e10], tg.int32), ([0, math.nan], tg.int64)]
)
def test_numbers_that_an_integer_dtype_cannot_hold_are_refused(data, dtype):
    with pytest.raises(ValueError, match=f"tensor: data expects numbers that fit into {np.dtype(dtype)} but holds"):
        tg.tensor(data, dtype=dtype)
    assert tg.tensor([], dtype=dtype).dtype == dtype
    assert tg.tensor([True, 1.9], dtype=dtype).tolist() == [1, 1]


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="tensor: data expects rows of equal length"):
        tg.tensor([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("dtype", [tg.int64, tg.uint8, tg.bool])
def test_just_floating_tensors_may_require_gradients(dtype):
    with pytest.raises(TypeError, match="just floating tensors can require a gradient"):
        tg.tensor([1, 0], dtype=dtype, requires_grad=True)
    with pytest.raises(TypeError, match="just floating tensors"):
        tg.zeros(2, dtype=dtype).requires_grad_()
    with pytest.raises(TypeError, match="just floating tensors"):
        tg.Tensor(np.zeros(2, dtype), requires_grad=True)


@pytest.mark.parametrize("size", [(3, 4), (3, 0), ([3.0], "yes")])
def test_a_tensor_is_made_of_data_and_not_of_sizes(size):
    with pytest.raises(TypeError, match=r"^Tensor: requires_grad expects a bool but got .* empty\(\*size\)"):
        tg.Tensor(*size)
    assert tg.Tensor([3.0], np.True_).requires_grad
    assert not tg.Tensor([3.0], np.False_).requires_grad


# ---------------------------------------------------------------------------------- conversions


def test_a_tensor_says_what_it_is():
    x = tg.zeros(2, 3)
    assert (x.shape, x.size(), x.size(-1), x.ndim, x.dim(), x.numel(), len(x)) == ((2, 3), (2, 3), 3, 2, 2, 6, 2)
    assert x.dtype == tg.float32
    assert x.is_floating_point()
    assert not x.long().is_floating_point()
    assert str(x.device) == "cpu"
    assert x.is_leaf
    assert x.grad_fn is None
    assert x.grad is None
    assert x.is_contiguous()
    assert not x.T.is_contiguous()
    assert x.T.contiguous().is_contiguous()
    assert x.contiguous() is x


def test_numbers_come_out():
    x = tg.tensor(2.5)
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert type(x.item()) is float
    assert type(tg.tensor(3).item()) is int
    assert f"{x:.2f}" == "2.50"
    assert [10, 20, 30][tg.tensor(1)] == 20
    assert range(5)[tg.tensor(2) :] == range(2, 5)
    assert tg.tensor([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    assert bool(tg.tensor([[0]])) is False


def test_what_a_tensor_cannot_hold_is_not_looked_for():
    x = leaf(1, 2)
    assert 1 in x
    assert x[1] in x
    assert 3 not in x
    for element in ("a", None, [1]):
        with pytest.raises(TypeError, match=f"in: expected a number or a tensor .* got {type(element).__name__}"):
            operator.contains(x, element)
    with pytest.raises(IndexError, match=r"size: dim expects one of 1 dimension\(s\) but is 1"):
        x.size(1)


@pytest.mark.parametrize("convert", [lambda x: x.item(), float, int, bool])
def test_several_elements_are_no_number(convert):
    with pytest.raises((ValueError, TypeError), match=r"shape \(2,\)"):
        convert(tg.ones(2))


def test_a_format_is_for_one_number():
    assert f"{tg.tensor([2.5])}" == "tensor([2.5])"
    with pytest.raises(TypeError, match=r"^format: expected a 0-d tensor for the format '.2f' but got shape \(2,\)"):
        f"{tg.ones(2):.2f}"


def test_a_fraction_is_no_index():
    with pytest.raises(TypeError, match="index: expected an integer tensor of one element"):
        operator.index(tg.tensor(1.0))


def test_iteration_goes_over_the_first_dimension_and_is_recorded():
    x = leaf(1, 2)
    a, b = x
    (a * b).backward()
    assert x.grad.tolist() == [2, 1]
    for call in (len, iter):
        with pytest.raises(TypeError, match="a 0-d tensor"):
            call(tg.tensor(1.0))
    assert 2 in leaf(1, 2)
    assert 3 not in leaf(1, 2)


def test_arrays_share_memory_with_their_tensor():
    x = tg.zeros(2)
    x.numpy()[0] = 5
    assert x.tolist() == [5, 0]
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(RuntimeError, match=r"use \.detach\(\)\.numpy\(\)"):
        leaf(1).numpy()


def test_tensors_are_hashable_by_identity_and_compare_elementwise():
    x, y = tg.ones(2), tg.ones(2)
    assert {x: 1, y: 2}[x] == 1
    assert (x == y).tolist() == [True, True]
    assert (x != 1).tolist() == [False, False]
    assert (x == "text") is False
    assert (x is not None) is True


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("float", tg.float32), ("double", tg.float64), ("long", tg.int64), ("int", tg.int32), ("bool", tg.bool)],
)
def test_conversions_between_dtypes(method, dtype):
    x = tg.tensor([0.0, 1.7, -1.7], dtype=tg.float64)
    y = getattr(x, method)()
    assert y.dtype == dtype
    assert getattr(y, method)() is y
    assert x.to(dtype).tolist() == y.tolist()
    assert x.to(y).dtype == dtype


def test_the_usual_lines_about_accelerators_run():
    for kind in (tg.cuda, tg.backends.mps, tg.accelerator):
        assert not kind.is_available()
        assert kind.device_count() == 0
    tg.cuda.manual_seed(0)
    tg.cuda.manual_seed_all(0)
    tg.backends.cudnn.benchmark = False
    tg.backends.cudnn.deterministic = True


def test_to_knows_dtypes_devices_and_tensors():
    x = leaf(1, 2)
    assert x.to("cpu") is x
    assert x.to(tg.device("cpu")) is x
    assert x.cpu() is x
    assert x.to(tg.float64) is x
    assert x.to("cpu", tg.float32).dtype == tg.float32
    assert x.to(dtype=tg.float32).dtype == tg.float32
    assert x.to("cpu", copy=True) is not x
    with pytest.raises(ValueError, match="cuda"):
        x.to("cuda")
    with pytest.raises(TypeError, match="unexpected argument 'speed'"):
        x.to("cpu", speed=1)
    x.to(tg.float32).sum().backward()
    assert x.grad.dtype == np.float64


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tg.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (lambda: tg.tensor([1, 2]), "tensor([1, 2])"),
        (lambda: tg.tensor([True]), "tensor([ True])"),
        (lambda: tg.tensor(3.0), "tensor(3.)"),
        (lambda: tg.tensor([1.0], dtype=tg.float64), "tensor([1.], dtype=float64)"),
        (lambda: tg.tensor([1], dtype=tg.uint8), "tensor([1], dtype=uint8)"),
        (lambda: tg.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
        (lambda: tg.ones(2, requires_grad=True) * 2, "tensor([2., 2.], grad_fn=<mul>)"),
        (lambda: tg.zeros(0, 2), "tensor([], shape=(0, 2))"),
        (lambda: tg.zeros(0, dtype=tg.int64), "tensor([], shape=(0,), dtype=int64)"),
    ],
)
def test_a_repr_shows_values_dtype_and_what_made_it(make, text):
    assert repr(make()) == text


def test_large_tensors_are_abbreviated():
    assert len(repr(tg.zeros(100, 100))) < 500


# -------------------------------------------------------------------------------------- copies


def test_deepcopy_copies_leaves_with_their_gradients():
    x = leaf(1, 2)
    (x * x).sum().backward()
    model = {"weights": [x, x]}
    twin = copy.deepcopy(model)["weights"]
    assert twin[0] is twin[1] is not x
    assert twin[0].requires_grad
    assert twin[0].tolist() == [1, 2]
    assert twin[0].grad.tolist() == [2, 4]
    assert not np.shares_memory(twin[0].data, x.data)
    assert not np.shares_memory(twin[0].grad.data, x.grad.data)
    with pytest.raises(RuntimeError, match="deepcopy: just leaves"):
        copy.deepcopy(x * 2)


def test_nothing_is_pickled():
    with pytest.raises(TypeError, match=r"tinygrad_cnn\.save"):
        pickle.dumps(tg.ones(1))


def test_clone_is_recorded_and_detach_is_not():
    x = leaf(1, 2)
    y = x.clone()
    assert y.requires_grad
    assert not np.shares_memory(x.data, y.data)
    z = x.detach()
    assert not z.requires_grad
    assert z.data is x.data


# ------------------------------------------------------------------------------- its gradient


def test_grad_can_be_set_to_what_fits():
    x = leaf(1, 2)
    x.grad = tg.ones(2, dtype=tg.float64)
    x.sum().backward()
    assert x.grad.tolist() == [2, 2]
    x.grad = None
    assert x.grad is None
    with pytest.raises(TypeError, match="grad: expected a tensor or None but got ndarray"):
        x.grad = np.ones(2)
    for misfit in (tg.ones(3, dtype=tg.float64), tg.ones(2)):
        with pytest.raises(ValueError, match=r"grad: expected shape \(2,\) and dtype float64"):
            x.grad = misfit


def test_requires_grad_can_be_switched_on_leaves():
    x = tg.ones(2)
    assert x.requires_grad_() is x
    assert x.requires_grad
    y = x * 2
    assert not x.requires_grad_(False).requires_grad
    with pytest.raises(RuntimeError, match="a tensor that an operation made cannot change"):
        y.requires_grad = False


# ------------------------------------------------------------------------- operators and methods


OPERATORS = {
    operator.add: tg.add,
    operator.sub: tg.sub,
    operator.mul: tg.mul,
    operator.truediv: tg.div,
    operator.pow: tg.pow,
    operator.matmul: tg.matmul,
    operator.eq: tg.eq,
    operator.ne: tg.ne,
    operator.lt: tg.lt,
    operator.le: tg.le,
    operator.gt: tg.gt,
    operator.ge: tg.ge,
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_are_the_functions_of_that_name(symbol):
    a, b = leaf(1, 2), leaf(3, 2)
    expected = OPERATORS[symbol](a, b).tolist()
    assert symbol(a, b).tolist() == expected
    for other in (b.data, b.tolist()[0]):
        if symbol is operator.matmul and not isinstance(other, np.ndarray):
            continue
        for result, value in ((symbol(a, other), symbol(a.data, other)), (symbol(other, a), symbol(other, a.data))):
            assert isinstance(result, tg.Tensor)
            assert result.requires_grad == (result.dtype.kind == "f")
            np.testing.assert_allclose(result.data, value)


def test_unary_operators():
    x = leaf(-1, 2)
    assert (-x).tolist() == [1, -2]
    assert (+x) is x
    assert abs(x).tolist() == [1, 2]
    flags = tg.tensor([True, False])
    assert (~flags).tolist() == [False, True]
    assert (flags & True).tolist() == [True, False]
    assert (flags | flags).tolist() == [True, False]
    assert (flags ^ True).tolist() == [False, True]
    assert (True & flags).tolist() == [True, False]
    assert (5 | tg.tensor([1, 2])).tolist() == [5, 7]
    assert (True ^ flags).tolist() == [False, True]


def test_where_as_a_method_selects_its_own_elements():
    assert leaf(1, 2).where(tg.tensor([True, False]), 0.0).tolist() == [1, 0]


def test_shorthands():
    x = tg.arange(6).reshape(2, 3)
    assert x.T.tolist() == x.mT.tolist() == x.t().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert x.view_as(tg.zeros(3, 2)).shape == (3, 2)
    assert tg.zeros(1, 3).expand_as(x).shape == (2, 3)
    assert tg.tensor(1.0).T.shape == tg.tensor(1.0).t().shape == ()
    with pytest.raises(ValueError, match="mT: expected at least 2 dimensions"):
        tg.zeros(2).mT  # noqa: B018
    with pytest.raises(ValueError, match="t: expected at most 2 dimensions"):
        tg.zeros(1, 1, 1).t()


# --------------------------------------------------------------------------- the NumPy neighbours


@given(tensors(dtype=np.float32, requires_grad=False), st.sampled_from([operator.add, operator.mul, operator.sub]))
def test_arrays_and_tensors_mix_on_either_side(x, symbol):
    for result in (symbol(x, x.data), symbol(x.data, x)):
        assert isinstance(result, tg.Tensor)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result.data, symbol(x.data, x.data))


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=0), elements=st.floats(-5, 5)))
def test_what_goes_in_comes_out(array):
    x = tg.tensor(array)
    np.testing.assert_array_equal(np.asarray(x), array)
    assert x.tolist() == array.tolist()
    assert tg.tensor(x.tolist(), dtype=x.dtype).shape == x.shape or 0 in x.shape
