"""Measure whether a model's confidence matches its accuracy, and fit the temperature that makes it match.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks": expected calibration error, reliability curve, and
one temperature for all classes, fitted by the negative log-likelihood of a dev part. A temperature changes no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import Floats, Integers
from melt_ser.evaluation.results import Calibration, CalibrationPoint

BINS = 15
TEMPERATURES = (0.05, 20.0)  # beyond these, all probabilities are 0 and 1, or all are equal
SAME_LOSS = 1e-9  # losses that differ less are equal: if all answers are right, low temperatures are equally good
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)  # smallest normal float32, the type of a model's output


@dataclass(frozen=True)
class DevCalibration:
    """The calibration of a model on its dev part: the best temperature, and the error (ECE) without it."""

    temperature: float
    ece: float


def calibrate(probabilities: Floats, classes: Integers) -> DevCalibration:
    """Fit a temperature to probabilities, (utterances, classes), and the right classes as indices, (utterances,).

    Raises InputError if there are no utterances.
    """
    error = expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == classes)
    return DevCalibration(fit_temperature(probabilities, classes), error)


def fit_temperature(probabilities: Floats, classes: Integers) -> float:
    """Return the temperature with the least negative log-likelihood, within `TEMPERATURES`; 1 if none is better.

    If a bound is as good as the best temperature found, that bound is returned.

    probabilities: (utterances, classes). classes: the right classes as indices, (utterances,).
    """
    from scipy.optimize import minimize_scalar  # slow to import, and only needed here

    def loss(log_temperature: float) -> float:
        scaled = with_temperature(probabilities, float(np.exp(log_temperature)))
        right = scaled[np.arange(len(scaled)), classes]
        return float(-np.log(np.maximum(right, LEAST_PROBABILITY)).mean())

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    if best.fun >= loss(0.0):
        return 1.0
    bounds = [bound for bound in TEMPERATURES if loss(np.log(bound)) <= best.fun + SAME_LOSS]
    return bounds[0] if bounds else float(np.exp(best.x))


def at_bound(temperature: float | Floats) -> bool:
    """Return whether a temperature, or one of several, is a bound of `TEMPERATURES`, so that the fit had no end."""
    return bool(np.isin(temperature, TEMPERATURES).any())


def with_temperature(probabilities: Floats, temperature: float | Floats) -> Floats:
    """Raise probabilities to the power 1 / temperature and normalise rows: the softmax of logits / temperature.

    probabilities: (utterances, classes). temperature: a number for all rows, or an array with a number for each row,
    (utterances,).
    """
    logarithms = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    powers = logarithms / np.reshape(temperature, (-1, 1))
    return normalised(np.exp(powers - powers.max(axis=1, keepdims=True)))


def normalised(probabilities: Floats) -> Floats:
    """Scale rows, (utterances, classes), to sum to 1; a row of zeros becomes uniform."""
    totals = probabilities.sum(axis=1, keepdims=True)
    scaled = np.full_like(probabilities, 1 / probabilities.shape[1])
    np.divide(probabilities, totals, out=scaled, where=totals > 0)
    return scaled


def reliability_curve(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS) -> list[CalibrationPoint]:
    """Return the mean confidence, accuracy and number of utterances of each bin that is not empty, in rising order.

    Bins are equally wide. A bin holds the confidences above its lower edge and up to its upper edge; 0 belongs to the
    first bin.

    Args:
        confidence: the probability of each answer, (utterances,), in 0..1.
        correct: whether each answer was right, (utterances,).
        bins: the number of bins.

    Raises InputError for no utterances, for different lengths, or for a confidence outside 0..1.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    hits = np.asarray(correct, dtype=np.float64)
    if confidence.shape != hits.shape or confidence.ndim != 1 or confidence.size == 0:
        raise InputError(
            f"Calibration needs one confidence and one outcome per utterance, not shapes {confidence.shape} "
            f"and {hits.shape}."
        )
    if not np.all((confidence >= 0) & (confidence <= 1)):
        raise InputError("A confidence is not a probability in 0..1; pass probabilities, not logits.")
    bin_of = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    counts, sums, rights = (np.bincount(bin_of, weights, minlength=bins) for weights in (None, confidence, hits))
    return [
        CalibrationPoint(confidence=float(sums[row] / n), accuracy=float(rights[row] / n), n=int(n))
        for row, n in enumerate(counts)
        if n
    ]


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS) -> float:
    """Return the mean gap between confidence and accuracy in the bins of `reliability_curve`, weighted by utterances.

    Raises InputError as `reliability_curve` does.
    """
    return error_of(reliability_curve(confidence, correct, bins))


def error_of(curve: list[CalibrationPoint]) -> float:
    """Return the expected calibration error of a reliability curve."""
    gaps = sum(point.n * abs(point.confidence - point.accuracy) for point in curve)
    return float(gaps / sum(point.n for point in curve))


def calibration_entry(
    probabilities: Floats, right: npt.ArrayLike, temperature: float | Floats | None = None
) -> Calibration:
    """Return the entry `calibration` of a result row (docs/results.md).

    Args:
        probabilities: (utterances, classes).
        right: whether each answer was right, (utterances,).
        temperature: a number, or one for each utterance, (utterances,); the entry then holds their mean. None: unknown.

    Raises InputError as `reliability_curve` does.
    """
    curve = reliability_curve(normalised(probabilities).max(axis=1), right)
    if temperature is None:
        return Calibration(ece=error_of(curve), curve=curve)
    scaled = with_temperature(probabilities, temperature)
    return Calibration(
        ece=error_of(curve),
        temperature=float(np.mean(temperature)),
        temperature_at_bound=at_bound(temperature),
        ece_with_temperature=expected_calibration_error(scaled.max(axis=1), right),
        curve=curve,
    )


def mean_entry(entries: Sequence[Calibration], curve: Sequence[CalibrationPoint]) -> Calibration:
    """Return the mean of several models' entries.

    entries: of the models, for the same utterances.
    curve: over the answers of all models together; the entry counts them for a model on average.
    """

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if len(known) == len(entries) else None

    return Calibration(
        ece=float(np.mean([entry.ece for entry in entries])),
        temperature=mean([entry.temperature for entry in entries]),
        temperature_at_bound=any(entry.temperature_at_bound for entry in entries),
        ece_with_temperature=mean([entry.ece_with_temperature for entry in entries]),
        curve=[CalibrationPoint(point.confidence, point.accuracy, point.n / len(entries)) for point in curve],
    )
