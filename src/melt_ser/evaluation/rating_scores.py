"""Score ratings: every metric of `rating_metrics`, with 95 % intervals over speakers or utterances.

The interval over speakers is that of the `jackknife` (each speaker left out once) with Student's t, on the metric's
stretched scale: for correlations and errors of few speakers it covers better than the bootstrap of `statistics`
(docs/targets.md has the measured coverage). The interval over utterances is the percentile bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from melt_ser.core.errors import InputError
from melt_ser.evaluation.jackknife import jackknife
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS, RatingMetric
from melt_ser.evaluation.rating_score import ONE_SPEAKER
from melt_ser.evaluation.statistics import (
    RESAMPLES,
    Names,
    Units,
    interval,
    is_one_speaker,
    numbers_of,
    resample,
    resampling_units,
    sums_per_unit,
    why_none,
)

MEAN_OF_ATTRIBUTES, DISTRIBUTION = "mean", "distribution"


@dataclass(frozen=True)
class RatingScores:
    """The metrics of one attribute, of the mean over the attributes, or of a distribution.

    values: by the names of the metrics; None: not defined. spread: their standard deviation over models, if there are
    several. intervals: [low, high] of each, or None. unit: speaker or utterance. note: why there is no interval, or
    what limits it.
    """

    of: str
    n: int
    values: dict[str, float | None]
    spread: dict[str, float]
    intervals: dict[str, list[float] | None]
    unit: str
    note: str


@dataclass(frozen=True)
class Answered:
    """Ratings that one or several models answered.

    utterance: the name of each row, (rows,). speaker: of each row ("" = unknown), or None. model: of each row; None:
    all are of one model.
    """

    utterance: Names
    speaker: Names | None = None
    model: Names | None = None


def score_attributes(
    references: Mapping[str, Floats], predictions: Mapping[str, Floats], rows: Answered
) -> list[RatingScores]:
    """Return the scores of each attribute, and of their mean if there are several.

    references, predictions: the numbers of each attribute, (rows,), on its scale. A row whose reference is NaN is left
    out of its attribute. Raises InputError if a prediction is not finite.
    """
    terms: dict[str, dict[str, Floats]] = {}
    known = {name: ~np.isnan(reference) for name, reference in references.items()}
    for name, reference in references.items():
        rated, prediction = known[name], predictions[name]
        if not np.isfinite(prediction).all():
            raise InputError(f"A predicted {name} is not a finite number; the model may have diverged.")
        terms[name] = {}
        for metric_name, metric in ATTRIBUTE_METRICS.items():
            own = metric.terms(reference[rated], prediction[rated])
            terms[name][metric_name] = np.zeros((len(reference), own.shape[1]))
            terms[name][metric_name][rated] = own
    return _scores(ATTRIBUTE_METRICS, terms, known, rows)


def score_distribution(reference: Floats, prediction: Floats, rows: Answered) -> RatingScores:
    """Return the scores of predicted distributions; both have the shape (rows, classes)."""
    terms = {DISTRIBUTION: {name: metric.terms(reference, prediction) for name, metric in DISTRIBUTION_METRICS.items()}}
    return _scores(DISTRIBUTION_METRICS, terms, {DISTRIBUTION: np.full(len(reference), True)}, rows)[0]


def _scores(
    metrics: Mapping[str, RatingMetric],
    terms: dict[str, dict[str, Floats]],
    known: dict[str, npt.NDArray[np.bool_]],
    rows: Answered,
) -> list[RatingScores]:
    """Return the scores of everything in `terms`, and of its mean, from one bootstrap of all.

    Only speakers with a reference are units of an attribute. The mean counts those of the attribute with the fewest.

    terms: by name and metric, (rows, terms). known: whether a row has a reference, by name, (rows,).
    """
    total = len(rows.utterance)
    units = resampling_units(total, rows.speaker, rows.utterance)
    model_of_row = numbers_of(rows.model, total)
    models = int(model_of_row.max(initial=0)) + 1
    columns = [(of, name) for of, by_metric in terms.items() for name in by_metric]
    widths = [terms[of][name].shape[1] for of, name in columns]
    joined = np.concatenate([terms[of][name] for of, name in columns], axis=1)
    per_unit = sums_per_unit(joined, units.of_row * models + model_of_row, units.number * models)
    per_unit = per_unit.reshape(units.number, models * joined.shape[1])
    whole = per_unit.sum(axis=0)
    drawn = whole - per_unit if units.kind == "speaker" else resample(per_unit, RESAMPLES, seed=0)
    drawn = drawn.reshape(-1, models, joined.shape[1])
    ends = np.cumsum(widths)
    values: dict[str, dict[str, tuple[Floats, Floats]]] = {of: {} for of in terms}
    for (of, name), begin, end in zip(columns, ends - widths, ends, strict=True):
        value = metrics[name].value
        values[of][name] = value(whole.reshape(models, -1)[:, begin:end]), value(drawn[..., begin:end])
    counts = {of: int(rated.sum()) for of, rated in known.items()}
    units_of = {of: units.among(rated) for of, rated in known.items()}
    if len(terms) > 1:
        counts[MEAN_OF_ATTRIBUTES] = total
        units_of[MEAN_OF_ATTRIBUTES] = min(units_of.values(), key=lambda one: one.number)
        values[MEAN_OF_ATTRIBUTES] = {
            name: (
                np.mean([values[of][name][0] for of in terms], axis=0),
                np.mean([values[of][name][1] for of in terms], axis=0),
            )
            for name in metrics
        }
    for of, rated in known.items() if units.kind == "speaker" else ():
        own = np.unique(units.of_row[rated])
        values[of] = {name: (value, left_out[own]) for name, (value, left_out) in values[of].items()}
    limit = ONE_SPEAKER if is_one_speaker(rows.speaker) else ""
    return [_with_intervals(of, metrics, values[of], counts[of] // models, units_of[of], limit) for of in values]


def _with_intervals(
    of: str,
    metrics: Mapping[str, RatingMetric],
    values: dict[str, tuple[Floats, Floats]],
    n: int,
    units: Units,
    limit: str,
) -> RatingScores:
    """Return the scores of one thing from its values, (models,), and those of other samples, (samples, models).

    These samples are resamples of utterances, or all speakers without one. limit: what limits any interval, or "".
    """
    estimates: dict[str, float | None] = {}
    spread: dict[str, float] = {}
    intervals: dict[str, list[float] | None] = {}
    reasons: dict[str, list[str]] = {}
    for name, (of_models, resampled) in values.items():
        metric = metrics[name]
        estimate, means = float(of_models.mean()), resampled.mean(axis=-1)
        estimates[name] = None if np.isnan(estimate) else estimate
        if len(of_models) > 1 and np.isfinite(of_models).all():
            spread[name] = float(of_models.std(ddof=1))
        if np.isnan(estimate) or np.isnan(means).any():
            reason = f"it is not defined for every sample of {units.kind}s"
        else:
            low, high = _interval(estimate, means, metric, units)
            reason = why_none(low, high, float(np.ptp(means)), units, metric.lowest, metric.highest)
            if not reason and not np.isfinite(high):
                reason = f"with {units.number} {units.kind}s it would have no upper end"
        intervals[name] = None if reason else [max(low, metric.lowest), min(high, metric.highest)]
        if reason:
            reasons.setdefault(reason, []).append(metric.label)
    notes = [f"No interval of {', '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    if limit and any(intervals.values()):
        notes.append(limit)
    return RatingScores(of, n, estimates, spread, intervals, units.kind, " ".join(notes))


def _interval(estimate: float, means: Floats, metric: RatingMetric, units: Units) -> tuple[float, float]:
    """Return the interval (low, high) of an estimate from its values on other samples, (samples,)."""
    if units.kind == "utterance":
        return interval(estimate, means, units)
    centre, left_out = float(metric.stretch(np.array(estimate))), metric.stretch(means)
    margin = jackknife(left_out, units).margin()
    ends = metric.back(np.array([centre - margin, centre + margin]))
    return float(ends.min()), float(ends.max())
