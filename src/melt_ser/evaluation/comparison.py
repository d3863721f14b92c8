"""Compare two systems on the same utterances, and rank several over corpora: is a difference more than chance?

Sources: Fagerland, Lydersen & Laake 2013 for McNemar's test in its mid-p form (it keeps its level and is less
conservative than the exact test); Holm 1979 for the step-down correction; Demšar 2006, "Statistical Comparisons of
Classifiers over Multiple Data Sets", for Friedman's test and Nemenyi's critical difference.
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
    """The UA of the first system minus that of the second, with a 95 % interval and two tests.

    n: the number of utterances.
    difference, interval: of the UAs, in -1..1.
    bootstrap_p: tests the UAs; it is below 0.05 if the interval does not contain 0.
    mcnemar_p: tests the shares of right answers; it treats utterances as independent, even those of one speaker.
    units: the number of speakers (or utterances) that were resampled.
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
    """Compare two tables of predictions.

    Args:
        first, second: tables with the columns `utterance`, `reference`, `prediction` and a probability for each class.
        groups: the speaker of each row of `first`. As in `bootstrap_intervals`, utterances are resampled instead of
            speakers if this is None, if a speaker is unknown (""), or if all resamples of speakers give one difference.
        classes: choose each answer among these by the probabilities, as answer set `closed` does (`classes` of a result
            row); None takes the column `prediction`.
        resamples: the number of resamples of the bootstrap.
        seed: seeds the bootstrap.

    Raises InputError if the tables differ in utterances or references, an utterance occurs twice, `groups` has another
    length, or a column of `classes` is missing.
    """
    second = _aligned(first, second)
    reference, own, other = first["reference"].tolist(), _answers(first, classes), _answers(second, classes)
    names = sorted({*reference, *own, *other})
    rows, *answers = (class_indices(labels, names, "compared") for labels in (reference, own, other))

    def difference(counts: Integers) -> Floats:
        """Return the difference of the UAs, (...), for both confusion matrices side by side, (..., cells)."""
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
    """Return the two-sided mid-p of McNemar's test; 1 if the systems are right about the same utterances.

    It asks whether both systems win equally often among the utterances that only one of them gets right.

    first_right, second_right: whether each answer is right, (utterances,).
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    below = bdtr(fewer - 1, both, 0.5) if fewer else 0.0  # binomial: P(X < fewer), and P(X <= fewer)
    return float(min(1.0, below + bdtr(fewer, both, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of a family of tests, so that the chance of any false positive is at most the level.

    The order of the values stays. Raises InputError for a value outside 0..1.
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
    """Return the two-sided p-value of no difference; with resampled utterances at least 2 / (resamples + 1)."""
    least = 1 / (len(resampled) + 1)
    if units.kind == "utterance":
        below, above = ((sign * resampled <= 0).sum() + 1 for sign in (1, -1))
        return float(min(1.0, 2 * least * min(below, above)))
    return float(2 * stdtr(units.effective - 1, -abs(observed) / standard_error(resampled, units)))


def _aligned(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the second table in the order of the first; raise InputError if the two do not match."""
    for name, frame in (("first", first), ("second", second)):
        repeated = frame["utterance"][frame["utterance"].duplicated()]
        if len(repeated):
            raise InputError(f"The {name} system has the utterance {repeated.iloc[0]!r} twice; give each once.")
    lacks, more = (
        set(left["utterance"]) - set(right["utterance"]) for left, right in ((first, second), (second, first))
    )
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


@dataclass(frozen=True)
class Ranks:
    """The mean ranks (1 is best) of systems over corpora.

    mean_ranks: by system.
    friedman_p: tests that all systems are equal; None for two systems, because the test needs three.
    critical_difference: two systems differ at the given level if their mean ranks differ by this or more.
    corpora: the number of corpora.
    """

    mean_ranks: dict[str, float]
    friedman_p: float | None
    critical_difference: float
    corpora: int

    @property
    def can_differ(self) -> bool:
        """Return whether mean ranks over so few corpora could differ by the critical difference at all."""
        return self.critical_difference <= len(self.mean_ranks) - 1

    @property
    def alike(self) -> list[list[str]]:
        """Return the largest groups of systems without a significant difference, the best first.

        A system that differs from all others is a group of its own.
        """
        ordered = sorted(self.mean_ranks, key=self.mean_ranks.__getitem__)
        groups: list[list[str]] = []
        for number, first in enumerate(ordered):
            reach = self.mean_ranks[first] + self.critical_difference
            group = [name for name in ordered[number:] if self.mean_ranks[name] < reach]
            if not groups or group[-1] != groups[-1][-1]:  # otherwise the group before contains this group
                groups.append(group)
        return groups


def ranks(scores: pd.DataFrame, level: float = 0.05) -> Ranks:
    """Rank systems (columns) on each corpus (rows) by a score; higher is better, and ties share a rank.

    Friedman's test and Nemenyi's difference are approximations for many corpora: with fewer than about ten, do not
    trust the ranks more than the table of scores itself.

    scores: without missing values. level: the level of Nemenyi's difference.

    Raises InputError for fewer than two systems or corpora, or if a score is missing.
    """
    from scipy.stats import studentized_range  # takes a second to import

    corpora, systems = scores.shape
    if corpora < 2 or systems < 2:
        raise InputError(f"Ranks need two or more corpora and systems, not {corpora} and {systems}.")
    missing = scores.index[scores.isna().any(axis=1)]
    if len(missing):
        raise InputError(
            f"{len(missing)} of {corpora} corpora lack a system's score, the first is '{missing[0]}'; "
            f"rank the corpora that all systems were scored on."
        )
    by_rank = scores.rank(axis=1, ascending=False)
    quantile = float(studentized_range.ppf(1 - level, systems, np.inf)) / np.sqrt(2)
    return Ranks(
        mean_ranks={str(name): float(rank) for name, rank in by_rank.mean().items()},
        friedman_p=_friedman(by_rank) if systems > 2 else None,
        critical_difference=float(quantile * np.sqrt(systems * (systems + 1) / (6 * corpora))),
        corpora=corpora,
    )


def _friedman(by_rank: pd.DataFrame) -> float:
    """Return the p-value; 1 if all systems tie on every corpus, since scipy would divide by zero."""
    from scipy.stats import friedmanchisquare

    if (by_rank.nunique(axis=1) == 1).all():
        return 1.0
    return float(friedmanchisquare(*(by_rank[name] for name in by_rank)).pvalue)
