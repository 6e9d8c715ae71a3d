from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_cnn import random, stack
from tinygrad_cnn.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    datasets,
    default_collate,
    random_split,
    transforms,
)
from tinygrad_cnn.data.batching import batch_method
from tinygrad_cnn.tensor import Tensor


class Squares(Dataset):
    """A user's data set: sample by sample."""

    def __init__(self, size):
        self.size = size
        self.asked = []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.asked.append(index)
        return np.float32(index), index * index


def numbers(loader) -> list[int]:
    return [int(x) for batch in loader for x in batch[0].data]


SIZES = st.integers(0, 30)
BATCHES = st.integers(1, 12)


@given(SIZES, BATCHES, st.booleans(), st.booleans())
def test_an_epoch_delivers_every_sample_once(size, batch_size, shuffle, by_index):
    dataset = TensorDataset(np.arange(size)) if by_index else Squares(size)
    loader = DataLoader(dataset, batch_size, shuffle)
    assert sorted(numbers(loader)) == list(range(size))
    lengths = [len(batch[0]) for batch in loader]
    assert len(lengths) == len(loader) == -(-size // batch_size)
    assert all(length == batch_size for length in lengths[:-1])


@given(SIZES, BATCHES)
def test_drop_last_keeps_full_batches_only(size, batch_size):
    loader = DataLoader(TensorDataset(np.arange(size)), batch_size, drop_last=True)
    assert [len(batch[0]) for batch in loader] == [batch_size] * (size // batch_size)
    assert len(loader) == size // batch_size


@given(st.integers(0, 1000))
def test_the_seed_fixes_the_order_of_every_epoch(seed):
    loader = DataLoader(TensorDataset(np.arange(20)), 3, shuffle=True)
    random.manual_seed(seed)
    first, second = numbers(loader), numbers(loader)
    random.manual_seed(seed)
    assert (numbers(loader), numbers(loader)) == (first, second)
    assert first != second


def test_a_generator_of_its_own_leaves_the_librarys_alone():
    dataset = TensorDataset(np.arange(50))
    state = random.get_state()
    orders = [numbers(DataLoader(dataset, 5, True, generator=np.random.default_rng(7))) for _ in range(2)]
    assert orders[0] == orders[1]
    assert random.get_state() == state


def test_the_order_is_drawn_when_the_epoch_begins():
    random.manual_seed(0)
    epoch = iter(DataLoader(TensorDataset(np.arange(20)), 20, shuffle=True))
    random.manual_seed(1)
    [late] = [batch[0].data.tolist() for batch in epoch]
    random.manual_seed(0)
    assert late == numbers(DataLoader(TensorDataset(np.arange(20)), 20, shuffle=True))


def test_two_epochs_may_run_at_once():
    loader = DataLoader(TensorDataset(np.arange(4)), 2)
    pairs = [(a[0].data.tolist(), b[0].data.tolist()) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [([0, 1], [0, 1]), ([2, 3], [2, 3])]


def test_users_data_sets_get_python_ints():
    dataset = Squares(5)
    assert [batch[1].data.tolist() for batch in DataLoader(dataset, 2)] == [[0, 1], [4, 9], [16]]
    assert dataset.asked == [0, 1, 2, 3, 4]
    assert all(type(index) is int for index in dataset.asked)


def test_lists_and_ranges_are_data_sets_too():
    assert [batch.data.tolist() for batch in DataLoader(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(DataLoader(["a", "b", "c"], 2)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("collate_fn", [None, list])
def test_an_epoch_does_not_end_early_without_a_word(workers, collate_fn):
    class Exhausted(Squares):
        rows = iter(range(3))

        def __getitem__(self, index):
            return next(self.rows)

    loader = DataLoader(Exhausted(6), 2, num_workers=workers, collate_fn=collate_fn)
    with pytest.raises(RuntimeError, match="DataLoader: batch 1 raised StopIteration"):
        list(loader)


def test_collate_fn_gets_the_samples():
    loader = DataLoader(TensorDataset(np.arange(3)), 2, collate_fn=lambda samples: len(samples))
    assert list(loader) == [2, 1]


def test_the_batch_size_stays():
    loader = DataLoader(range(10), 3)
    with pytest.raises(AttributeError, match="batch_size"):
        loader.batch_size = 2
    assert [len(batch) for batch in loader] == [3, 3, 3, 1]


def test_what_pytorch_scripts_pass_is_accepted():
    loader = DataLoader(range(4), batch_size=2, shuffle=True, num_workers=4, pin_memory=True, persistent_workers=True)
    assert len(list(loader)) == 2
    assert loader.dataset == range(4)
    assert loader.batch_size == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size expects at least 1 but got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size expects an int"),
        ({"batch_size": None}, TypeError, "batch_size expects an int"),
        ({"num_workers": -1}, ValueError, "num_workers expects at least 0"),
        ({"collate_fn": 3}, TypeError, "collate_fn expects a callable"),
        ({"generator": 3}, TypeError, "generator expects a numpy.random.Generator"),
        ({"dataset": iter([1])}, TypeError, "dataset expects a length and an index"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"DataLoader: {message}"):
        DataLoader(**{"dataset": range(3), **arguments})


# --- data sets


def images(count=7, transform=None, target_transform=None):
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (count, 4, 5)).astype(np.uint8)
    return datasets.ImageDataset(pictures, generator.integers(0, 10, count), True, transform, target_transform)


TRANSFORMS = [
    None,
    transforms.ToTensor(),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]),
    transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda x: Tensor(x.data * 2))]),
    lambda picture: picture[::-1],
]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("target_transform", [None, lambda label: label + 1, transforms.Lambda(float)])
def test_a_batch_is_its_samples_collated(transform, target_transform):
    dataset = images(7, transform, target_transform)
    for part in (dataset, Subset(dataset, [6, 0, 3, 3])):
        [batch] = DataLoader(part, 10)
        expected = default_collate([part[i] for i in range(len(part))])
        for got, want in zip(batch, expected, strict=True):
            assert isinstance(got, Tensor)
            assert got.dtype == want.dtype
            assert np.array_equal(got.data, want.data)
            assert got.shape == want.shape


def test_library_data_sets_never_loop_over_samples(monkeypatch):
    def refuse(self, index):
        raise AssertionError("asked for one sample")

    dataset = images(7, TRANSFORMS[2])
    monkeypatch.setattr(datasets.ImageDataset, "__getitem__", refuse)
    monkeypatch.setattr(Subset, "__getitem__", refuse)
    parts = random_split(dataset, [4, 3])
    assert [len(batch[1]) for part in parts for batch in DataLoader(part, 3)] == [3, 1, 3]


def test_data_sets_without_a_class_of_ours_need_no_batches():
    assert batch_method(3, "__getitem__", "fetch_batch") is None


class Brighter(datasets.ImageDataset):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image // 2 + 128, label


def test_a_subclass_that_overrides_samples_is_obeyed():
    dataset = Brighter(np.zeros((3, 2, 2), np.uint8), np.arange(3), True, None, None)
    for part in (dataset, Subset(dataset, [0, 1])):
        assert all(batch[0].data.min() == 128 for batch in DataLoader(part, 2))


def test_a_batch_shares_no_memory_with_the_data():
    dataset = images()
    [batch] = DataLoader(dataset, 7)
    batch[0].data[...] = 0
    assert dataset.data.data.any()


def test_the_base_class_asks_for_its_methods():
    with pytest.raises(NotImplementedError, match="Dataset does not define __len__"):
        len(Dataset())
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]


def test_tensor_data_sets_are_rows():
    dataset = TensorDataset(Tensor(np.arange(6.0).reshape(3, 2)), np.arange(3))
    assert len(dataset) == 3
    assert dataset[1][0].data.tolist() == [2, 3]
    assert dataset[2][1].item() == 2
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()
    with pytest.raises(ValueError, match="one length"):
        TensorDataset(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="one length"):
        TensorDataset(np.array(3))
    with pytest.raises(TypeError, match="got list"):
        TensorDataset([1, 2])


def test_subsets_check_their_indices():
    assert [Subset("abcd", [3, -4])[i] for i in range(2)] == ["d", "a"]
    assert len(Subset("abcd", [])) == 0
    assert list(DataLoader(Subset(images(), []))) == []
    with pytest.raises(IndexError, match="positions in a dataset of 4 but got 4"):
        Subset("abcd", [0, 4])
    with pytest.raises(TypeError, match="integers but got dtype bool"):
        Subset("abcd", [True, False])
    with pytest.raises(TypeError, match="integers but got dtype float64"):
        Subset("abcd", [1.0])
    with pytest.raises(ValueError, match="one dimension"):
        Subset("abcd", [[1]])


@pytest.mark.parametrize("index", [[2, 0], slice(0, 2), np.array([1, 1])])
def test_several_samples_of_a_subset_are_those_of_its_data_set(index):
    subset = Subset(TensorDataset(np.arange(10.0)), [7, -1, 3])
    assert subset[index][0].tolist() == np.array([7.0, 9.0, 3.0])[index].tolist()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 99))
def test_a_split_is_a_partition(lengths, seed):
    random.manual_seed(seed)
    parts = random_split(range(sum(lengths)), lengths)
    assert [len(part) for part in parts] == lengths
    assert sorted(part[i] for part in parts for i in range(len(part))) == list(range(sum(lengths)))
    random.manual_seed(seed)
    again = random_split(range(sum(lengths)), lengths)
    assert all(np.array_equal(a.indices, b.indices) for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize(
    ("size", "fractions", "counts"),
    [(10, [0.75, 0.25], [8, 2]), (100, [1 / 3] * 3, [34, 33, 33]), (3, [0.5, 0.5], [2, 1]), (5, [1.0], [5])],
)
def test_fractions_are_rounded_as_in_pytorch(size, fractions, counts):
    assert [len(part) for part in random_split(range(size), fractions)] == counts


@pytest.mark.parametrize(
    ("lengths", "error"),
    [
        ([1, 1], ValueError),
        ([4, -1], ValueError),
        ([0.5, 0.6], ValueError),
        ([float("nan"), 1.0], ValueError),
        ([], ValueError),
        (["1", 2], TypeError),
        ([True, 2], TypeError),
        (3, TypeError),
    ],
)
def test_bad_splits(lengths, error):
    with pytest.raises(error, match="random_split: lengths expects"):
        random_split(range(3), lengths)


# --- collation

Point = namedtuple("Point", "x y")


def test_numbers_become_tensors():
    for samples, dtype in (([1, 2], np.int64), ([1.0, 2.0], np.float64), ([True, False], np.bool_)):
        batch = default_collate(samples)
        assert isinstance(batch, Tensor)
        assert batch.dtype == dtype
        assert batch.data.tolist() == samples
    assert default_collate([np.float32(1), np.float32(2)]).dtype == np.float32


@pytest.mark.parametrize("wrap", [np.asarray, Tensor])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_])
def test_arrays_and_tensors_are_stacked(wrap, dtype):
    batch = default_collate([wrap(np.zeros((2, 3), dtype)), wrap(np.ones((2, 3), dtype))])
    assert isinstance(batch, Tensor)
    assert batch.shape == (2, 2, 3)
    assert batch.dtype == dtype


DTYPES = st.sampled_from(["bool", "uint8", "int64", "float16", "float32", "float64"])


@given(st.lists(DTYPES, min_size=1, max_size=3))
def test_arrays_of_several_dtypes_are_stacked_as_stack_does(dtypes):
    samples = [np.ones(2, dtype) for dtype in dtypes]
    assert default_collate(samples).dtype == stack(samples).dtype


@pytest.mark.parametrize("names", [["a", "b"], [b"a", b"b"]])
def test_strings_stay_a_list(names):
    assert default_collate(names) == names
    assert default_collate(list(np.array(names))) == names


def test_structures_are_kept():
    samples = [{"x": (1, np.zeros(2)), "name": "a", "p": Point(1, 2.0)} for _ in range(3)]
    batch = default_collate(samples)
    assert batch["name"] == ["a"] * 3
    assert batch["x"][1].shape == (3, 2)
    assert isinstance(batch["p"], Point)
    assert batch["p"].y.dtype == np.float64


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([], ValueError, "at least one sample"),
        ([None], TypeError, "got NoneType; give the DataLoader a collate_fn"),
        ([{1}], TypeError, "got set"),
        ([np.array([None])], TypeError, "dtype object"),
        ([np.zeros(2), 3], TypeError, "got a int too"),
        ([3, "x"], TypeError, "got a str too"),
        ([3, -(2**70)], ValueError, "ints of 64 bits but got -1180591620717411303424"),
        ([np.zeros(2), np.zeros(3)], ValueError, r"one shape but got \(2,\), \(3,\)"),
        ([(1, 2), (1,)], ValueError, "one length but got 2 and 1"),
        ([(1, 2), 3], TypeError, "tuple and int"),
        ([{"a": 1}, {"b": 1}], ValueError, "one keys"),
        ([{"a": 1}, 3], TypeError, "dict and int"),
        ([Tensor(np.zeros(2), requires_grad=True)], ValueError, "requires a gradient"),
    ],
)
def test_samples_that_are_not_alike(samples, error, message):
    with pytest.raises(error, match=f"default_collate: samples expects.*{message}"):
        default_collate(samples)


def test_data_is_where_pytorch_has_it():
    from tinygrad_cnn.utils.data import DataLoader as TheSame

    assert TheSame is DataLoader
