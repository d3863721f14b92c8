"""Bootstrap intervals: over speakers if known, reproducible, and about as wide as they should be."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from melt_ser.core.errors import InputError
from melt_ser.evaluation import metrics
from melt_ser.evaluation.statistics import bootstrap_intervals, resampling_units
from simulations import EVEN, SKEWED, coverage, equal_sizes, series_sizes, unequal_sizes

CLASSES = ["angry", "neutral", "sad"]
ROWS = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.sampled_from("abcd")),
    min_size=1,
    max_size=40,
)


def simulate(generator, utterances, accuracy, classes=CLASSES):
    """Draw references evenly, and predictions that are right with the probability `accuracy`."""
    reference = generator.integers(len(classes), size=utterances)
    shift = generator.integers(1, len(classes), size=utterances)
    right = generator.uniform(size=utterances) < accuracy
    prediction = np.where(right, reference, (reference + shift) % len(classes))
    names = np.asarray(classes)
    return names[reference].tolist(), names[prediction].tolist()


@given(ROWS)
@settings(max_examples=50)
def test_intervals_are_ordered_and_within_0_and_1(rows):
    reference, prediction, speakers = zip(*rows, strict=True)
    intervals = bootstrap_intervals(reference, prediction, CLASSES, speakers, resamples=200)
    assert all(intervals.of.values()) or intervals.note
    for low, high in filter(None, intervals.of.values()):
        assert 0 <= low < high <= 1 and (low, high) != (0, 1)
    assert intervals.unit == ("speaker" if len(set(speakers)) > 1 else "utterance")


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=30)
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
    assert first.of["ua"] == pytest.approx(other.of["ua"], abs=0.01)


def test_one_utterance_a_speaker_is_the_bootstrap_over_utterances():
    reference, prediction = simulate(np.random.default_rng(0), 200, 0.6)
    speakers = [f"speaker {number}" for number in range(200)]
    clustered = bootstrap_intervals(reference, prediction, CLASSES, speakers, seed=1)
    plain = bootstrap_intervals(reference, prediction, CLASSES, seed=2)
    assert (clustered.unit, plain.unit) == ("speaker", "utterance")
    assert clustered.of["ua"] == pytest.approx(plain.of["ua"], abs=0.015)
    assert clustered.of["wa"] == pytest.approx(plain.of["wa"], abs=0.015)


def test_resampling_distinct_confusions_equals_resampling_speakers_one_by_one():
    generator = np.random.default_rng(3)
    reference, prediction = simulate(generator, 120, 0.6)
    speakers = np.repeat(np.arange(12), 10)  # of one size, so that the effective number is theirs
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
    intervals = bootstrap_intervals(reference, prediction, CLASSES, speakers.astype(str).tolist(), resamples=4000)
    for name, metric in (("ua", metrics.unweighted_accuracy), ("macro_f1", metrics.macro_f1)):
        whole = metric(per_speaker.sum(axis=0))
        margin = stats.t.ppf(0.975, 11) * np.sqrt(12 / 11) * metric(resampled).std()
        assert intervals.of[name] == pytest.approx((whole - margin, whole + margin), abs=0.006)


def test_the_interval_of_wa_over_speakers_of_one_size_is_the_t_interval_of_their_accuracies():
    # WA is then the mean of the speakers' accuracies; every textbook has the interval of a mean.
    reference, prediction = simulate(np.random.default_rng(5), 400, 0.6)
    speakers = np.repeat(np.arange(8), 50)
    accuracies = np.equal(reference, prediction).reshape(8, 50).mean(axis=1)
    expected = stats.t.interval(0.95, 7, accuracies.mean(), stats.sem(accuracies))
    intervals = bootstrap_intervals(reference, prediction, CLASSES, speakers.astype(str), resamples=20_000)
    assert intervals.of["wa"] == pytest.approx(expected, abs=0.003)


def test_utterances_are_resampled_as_scipy_does():
    reference, prediction = simulate(np.random.default_rng(6), 150, 0.6)
    right = np.equal(reference, prediction).astype(float)
    expected = stats.bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    intervals = bootstrap_intervals(reference, prediction, CLASSES, resamples=4000)
    assert intervals.of["wa"] == pytest.approx((expected.low, expected.high), abs=0.014)


def test_unequal_speakers_count_for_less_than_their_number():
    assert resampling_units(100, ["a"] * 50 + ["b"] * 50).effective == 2
    assert resampling_units(40, [str(row % 20) for row in range(40)]).effective == pytest.approx(20)
    assert resampling_units(102, ["a"] * 100 + ["b", "c"]).effective == 2  # the least that has a spread
    leading = resampling_units(110, ["a"] * 50 + ["b"] * 50 + list("cdefghijkl"))
    assert leading.effective == pytest.approx(110**2 / (2 * 50**2 + 10))


def test_several_models_have_the_interval_of_their_mean():
    """Another bootstrap, written with loops: each resample of speakers gives the mean UA of three models."""
    generator, speakers = np.random.default_rng(0), [f"speaker {row // 30}" for row in range(240)]
    reference, _ = simulate(generator, 240, 0.6)
    models = []
    for accuracy in (0.4, 0.6, 0.8):
        easy = generator.normal(accuracy, 0.1, 8)[np.arange(240) // 30]  # speakers differ, and so do the models
        wrong = [CLASSES[(CLASSES.index(name) + 1) % 3] for name in reference]
        models.append(np.where(generator.uniform(size=240) < easy, reference, wrong))
    names = np.repeat(["a", "b", "c"], 240)
    tall = bootstrap_intervals(reference * 3, np.concatenate(models), CLASSES, speakers * 3, models=names)

    def mean_ua(rows):
        part = np.asarray(reference)[rows]
        recalls = [[(model[rows] == part)[part == name].mean() for name in CLASSES] for model in models]
        return np.mean(recalls)

    blocks = np.arange(240).reshape(8, 30)
    values = [mean_ua(blocks[generator.integers(8, size=8)].ravel()) for _ in range(2000)]
    margin = stats.t.ppf(0.975, 7) * np.std(values) * np.sqrt(8 / 7)
    expected = [mean_ua(np.arange(240)) - margin, mean_ua(np.arange(240)) + margin]
    assert tall.of["ua"] == pytest.approx(expected, abs=0.1 * margin)
    alike = bootstrap_intervals(
        reference * 2, [*models[0], *models[0]], CLASSES, speakers * 2, models=["x"] * 240 + ["y"] * 240
    )
    assert alike.of["ua"] == pytest.approx(bootstrap_intervals(reference, models[0], CLASSES, speakers).of["ua"])


def test_pooled_predictions_of_a_recording_are_resampled_together():
    reference, prediction = simulate(np.random.default_rng(0), 100, 0.6)
    recordings = [f"clip {row}" for row in range(100)]
    once = bootstrap_intervals(reference, prediction, CLASSES)
    thrice = bootstrap_intervals(reference * 3, prediction * 3, CLASSES, recordings=recordings * 3)
    assert thrice.unit == "utterance"
    assert thrice.of["ua"] == pytest.approx(once.of["ua"], abs=0.01)  # repeated recordings make it no narrower


def test_speakers_who_agree_by_chance_give_no_interval():
    # All four speakers have 7 of 16 right, in different classes: only macro-F1 has a spread over them.
    reference = ["angry", "sad"] * 16
    prediction = (
        ["angry", "sad"] * 3 + ["angry"] + ["neutral"] * 9 + ["angry", "sad"] * 2 + ["angry"] * 5 + ["neutral"] * 7
    )
    speakers = [name for name in "abcd" for _ in range(16)]
    intervals = bootstrap_intervals(reference * 2, prediction * 2, CLASSES, speakers)
    assert intervals.unit == "speaker"
    assert (intervals.of["ua"], intervals.of["wa"]) == (None, None)
    assert "No interval of UA, WA: resampled speakers always give the same value." in intervals.note


def test_speakers_who_differ_make_the_interval_wider():
    # Half of the speakers are always recognised, half never: the 160 utterances of 8 speakers hold less information
    # than they seem to.
    reference = ["sad", "angry"] * 80
    speakers = [f"speaker {row // 20}" for row in range(160)]
    prediction = [label if row // 20 % 2 else "neutral" for row, label in enumerate(reference)]
    clustered = bootstrap_intervals(reference, prediction, CLASSES, speakers)
    plain = bootstrap_intervals(reference, prediction, CLASSES)
    assert clustered.of["wa"][1] - clustered.of["wa"][0] > 3 * (plain.of["wa"][1] - plain.of["wa"][0])


@pytest.mark.parametrize("speakers", [None, ["", "", ""], ["a", "a", "a"], ["a", "b", ""], ["a", "b", None]])
def test_unknown_or_single_speakers_fall_back_to_utterances(speakers):
    assert bootstrap_intervals(["sad"] * 3, ["sad"] * 3, CLASSES, speakers).unit == "utterance"


def test_a_class_that_vanishes_from_a_resample_is_left_out_of_it():
    # "angry" (never right) occurs once in three: without it a resample's UA is 1, with it 0.5, or 0 alone.
    intervals = bootstrap_intervals(["sad", "sad", "angry"], ["sad", "sad", "sad"], CLASSES)
    assert intervals.of["ua"] is None
    assert intervals.note == "No interval of UA, WA, macro-F1: with 3 utterances it would be 0 to 100 %."


def test_a_degenerate_interval_is_none_with_its_reason():
    reference, speakers = ["sad", "angry"] * 20, [f"speaker {row // 10}" for row in range(40)]
    for names, unit in ((speakers, "speakers"), (None, "utterances")):
        for prediction in (reference, ["sad"] * 40):
            intervals = bootstrap_intervals(reference, prediction, CLASSES, names)
            assert intervals.of["ua"] is None
            assert "UA" in intervals.note and f"resampled {unit} always give the same value" in intervals.note


def test_three_speakers_have_no_interval_and_four_have_one():
    reference, prediction = simulate(np.random.default_rng(0), 60, 0.6)
    for number in (2, 3, 4):
        speakers = [f"speaker {row % number}" for row in range(60)]
        intervals = bootstrap_intervals(reference, prediction, CLASSES, speakers)
        assert (intervals.of["ua"] is None) == (number < 4)
        told = f"No interval of UA, WA, macro-F1: {number} speakers are too few; it needs 4."
        assert intervals.note == (told if number < 4 else "")


def test_one_speaker_is_said():
    reference, prediction = simulate(np.random.default_rng(0), 60, 0.6)
    alone = bootstrap_intervals(reference, prediction, CLASSES, ["a"] * 60)
    assert alone.note == "All utterances are of one speaker: " + alone.note.partition(": ")[2]
    assert "say nothing about other speakers" in alone.note
    for speakers in (None, [""] * 60, ["a"] * 30 + ["b"] * 30, ["a"] * 59 + [""]):
        assert "one speaker" not in bootstrap_intervals(reference, prediction, CLASSES, speakers).note


def test_95_percent_intervals_over_utterances_cover_the_truth_93_to_97_times_in_100():
    """Simulate 1,000 test sets with known truth."""
    population = replace(EVEN, spread=0.0)
    for share in coverage(population, equal_sizes, 4, over="utterances").values():
        assert 0.93 <= share <= 0.97


@pytest.mark.parametrize("speakers", [10, 24])  # more in simulations.py
def test_95_percent_intervals_over_speakers_cover_the_truth_93_to_97_times_in_100(speakers):
    """Simulate 1,000 test sets; a quarter of the intervals over utterances would miss the truth."""
    for share in coverage(EVEN, equal_sizes, speakers).values():
        assert 0.93 <= share <= 0.97


@pytest.mark.parametrize(
    ("population", "sizes", "speakers"), [(EVEN, equal_sizes, 4), (EVEN, unequal_sizes, 6), (SKEWED, series_sizes, 60)]
)
def test_few_or_unequal_speakers_make_no_false_precision(population, sizes, speakers):
    """Percentiles would cover the truth 83 to 89 times in 100."""
    assert min(coverage(population, sizes, speakers, sets=300, resamples=200).values()) > 0.9


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
