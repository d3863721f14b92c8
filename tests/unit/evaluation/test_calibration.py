"""Calibration: the error against a computation by hand, and the temperature against a known one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from melt_ser.core.errors import InputError
from melt_ser.evaluation.calibration import (
    TEMPERATURES,
    calibrate,
    calibration_entry,
    expected_calibration_error,
    fit_temperature,
    mean_entry,
    reliability_curve,
    with_temperature,
)


def test_calibration_error_by_hand():
    # Two bins: (0, 0.5] holds 0.5 (right); (0.5, 1] holds 0.7 (wrong) and 0.9 (right), with gaps that add up to 0.6.
    error = expected_calibration_error([0.5, 0.7, 0.9], [True, False, True], bins=2)
    assert error == pytest.approx((abs(0.5 - 1) + abs(0.7 + 0.9 - 1)) / 3)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin():
    together = expected_calibration_error([0.4, 0.5], [True, False], bins=2)
    apart = expected_calibration_error([0.4, 0.51], [True, False], bins=2)
    assert together == pytest.approx(abs(0.9 - 1) / 2)
    assert apart == pytest.approx((0.6 + 0.51) / 2)


def test_calibrated_guesses_have_a_small_error():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(size=20_000)
    correct = generator.uniform(size=20_000) < confidence
    assert expected_calibration_error(confidence, correct) < 0.02
    assert expected_calibration_error(confidence, ~correct) > 0.4


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_calibration_error_is_a_fraction(pairs):
    confidence, correct = zip(*pairs, strict=True)
    gap = abs(np.mean(confidence) - np.mean(correct))
    assert gap - 1e-12 <= expected_calibration_error(confidence, correct) <= 1 + 1e-12


@pytest.mark.parametrize("confidence", [[], [1.2], [-0.1], [float("nan")], [0.5, 0.5]])
def test_calibration_refuses_confidences_that_are_no_probabilities(confidence):
    with pytest.raises(InputError):
        expected_calibration_error(confidence, [True] * min(len(confidence), 1))


def test_the_reliability_curve_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.3, 1, size=500)
    correct = generator.uniform(size=500) < confidence**2
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=15)
    curve = reliability_curve(confidence, correct)
    assert [point.accuracy for point in curve] == pytest.approx(accuracy)
    assert [point.confidence for point in curve] == pytest.approx(mean_confidence)
    assert sum(point.n for point in curve) == 500


def overconfident(generator, utterances, temperature, classes=4):
    """Draw logits, and right classes from their probabilities at the temperature; return those without it."""
    logits = generator.normal(scale=3, size=(utterances, classes))
    right = (softmax(logits / temperature, axis=1).cumsum(axis=1) < generator.uniform(size=(utterances, 1))).sum(axis=1)
    return softmax(logits, axis=1), np.minimum(right, classes - 1)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_fitted_temperature_is_the_one_of_the_data(temperature):
    probabilities, right = overconfident(np.random.default_rng(0), 20_000, temperature)
    assert fit_temperature(probabilities, right) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_of_two_classes_and_one_confidence_has_a_closed_form():
    # 70 of 100 right at a confidence of 0.9: logit(0.9) / temperature = logit(0.7).
    probabilities = np.tile([0.9, 0.1], (100, 1))
    right = np.repeat([0, 1], [70, 30])
    temperature = fit_temperature(probabilities, right)
    assert temperature == pytest.approx(logit(0.9) / logit(0.7), rel=1e-3)
    assert with_temperature(probabilities, temperature)[0] == pytest.approx([0.7, 0.3], abs=1e-4)


def test_the_fitted_temperature_has_the_lowest_loss_by_scikit_learn():
    probabilities, right = overconfident(np.random.default_rng(1), 300, 1.7)
    best = fit_temperature(probabilities, right)
    loss = log_loss(right, with_temperature(probabilities, best))
    for other in np.geomspace(0.1, 10, 101):
        assert loss <= log_loss(right, with_temperature(probabilities, float(other))) + 1e-9


def test_the_temperature_is_bounded_if_all_is_right_and_1_if_it_does_not_matter():
    sure = np.tile([0.9, 0.1], (10, 1))
    assert fit_temperature(sure, np.zeros(10, dtype=int)) == TEMPERATURES[0]
    assert fit_temperature(np.full((10, 2), 0.5), np.zeros(10, dtype=int)) == 1.0
    half = fit_temperature(np.tile([1.0, 0.0], (10, 1)), np.repeat([0, 1], 5))
    assert half == TEMPERATURES[1]  # confident, and wrong in half of the answers


def test_a_temperature_at_its_bound_is_marked():
    sure, right = np.tile([0.9, 0.1], (10, 1)), np.ones(10, dtype=bool)
    assert not calibration_entry(sure, right).temperature_at_bound
    assert not calibration_entry(sure, right, 1.5).temperature_at_bound
    assert calibration_entry(sure, right, TEMPERATURES[0]).temperature_at_bound
    assert calibration_entry(sure, right, np.repeat([1.5, TEMPERATURES[1]], 5)).temperature_at_bound


def test_a_mean_over_models_is_marked_if_the_temperature_of_one_is_at_its_bound():
    sure, right = np.tile([0.9, 0.1], (10, 1)), np.ones(10, dtype=bool)
    free, bound = (calibration_entry(sure, right, temperature) for temperature in (1.5, TEMPERATURES[0]))
    assert mean_entry([free, bound], free.curve).temperature_at_bound
    assert not mean_entry([free, free], free.curve).temperature_at_bound


def test_a_temperature_changes_no_answer_and_each_row_may_have_its_own():
    probabilities, _ = overconfident(np.random.default_rng(2), 50, 1.0)
    scaled = with_temperature(probabilities, np.linspace(0.5, 3, 50))
    assert scaled.argmax(axis=1).tolist() == probabilities.argmax(axis=1).tolist()
    assert scaled.sum(axis=1) == pytest.approx(np.ones(50))
    assert scaled[49] == pytest.approx(with_temperature(probabilities, 3.0)[49])


def test_a_calibration_entry_has_the_error_without_and_with_the_temperature():
    probabilities, right = overconfident(np.random.default_rng(3), 3000, 2.5)
    dev = calibrate(probabilities, right)
    entry = calibration_entry(probabilities, probabilities.argmax(axis=1) == right, dev.temperature)
    assert entry.ece == dev.ece > 0.1
    assert entry.ece_with_temperature < 0.03
    assert entry.ece == pytest.approx(
        sum(point.n * abs(point.confidence - point.accuracy) for point in entry.curve) / 3000
    )
    pooled = calibration_entry(probabilities, np.ones(3000), np.repeat([1.0, 3.0], 1500))
    assert pooled.temperature == 2.0
    unknown = calibration_entry(probabilities, np.ones(3000))
    assert unknown.temperature is unknown.ece_with_temperature is None
