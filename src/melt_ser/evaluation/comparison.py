"""Two systems on the same utterances: is the difference more than chance?

Source: McNemar's test in its mid-p form, which keeps its level and is less conservative than the exact one: Fagerland,
Lydersen & Laake 2013. Step-down correction: Holm 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import bdtr, stdtr

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import Floats, Integers, class_indices, unweighted_accuracy
from melt_ser.evaluation.scoring import answers_among
from melt_ser.evaluation.statistics import (
    RESAMPLES,
    Units,
    count_per_unit,
    has_spread,
    interval,
    resample,
    resampling_units,
    standard_error,
)


@dataclass(frozen=True)
class Comparison:
    """UA of the first system less that of the second on `n` utterances, with its 95 % interval and two tests.

    `bootstrap_p` is of the UA and goes with the interval: below 0.05 where that leaves out 0. `mcnemar_p` is of the
    share of right answers and takes utterances as independent of each other, whoever speaks. `units` is the number of
    speakers (or utterances) that were resampled.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    bootstrap_p: float
    mcnemar_p: float
    units: int


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    groups: Sequence[str] | pd.Series | None = None,
    classes: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two prediction tables (columns `utterance`, `reference`, `prediction`, then a probability a class).

    Args:
        groups: the speaker of each row of `first`, in its order; as for `bootstrap_intervals`, utterances are
            resampled where it is None or one speaker is unknown (""), and where all speakers differ alike.
        classes: decide among these by the probabilities, as protocol `closed` does (a result row's `classes`);
            None takes the column `prediction`.

    Raises InputError where the tables are of different utterances or references, or an utterance occurs twice.
    """
    second = _aligned(first, second)
    reference, own, other = first["reference"].tolist(), _answers(first, classes), _answers(second, classes)
    names = sorted({*reference, *own, *other})
    rows, *answers = (class_indices(labels, names, "compared") for labels in (reference, own, other))

    def difference(counts: Integers) -> Floats:
        """UA of the first less UA of the second, (...), of both confusion matrices side by side, (..., cells)."""
        accuracy = unweighted_accuracy(counts.reshape(*counts.shape[:-1], 2, len(names), len(names)))
        return np.asarray(accuracy[..., 0] - accuracy[..., 1])

    for units in (resampling_units(len(first), groups), resampling_units(len(first))):
        per_unit = np.hstack(
            [count_per_unit(rows * len(names) + column, len(names) ** 2, units.of_row) for column in answers]
        )
        observed, resampled = float(difference(per_unit.sum(axis=0))), difference(resample(per_unit, resamples, seed))
        if has_spread(resampled, units):
            break
    low, high = interval(observed, resampled, units)
    return Comparison(
        n=len(first),
        difference=observed,
        interval=(max(low, -1.0), min(high, 1.0)),
        bootstrap_p=_p_value(observed, resampled, units),
        mcnemar_p=mcnemar(rows == answers[0], rows == answers[1]),
        units=int(units.of_row.max()) + 1,
    )


def mcnemar(first_right: npt.ArrayLike, second_right: npt.ArrayLike) -> float:
    """Two-sided mid-p of McNemar's test: of what one system alone gets right, does each get about half?

    Both are (utterances,) of truth values. 1 where no utterance tells the systems apart.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    below = bdtr(fewer - 1, both, 0.5) if fewer else 0.0  # binomial: P(X < fewer), and P(X <= fewer)
    return float(min(1.0, below + bdtr(fewer, both, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of a family of tests, corrected so that the chance of any false finding stays at the level; in order.

    Raises InputError for a value outside 0..1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise InputError(f"p-values are in 0..1, not {list(p_values)}.")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _answers(frame: pd.DataFrame, classes: Sequence[str] | None) -> list[str]:
    if classes is None:
        return [str(answer) for answer in frame["prediction"]]
    missing = [name for name in classes if name not in frame.columns]
    if missing:
        raise InputError(f"The predictions have no column {missing[0]!r} to decide by; leave classes out.")
    return answers_among(frame, classes)


def _p_value(observed: float, resampled: Floats, units: Units) -> float:
    """Two-sided, of no difference; of resamples it can be no less than what one of them more would make it."""
    least = 1 / (len(resampled) + 1)
    if units.kind == "utterance":
        below, above = ((sign * resampled <= 0).sum() + 1 for sign in (1, -1))
        return float(min(1.0, 2 * least * min(below, above)))
    return float(2 * stdtr(units.effective - 1, -abs(observed) / standard_error(resampled, units)))


def _aligned(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The second table in the order of the first; InputError where they are not of the same utterances."""
    for name, frame in (("first", first), ("second", second)):
        repeated = frame["utterance"][frame["utterance"].duplicated()]
        if len(repeated):
            raise InputError(f"The {name} system has the utterance {repeated.iloc[0]!r} twice; give each once.")
    lacks, more = (set(one["utterance"]) - set(other["utterance"]) for one, other in ((first, second), (second, first)))
    if lacks or more or first.empty:
        example = f", such as {min(lacks | more)!r}" if lacks | more else ""
        raise InputError(
            f"The second system lacks {len(lacks)} of the first's {len(first)} utterances and has {len(more)} that the "
            f"first lacks{example}; compare systems that were scored on the same test set."
        )
    second = second.set_index("utterance").loc[first["utterance"]].reset_index()
    differ = first["reference"].to_numpy() != second["reference"].to_numpy()
    if differ.any():
        raise InputError(
            f"{int(differ.sum())} of {len(first)} references differ between the systems, the first is that of "
            f"{first['utterance'].to_numpy()[differ][0]!r}; compare systems that were scored on the same labels."
        )
    return second
