"""DLPack with NumPy: one memory, two owners. (tests/reference does the same with PyTorch.)"""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.autograd import no_grad
from tinygrad_cnn.creation import from_dlpack, ones
from tinygrad_cnn.tensor import Tensor

DTYPES = st.sampled_from(["?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]).map(np.dtype)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
VIEWS = st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[..., ::2] if a.ndim else a, lambda a: a[None]])


@given(ARRAYS, VIEWS)
def test_there_and_back_is_the_same_memory(array, view):
    array = view(array)
    there = np.from_dlpack(Tensor(array))
    back = from_dlpack(there)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.data.tobytes() == array.tobytes()
    assert np.may_share_memory(back.data, array) or not array.size


def test_what_runs_backwards_is_taken_but_not_given():
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]
    x = from_dlpack(array)
    assert np.shares_memory(x.data, array)
    with pytest.raises(BufferError, match=r"runs backwards through memory.*contiguous"):
        x.__dlpack__()
    for taken in (np.from_dlpack(x.contiguous()), from_dlpack(x[:, :1]).data, from_dlpack(x[:0]).data):
        np.testing.assert_array_equal(taken, array[: len(taken), : taken.shape[1]])
    assert x.__dlpack__(copy=True)


def test_a_tensor_can_be_taken_from_a_tensor():
    x = ones(3)
    y = from_dlpack(x)
    with no_grad():
        y.zero_()
    assert x.tolist() == [0, 0, 0]
    assert not y.requires_grad


def test_it_is_on_the_cpu():
    x = ones(2)
    assert x.__dlpack_device__() == (1, 0)
    assert "dltensor" in repr(x.__dlpack__(dl_device=(1, 0), stream=None, copy=False))
    assert "dltensor_versioned" in repr(x.__dlpack__(max_version=(1, 0)))
    for version in (None, (0, 8)):
        assert "versioned" not in repr(x.__dlpack__(max_version=version))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"stream": 1}, ValueError, "stream expects None, as there are none on a CPU, but got 1"),
        ({"dl_device": (2, 0)}, BufferError, r"dl_device expects the CPU, \(1, 0\), but got \(2, 0\)"),
    ],
)
def test_what_a_cpu_does_not_have(arguments, error, message):
    with pytest.raises(error, match=message):
        ones(2).__dlpack__(**arguments)


def test_a_tensor_that_requires_a_gradient_refuses():
    x = ones(2, requires_grad=True)
    for tensor in (x, x * 2):
        for take in (np.from_dlpack, from_dlpack):
            with pytest.raises(BufferError, match=r"requires a gradient.*detach"):
                take(tensor)
        assert np.may_share_memory(np.from_dlpack(tensor.detach()), tensor.data)


def test_read_only_memory_stays_read_only():
    array = np.ones(3)
    array.flags.writeable = False
    tensor = from_dlpack(array)
    assert np.may_share_memory(tensor.data, array)
    with no_grad(), pytest.raises(ValueError, match="read-only"):
        tensor.zero_()
    assert not np.from_dlpack(tensor).flags.writeable
    with pytest.raises(BufferError, match=r"read-only.*clone"):
        tensor.__dlpack__()
    assert "dltensor" in repr(tensor.__dlpack__(copy=True))
    assert from_dlpack(array, copy=True).data.flags.writeable


def test_a_copy_is_one():
    array = np.zeros(3)
    tensor = from_dlpack(array, copy=True, device="cpu")
    array[0] = 1
    assert tensor.tolist() == [0, 0, 0]


def test_memory_lives_as_long_as_someone_looks_at_it():
    array = np.full(1000, 7.0)
    gone = weakref.ref(array)
    tensor = from_dlpack(array)
    del array
    assert tensor.data.sum() == 7000
    del tensor
    gc.collect()
    assert gone() is None


class Elsewhere:
    def __dlpack__(self, **options):
        raise AssertionError("never asked")

    def __dlpack_device__(self):
        return 2, 1


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([1, 2], TypeError, "expects __dlpack__ but list lacks it"),
        (Elsewhere(), BufferError, r"memory of the CPU but got device \(2, 1\)"),
        (np.ones(2, complex), BufferError, "a dtype that tensors have but has complex128"),
        (np.ones(2, ">f4"), BufferError, "from_dlpack: |byte order"),
        (np.array(["a"]), BufferError, "from_dlpack: |DLPack only supports"),
    ],
)
def test_what_can_not_be_shared(source, error, message):
    with pytest.raises(error, match=message):
        from_dlpack(source)
