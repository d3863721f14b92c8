"""Compare two systems that rated the same utterances: is a difference of their CCC or KL more than chance?

The difference has the `jackknife` over speakers, like the intervals of `rating_scores`: each speaker is left out of
both systems at once. If speakers are not known, each utterance is a unit, as if utterances were independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from melt_ser.core.errors import InputError
from melt_ser.evaluation.jackknife import jackknife
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.rating_metrics import RatingMetric
from melt_ser.evaluation.statistics import ROUNDING, Names, Units, resampling_units, sums_per_unit

Ratings = Mapping[str, Floats]
"""Numbers of each attribute, (utterances,), or the shares of a distribution, (utterances, classes), by its name."""


@dataclass(frozen=True)
class RatingDifference:
    """A metric of the first system minus that of the second, with a 95 % interval and its test.

    n: the number of utterances. interval: None if all units differ equally. p: the two-sided p-value of no difference;
    it is below 0.05 if the interval does not contain 0. units, unit: the number of speakers or utterances, and which.
    """

    n: int
    difference: float
    interval: tuple[float, float] | None
    p: float
    units: int
    unit: Literal["speaker", "utterance"]


def compare_ratings(
    metric: RatingMetric,
    references: Ratings,
    first: Sequence[Ratings],
    second: Sequence[Ratings],
    speakers: Names | None = None,
) -> RatingDifference:
    """Compare two systems by the mean of a metric over the ratings in `references`.

    Args:
        metric: one of `rating_metrics`.
        references: the ratings of the utterances; a NaN is left out of its attribute, and an utterance without any
            rating is left out.
        first, second: the predictions of each seed or model of a system; its score is the mean over them.
        speakers: of each utterance ("" = unknown), or None.

    Raises InputError if the metric is not defined with all units, or without one of them.
    """
    rated = np.any([_is_known(reference) for reference in references.values()], axis=0)
    units = resampling_units(len(rated), speakers).among(rated)
    references, *answers = (
        {name: values[rated] for name, values in ratings.items()} for ratings in (references, *first, *second)
    )
    first, second = answers[: len(first)], answers[len(first) :]
    (whole, left_out), (other, other_left_out) = (_scores(metric, references, one, units) for one in (first, second))
    difference, differences = whole - other, left_out - other_left_out
    if not np.isfinite([difference, *differences]).all():
        raise InputError(f"{metric.label} is not defined for every sample of {units.kind}s.")
    found = jackknife(differences, units)
    margin = found.margin()
    return RatingDifference(
        n=int(rated.sum()),
        difference=difference,
        interval=(difference - margin, difference + margin) if found.error > ROUNDING else None,
        p=found.p_value(difference, units.number),
        units=units.number,
        unit=units.kind,
    )


def _is_known(reference: Floats) -> npt.NDArray[np.bool_]:
    """Return whether an utterance has a rating, (utterances,)."""
    return ~np.isnan(reference) if reference.ndim == 1 else np.full(len(reference), True)


def _scores(metric: RatingMetric, references: Ratings, models: Sequence[Ratings], units: Units) -> tuple[float, Floats]:
    """Return the score of a system, and its scores without each unit, (units,)."""
    whole, left_out = [], []
    for predictions in models:
        for name, reference in references.items():
            known = _is_known(reference)
            terms = metric.terms(reference[known], predictions[name][known])
            sums = sums_per_unit(terms, units.of_row[known], units.number)
            total = sums.sum(axis=0)
            whole.append(float(metric.value(total)))
            left_out.append(metric.value(total - sums))
    return float(np.mean(whole)), np.mean(left_out, axis=0)
