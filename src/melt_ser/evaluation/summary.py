"""Compute means and standard deviations of result rows over seeds or over folds.

Over seeds, the test set stays and the training differs. Over folds, the test set differs too, and most of the spread
comes from the speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from melt_ser.core.errors import InputError
from melt_ser.evaluation.metrics import METRICS
from melt_ser.evaluation.results import EvaluationSummary

SAME = ("corpus", "split", "answer_set", "classes")  # fields that rows must share, so that their mean has a meaning


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (of a sample: divisor n - 1) of each metric over `count` seeds or folds.

    A single row has no standard deviation: None. A metric that some row lacks is left out. The bounds of the 95 %
    interval of a mean over seeds are the means of the seeds' bounds; a bootstrap of the mean would give about the same
    interval or a narrower one. It is None if a seed has none. A mean over folds has none, since each fold tests on
    other speakers.
    """

    over: Literal["seed", "fold"]
    count: int
    mean: dict[str, float]
    standard_deviation: dict[str, float | None]
    interval: dict[str, list[float] | None]


def summarise(rows: Sequence[EvaluationSummary], over: Literal["seed", "fold"]) -> Summary:
    """Summarise rows of `evals` that differ only in the seed, or only in the fold.

    Over "fold" the rows over all folds ("all", "mean", "ensemble") are left out, since they are no fold. Over "seed"
    each row belongs to another run, and all rows are of the same fold, or all are over all folds.

    Raises InputError if there is no row, or if rows were scored on different data.
    """
    if over == "fold":
        rows = [row for row in rows if not isinstance(row.fold, str)]
    if not rows:
        raise InputError(f"There is no row to summarise over {over}s.")
    folds = [row.fold for row in rows]
    for key in SAME if over == "fold" else (*SAME, "fold"):
        first, *others = [getattr(row, key) for row in rows]
        different = [value for value in others if value != first]
        if different:
            raise InputError(
                f"Rows to summarise over {over}s differ in their {key} ({first!r} and {different[0]!r}); "
                f"summarise each by itself."
            )
    if over == "fold" and len(set(folds)) < len(folds):
        raise InputError(f"Rows to summarise over folds have a fold twice ({folds}); summarise each run by itself.")
    columns = {name: [row.value(name) for row in rows] for name in METRICS}
    values = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items() if None not in column}
    return Summary(
        over,
        len(rows),
        {name: float(value.mean()) for name, value in values.items()},
        {name: float(value.std(ddof=1)) if len(rows) > 1 else None for name, value in values.items()},
        {name: mean_interval([row.interval(name) for row in rows]) if over == "seed" else None for name in values},
    )


def mean_interval(bounds: Sequence[Sequence[float] | None]) -> list[float] | None:
    """Return the mean of the intervals of several seeds; None if one of them has none."""
    known = [pair for pair in bounds if pair is not None]
    return [float(bound) for bound in np.mean(known, axis=0)] if len(known) == len(bounds) else None
