"""Scoring: the answer sets `closed` and `open`, and the refusal of unsound predictions."""

import json

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melt_ser.core.errors import InputError
from melt_ser.evaluation.scoring import constant_prediction_warning, score

TRAINING = ["angry", "happy", "neutral", "sad"]
CORPUS = ["angry", "neutral", "sad"]  # a corpus without happy speech


def make_predictions(references, probabilities):
    probabilities = np.asarray(probabilities, dtype=float)
    frame = pd.DataFrame({"utterance": [f"utterance {row}" for row in range(len(references))]})
    frame["reference"] = list(references)
    frame["prediction"] = [TRAINING[column] for column in probabilities.argmax(axis=1)]
    frame[TRAINING] = probabilities
    return frame


@pytest.fixture
def predictions():
    return make_predictions(
        ["angry", "neutral", "sad", "sad"],
        [
            [0.3, 0.6, 0.1, 0.0],  # happy, but the corpus lacks it; angry among the corpus classes: right
            [0.1, 0.1, 0.7, 0.1],  # neutral: right
            [0.2, 0.4, 0.3, 0.1],  # happy; neutral among the corpus classes: wrong either way
            [0.0, 0.0, 0.2, 0.8],  # sad: right
        ],
    )


def test_closed_decides_among_the_classes_that_the_corpus_has(predictions):
    scored = score(predictions, None, TRAINING, CORPUS, "closed")
    assert scored.classes == CORPUS
    assert scored.confusion == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert scored.values["wa"] == 0.75
    assert scored.values["ua"] == pytest.approx(2.5 / 3)
    assert scored.recall == {"angry": 1.0, "neutral": 1.0, "sad": 0.5}
    assert scored.predicted == {"angry": 1, "neutral": 2, "sad": 1}
    # The renormalised confidences are 0.3/0.4, 0.7/0.9, 0.3/0.6, 0.8/1.0. The bin (11/15, 12/15] holds 0.75, 0.778
    # and 0.8; 0.5 has a bin of its own.
    assert scored.calibration.ece == pytest.approx((abs(0.75 + 7 / 9 + 0.8 - 3) + 0.5) / 4)


def test_open_counts_an_answer_that_the_corpus_does_not_have_as_an_error(predictions):
    scored = score(predictions, None, TRAINING, CORPUS, "open")
    assert scored.classes == TRAINING
    assert scored.confusion == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]]
    assert scored.values["wa"] == 0.5
    assert scored.values["ua"] == 0.5  # over the three classes that occur
    assert scored.recall == {"angry": 0.0, "happy": None, "neutral": 1.0, "sad": 0.5}
    assert scored.predicted == {"angry": 0, "happy": 2, "neutral": 1, "sad": 1}
    assert scored.calibration.ece == pytest.approx((0.6 + abs(0.7 - 1) + 0.4 + abs(0.8 - 1)) / 4)


def test_classes_keep_the_order_of_training_for_any_order_of_the_corpus(predictions):
    assert score(predictions, None, TRAINING, CORPUS[::-1], "closed") == score(
        predictions, None, TRAINING, CORPUS, "closed"
    )


def test_a_class_that_this_split_lacks_is_still_open_to_the_decision(predictions):
    scored = score(predictions[predictions["reference"] == "sad"], None, TRAINING, CORPUS, "closed")
    assert scored.confusion == [[0, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert scored.recall == {"angry": None, "neutral": None, "sad": 0.5}
    assert scored.values["ua"] == 0.5


def test_ties_go_to_the_first_class_even_if_no_probability_is_left():
    tied = make_predictions(["angry", "sad"], [[0.25] * 4, [0.0, 1.0, 0.0, 0.0]])
    scored = score(tied, None, TRAINING, CORPUS, "closed")
    assert scored.predicted == {"angry": 2, "neutral": 0, "sad": 0}
    assert scored.calibration.ece == pytest.approx(abs(2 / 3 - 1) / 2)


def test_speakers_are_resampled_if_known(predictions):
    known = pd.Series(["a", "b", "a", "b"], index=[7, 8, 9, 10])  # by position, not by index
    scored = score(predictions, known, TRAINING, CORPUS, "open")
    unknown = score(predictions, known.replace("b", ""), TRAINING, CORPUS, "open")
    assert (scored.intervals.unit, unknown.intervals.unit) == ("speaker", "utterance")
    assert scored.intervals_over_utterances == unknown.intervals_over_utterances
    for metric in ("ua", "wa", "macro_f1"):
        assert unknown.intervals.of[metric] == unknown.intervals_over_utterances.of[metric]


def test_a_temperature_is_applied_among_the_classes_of_the_answer_set(predictions):
    # Of 0.3 and 0.1 among the corpus classes, squared: 0.9 and 0.1.
    calibration = score(predictions.iloc[:1], None, TRAINING, CORPUS, "closed", temperature=0.5).calibration
    assert [(point.confidence, point.accuracy, point.n) for point in calibration.curve] == [
        (pytest.approx(0.75), 1.0, 1)
    ]
    assert calibration.ece_with_temperature == pytest.approx(0.1)


probability_rows = arrays(np.float64, st.tuples(st.integers(1, 20), st.just(4)), elements=st.floats(0.01, 1))


@given(probability_rows, st.data())
@settings(max_examples=50)
def test_scores_are_plain_json_and_consistent(weights, data):
    references = data.draw(st.lists(st.sampled_from(CORPUS), min_size=len(weights), max_size=len(weights)))
    frame = make_predictions(references, weights / weights.sum(axis=1, keepdims=True))
    closed, opened = (score(frame, None, TRAINING, CORPUS, answer_set) for answer_set in ("closed", "open"))
    for scored in (closed, opened):
        assert json.dumps(msgspec.to_builtins(scored), allow_nan=False)
        assert sum(map(sum, scored.confusion)) == sum(scored.predicted.values()) == scored.n
        low, high = scored.intervals.of["wa"] or (0, 1)
        assert low <= scored.values["wa"] <= high
    assert closed.values["wa"] >= opened.values["wa"]  # fewer wrong answers to choose from
    assert score(frame, None, TRAINING, TRAINING, "closed") == opened


def without_column(frame):
    return frame.drop(columns="sad")


def with_swapped_columns(frame):
    return frame[["utterance", "reference", "prediction", "happy", "angry", "neutral", "sad"]]


def with_not_a_number(frame):
    return frame.assign(sad=[0.0, np.nan, 0.1, 0.8])


def with_logits(frame):
    return frame.assign(sad=[0.0, 7.5, 0.1, 0.8])


def with_words(frame):
    return frame.assign(sad=["0.0", "many", "0.1", "0.8"])


def with_foreign_reference(frame):
    return frame.assign(reference=["angry", "happy", "sad", "sad"])


def with_repeated_utterance(frame):
    return frame.assign(utterance=["one", "two", "two", "three"])


def with_nameless_utterance(frame):
    return frame.assign(utterance=["one", "", "two", "three"])


def without_rows(frame):
    return frame.iloc[:0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_column, "columns"),
        (with_swapped_columns, "columns"),
        (with_not_a_number, "'utterance 1'.*not probabilities"),
        (with_logits, "'utterance 1'.*not probabilities"),
        (with_words, "not a number"),
        (with_foreign_reference, "'utterance 1'.*outside the corpus classes.*'happy'"),
        (with_repeated_utterance, "'two' is predicted twice"),
        (with_nameless_utterance, "has no name"),
        (without_rows, "no predictions"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(predictions, damage, words):
    with pytest.raises(InputError, match=words) as caught:
        score(damage(predictions), None, TRAINING, CORPUS, "closed")
    assert "\n" not in str(caught.value)


def test_corpus_classes_and_answer_set_are_checked(predictions):
    for corpus_classes in ([], ["angry", "bored"]):
        with pytest.raises(InputError, match="training classes"):
            score(predictions, None, TRAINING, corpus_classes, "closed")
    with pytest.raises(InputError, match="closed, open"):
        score(predictions, None, TRAINING, CORPUS, "clsoed")


def test_a_model_that_always_answers_the_same_is_reported(predictions):
    constant = predictions.assign(angry=0.1, happy=0.2, neutral=0.6, sad=0.1)
    warning = constant_prediction_warning(score(constant, None, TRAINING, CORPUS, "closed"))
    assert warning is not None
    assert "'neutral' for all 4 utterances" in warning
    assert constant_prediction_warning(score(predictions, None, TRAINING, CORPUS, "closed")) is None


def test_one_right_answer_for_a_corpus_of_one_class_is_no_reason_to_warn(predictions):
    neutral = predictions.assign(reference="neutral", angry=0.1, happy=0.2, neutral=0.6, sad=0.1)
    assert constant_prediction_warning(score(neutral, None, TRAINING, CORPUS, "closed")) is None
    one_clip = predictions.iloc[[2]]
    assert constant_prediction_warning(score(one_clip, None, TRAINING, CORPUS, "closed")) is None
