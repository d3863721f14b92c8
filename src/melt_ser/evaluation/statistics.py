"""Compute bootstrap intervals of UA, WA and macro-F1.

Utterances of one speaker are alike, so resampling utterances makes intervals too narrow. If every utterance has a
known speaker and there are at least two speakers, whole speakers are resampled (cluster bootstrap).

Utterances are many, so their interval is between percentiles. With few speakers, percentiles are too narrow (with 4
speakers they contain the true value in 4 of 5 cases, not 19 of 20). The interval over speakers is therefore
`estimate ± t · standard error`: the bootstrap's error and Student's t, both for the *effective* number of speakers,
which is below the true one if some speakers have many more utterances. `docs/results.md` has the measured coverage.

If all resamples give one value (speakers with the same score, a model with a single answer), an interval of width 0
would claim certainty, and one from 0 to 1 says nothing: both are no interval, and a note has the reason. Two or three
speakers have none at all, since it would often be wrong.

Sources: Efron & Tibshirani 1993, chapter 13 (percentiles); Davison & Hinkley 1997, section 3.8 (clusters); Hesterberg
2015 (t, and the factor n / (n - 1) of the variance); Kish 1965 (effective number).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import METRICS, Floats, Integers, class_indices
from melt_ser.evaluation.results import ONE_SPEAKER

Names = Sequence[str] | pd.Series
Numbers = TypeVar("Numbers", Integers, Floats)
RESAMPLES = 2000
FEWEST_SPEAKERS = 4  # the interval of fewer is often wrong, whether wide or narrow
ROUNDING = 1e-9  # a spread below it is that of floating-point sums
BLOCK = 2**23  # resampled numbers that are in memory at once


@dataclass(frozen=True)
class Intervals:
    """The interval [low, high] of each metric, in 0..1, the unit that was resampled, and a note.

    The note says why a metric has no interval (None), or what limits the intervals; it may be "".
    """

    of: dict[str, list[float] | None]  # by the names of METRICS
    unit: Literal["speaker", "utterance"]
    note: str = ""


@dataclass(frozen=True)
class Units:
    """The units to resample as a whole: their kind, and the number of the unit of each utterance, (utterances,)."""

    kind: Literal["speaker", "utterance"]
    of_row: Integers

    @property
    def number(self) -> int:
        """Return the number of units."""
        return int(self.of_row.max(initial=-1)) + 1

    @property
    def effective(self) -> float:
        """Return Kish's effective number, at least 2: that many units of equal size would hold the same information."""
        sizes = np.bincount(self.of_row).astype(np.float64)
        return max(2.0, float(sizes.sum() ** 2 / (sizes**2).sum()))

    def among(self, rows: npt.NDArray[np.bool_]) -> Units:
        """Return the units of some of the utterances, numbered anew in the same order."""
        return Units(self.kind, np.unique(self.of_row[rows], return_inverse=True)[1].astype(np.int64))


def bootstrap_intervals(
    reference: Names,
    prediction: Names,
    classes: Sequence[str],
    speakers: Names | None = None,
    recordings: Names | None = None,
    models: Names | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Compute the bootstrap interval of each metric.

    A class that is missing from a resample is left out of its averages, as in every metric. The same seed gives the
    same intervals for any order of the utterances. If several models answered, the intervals are those of the mean over
    the models: each resample of units gives a metric for each model, and counts with their mean.

    Args:
        reference, prediction: names of classes, (utterances,).
        classes: all names.
        speakers, recordings: a name for each utterance, in the same order, or None; see `resampling_units`.
        models: the model of each answer, or None for one model.
        resamples: the number of resamples.
        level: the share of cases in which an interval should hold the true value.
        seed: seeds the resamples.

    Raises InputError for no utterances, lengths that differ, or a label outside `classes`.
    """
    units = resampling_units(len(reference), speakers, recordings)
    model_of_row = numbers_of(models, len(reference))
    shape = (int(model_of_row.max(initial=0)) + 1, len(classes), len(classes))
    per_unit = _confusions_per_unit(reference, prediction, classes, units, model_of_row)
    whole, drawn = per_unit.sum(axis=0).reshape(shape), resample(per_unit, resamples, seed).reshape(-1, *shape)
    intervals: dict[str, list[float] | None] = {}
    reasons: dict[str, list[str]] = {}
    for name, metric in METRICS.items():
        if not metric.has_interval:
            continue
        values, estimate = metric.function(drawn).mean(axis=-1), float(metric.function(whole).mean())
        low, high = interval(estimate, values, units, level)
        reason = why_none(low, high, float(np.ptp(values)), units)
        intervals[name] = None if reason else [max(low, 0.0), min(high, 1.0)]
        if reason:
            reasons.setdefault(reason, []).append(metric.label)
    notes = [f"No interval of {', '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    if any(intervals.values()) and is_one_speaker(speakers):
        notes.append(ONE_SPEAKER)
    return Intervals(intervals, units.kind, " ".join(notes))


def why_none(low: float, high: float, spread: float, units: Units, least: float = 0.0, most: float = 1.0) -> str:
    """Return the reason why these bounds are no interval; "" if they are one.

    spread: the range of the values on resamples. least, most: the bounds of the metric.
    """
    if units.kind == "speaker" and units.number < FEWEST_SPEAKERS:
        few = counted(units.number, "speaker is", "speakers are")
        return f"{few} too few; it needs {FEWEST_SPEAKERS}"
    if spread <= ROUNDING or high - low <= ROUNDING:
        return f"resampled {units.kind}s always give the same value"
    if low <= least and high >= most:
        whole = "0 to 100 %" if (least, most) == (0.0, 1.0) else f"{least:g} to {most:.2g}"
        return f"with {units.number} {units.kind}s it would be {whole}"
    return ""


def is_one_speaker(speakers: Names | None) -> bool:
    """Return whether all utterances are of one known speaker."""
    names = set() if speakers is None else set(pd.Series(list(speakers), dtype=object).fillna(""))
    return len(names) == 1 and "" not in names


def resampling_units(utterances: int, speakers: Names | None = None, recordings: Names | None = None) -> Units:
    """Return speakers as the units if all are known and there are two or more, otherwise recordings.

    A speaker is unknown if the name is "" or missing. A recording occurs several times if the answers of several models
    are pooled; without `recordings`, each utterance is a unit. Raises InputError if the numbers of names and utterances
    differ.
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
        return Units("utterance", numbers_of(recordings, utterances))
    return Units("utterance", np.arange(utterances, dtype=np.int64))


def resample(per_unit: Numbers, resamples: int, seed: int) -> Numbers:
    """Draw units with replacement; return the sums of their counts or terms, (resamples, cells), from (units, cells).

    The sums have the type of `per_unit`.
    """
    # Units with the same counts are interchangeable, so drawing the number of each distinct row is the same bootstrap.
    # For utterances, this is a multinomial over the cells of the confusion matrix.
    distinct, times = _distinct_rows(per_unit)
    generator, rows = np.random.default_rng(seed), distinct.astype(np.float64)
    blocks = []
    for begin in range(0, resamples, size := max(1, BLOCK // len(times))):
        draws = generator.multinomial(times.sum(), times / times.sum(), size=min(size, resamples - begin))
        blocks.append((draws.astype(np.float64) @ rows).astype(per_unit.dtype))  # fast and, for counts, exact
    return np.concatenate(blocks)


def interval(estimate: float, resampled: Floats, units: Units, level: float = 0.95) -> tuple[float, float]:
    """Return the interval (low, high) of an estimate from its values on resamples."""
    if units.kind == "utterance":
        low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    margin = float(stdtrit(units.effective - 1, (1 + level) / 2)) * standard_error(resampled, units)
    return estimate - margin, estimate + margin


def standard_error(resampled: Floats, units: Units) -> float:
    """Return the bootstrap's standard error, without its bias for few units."""
    return float(np.std(resampled) * np.sqrt(units.effective / (units.effective - 1)))


def numbers_of(names: Names | None, rows: int) -> Integers:
    """Return the place of each name among the sorted names; all 0 without names."""
    if names is None:
        return np.zeros(rows, dtype=np.int64)
    return np.asarray(pd.factorize(pd.Series(list(names)), sort=True)[0], dtype=np.int64)


def _confusions_per_unit(
    reference: Names, prediction: Names, classes: Sequence[str], units: Units, model_of_row: Integers
) -> Integers:
    """Return the flattened confusion matrices of each unit, (units, models * classes * classes)."""
    if len(reference) != len(prediction) or len(reference) == 0:
        raise InputError(
            f"A bootstrap needs as many predictions as references and at least one, not {len(prediction)} "
            f"and {len(reference)}."
        )
    rows = class_indices(reference, classes, "reference")
    columns = class_indices(prediction, classes, "predicted")
    cells, models = len(classes) ** 2, int(model_of_row.max()) + 1
    return count_per_unit(model_of_row * cells + rows * len(classes) + columns, models * cells, units.of_row)


def count_per_unit(cell_of_row: Integers, cells: int, unit_of_row: Integers) -> Integers:
    """Count the utterances of each unit in each cell, (units, cells)."""
    flat = np.bincount(unit_of_row * cells + cell_of_row, minlength=(int(unit_of_row.max()) + 1) * cells)
    return flat.reshape(-1, cells).astype(np.int64)


def sums_per_unit(terms: Floats, unit_of_row: Integers, units: int) -> Floats:
    """Return the sum of the terms, (utterances, terms), of each unit, (units, terms)."""
    sums = np.zeros((units, terms.shape[1]))
    np.add.at(sums, unit_of_row, terms)
    return sums


def _distinct_rows(matrix: Numbers) -> tuple[Numbers, Integers]:
    """Return the distinct rows and the count of each, as `np.unique(axis=0)` does; bytes compare 8 times faster."""
    row_bytes = np.ascontiguousarray(matrix).view(np.dtype((np.void, matrix.itemsize * matrix.shape[1]))).ravel()
    _, first, counts = np.unique(row_bytes, return_index=True, return_counts=True)
    return matrix[first], counts.astype(np.int64)
