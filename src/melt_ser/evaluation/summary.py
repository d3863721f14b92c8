"""Means and standard deviations of result rows over seeds or over folds, which are not the same thing.

Over seeds the test set stays and the training differs; over folds the test set differs too, so that their spread is
mostly that of the speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from melt_ser.core.errors import InputError

METRICS = ("ua", "wa", "macro_f1", "weighted_f1")
SAME = ("corpus", "split", "protocol", "classes")  # what rows must share for their mean to mean something


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (of a sample: divisor n - 1) of each metric over `count` seeds or folds.

    A single row has no standard deviation: None.
    """

    over: Literal["seed", "fold"]
    count: int
    mean: dict[str, float]
    standard_deviation: dict[str, float | None]


def summarise(rows: Sequence[dict[str, Any]], over: Literal["seed", "fold"]) -> Summary:
    """Summarise rows of `result.json`'s `evals` that differ in nothing but the seed, or but the fold.

    Over "fold" the pooled row (`fold: "all"`) is left out: it is no fold. Over "seed" each row is of another run, and
    all are of the same fold or all pooled.
    Raises InputError where there is no row, or rows differ in what they were scored on.
    """
    if over == "fold":
        rows = [row for row in rows if row["fold"] != "all"]
    if not rows:
        raise InputError(f"There is no row to summarise over {over}s.")
    folds = [row["fold"] for row in rows]
    for key in SAME if over == "fold" else (*SAME, "fold"):
        others = [row[key] for row in rows if row[key] != rows[0][key]]
        if others:
            raise InputError(
                f"Rows to summarise over {over}s differ in their {key} ({rows[0][key]!r} and {others[0]!r}); "
                f"summarise each by itself."
            )
    if over == "fold" and len(set(folds)) < len(folds):
        raise InputError(f"Rows to summarise over folds have a fold twice ({folds}); summarise each run by itself.")
    values = {name: np.asarray([row[name] for row in rows], dtype=np.float64) for name in METRICS}
    return Summary(
        over,
        len(rows),
        {name: float(value.mean()) for name, value in values.items()},
        {name: float(value.std(ddof=1)) if len(rows) > 1 else None for name, value in values.items()},
    )
