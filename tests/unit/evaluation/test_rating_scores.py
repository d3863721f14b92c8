"""Metrics of attributes and distributions, against independent implementations, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, pearsonr
from sklearn.metrics import f1_score, root_mean_squared_error, top_k_accuracy_score

from melt_ser.core.errors import InputError
from melt_ser.evaluation.rating_score import ONE_SPEAKER, interval_mark
from melt_ser.evaluation.rating_scores import Answered, score_attributes, score_distribution
from simulations_ratings import Speakers, coverage

NAMES = [f"u{number}" for number in range(300)]
ALONE = Answered(NAMES)


def numbers(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.normal(4.0, 1.0, 300)
    return reference, 0.7 * reference + generator.normal(0.5, 0.7, 300)


def shares(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return votes of five raters for four classes, and predicted probabilities."""
    generator = np.random.default_rng(seed)
    votes = np.stack([generator.multinomial(5, share) for share in generator.dirichlet([1.0] * 4, 300)]) / 5
    return votes, generator.dirichlet([1.0] * 4, 300)


def test_attributes_are_scored_as_the_definitions_say() -> None:
    reference, prediction = numbers()
    [scores] = score_attributes({"arousal": reference}, {"arousal": prediction}, ALONE)
    covariance = np.cov(reference, prediction, bias=True)  # Lin 1989 has the divisor n
    distance = (reference.mean() - prediction.mean()) ** 2
    assert scores.values["ccc"] == pytest.approx(2 * covariance[0, 1] / (np.trace(covariance) + distance))
    assert scores.values["pearson"] == pytest.approx(pearsonr(reference, prediction).statistic)
    assert scores.values["rmse"] == pytest.approx(root_mean_squared_error(reference, prediction))


def test_ccc_is_that_of_audmetric() -> None:
    audmetric = pytest.importorskip("audmetric", reason="audmetric, an independent implementation, is not installed")
    reference, prediction = numbers(3)
    [scores] = score_attributes({"a": reference}, {"a": prediction}, ALONE)
    assert scores.values["ccc"] == pytest.approx(audmetric.concordance_cc(reference, prediction))


def test_the_mean_row_is_the_mean_over_the_attributes() -> None:
    (first, predicted), (second, other) = numbers(1), numbers(2)
    rows = score_attributes({"arousal": first, "valence": second}, {"arousal": predicted, "valence": other}, ALONE)
    assert [row.of for row in rows] == ["arousal", "valence", "mean"]
    assert rows[2].values["ccc"] == pytest.approx((rows[0].values["ccc"] + rows[1].values["ccc"]) / 2)


def test_an_utterance_without_a_reference_is_left_out() -> None:
    reference, prediction = numbers()
    gaps = np.where(np.arange(300) < 100, np.nan, reference)
    [scores] = score_attributes({"a": gaps}, {"a": prediction}, ALONE)
    assert scores.n == 200
    assert scores.values["pearson"] == pytest.approx(pearsonr(reference[100:], prediction[100:]).statistic)


def test_a_constant_prediction_has_a_ccc_of_0_and_no_correlation() -> None:
    [scores] = score_attributes({"a": numbers()[0]}, {"a": np.full(300, 4.0)}, ALONE)
    assert scores.values["ccc"] == pytest.approx(0.0) and scores.intervals["ccc"] is None
    assert scores.values["pearson"] is None and "Pearson" in scores.note


def test_predictions_that_are_not_finite_are_refused() -> None:
    reference, prediction = numbers()
    prediction[7] = np.inf
    with pytest.raises(InputError, match="predicted valence is not a finite number"):
        score_attributes({"valence": reference}, {"valence": prediction}, ALONE)


def test_distributions_are_scored_as_scipy_and_scikit_learn_do() -> None:
    votes, predicted = shares()
    values = score_distribution(votes, predicted, ALONE).values
    assert values["kl"] == pytest.approx(entropy(votes, predicted, axis=1).mean())
    assert values["js"] == pytest.approx((jensenshannon(votes, predicted, axis=1) ** 2).mean())
    decided = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    right, answers = votes.argmax(axis=1)[decided], predicted.argmax(axis=1)[decided]
    assert values["most_voted_f1"] == pytest.approx(f1_score(right, answers, average="macro"))
    assert values["top_2"] == pytest.approx(top_k_accuracy_score(right, predicted[decided], k=2))
    assert values["multi_label_f1"] == pytest.approx(f1_score(votes > 0.25, predicted > 0.25, average="macro"))


def test_an_impossible_class_costs_a_finite_divergence() -> None:
    scores = score_distribution(np.eye(4)[np.zeros(300, int)], np.eye(4)[np.ones(300, int)], ALONE)
    assert scores.values["kl"] == pytest.approx(-np.log(1e-7))


def test_intervals_hold_the_estimate_and_are_over_speakers_if_all_are_known() -> None:
    reference, prediction = numbers()
    speakers = [f"s{number % 25}" for number in range(300)]
    [by_speaker] = score_attributes({"a": reference}, {"a": prediction}, Answered(NAMES, speakers))
    [by_utterance] = score_attributes({"a": reference}, {"a": prediction}, Answered(NAMES, ["", *speakers[1:]]))
    assert (by_speaker.unit, by_utterance.unit) == ("speaker", "utterance")
    for scores in (by_speaker, by_utterance):
        for name, bounds in scores.intervals.items():
            assert bounds is not None and bounds[0] < (scores.values[name] or 0) < bounds[1]


def test_one_speaker_is_said() -> None:
    reference, prediction = numbers()
    [scores] = score_attributes({"a": reference}, {"a": prediction}, Answered(NAMES, ["s1"] * 300))
    assert scores.note == ONE_SPEAKER and interval_mark(scores.unit, scores.note) == "¹"
    [scores] = score_attributes({"a": reference}, {"a": prediction}, Answered(NAMES, ["s1", *["s2"] * 299]))
    assert ONE_SPEAKER not in scores.note


def test_speakers_without_a_rating_of_an_attribute_are_not_counted_for_it() -> None:
    reference, prediction = numbers()
    speakers = [f"s{number % 25}" for number in range(300)]
    some = np.where(np.arange(300) % 25 < 5, reference, np.nan)
    rated = ~np.isnan(some)
    both = {"a": reference, "b": some}
    all_of_a, of_five, mean = score_attributes(both, dict.fromkeys("ab", prediction), Answered(NAMES, speakers))
    own = Answered(np.array(NAMES)[rated].tolist(), np.array(speakers)[rated].tolist())
    [alone] = score_attributes({"b": reference[rated]}, {"b": prediction[rated]}, own)
    for name, bounds in of_five.intervals.items():
        assert bounds == pytest.approx(alone.intervals[name])
    assert (all_of_a.n, of_five.n, mean.n) == (300, 60, 300) and mean.intervals["ccc"] is not None
    few = {"a": reference, "b": np.where(np.arange(300) % 25 < 2, reference, np.nan)}
    _, of_two, mean = score_attributes(few, dict.fromkeys("ab", prediction), Answered(NAMES, speakers))
    for scores in (of_two, mean):
        assert scores.note == "No interval of CCC, Pearson, RMSE: 2 speakers are too few; it needs 4."


def test_the_scores_of_several_models_are_means_over_them() -> None:
    reference, prediction = numbers()
    worse = prediction + np.random.default_rng(5).normal(0, 1, 300)
    [first], [second] = (score_attributes({"a": reference}, {"a": answers}, ALONE) for answers in (prediction, worse))
    rows = Answered(NAMES * 2, None, ["1"] * 300 + ["2"] * 300)
    twice, answers = np.tile(reference, 2), np.concatenate([prediction, worse])
    [both] = score_attributes({"a": twice}, {"a": answers}, rows)
    assert both.n == 300
    assert both.values["ccc"] == pytest.approx((first.values["ccc"] + second.values["ccc"]) / 2)
    assert both.spread["ccc"] == pytest.approx(np.std([first.values["ccc"], second.values["ccc"]], ddof=1))


def test_a_score_that_one_of_several_models_does_not_have_has_no_spread() -> None:
    reference, prediction = numbers()
    rows = Answered(NAMES * 2, None, ["1"] * 300 + ["2"] * 300)
    answers = np.concatenate([prediction, np.full(300, 4.0)])  # a constant has no correlation
    [both] = score_attributes({"a": np.tile(reference, 2)}, {"a": answers}, rows)
    assert both.values["pearson"] is None and "pearson" not in both.spread
    assert np.isfinite(both.spread["ccc"])


def test_few_speakers_whose_errors_differ_have_no_upper_end_of_rmse() -> None:
    reference = np.zeros(40)
    prediction = np.repeat([0.01, 0.01, 0.01, 3.0], 10)
    speakers = [f"s{number // 10}" for number in range(40)]
    [scores] = score_attributes({"a": reference}, {"a": prediction}, Answered(NAMES[:40], speakers))
    assert scores.intervals["rmse"] is None
    assert "No interval of RMSE: with 4 speakers it would have no upper end." in scores.note


@pytest.mark.slow
@pytest.mark.parametrize(
    ("population", "speakers"), [(Speakers(), 20), (Speakers(each=15), 40), (Speakers(bias=0.8), 20)]
)
def test_intervals_cover_the_true_value_in_about_95_of_100_samples(population: Speakers, speakers: int) -> None:
    """1,000 samples of speakers, who differ in level and bias; the shares of these differ. docs/targets.md has all."""
    shares = coverage(population, speakers)
    assert len(shares) == 8 and all(0.93 <= share <= 0.97 for share in shares.values()), shares
