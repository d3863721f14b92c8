"""Compare systems by test set: the best of each column, and the others that are significantly below it.

Only systems that answered the same utterances with the same classes are compared. Their answers are paired and tested
by the bootstrap of `evaluation.comparison`, with Holm's correction over all comparisons of the table. If two systems
have different numbers of seeds, only the smaller number of seeds is paired. All answers for one speaker (for one
utterance, if speakers are not known) are resampled together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from melt_ser.core.console import say
from melt_ser.core.errors import InputError
from melt_ser.evaluation.comparison import Comparison, compare, holm
from melt_ser.evaluation.results import POOLED
from melt_ser.reporting.overview import SystemScore, collect_runs, system_scores
from melt_ser.reporting.scores import is_whole
from melt_ser.reporting.utterances import read_answers

MOST_COMPARISONS = 200  # each takes a bootstrap, and with more of them Holm's correction leaves few differences
COMPARISON_COLUMNS = (
    *("tested_on", "answer_set", "best", "best_train", "system", "train"),
    *("difference", "low", "high", "p", "mcnemar_p", "units"),
)
MARKS = ((0.01, "‡"), (0.05, "†"))  # corrected p-value up to which a system is marked as below the best


class ScoredSet(NamedTuple):
    """The test data and classes that scores must share to stand in one column."""

    corpus: str
    split: str  # "" for the whole corpus
    fold: str  # "" unless it is a single fold of the corpus
    classes: str
    n: int
    digest: str

    @staticmethod
    def of(score: SystemScore) -> ScoredSet:
        row = score.rows[0]
        whole = row.split == "all" or row.fold == POOLED or score.summary.over == "fold"
        own_fold = score.corpus == score.train and not whole and isinstance(row.fold, int)
        n = sum(row.n for row in score.rows) if score.summary.over == "fold" else row.n
        classes = " ".join(sorted(row.classes))
        return ScoredSet(
            row.corpus,
            "" if whole else row.split,
            str(row.fold) if own_fold else "",
            classes,
            n,
            row.digest,
        )


@dataclass
class Cell:
    """A score in its column, with its comparison with the best score of the column."""

    score: SystemScore
    best: bool = False
    compared_with: SystemScore | None = None  # the best of the column; of several equally good ones, the first
    comparison: Comparison | None = None  # of `compared_with` with this score
    p: float | None = None  # the corrected p-value of the comparison

    @property
    def mark(self) -> str:
        return next((mark for level, mark in MARKS if self.p is not None and self.p <= level), "")


@dataclass
class Matrix:
    """Cells by (system, training corpus) and test set; `columns` has the readable name of each test set."""

    answer_set: str
    columns: dict[ScoredSet, str]
    rows: dict[tuple[str, str], dict[ScoredSet, Cell]]
    notes: list[str]

    @property
    def cells(self) -> list[Cell]:
        return [cell for row in self.rows.values() for cell in row.values()]

    def column_of(self, cell: Cell) -> str:
        """Return the name of a cell's column."""
        return self.columns[ScoredSet.of(cell.score)]


def compare_runs(folders: list[Path]) -> pd.DataFrame:
    """Return a row of COMPARISON_COLUMNS for each system below the best one (`best`) of a test set.

    Both systems answered the same utterances, so their answers are paired. `difference` is the lead of the best in UA,
    0 to 1, with its 95 % interval `low` to `high`. `p` comes from a bootstrap over `units` (speakers, or utterances
    if speakers are not known), with Holm's correction over the comparisons of an answer set. McNemar's test,
    `mcnemar_p`, takes utterances as independent. Raises SetupError if a folder is missing.
    """
    rows = []
    for matrix in matrices(system_scores(collect_runs(folders).runs)):
        for note in matrix.notes:
            say(f"note: {note}")
        for cell in matrix.cells:
            ahead, behind, compared = cell.compared_with, cell.score, cell.comparison
            if ahead is not None and compared is not None:
                names = (ahead.system, ahead.train, behind.system, behind.train)
                rows.append(
                    (
                        *(matrix.column_of(cell), matrix.answer_set, *names),
                        *(compared.difference, *compared.interval, cell.p, compared.mcnemar_p, compared.units),
                    )
                )
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def matrices(scores: list[SystemScore]) -> list[Matrix]:
    """Return a matrix for each answer set, closed and open, or one matrix "closed = open" if they are the same."""
    answer_sets: dict[str, tuple[str, ...]]
    if any(score.answer_set == "open" for score in scores):
        answer_sets = {"closed": ("closed", "closed = open"), "open": ("open", "closed = open")}
    else:
        answer_sets = {"closed = open": ("closed = open",)}
    return [
        _matrix(answer_set, [score for score in scores if score.answer_set in chosen])
        for answer_set, chosen in answer_sets.items()
    ]


def _matrix(answer_set: str, scores: list[SystemScore]) -> Matrix:
    by_column: dict[ScoredSet, list[Cell]] = defaultdict(list)
    for key, score in _of_each_system(scores):
        by_column[key].append(Cell(score))
    names = _column_names(list(by_column))
    columns = {key: names[key] for key in sorted(by_column, key=names.__getitem__)}
    for cells in by_column.values():
        cells.sort(key=lambda cell: -cell.score.summary.mean["ua"])
        for cell in cells:
            cell.best = len(cells) > 1 and cell.score.summary.mean["ua"] == cells[0].score.summary.mean["ua"]
    notes = _compare(list(by_column.values()))
    rows: dict[tuple[str, str], dict[ScoredSet, Cell]] = defaultdict(dict)
    for key in columns:
        for cell in by_column[key]:
            rows[cell.score.system, cell.score.train][key] = cell
    return Matrix(answer_set, columns, dict(sorted(rows.items())), notes)


def _of_each_system(scores: list[SystemScore]) -> list[tuple[ScoredSet, SystemScore]]:
    """Return one score of each system on each test set: that of all its folds rather than of one, and of most runs."""
    chosen: dict[tuple[str, ScoredSet], SystemScore] = {}
    for score in sorted(scores, key=lambda score: (is_whole(score), score.summary.count)):
        chosen[score.key, ScoredSet.of(score)] = score
    return [(key, score) for (_, key), score in chosen.items()]


def _column_names(keys: list[ScoredSet]) -> dict[ScoredSet, str]:
    """Name each test set after its corpus; add the features that tell several test sets of a corpus apart."""
    names = {}
    for key in keys:
        alike = [other for other in keys if other.corpus == key.corpus]
        features = {
            "fold": f"fold {key.fold}" if key.fold else "",
            "split": key.split,
            "classes": f"{len(key.classes.split())} classes ({key.classes})",
            "n": f"n = {key.n}",
            "digest": f"table {key.digest[:6]}",
        }
        parts = [key.corpus]
        for field, text in features.items():
            same = [other for other in alike if getattr(other, field) == getattr(key, field)]
            parts += [text] if text and len(same) < len(alike) else []
            alike = same
        names[key] = ", ".join(parts)
    return names


def _compare(columns: list[list[Cell]]) -> list[str]:
    """Compare each system with the best of its column; return a sentence for each that could not be compared."""
    pairs = [(cells[0], other) for cells in columns for other in cells[1:]]
    if len(pairs) > MOST_COMPARISONS:
        return [
            f"Significance is not marked: {len(pairs)} comparisons are more than {MOST_COMPARISONS}; report fewer runs."
        ]
    notes = []
    for best, other in pairs:
        try:
            other.comparison = _comparison(best.score, other.score)
            other.compared_with = best.score
        except InputError as error:
            reason = " ".join(str(error).split())
            notes.append(f"{other.score.system} on {other.score.corpus} is not compared with the best: {reason}")
    compared = [(cell, cell.comparison.bootstrap_p) for _, cell in pairs if cell.comparison is not None]
    for (cell, _), p in zip(compared, holm([p for _, p in compared]), strict=True):
        cell.p = p
    return notes


def _comparison(best: SystemScore, other: SystemScore) -> Comparison:
    repeats = list(zip(_answers(best), _answers(other), strict=False))  # as many seeds as both have
    first, second = (_stacked([pair[side] for pair in repeats]) for side in (0, 1))
    row = best.rows[0]
    groups = None if first["group"].is_unique else first["group"]
    return compare(first.drop(columns="group"), second.drop(columns="group"), groups, row.classes)


def _answers(score: SystemScore) -> list[pd.DataFrame]:
    """Return the predictions of a score with their `group`: a table for each seed and model, or one of all folds."""
    tables = [table for run, row in zip(score.runs, score.rows, strict=True) for table in read_answers(run, row)]
    return [pd.concat(tables, ignore_index=True)] if score.summary.over == "fold" else tables


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Stack the predictions of several seeds; add the number of the seed to the name of each utterance."""
    named = [table.assign(utterance=table["utterance"] + f"@{number}") for number, table in enumerate(tables)]
    return pd.concat(named, ignore_index=True)
