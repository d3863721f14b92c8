"""Bootstrap intervals: over speakers where known, reproducible, and about as wide as they should be."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melt_ser.errors import InputError
from melt_ser.evaluation import metrics
from melt_ser.evaluation.statistics import bootstrap_intervals

CLASSES = ["angry", "neutral", "sad"]
ROWS = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.sampled_from("abcd")),
    min_size=1,
    max_size=40,
)


def simulate(generator, utterances, accuracy, classes=CLASSES):
    """References drawn evenly and predictions that are right with the probability `accuracy`, else another class."""
    reference = generator.integers(len(classes), size=utterances)
    shift = generator.integers(1, len(classes), size=utterances)
    right = generator.uniform(size=utterances) < accuracy
    prediction = np.where(right, reference, (reference + shift) % len(classes))
    names = np.asarray(classes)
    return names[reference].tolist(), names[prediction].tolist()


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_intervals_are_ordered_and_within_0_and_1(rows):
    reference, prediction, speakers = zip(*rows, strict=True)
    intervals = bootstrap_intervals(reference, prediction, CLASSES, speakers, resamples=200)
    for low, high in (intervals.ua, intervals.wa):
        assert 0 <= low <= high <= 1
    assert intervals.unit == ("speaker" if len(set(speakers)) > 1 else "utterance")


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_utterances_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (
        bootstrap_intervals(*columns[:2], CLASSES, columns[2], resamples=100)
        for columns in (list(zip(*rows, strict=True)), list(zip(*shuffled, strict=True)))
    )
    assert first == second


def test_the_same_seed_gives_the_same_intervals_and_another_seed_nearly_the_same():
    reference, prediction = simulate(np.random.default_rng(0), 300, 0.6)
    first, again, other = (bootstrap_intervals(reference, prediction, CLASSES, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.ua == pytest.approx(other.ua, abs=0.01)


def test_one_utterance_a_speaker_is_the_bootstrap_over_utterances():
    reference, prediction = simulate(np.random.default_rng(0), 200, 0.6)
    speakers = [f"speaker {number}" for number in range(200)]
    clustered = bootstrap_intervals(reference, prediction, CLASSES, speakers, seed=1)
    plain = bootstrap_intervals(reference, prediction, CLASSES, seed=2)
    assert (clustered.unit, plain.unit) == ("speaker", "utterance")
    assert clustered.ua == pytest.approx(plain.ua, abs=0.015)
    assert clustered.wa == pytest.approx(plain.wa, abs=0.015)


def test_resampling_distinct_confusions_equals_resampling_speakers_one_by_one():
    generator = np.random.default_rng(3)
    reference, prediction = simulate(generator, 120, 0.6)
    speakers = generator.integers(12, size=120)
    per_speaker = np.stack(
        [
            metrics.confusion_matrix(
                [reference[row] for row in np.flatnonzero(speakers == speaker)],
                [prediction[row] for row in np.flatnonzero(speakers == speaker)],
                CLASSES,
            )
            for speaker in range(12)
        ]
    )
    resampled = np.stack([per_speaker[generator.integers(12, size=12)].sum(axis=0) for _ in range(4000)])
    expected = np.quantile(metrics.unweighted_accuracy(resampled), [0.025, 0.975])
    intervals = bootstrap_intervals(reference, prediction, CLASSES, speakers.astype(str).tolist(), resamples=4000)
    assert intervals.ua == pytest.approx(tuple(expected), abs=0.012)


def test_speakers_who_differ_make_the_interval_wider():
    # Half of the speakers are always recognised, half never: 8 speakers say less than 160 utterances seem to.
    reference = ["sad", "angry"] * 80
    speakers = [f"speaker {row // 20}" for row in range(160)]
    prediction = [label if row // 20 % 2 else "neutral" for row, label in enumerate(reference)]
    clustered = bootstrap_intervals(reference, prediction, CLASSES, speakers)
    plain = bootstrap_intervals(reference, prediction, CLASSES)
    assert clustered.wa[1] - clustered.wa[0] > 3 * (plain.wa[1] - plain.wa[0])


@pytest.mark.parametrize("speakers", [None, ["", "", ""], ["a", "a", "a"], ["a", "b", ""], ["a", "b", None]])
def test_unknown_or_single_speakers_fall_back_to_utterances(speakers):
    assert bootstrap_intervals(["sad"] * 3, ["sad"] * 3, CLASSES, speakers).unit == "utterance"


def test_a_class_that_vanishes_from_a_resample_is_left_out_of_it():
    # "angry" (never right) occurs once in three: without it a resample's UA is 1, with it 0.5, or 0 alone.
    intervals = bootstrap_intervals(["sad", "sad", "angry"], ["sad", "sad", "sad"], CLASSES)
    assert intervals.ua == (0.0, 1.0)
    assert bootstrap_intervals(["sad"], ["sad"], CLASSES).ua == (1.0, 1.0)


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time():
    generator = np.random.default_rng(0)
    covered = np.zeros(2)
    for _ in range(300):
        intervals = bootstrap_intervals(*simulate(generator, 200, 0.7), CLASSES, resamples=400)
        covered += [low <= 0.7 <= high for low, high in (intervals.ua, intervals.wa)]
    assert np.all(covered / 300 > 0.90)
    assert np.all(covered / 300 < 0.985)


def test_the_largest_corpus_takes_less_than_a_second():
    generator = np.random.default_rng(0)
    classes = ["angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"]
    reference, prediction = simulate(generator, 13_708, 0.5, classes)
    speakers = generator.integers(300, size=13_708).astype(str).tolist()
    began = time.process_time()
    bootstrap_intervals(reference, prediction, classes, speakers)
    assert time.process_time() - began < 1


def test_bad_input_stops_with_a_sentence():
    with pytest.raises(InputError, match="at least one"):
        bootstrap_intervals([], [], CLASSES)
    with pytest.raises(InputError, match="1 and 2|2 and 1"):
        bootstrap_intervals(["sad"], ["sad", "sad"], CLASSES)
    with pytest.raises(InputError, match="2 utterances but 1 speakers"):
        bootstrap_intervals(["sad", "sad"], ["sad", "sad"], CLASSES, ["a"])
    with pytest.raises(InputError, match="'bored'"):
        bootstrap_intervals(["bored"], ["sad"], CLASSES)
