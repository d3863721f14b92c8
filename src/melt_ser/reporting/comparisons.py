"""The comparisons of systems as a table, for the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.core.console import say
from melt_ser.reporting.collect import Run
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.overview import collect_runs, system_scores
from melt_ser.reporting.rated import rated_systems
from melt_ser.reporting.rated_pairs import compare_rated
from melt_ser.runs.rating_rows import CLASS

COMPARISON_COLUMNS = (
    *("tested_on", "answer_set", "best", "best_train", "system", "train"),
    *("difference", "low", "high", "p", "mcnemar_p", "units", "unit", "of", "metric"),
)


def compare_runs(folders: list[Path]) -> pd.DataFrame:
    """Return a row of COMPARISON_COLUMNS for each system below the best one (`best`) of a test set.

    Both systems answered the same utterances, so their answers are paired. `difference` is the lead of the best in
    `metric`, with its 95 % interval `low` to `high`: in UA, 0 to 1 (`of` is class), by a bootstrap; in CCC (`of` is the
    attribute, or mean) or KL (`of` is distribution, and the best has the lowest), by a jackknife. Both are over `units`
    speakers (`unit`; utterances if speakers are not known). `p` is corrected over all pairs of systems of an answer
    set, and over those of all attributes and distributions. McNemar's test, `mcnemar_p`, takes utterances as
    independent: it is given only for classes, and if speakers are not known. Raises SetupError if a folder is missing.
    """
    runs = collect_runs(folders).runs
    return pd.DataFrame([*_of_classes(runs), *_of_ratings(runs)], columns=list(COMPARISON_COLUMNS))


def _of_classes(runs: list[Run]) -> Iterator[tuple[Any, ...]]:
    for matrix in matrices(system_scores(runs)):
        for note in matrix.notes:
            say(f"note: {note}")
        for cell in matrix.cells:
            ahead, behind, compared = cell.compared_with, cell.score, cell.comparison
            if ahead is not None and compared is not None:
                names = (ahead.system, ahead.train, behind.system, behind.train)
                ends = compared.interval or (None, None)
                tests = (cell.p, compared.mcnemar_p, compared.units, compared.unit, CLASS, "ua")
                yield (matrix.column_of(cell), matrix.answer_set, *names, compared.difference, *ends, *tests)


def _of_ratings(runs: list[Run]) -> Iterator[tuple[Any, ...]]:
    found = compare_rated(rated_systems(runs))
    for note in found.notes:
        say(f"note: {note}")
    for pair in found.pairs:
        best, system, compared = pair.best, pair.system, pair.difference
        ends = compared.interval or (None, None)
        metric = next(iter(system.metrics))
        tests = (pair.p, None, compared.units, compared.unit, system.first.of, metric)
        yield (
            *(system.tested_on, "", best.system, best.train, system.system, system.train),
            *(compared.difference, *ends, *tests),
        )
