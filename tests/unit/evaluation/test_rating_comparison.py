"""Differences of CCC and KL between systems that rated the same utterances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy, ttest_rel

from melt_ser.core.errors import InputError
from melt_ser.evaluation.rating_comparison import compare_ratings
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS
from melt_ser.evaluation.rating_scores import Answered, score_attributes
from simulations_ratings import Speakers, coverage_of_differences

CCC, KL = ATTRIBUTE_METRICS["ccc"], DISTRIBUTION_METRICS["kl"]


def numbers() -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    speaker, reference, first, second = Speakers().numbers(np.random.default_rng(4), 12, 2)
    return [f"s{number}" for number in speaker], reference, first, second


def test_the_difference_of_kl_is_the_paired_t_test_of_the_speakers() -> None:
    speaker, votes, first, second = Speakers().shares(np.random.default_rng(2), 12, 2)
    found = compare_ratings(KL, {"d": votes}, [{"d": first}], [{"d": second}], [str(number) for number in speaker])
    means = [entropy(votes, one, axis=1).reshape(12, -1).mean(axis=1) for one in (first, second)]
    assert found.difference == pytest.approx(means[0].mean() - means[1].mean())
    tested = ttest_rel(*means)  # the same, but for the degrees of freedom
    assert (found.units, found.unit, found.n) == (12, "speaker", 240)
    assert found.p >= tested.pvalue and found.p == pytest.approx(tested.pvalue, rel=0.6)
    assert found.interval is not None and (found.interval[0] > 0 or found.interval[1] < 0) == (found.p < 0.05)


def test_the_difference_of_ccc_is_that_of_the_scores_with_the_mean_over_seeds_and_attributes() -> None:
    speaker, reference, first, second = numbers()
    gaps = np.where(np.arange(len(reference)) < 40, np.nan, reference)
    references = {"a": reference, "v": gaps}
    rows = Answered([str(number) for number in range(len(reference))], speaker)

    def mean_ccc(answers: np.ndarray) -> float:
        value = score_attributes(references, {"a": answers, "v": answers}, rows)[-1].values["ccc"]
        assert value is not None
        return value

    seeds = [{"a": answers, "v": answers} for answers in (first, second)]
    found = compare_ratings(CCC, references, seeds, seeds[1:], speaker)
    assert found.difference == pytest.approx((mean_ccc(first) + mean_ccc(second)) / 2 - mean_ccc(second))
    turned = compare_ratings(CCC, references, seeds[1:], seeds, speaker)
    assert (turned.difference, turned.p) == (pytest.approx(-found.difference), pytest.approx(found.p))


def test_speakers_without_a_rating_are_not_counted() -> None:
    speaker, reference, first, second = numbers()
    rated = np.isin(speaker, ["s0", "s1", "s2", "s3", "s4"])
    gaps = {"a": np.where(rated, reference, np.nan)}
    found = compare_ratings(CCC, gaps, [{"a": first}], [{"a": second}], speaker)
    own = np.array(speaker)[rated].tolist()
    alone = compare_ratings(CCC, {"a": reference[rated]}, [{"a": first[rated]}], [{"a": second[rated]}], own)
    assert (found.n, found.units) == (alone.n, alone.units) == (rated.sum(), 5)
    assert (found.difference, found.p) == (pytest.approx(alone.difference), pytest.approx(alone.p))


def test_equal_systems_have_no_interval_and_unknown_speakers_are_utterances() -> None:
    speaker, reference, first, second = numbers()
    same = compare_ratings(CCC, {"a": reference}, [{"a": first}], [{"a": first}], speaker)
    assert (same.difference, same.interval, same.p) == (0, None, 1)
    alone = compare_ratings(CCC, {"a": reference}, [{"a": first}], [{"a": second}], ["", *speaker[1:]])
    assert (alone.units, alone.unit) == (240, "utterance")


def test_a_metric_that_is_not_defined_is_refused() -> None:
    constant = np.full(6, 2.0)
    with pytest.raises(InputError, match="CCC is not defined for every sample of utterances"):
        compare_ratings(CCC, {"a": constant}, [{"a": constant}], [{"a": constant}])


@pytest.mark.slow
@pytest.mark.parametrize(("population", "speakers"), [(Speakers(), 20), (Speakers(bias=0.8, unequal=0.6), 30)])
def test_the_interval_of_a_difference_covers_the_true_one_in_about_95_of_100_samples(
    population: Speakers, speakers: int
) -> None:
    shares = coverage_of_differences(population, speakers)
    assert all(0.93 <= share <= 0.97 for share in shares), shares
