"""Metrics and scores of any predictions: fractions with the symmetries they should have, or one sentence."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import balanced_accuracy_score

from melt_ser.core.errors import InputError
from melt_ser.evaluation import metrics
from melt_ser.evaluation.scoring import ANSWER_SETS, score

CLASSES = ["angry", "happy", "neutral", "sad"]
CONFUSIONS = arrays(np.int64, (4, 4), elements=st.integers(0, 50)).filter(lambda matrix: matrix.sum() > 0)
METRICS = (metrics.unweighted_accuracy, metrics.weighted_accuracy, metrics.macro_f1, metrics.weighted_f1)


@given(CONFUSIONS, st.permutations(range(4)))
def test_metrics_are_fractions_that_renaming_the_classes_does_not_change(
    confusion: np.ndarray, order: list[int]
) -> None:
    for metric in METRICS:
        value = metric(confusion)
        assert 0.0 <= value <= 1.0
        assert metric(confusion[np.ix_(order, order)]) == pytest.approx(value)
    recall = metrics.recall(confusion)
    assert np.nanmin(recall) <= metrics.unweighted_accuracy(confusion) <= np.nanmax(recall) + 1e-12


@given(CONFUSIONS.filter(lambda matrix: (matrix.sum(axis=1) > 0).all()), st.integers(2, 9))
def test_ua_is_scikit_learns_if_all_classes_occur_and_does_not_depend_on_their_sizes(
    confusion: np.ndarray, times: int
) -> None:
    reference = np.repeat(np.arange(4), confusion.sum(axis=1))
    prediction = np.concatenate([np.repeat(np.arange(4), row) for row in confusion])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.unweighted_accuracy(confusion) == pytest.approx(balanced_accuracy_score(reference, prediction))
    more = confusion.copy()
    more[0] *= times
    assert metrics.unweighted_accuracy(more) == pytest.approx(metrics.unweighted_accuracy(confusion))


@settings(max_examples=60)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.floats(-1, 2) | st.just(math.nan)),
    st.lists(st.sampled_from([*CLASSES, "bored", ""]), min_size=12, max_size=12),
)
def test_scoring_gives_fractions_or_one_sentence(probabilities: np.ndarray, references: list[str]) -> None:
    frame = pd.DataFrame(probabilities, columns=CLASSES)
    frame.insert(0, "utterance", [str(row) for row in range(len(frame))])
    frame.insert(1, "reference", references[: len(frame)])
    frame.insert(2, "prediction", "sad")
    for answer_set in ANSWER_SETS:
        try:
            scored = score(frame, None, CLASSES, CLASSES, answer_set)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert set(frame["reference"]) <= set(CLASSES) and np.isfinite(probabilities).all()
            assert scored.n == len(frame)
            assert 0 <= scored.intervals.of["ua"][0] <= scored.intervals.of["ua"][1] <= 1
