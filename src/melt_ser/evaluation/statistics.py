"""How sure a number is: bootstrap intervals of UA, WA and macro-F1.

Utterances of one speaker are alike, so resampling utterances makes intervals too narrow. Where every utterance has a
known speaker and there are at least two, whole speakers are resampled (cluster bootstrap).

Over utterances, of which there are many, the interval is that between percentiles. Between percentiles of few speakers
it would be too narrow (4 speakers: it covers the truth in 4 of 5 cases, not 19 of 20), so over speakers it is
`estimate ± t · standard error`: the bootstrap's error and Student's t, both for the *effective* number of speakers,
which is below their number where some say much more than others. `docs/results.md` has the measured coverage.

Few speakers may agree to the last utterance by chance (two of 32 utterances each in one case of ten). No spread can be
estimated from that, and an interval without width would be the surest of all: there utterances are resampled.

Sources: Efron & Tibshirani 1993, chapter 13 (percentiles); Davison & Hinkley 1997, section 3.8 (clusters); Hesterberg
2015 (t, and the factor n / (n - 1) of the variance); Kish 1965 (effective number).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import METRICS, Floats, Integers, class_indices

Names = Sequence[str] | pd.Series
RESAMPLES = 2000
ROUNDING = 1e-9  # a spread below it is that of floating-point sums


@dataclass(frozen=True)
class Intervals:
    """The interval [low, high] of each metric, in 0..1, and the unit that was resampled.

    If all speakers agree on a metric to the last utterance, its interval is over utterances in any case.
    """

    of: dict[str, list[float]]  # by the names of METRICS
    unit: Literal["speaker", "utterance"]


@dataclass(frozen=True)
class Units:
    """What is resampled as a whole: its kind, and the number of its unit for each utterance, (utterances,)."""

    kind: Literal["speaker", "utterance"]
    of_row: Integers

    @property
    def effective(self) -> float:
        """Kish's number: that of equally large units which would say as much; at least 2."""
        sizes = np.bincount(self.of_row).astype(np.float64)
        return max(2.0, float(sizes.sum() ** 2 / (sizes**2).sum()))


def bootstrap_intervals(
    reference: Names,
    prediction: Names,
    classes: Sequence[str],
    speakers: Names | None = None,
    recordings: Names | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Bootstrap intervals for (utterances,) references and predictions over `classes`.

    `speakers` and `recordings` have one name an utterance, in the same order, as `resampling_units` reads them. A class
    that vanishes from a resample is left out of that resample's averages, as everywhere. The same seed gives the same
    intervals, whatever the order of the utterances.
    Raises InputError for no utterances, lengths that differ, or a label outside `classes`.
    """
    of_speakers = resampling_units(len(reference), speakers, recordings)
    shape = (len(classes), len(classes))
    wanted = {name: metric.function for name, metric in METRICS.items() if metric.has_interval}
    intervals: dict[str, list[float]] = {}
    for units in (of_speakers, resampling_units(len(reference), recordings=recordings)):
        per_unit = _confusion_per_unit(reference, prediction, classes, units)
        whole, drawn = per_unit.sum(axis=0).reshape(shape), resample(per_unit, resamples, seed).reshape(-1, *shape)
        for name, function in wanted.items():
            values = function(drawn)
            if name not in intervals and has_spread(values, units):
                intervals[name] = _within(interval(float(function(whole)), values, units, level), 0.0, 1.0)
        if len(intervals) == len(wanted):
            break
    return Intervals({name: intervals[name] for name in wanted}, of_speakers.kind)


def resampling_units(utterances: int, speakers: Names | None = None, recordings: Names | None = None) -> Units:
    """Speakers where all are known and there are two or more; else recordings, by default each utterance its own.

    A speaker is unknown where the name is "" or missing. Recordings repeat where several models' answers to the same
    ones are pooled. Raises InputError where there is not one name an utterance.
    """
    for kind, names in (("speakers", speakers), ("recordings", recordings)):
        if names is not None and len(names) != utterances:
            raise InputError(f"There are {utterances} utterances but {len(names)} {kind}; give one each.")
    if speakers is not None:
        known = pd.Series(list(speakers), dtype=object).fillna("")
        of_row, distinct = pd.factorize(known)
        if not known.eq("").any() and len(distinct) >= 2:
            return Units("speaker", np.asarray(of_row, dtype=np.int64))
    if recordings is not None:
        return Units("utterance", np.asarray(pd.factorize(pd.Series(list(recordings)))[0], dtype=np.int64))
    return Units("utterance", np.arange(utterances, dtype=np.int64))


def resample(per_unit: Integers, resamples: int, seed: int) -> Integers:
    """Sums over units drawn with replacement, (resamples, cells), of what is counted for each, (units, cells)."""
    # Units with the same counts are interchangeable: drawing how often each distinct one appears is the same
    # bootstrap, and for utterances it is a multinomial over the cells of the confusion matrix.
    distinct, times = _distinct_rows(per_unit)
    draws = np.random.default_rng(seed).multinomial(times.sum(), times / times.sum(), size=resamples)
    # Matrix products of floats are fast and, for counts, exact.
    return (draws.astype(np.float64) @ distinct.astype(np.float64)).astype(np.int64)


def interval(estimate: float, resampled: Floats, units: Units, level: float = 0.95) -> tuple[float, float]:
    """The interval (low, high) of an estimate from its values on resamples."""
    if units.kind == "utterance":
        low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    margin = float(stdtrit(units.effective - 1, (1 + level) / 2)) * standard_error(resampled, units)
    return estimate - margin, estimate + margin


def standard_error(resampled: Floats, units: Units) -> float:
    """The bootstrap's standard error, without its bias for few units."""
    return float(np.std(resampled) * np.sqrt(units.effective / (units.effective - 1)))


def has_spread(resampled: Floats, units: Units) -> bool:
    """Whether an interval can be told from these resamples; of utterances, which are many, it always can."""
    return units.kind == "utterance" or standard_error(resampled, units) > ROUNDING


def _within(bounds: tuple[float, float], least: float, most: float) -> list[float]:
    return [max(bounds[0], least), min(bounds[1], most)]


def _confusion_per_unit(reference: Names, prediction: Names, classes: Sequence[str], units: Units) -> Integers:
    """Flattened confusion matrix of each unit, (units, classes * classes)."""
    if len(reference) != len(prediction) or len(reference) == 0:
        raise InputError(
            f"A bootstrap needs as many predictions as references and at least one, not {len(prediction)} "
            f"and {len(reference)}."
        )
    rows = class_indices(reference, classes, "reference")
    columns = class_indices(prediction, classes, "predicted")
    return count_per_unit(rows * len(classes) + columns, len(classes) ** 2, units.of_row)


def count_per_unit(cell_of_row: Integers, cells: int, unit_of_row: Integers) -> Integers:
    """How many utterances of each unit fall into each cell, (units, cells)."""
    flat = np.bincount(unit_of_row * cells + cell_of_row, minlength=(int(unit_of_row.max()) + 1) * cells)
    return flat.reshape(-1, cells).astype(np.int64)


def _distinct_rows(matrix: Integers) -> tuple[Integers, Integers]:
    """Distinct rows and how often each occurs; as `np.unique(axis=0)`, but compared as bytes, eight times faster."""
    row_bytes = np.ascontiguousarray(matrix).view(np.dtype((np.void, matrix.itemsize * matrix.shape[1]))).ravel()
    _, first, counts = np.unique(row_bytes, return_index=True, return_counts=True)
    return matrix[first], counts.astype(np.int64)
