"""Metrics: one definition each, equal to scikit-learn's if libraries agree, and fixed if they do not."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from melt_ser.core.errors import InputError
from melt_ser.evaluation import metrics

CLASSES = ["angry", "happy", "neutral", "sad"]
PAIRS = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=60)


def matrix(pairs):
    return metrics.confusion_matrix([pair[0] for pair in pairs], [pair[1] for pair in pairs], CLASSES)


def test_rows_are_references_and_columns_predictions_in_the_order_of_the_classes():
    confusion = metrics.confusion_matrix(["sad", "sad", "angry"], ["angry", "sad", "happy"], CLASSES)
    assert confusion.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]


@given(PAIRS)
def test_metrics_equal_scikit_learn(pairs):
    reference, prediction = zip(*pairs, strict=True)
    occurring = sorted(set(reference))
    confusion = matrix(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predictions outside the reference
        balanced = sklearn_metrics.balanced_accuracy_score(reference, prediction)
    options = {"labels": occurring, "zero_division": 0}
    f1_score, recall_score = sklearn_metrics.f1_score, sklearn_metrics.recall_score
    assert metrics.unweighted_accuracy(confusion) == pytest.approx(balanced)
    assert metrics.weighted_accuracy(confusion) == sklearn_metrics.accuracy_score(reference, prediction)
    assert metrics.macro_f1(confusion) == pytest.approx(f1_score(reference, prediction, average="macro", **options))
    assert metrics.weighted_f1(confusion) == pytest.approx(
        f1_score(reference, prediction, average="weighted", **options)
    )
    expected = dict(zip(occurring, recall_score(reference, prediction, average=None, **options), strict=True))
    expected_recall = [expected.get(name, np.nan) for name in CLASSES]
    np.testing.assert_allclose(metrics.recall(confusion), expected_recall)


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_utterances_and_of_classes_does_not_matter(pairs, random):
    shuffled, classes = list(pairs), list(CLASSES)
    random.shuffle(shuffled)
    random.shuffle(classes)
    reference, prediction = zip(*shuffled, strict=True)
    confusion = metrics.confusion_matrix(reference, prediction, classes)
    for metric in (
        metrics.unweighted_accuracy,
        metrics.weighted_accuracy,
        metrics.macro_f1,
        metrics.weighted_f1,
    ):
        assert metric(confusion) == pytest.approx(metric(matrix(pairs)))


@given(st.lists(st.sampled_from(CLASSES), min_size=1))
def test_perfect_predictions_score_1_everywhere(labels):
    confusion = metrics.confusion_matrix(labels, labels, CLASSES)
    for metric in (
        metrics.unweighted_accuracy,
        metrics.weighted_accuracy,
        metrics.macro_f1,
        metrics.weighted_f1,
    ):
        assert metric(confusion) == 1


def test_a_class_missing_from_the_reference_is_left_out_of_the_averages():
    # angry: 1 of 2 right, neutral: 3 of 4 right; "happy" never occurs but is predicted, "sad" is in neither.
    reference = ["angry", "angry", "neutral", "neutral", "neutral", "neutral"]
    prediction = ["angry", "happy", "neutral", "neutral", "neutral", "happy"]
    confusion = metrics.confusion_matrix(reference, prediction, CLASSES)
    # Over 2 occurring classes; 3 classes seen anywhere would give 0.417, all 4 would give 0.3125.
    assert metrics.unweighted_accuracy(confusion) == 0.625
    assert metrics.weighted_accuracy(confusion) == pytest.approx(4 / 6)
    assert metrics.macro_f1(confusion) == pytest.approx((2 / 3 + 6 / 7) / 2)
    assert metrics.weighted_f1(confusion) == pytest.approx((2 * 2 / 3 + 4 * 6 / 7) / 6)
    np.testing.assert_equal(metrics.recall(confusion), [0.5, np.nan, 0.75, np.nan])
    np.testing.assert_allclose(metrics.f1(confusion), [2 / 3, np.nan, 6 / 7, np.nan])


def test_a_class_never_predicted_has_recall_and_f1_of_0_and_counts():
    confusion = metrics.confusion_matrix(["angry", "sad"], ["angry", "angry"], CLASSES)
    np.testing.assert_equal(metrics.recall(confusion), [1, np.nan, np.nan, 0])
    assert metrics.unweighted_accuracy(confusion) == 0.5
    assert metrics.macro_f1(confusion) == pytest.approx((2 / 3 + 0) / 2)


def test_a_single_class_is_scored_by_its_recall():
    confusion = metrics.confusion_matrix(["sad"] * 4, ["sad", "sad", "sad", "angry"], CLASSES)
    assert metrics.unweighted_accuracy(confusion) == metrics.weighted_accuracy(confusion) == 0.75
    assert metrics.unweighted_accuracy(metrics.confusion_matrix(["sad"], ["sad"], ["sad"])) == 1


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_a_stack_of_matrices_scores_as_each_of_them(several):
    stack = np.stack([matrix(pairs) for pairs in several])
    for metric in (
        metrics.unweighted_accuracy,
        metrics.weighted_accuracy,
        metrics.macro_f1,
        metrics.weighted_f1,
    ):
        np.testing.assert_array_equal(metric(stack), [metric(confusion) for confusion in stack])


@pytest.mark.parametrize(
    ("reference", "prediction", "classes", "words"),
    [
        ([], [], CLASSES, "no utterances"),
        (["sad"], ["sad", "sad"], CLASSES, "1 references but 2 predictions"),
        (["bored", "sad"], ["sad", "sad"], CLASSES, "1 reference label.*'bored' in row 0"),
        (["sad", "sad"], ["sad", "bored"], CLASSES, "1 predicted label.*'bored' in row 1"),
        (["sad"], [None], CLASSES, "predicted label.*None"),
        (["sad"], ["sad"], ["sad", "sad"], "twice"),
    ],
)
def test_bad_labels_stop_with_a_sentence(reference, prediction, classes, words):
    with pytest.raises(InputError, match=words):
        metrics.confusion_matrix(reference, prediction, classes)
