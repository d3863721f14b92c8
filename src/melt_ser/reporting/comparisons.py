"""Is one system better than another, or was it chance? The comparisons of a report as a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from melt_ser.core.console import say
from melt_ser.core.errors import SetupError
from melt_ser.reporting.collect import FoundRuns, collect
from melt_ser.reporting.matrix import matrices
from melt_ser.reporting.overview import overview, system_scores

COLUMNS = (
    *("tested_on", "answer_set", "best", "best_train", "system", "train"),
    *("difference", "low", "high", "p", "mcnemar_p", "units"),
)


def read_runs(folders: list[Path]) -> pd.DataFrame:
    """Return the table of `report --format csv`: a row for each finished run, test corpus, fold and answer set.

    Run folders that cannot be read and copies of a run are left out, with a warning. Raises SetupError if a folder is
    not there.
    """
    return overview(_collect(folders).runs)


def compare_runs(folders: list[Path]) -> pd.DataFrame:
    """Return a row for each system and test set with COLUMNS: how far the best system there (`best`) is ahead of it.

    Both answered the same utterances, which are compared pair by pair. `difference` is in UA, 0 to 1, with its 95 %
    interval `low` to `high`; `p` is of a bootstrap over `units` (speakers, or utterances if speakers are not known),
    corrected (Holm) for the number of rows. McNemar's test, `mcnemar_p`, takes utterances as independent.
    """
    rows = []
    for matrix in matrices(system_scores(_collect(folders).runs)):
        best = {matrix.column_of(cell): cell.score for cell in matrix.cells if cell.best}
        for note in matrix.notes:
            say(f"note: {note}")
        for cell in matrix.cells:
            compared, column = cell.comparison, matrix.column_of(cell)
            if compared is not None:
                ahead, behind = best[column], cell.score
                rows.append(
                    (
                        *(column, matrix.answer_set, ahead.system, ahead.train, behind.system, behind.train),
                        *(compared.difference, *compared.interval, cell.p, compared.mcnemar_p, compared.units),
                    )
                )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _collect(folders: list[Path]) -> FoundRuns:
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise SetupError(f"There is no folder {missing[0]}; give folders of runs, such as the out=<folder> of train.")
    found = collect(folders)
    for note in [*found.unreadable, *found.copies]:
        say(f"note: {note.folder} is left out: {note.reason}")
    return found
