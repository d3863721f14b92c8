"""How sure a number is: bootstrap intervals of UA and WA.

Utterances of one speaker are alike, so resampling utterances makes intervals too narrow. Where every utterance has a
known speaker and there are at least two, whole speakers are resampled (cluster bootstrap).

Source: Efron & Tibshirani 1993, chapter 13 (percentile interval); Davison & Hinkley 1997, section 3.8 (clusters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melt_ser.errors import InputError
from melt_ser.evaluation.metrics import Integers, class_indices, unweighted_accuracy, weighted_accuracy


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals (low, high) in 0..1 and what was resampled: "speaker" or "utterance"."""

    ua: tuple[float, float]
    wa: tuple[float, float]
    unit: str


def bootstrap_intervals(
    reference: Sequence[str] | pd.Series,
    prediction: Sequence[str] | pd.Series,
    classes: Sequence[str],
    speakers: Sequence[str] | pd.Series | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Bootstrap intervals of UA and WA for (utterances,) references and predictions over `classes`.

    `speakers` has one name an utterance, in the same order; "" or a missing value is unknown, and a single unknown
    one makes the utterance the unit. A class that vanishes from a resample is left out of that resample's UA, as
    everywhere. The same seed gives the same intervals, whatever the order of the utterances.
    Raises InputError for no utterances, lengths that differ, or a label outside `classes`.
    """
    unit, units = _resampling_units(speakers, len(reference))
    per_unit = _confusion_per_unit(reference, prediction, classes, units)
    # Units with the same confusion are interchangeable: drawing how often each distinct one appears is the same
    # bootstrap, and for utterances it is a multinomial over the cells of the confusion matrix.
    distinct, counts = _distinct_rows(per_unit)
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    # Matrix products of floats are fast and, for counts, exact.
    resampled = (draws.astype(np.float64) @ distinct.astype(np.float64)).astype(np.int64)
    confusions = resampled.reshape(resamples, len(classes), len(classes))
    tails = [(1 - level) / 2, (1 + level) / 2]
    ua_low, ua_high = np.quantile(unweighted_accuracy(confusions), tails)
    wa_low, wa_high = np.quantile(weighted_accuracy(confusions), tails)
    return Intervals((float(ua_low), float(ua_high)), (float(wa_low), float(wa_high)), unit)


def _resampling_units(speakers: Sequence[str] | pd.Series | None, utterances: int) -> tuple[str, Integers]:
    """The unit's name and the number of its unit for each utterance, (utterances,)."""
    if speakers is not None:
        if len(speakers) != utterances:
            raise InputError(f"There are {utterances} utterances but {len(speakers)} speakers; give one each.")
        names = pd.Series(list(speakers), dtype=object).fillna("")
        units, distinct = pd.factorize(names)
        if not names.eq("").any() and len(distinct) >= 2:
            return "speaker", np.asarray(units, dtype=np.int64)
    return "utterance", np.arange(utterances, dtype=np.int64)


def _confusion_per_unit(
    reference: Sequence[str] | pd.Series,
    prediction: Sequence[str] | pd.Series,
    classes: Sequence[str],
    units: Integers,
) -> Integers:
    """Flattened confusion matrix of each unit, (units, classes * classes)."""
    if len(reference) != len(prediction) or len(reference) == 0:
        raise InputError(
            f"A bootstrap needs as many predictions as references and at least one, not {len(prediction)} "
            f"and {len(reference)}."
        )
    rows = class_indices(reference, classes, "reference")
    columns = class_indices(prediction, classes, "predicted")
    cells = len(classes) ** 2
    flat = np.bincount(units * cells + rows * len(classes) + columns, minlength=(int(units.max()) + 1) * cells)
    return flat.reshape(-1, cells).astype(np.int64)


def _distinct_rows(matrix: Integers) -> tuple[Integers, Integers]:
    """Distinct rows and how often each occurs; as `np.unique(axis=0)`, but compared as bytes, eight times faster."""
    row_bytes = np.ascontiguousarray(matrix).view(np.dtype((np.void, matrix.itemsize * matrix.shape[1]))).ravel()
    _, first, counts = np.unique(row_bytes, return_index=True, return_counts=True)
    return matrix[first], counts.astype(np.int64)
