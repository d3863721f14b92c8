"""Compare systems that answered the same utterances: is a difference of their UA more than chance?

All systems are scored on the same resamples, so that each pair is compared at once. Speakers are resampled; only if
they are not known, utterances are, as if these were independent.

Sources: Fagerland, Lydersen & Laake 2013 for McNemar's test in its mid-p form (it keeps its level and is less
conservative than the exact test); Holm 1979 for the step-down correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import bdtr, stdtr, stdtrit

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import Floats, Integers, mean_recall
from melt_ser.evaluation.scoring import answers_among
from melt_ser.evaluation.statistics import RESAMPLES, ROUNDING, Units, resample, resampling_units, standard_error


@dataclass(frozen=True)
class Comparison:
    """The UA of the first system minus that of the second, with a 95 % interval and its tests.

    n: the number of utterances.
    difference, interval: of the UAs, in -1..1; no interval (None) if all resamples give the same difference.
    bootstrap_p: tests the UAs; it is below 0.05 if the interval does not contain 0.
    mcnemar_p: tests the shares of right answers. It takes utterances as independent, so it is None if speakers are
        known, or if a system answered an utterance more than once.
    units, unit: the number of resampled speakers or utterances, and which of the two.
    """

    n: int
    difference: float
    interval: tuple[float, float] | None
    bootstrap_p: float
    mcnemar_p: float | None
    units: int
    unit: Literal["speaker", "utterance"]


@dataclass(frozen=True)
class PairedScores:
    """The UA of systems on the same utterances, and on the same resamples of these.

    units: what was resampled.
    right: the right answers of each utterance, (utterances, systems).
    answers: how often each system answered an utterance, such as once for each seed, (systems,).
    observed, resampled: UA, (systems,) and (resamples, systems).
    """

    units: Units
    right: Integers
    answers: Integers
    observed: Floats
    resampled: Floats

    def p_values(self) -> list[float]:
        """Return the p-value of each pair of systems, in the order of `itertools.combinations`."""
        return [self._p_value(first, second) for first, second in combinations(range(len(self.observed)), 2)]

    def comparison(self, first: int, second: int) -> Comparison:
        """Compare two of the systems by their positions."""
        difference, error = self._difference(first, second)
        margin = error * float(stdtrit(self.units.effective - 1, 0.975))
        has_mcnemar = self.units.kind == "utterance" and self.answers[first] == self.answers[second] == 1
        return Comparison(
            n=len(self.right),
            difference=difference,
            interval=(max(difference - margin, -1.0), min(difference + margin, 1.0)) if error > ROUNDING else None,
            bootstrap_p=self._p_value(first, second),
            mcnemar_p=mcnemar(self.right[:, first], self.right[:, second]) if has_mcnemar else None,
            units=self.units.number,
            unit=self.units.kind,
        )

    def _difference(self, first: int, second: int) -> tuple[float, float]:
        """Return the difference of two UAs and its standard error."""
        difference = float(self.observed[first] - self.observed[second])
        return difference, standard_error(self.resampled[:, first] - self.resampled[:, second], self.units)

    def _p_value(self, first: int, second: int) -> float:
        """Return the two-sided p-value of no difference.

        If all units differ equally, they show no spread. The p-value is then that of the sign test.
        """
        difference, error = self._difference(first, second)
        if error > ROUNDING:
            return float(2 * stdtr(self.units.effective - 1, -abs(difference) / error))
        return 1.0 if abs(difference) <= ROUNDING else 2.0 ** (1 - self.units.number)


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    groups: Sequence[str] | pd.Series | None = None,
    classes: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two tables of predictions; the arguments and errors are those of `score_together`."""
    return score_together([first, second], groups, classes, resamples=resamples, seed=seed).comparison(0, 1)


def score_together(
    systems: Sequence[pd.DataFrame],
    groups: Sequence[str] | pd.Series | None = None,
    classes: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedScores:
    """Score tables of predictions for the same utterances.

    Args:
        systems: tables with the columns `utterance`, `reference`, `prediction` and a probability for each class. A
            system may answer each utterance equally often, once for each of its seeds.
        groups: the speaker of each row of the first table. As in `bootstrap_intervals`, utterances are resampled
            instead of speakers if this is None, or if a speaker is unknown ("").
        classes: choose each answer among these by the probabilities, as answer set `closed` does (`classes` of a result
            row); None takes the column `prediction`.
        resamples: the number of resamples of the bootstrap.
        seed: seeds the bootstrap.

    Raises InputError if the tables differ in utterances or references, an utterance occurs more often than others,
    `groups` has another length, or a column of `classes` is missing.
    """
    if groups is not None and len(groups) != len(systems[0]):
        raise InputError(f"There are {len(systems[0])} utterances but {len(groups)} speakers; give one each.")
    tables = [by_utterance(frame, classes) for frame in systems]
    for table in tables[1:]:
        check_same(tables[0], table)
    once = ~systems[0]["utterance"].duplicated().to_numpy()
    speakers = None if groups is None else pd.Series(list(groups), dtype=object)[once]
    return score_tables(tables, speakers, resamples=resamples, seed=seed)


def score_tables(
    tables: Sequence[pd.DataFrame], speakers: pd.Series | None, *, resamples: int = RESAMPLES, seed: int = 0
) -> PairedScores:
    """Score tables of `by_utterance` that `check_same` has passed; `speakers` has that of each row of the first."""
    same = [table.loc[tables[0].index] for table in tables]
    return resampled_scores(
        pd.factorize(same[0]["reference"])[0].astype(np.int64),
        np.column_stack([table["right"].to_numpy(dtype=np.int64) for table in same]),
        np.asarray([table["answers"].iloc[0] for table in same], dtype=np.int64),
        resampling_units(len(same[0]), speakers),
        resamples=resamples,
        seed=seed,
    )


def resampled_scores(
    class_of_row: Integers, right: Integers, answers: Integers, units: Units, *, resamples: int, seed: int
) -> PairedScores:
    """Score systems from their right answers, (utterances, systems); `class_of_row` has the reference classes."""
    classes, (utterances, systems) = int(class_of_row.max()) + 1, right.shape
    by_class = np.zeros((units.number * classes, 1 + systems), dtype=np.int64)  # all utterances, then the right ones
    np.add.at(by_class, units.of_row * classes + class_of_row, np.hstack([np.ones((utterances, 1), int), right]))
    counts = by_class.reshape(units.number, classes, 1 + systems).swapaxes(1, 2)

    def accuracy(summed: Integers) -> Floats:
        return mean_recall(summed[..., 1:, :], summed[..., :1, :] * answers[:, None])

    drawn = resample(counts.reshape(units.number, -1), resamples, seed).reshape(-1, 1 + systems, classes)
    return PairedScores(units, right, answers, accuracy(counts.sum(axis=0)), accuracy(drawn))


def mcnemar(first_right: npt.ArrayLike, second_right: npt.ArrayLike) -> float:
    """Return the two-sided mid-p of McNemar's test; 1 if the systems are right about the same utterances.

    It asks whether both systems win equally often among the utterances that only one of them gets right. Where the
    utterances of a speaker are alike, it is far too sure (docs/results.md).

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


def by_utterance(frame: pd.DataFrame, classes: Sequence[str] | None) -> pd.DataFrame:
    """Return reference, number of answers and of right answers by utterance, in the order of the table."""
    if classes is None:
        answers = [str(answer) for answer in frame["prediction"]]
    else:
        missing = [name for name in classes if name not in frame.columns]
        if missing:
            raise InputError(f"The predictions have no column {missing[0]!r} to decide by; leave classes out.")
        answers = answers_among(frame, classes)
    right = frame["reference"].to_numpy() == np.asarray(answers, dtype=object)
    rows = frame[["utterance", "reference"]].assign(right=right).groupby("utterance", sort=False)
    table = rows.agg(reference=("reference", "first"), answers=("right", "size"), right=("right", "sum"))
    unequal = table.index[table["answers"] != table["answers"].min()]
    if len(unequal):
        raise InputError(
            f"A system answered the utterance {unequal[0]!r} more often than others, as if its folds shared it; "
            "compare systems that answered each equally often."
        )
    return table


def check_same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Raise InputError if two tables of `by_utterance` are not of the same utterances and references."""
    lacks, more = (first.index.difference(second.index), second.index.difference(first.index))
    if len(lacks) or len(more) or first.empty:
        example = f", such as {min([*lacks, *more])!r}" if len(lacks) or len(more) else ""
        raise InputError(
            f"The second system lacks {len(lacks)} of the first's {len(first)} utterances and has {len(more)} that the "
            f"first lacks{example}; compare systems that were scored on the same test set."
        )
    differ = first["reference"] != second["reference"].loc[first.index]
    if differ.any():
        raise InputError(
            f"{int(differ.sum())} of {len(first)} references differ between the systems, the first is that of "
            f"{first.index[differ][0]!r}; compare systems that were scored on the same labels."
        )
