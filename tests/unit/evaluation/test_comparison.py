"""Comparing two systems: the tests keep their level, find real differences, and refuse tables that do not match."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests

from melt_ser.core.errors import InputError
from melt_ser.evaluation.comparison import compare, holm, mcnemar, score_together
from simulate_statistics import RULES, behind_best, draw

CLASSES = ["angry", "happy", "sad"]


def system(reference: np.ndarray, right: np.ndarray, generator: np.random.Generator) -> pd.DataFrame:
    """Make a prediction table with these right answers; the wrong answers are drawn evenly."""
    shift = generator.integers(1, len(CLASSES), size=len(reference))
    prediction = np.where(right, reference, (reference + shift) % len(CLASSES))
    names = np.asarray(CLASSES, dtype=object)
    frame = pd.DataFrame({"utterance": [f"u{row}" for row in range(len(reference))]})
    frame["reference"], frame["prediction"] = names[reference], names[prediction]
    frame[CLASSES] = np.eye(len(CLASSES))[prediction]
    return frame


def two_systems(
    seed: int, accuracies: tuple[float, float], speakers: int = 12, each: int = 40, spread: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Make two systems and the speakers; with `spread`, each speaker suits one of the systems better."""
    generator = np.random.default_rng(seed)
    reference = generator.integers(len(CLASSES), size=speakers * each)
    leaning = np.repeat(generator.uniform(-spread, spread, size=speakers), each)
    first, second = (
        system(reference, generator.uniform(size=len(reference)) < accuracy + sign * leaning, generator)
        for accuracy, sign in zip(accuracies, (1, -1), strict=True)
    )
    return first, second, [f"s{row // each}" for row in range(len(reference))]


def test_the_difference_is_that_of_the_uas_in_any_order_of_rows() -> None:
    first, second, speakers = two_systems(0, (0.8, 0.6))
    by_hand = [
        np.mean([(frame["prediction"] == name)[frame["reference"] == name].mean() for name in CLASSES])
        for frame in (first, second)
    ]
    comparison = compare(first, second, speakers)
    assert comparison.difference == pytest.approx(by_hand[0] - by_hand[1])
    assert (comparison.n, comparison.units) == (480, 12)
    assert comparison.interval[0] < comparison.difference < comparison.interval[1]
    assert comparison.bootstrap_p < 0.001
    assert compare(first, second.sample(frac=1, random_state=0), pd.Series(speakers, index=range(7, 487))) == comparison
    turned = compare(second, first, speakers)
    assert turned.difference == -comparison.difference
    assert turned.bootstrap_p == pytest.approx(comparison.bootstrap_p, rel=0.1)


def test_only_if_a_speaker_is_unknown_utterances_are_taken_as_independent() -> None:
    first, second, speakers = two_systems(0, (0.8, 0.6))
    for unknown in (compare(first, second), compare(first, second, ["", *speakers[1:]])):
        assert (unknown.units, unknown.unit) == (480, "utterance")
        right = [frame["prediction"] == frame["reference"] for frame in (first, second)]
        assert unknown.mcnemar_p == mcnemar(*right)
    known = compare(first, second, speakers)
    assert (known.unit, known.mcnemar_p) == ("speaker", None)


def test_seeds_of_a_system_count_as_their_mean() -> None:
    first, second, speakers = two_systems(0, (0.8, 0.6))
    other, _, _ = two_systems(1, (0.7, 0.6))
    other["reference"] = first["reference"]
    means = [compare(frame, second, speakers).difference for frame in (first, other)]
    seeds = pd.concat([first, other])
    together = compare(seeds, second, speakers * 2)
    assert together.difference == pytest.approx(np.mean(means))
    assert (together.n, together.units) == (480, 12)
    assert compare(pd.concat([seeds, seeds]), second, speakers * 4) == together
    assert compare(seeds, second).mcnemar_p is None


def test_a_system_does_not_differ_from_itself() -> None:
    first, _, speakers = two_systems(0, (0.8, 0.6))
    for groups in (speakers, None):
        comparison = compare(first, first, groups)
        assert (comparison.difference, comparison.interval, comparison.bootstrap_p) == (0.0, None, 1.0)
        assert comparison.mcnemar_p == (None if groups else 1.0)


@pytest.mark.parametrize("right", [([5, 5], [4, 4]), ([7, 7, 7], [4, 4, 4]), ([5, 7, 3, 9], [4, 6, 2, 8])])
def test_if_all_speakers_differ_equally_the_p_value_is_that_of_the_sign_test(
    right: tuple[list[int], list[int]],
) -> None:
    """The spread of such speakers is only rounding, and with t any difference would be significant."""
    reference = np.repeat("sad", 10 * len(right[0]))
    first, second = (
        pd.DataFrame({"utterance": np.arange(len(reference)).astype(str), "reference": reference}).assign(
            prediction=np.concatenate([np.repeat(["sad", "angry"], [hits, 10 - hits]) for hits in hits_by_speaker])
        )
        for hits_by_speaker in right
    )
    comparison = compare(first, second, [str(row // 10) for row in range(len(reference))])
    speakers = len(right[0])
    assert comparison.bootstrap_p == stats.binomtest(speakers, speakers).pvalue
    assert (comparison.units, comparison.interval) == (speakers, None)


@pytest.mark.parametrize("speakers", [True, False])
def test_the_p_value_goes_with_the_interval(speakers: bool) -> None:
    for seed in range(40):
        first, second, names = two_systems(seed, (0.7, 0.62), speakers=6, each=30)
        comparison = compare(first, second, names if speakers else None, resamples=500)
        if abs(comparison.bootstrap_p - 0.05) > 0.01:
            assert comparison.interval is not None
            assert (comparison.bootstrap_p < 0.05) == (not comparison.interval[0] <= 0 <= comparison.interval[1])


def test_the_comparison_of_equal_speakers_and_one_class_is_the_paired_t_test() -> None:
    first, second, speakers = two_systems(2, (0.75, 0.7), speakers=9, each=50, spread=0.05)
    for frame in (first, second):  # one class, so that UA is the share of right answers
        frame["prediction"] = np.where(frame["prediction"] == frame["reference"], "sad", "angry")
        frame["reference"] = "sad"
    accuracies = [(frame["prediction"] == "sad").to_numpy().reshape(9, 50).mean(axis=1) for frame in (first, second)]
    expected = stats.ttest_rel(*accuracies)
    comparison = compare(first, second, speakers, resamples=20_000)
    assert comparison.bootstrap_p == pytest.approx(expected.pvalue, abs=0.01)
    assert comparison.interval == pytest.approx(tuple(expected.confidence_interval()), abs=0.003)


@pytest.mark.parametrize(("speakers", "spread"), [(8, 0.1), (0, 0.0)])
def test_equal_systems_differ_about_one_time_in_twenty(speakers: int, spread: float) -> None:
    """Even if each speaker suits one of them better; 0 speakers means utterances without speakers."""
    significant = 0
    for seed in range(200):
        first, second, names = two_systems(seed, (0.65, 0.65), max(speakers, 6), 30, spread)
        significant += compare(first, second, names if speakers else None, resamples=200).bootstrap_p < 0.05
    assert 0.015 < significant / 200 < 0.09


def test_a_comparison_with_classes_decides_among_them() -> None:
    frame = pd.DataFrame({"utterance": ["a", "b"], "reference": ["angry", "sad"], "prediction": ["happy", "sad"]})
    frame[CLASSES] = [[0.3, 0.6, 0.1], [0.1, 0.1, 0.8]]
    wrong = frame.assign(angry=[0.0, 0.9])
    assert compare(frame, wrong).difference == 0.0
    assert compare(frame, wrong, classes=["angry", "sad"]).difference == 1.0
    with pytest.raises(InputError, match="no column 'bored'"):
        compare(frame, wrong, classes=["angry", "bored"])


def test_systems_on_other_utterances_or_labels_are_refused() -> None:
    first, second, _ = two_systems(0, (0.8, 0.6))
    with pytest.raises(InputError, match=r"lacks 3 of the first's 480 utterances and has 0 .* such as 'u0'"):
        compare(first, second.iloc[3:])
    with pytest.raises(InputError, match=r"lacks 0 of the first's 478 utterances and has 2 .* the same test set"):
        compare(first.iloc[2:], second)
    with pytest.raises(InputError, match=r"answered the utterance 'u0' more often than others"):
        compare(first, pd.concat([second, second.iloc[:1]]))
    with pytest.raises(InputError, match="1 of 480 references differ .* 'u4'"):
        labels = second["reference"].where(second.index != 4, "bored")
        compare(first, second.assign(reference=labels))
    with pytest.raises(InputError, match="480 utterances but 2 speakers"):
        compare(first, second, ["a", "b"])
    with pytest.raises(InputError, match="lacks 0 of the first's 0"):
        compare(first.iloc[:0], second.iloc[:0])


def outcomes(only_first: int, only_second: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([True, False, True, False], [only_first, only_second, 5, 7])
    return first, np.repeat([False, True, True, False], [only_first, only_second, 5, 7])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_test_of_statsmodels_minus_half_of_the_observed_outcome(
    only_first: int, only_second: int
) -> None:
    exact = mcnemar_of_statsmodels([[5, only_first], [only_second, 7]], exact=True).pvalue
    observed = math.comb(only_first + only_second, only_first) / 2 ** (only_first + only_second)
    expected = 1.0 if only_first == only_second else exact - observed
    assert mcnemar(*outcomes(only_first, only_second)) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(*outcomes(only_second, only_first)) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand() -> None:
    # One against five of six: twice (P(0) + P(1) / 2) = 2 (1 + 3) / 64.
    assert mcnemar(*outcomes(1, 5)) == pytest.approx(8 / 64)
    assert mcnemar([True], [True]) == 1.0


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_holm_agrees_with_statsmodels(count: int) -> None:
    p_values = (np.random.default_rng(count).uniform(size=count) ** 3).round(2).tolist()  # small ones, and ties
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_a_pair_has_the_same_values_among_many_systems_as_alone() -> None:
    """Up to the last bits, since all systems are scored on the same resamples."""
    first, second, speakers = two_systems(0, (0.75, 0.7), spread=0.1)
    third = second.assign(prediction=first["prediction"])
    for groups in (speakers, None):
        together = score_together([first, second, third], groups)
        assert together.comparison(0, 2).bootstrap_p == 1.0
        assert together.p_values() == [together.comparison(*pair).bootstrap_p for pair in ((0, 1), (0, 2), (1, 2))]
        assert together.comparison(0, 1).bootstrap_p == pytest.approx(
            compare(first, second, groups).bootstrap_p, abs=0.01
        )


def test_equal_systems_rarely_have_a_mark() -> None:
    """Compared only with the best as found, one of six tables has one; `simulate_statistics.py` has more tables."""
    generator, tables = np.random.default_rng(0), 150
    marked = dict.fromkeys(RULES, 0)
    for _ in range(tables):
        for rule, p in behind_best([draw(generator, systems=10, speakers=10).scores()]).items():
            marked[rule] += bool((p <= 0.05).any())
    assert marked["with the best only"] / tables > 0.1
    assert marked["all pairs"] / tables < 0.08


def test_holm_by_hand_and_on_an_empty_list() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    with pytest.raises(InputError, match=r"p-values are in 0\.\.1"):
        holm([0.5, float("nan")])
