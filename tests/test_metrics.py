"""Metrics are what their definitions say, class by class and one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import tinygrad_cnn as tg
from tinygrad_cnn import metrics

CLASSES = 4
classes = st.integers(0, CLASSES - 1)
pairs = array_shapes(max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(arrays(np.int64, shape, elements=classes), arrays(np.int64, shape, elements=classes))
)


@st.composite
def scored(draw):
    """Scores with many ties, (N, C, *), and targets, (N, *)."""
    shape = draw(array_shapes(max_dims=3, max_side=4))
    scores = draw(arrays(np.float32, (shape[0], CLASSES, *shape[1:]), elements=st.integers(0, 2).map(float)))
    return scores, draw(arrays(np.int64, shape, elements=classes))


def positions(targets):
    return list(np.ndindex(targets.shape))


def naive_ratio(numerator, denominator, zero_division):
    return numerator / denominator if denominator else zero_division


@given(pairs)
def test_accuracy_counts_what_is_right(pair):
    predictions, targets = pair
    expected = sum(predictions[i] == targets[i] for i in positions(targets)) / targets.size
    assert metrics.accuracy(tg.Tensor(predictions), tg.Tensor(targets)) == expected
    assert metrics.accuracy(predictions, targets) == expected


@given(scored(), st.integers(1, CLASSES))
def test_top_k_sorts_the_scores(pair, k):
    scores, targets = pair
    right = 0
    for i in positions(targets):
        row = scores[i[0], :, *i[1:]]
        best = sorted(range(CLASSES), key=lambda c: (-row[c], c))[:k]
        right += targets[i] in best
    assert metrics.top_k(tg.Tensor(scores), tg.Tensor(targets), k) == right / targets.size
    assert metrics.top_k(scores, targets, k=1) == metrics.accuracy(scores, targets)
    assert metrics.top_k(scores, targets, k=CLASSES) == 1


@given(pairs)
def test_the_confusion_matrix_counts_pairs(pair):
    predictions, targets = pair
    expected = np.zeros((CLASSES, CLASSES), np.int64)
    for i in positions(targets):
        expected[targets[i], predictions[i]] += 1
    matrix = metrics.confusion_matrix(tg.Tensor(predictions), tg.Tensor(targets), CLASSES)
    assert matrix.dtype == tg.int64
    np.testing.assert_array_equal(matrix.data, expected)
    seen = 1 + max(predictions.max(), targets.max())
    np.testing.assert_array_equal(metrics.confusion_matrix(predictions, targets).data, expected[:seen, :seen])


@given(pairs, st.sampled_from([0.0, 1.0, math.nan]))
def test_precision_recall_and_f1_follow_their_definitions(pair, zero_division):
    predictions, targets = pair
    expected = []
    for c in range(CLASSES):
        found, there = predictions == c, targets == c
        tp, fp, fn = (found & there).sum(), (found & ~there).sum(), (~found & there).sum()
        fractions = ((tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn))
        expected.append([naive_ratio(part, whole, zero_division) for part, whole in fractions])
    for column, metric in enumerate((metrics.precision, metrics.recall, metrics.f1)):
        actual = metric(tg.Tensor(predictions), tg.Tensor(targets), CLASSES, zero_division)
        assert actual.dtype == tg.float32
        np.testing.assert_allclose(actual.data, [row[column] for row in expected], rtol=1e-6)


@given(scored())
def test_scores_stand_for_their_largest(pair):
    scores, targets = pair
    predictions = scores.argmax(1)
    assert metrics.accuracy(scores, targets) == metrics.accuracy(predictions, targets)
    matrix = metrics.confusion_matrix(scores, targets)
    np.testing.assert_array_equal(matrix.data, metrics.confusion_matrix(predictions, targets, CLASSES).data)
    for metric in (metrics.precision, metrics.recall, metrics.f1):
        np.testing.assert_array_equal(metric(scores, targets).data, metric(predictions, targets, CLASSES).data)


def test_matrices_of_batches_add_up():
    rng = np.random.default_rng(0)
    predictions, targets = rng.integers(0, 3, (2, 60))
    batches = [(predictions[i : i + 15], targets[i : i + 15]) for i in range(0, 60, 15)]
    parts = sum(metrics.confusion_matrix(*batch, 3) for batch in batches)
    np.testing.assert_array_equal(parts.data, metrics.confusion_matrix(predictions, targets, 3).data)


def test_a_single_sample_without_a_batch():
    assert metrics.accuracy(tg.tensor([0.1, 0.7, 0.2]), tg.tensor(1)) == 1
    assert metrics.top_k(tg.tensor([0.1, 0.7, 0.2]), tg.tensor(2), k=2) == 1
    assert metrics.accuracy(tg.tensor(3), tg.tensor(2)) == 0


def test_nothing_is_recorded_and_bools_are_classes():
    logits = tg.randn(4, 2, requires_grad=True)
    assert not metrics.confusion_matrix(logits, tg.tensor([True, False, True, True])).requires_grad
    assert metrics.accuracy(tg.tensor([True, False]), tg.tensor([1, 1])) == 0.5


def test_a_score_of_nan_is_never_right():
    nan = float("nan")
    assert metrics.top_k(np.array([[nan, 1.0], [0.0, nan], [nan, 1.0]]), np.array([0, 0, 1]), k=1) == 0


def test_an_empty_matrix():
    none = np.zeros(0, np.int64)
    assert metrics.confusion_matrix(none, none).shape == (0, 0)
    assert metrics.confusion_matrix(none, none, 2).tolist() == [[0, 0], [0, 0]]
    assert metrics.precision(none, none, 2, zero_division=1).tolist() == [1, 1]


INTS, FLOATS = np.array([0, 2]), np.array([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy(FLOATS, INTS), TypeError, "accuracy: predictions expects classes, .* dtype float64"),
        (lambda: metrics.accuracy(INTS, FLOATS), TypeError, "accuracy: targets expects classes"),
        (lambda: metrics.accuracy(INTS[:1], INTS), ValueError, r"targets' shape \(2,\), .* but has shape \(1,\)"),
        (lambda: metrics.accuracy(np.zeros((3, 2)), INTS), ValueError, r"expects \(N, C, \*\) for targets \(2,\)"),
        (lambda: metrics.accuracy(np.zeros((2, 0)), INTS), ValueError, r"expects \(N, C, \*\)"),
        (lambda: metrics.accuracy(INTS[:0], INTS[:0]), ValueError, "expects at least one class but is empty"),
        (lambda: metrics.top_k(np.zeros((2, 3)), INTS, 4), ValueError, "k expects at most the number of classes, 3"),
        (lambda: metrics.top_k(np.zeros((2, 3)), INTS, 0), ValueError, "k expects at least 1"),
        (lambda: metrics.top_k(np.zeros((2, 2)), INTS, 1), IndexError, "targets expects 0 <= class < 2 but holds 2"),
        (lambda: metrics.top_k(INTS, INTS), ValueError, r"scores expects \(N, C, \*\)"),
        (lambda: metrics.confusion_matrix(INTS, INTS, 2), IndexError, "predictions expects 0 <= class < 2 but holds 2"),
        (lambda: metrics.confusion_matrix(INTS, -INTS), IndexError, "targets expects 0 <= class < 3 but holds -2"),
        (lambda: metrics.recall(INTS, INTS, 0), ValueError, "recall: num_classes expects at least 1"),
        (lambda: metrics.f1(INTS, INTS, 2.5), TypeError, "f1: num_classes expects an int"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
