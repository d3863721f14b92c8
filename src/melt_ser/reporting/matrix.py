"""Systems by test sets: the best of each column, and which others are significantly below it.

Systems are compared where they answered the same utterances with the same classes: paired, by the bootstrap of
`evaluation.comparison`, Holm-corrected over all comparisons of the table. Of several seeds as many are paired as both
have; all answers on what a speaker said (on one utterance, where speakers are not known) are resampled together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.comparison import Comparison, compare, holm
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.predictions import read_groups, read_predictions

MOST_COMPARISONS = 200  # each reads predictions and resamples them, and Holm's correction leaves little of more
MARKS = ((0.01, "‡"), (0.05, "†"))  # corrected p-value up to which a system is marked as below the best


class ScoredSet(NamedTuple):
    """What systems share whose figures may stand in one column."""

    corpus: str
    split: str  # "" for the whole corpus
    fold: str  # "" unless it is a single fold of the corpus
    classes: str
    n: int
    digest: str

    @staticmethod
    def of(score: SystemScore) -> ScoredSet:
        row = score.rows[0]
        whole = row.split == "all" or row.fold == "all" or score.summary.over == "fold"
        own_fold = score.corpus == score.train and not whole and isinstance(row.fold, int)
        n = sum(one.n for one in score.rows) if score.summary.over == "fold" else row.n
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
    """A score in its column: whether it is the best there, and how it compares with the best."""

    score: SystemScore
    best: bool = False
    comparison: Comparison | None = None  # of the best system with this one
    p: float | None = None  # of the comparison, corrected

    @property
    def mark(self) -> str:
        return next((mark for level, mark in MARKS if self.p is not None and self.p <= level), "")


@dataclass
class Matrix:
    """Cells by (system, training corpus) and test set; `columns` are the test sets with names for people."""

    answer_set: str
    columns: dict[ScoredSet, str]
    rows: dict[tuple[str, str], dict[ScoredSet, Cell]]
    notes: list[str]

    @property
    def cells(self) -> list[Cell]:
        return [cell for row in self.rows.values() for cell in row.values()]

    def column_of(self, cell: Cell) -> str:
        """The name of a cell's column."""
        return self.columns[ScoredSet.of(cell.score)]


def matrices(system_scores: list[SystemScore]) -> list[Matrix]:
    """Return the matrix of the answer set `closed`, and that of `open` if they differ anywhere."""
    answer_sets: dict[str, tuple[str, ...]]
    if any(score.answer_set == "open" for score in system_scores):
        answer_sets = {"closed": ("closed", "closed = open"), "open": ("open", "closed = open")}
    else:
        answer_sets = {"closed = open": ("closed = open",)}
    return [
        _matrix(answer_set, [score for score in system_scores if score.answer_set in chosen])
        for answer_set, chosen in answer_sets.items()
    ]


def _matrix(answer_set: str, system_scores: list[SystemScore]) -> Matrix:
    by_column: dict[ScoredSet, list[Cell]] = defaultdict(list)
    for score in system_scores:
        by_column[ScoredSet.of(score)].append(Cell(score))
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


def _column_names(keys: list[ScoredSet]) -> dict[ScoredSet, str]:
    """The corpus, and where it has several test sets what sets them apart."""
    names = {}
    for key in keys:
        alike = [other for other in keys if other.corpus == key.corpus]
        told = {
            "fold": f"fold {key.fold}" if key.fold else "",
            "split": key.split,
            "classes": f"{len(key.classes.split())} classes ({key.classes})",
            "n": f"n = {key.n}",
            "digest": f"table {key.digest[:6]}",
        }
        parts = [key.corpus]
        for field, text in told.items():
            same = [other for other in alike if getattr(other, field) == getattr(key, field)]
            parts += [text] if text and len(same) < len(alike) else []
            alike = same
        names[key] = ", ".join(parts)
    return names


def _compare(columns: list[list[Cell]]) -> list[str]:
    """Compare each system with the best of its column; returns what could not be compared, as sentences."""
    pairs = [(cells[0], other) for cells in columns for other in cells[1:]]
    if len(pairs) > MOST_COMPARISONS:
        return [
            f"Significance is not marked: {len(pairs)} comparisons are more than {MOST_COMPARISONS}; report fewer runs."
        ]
    notes = []
    for best, other in pairs:
        try:
            other.comparison = _comparison(best.score, other.score)
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
    """The predictions of a score with the `group` of each: one table a seed, or one of all its folds together."""
    tables = []
    for run, row in zip(score.runs, score.rows, strict=True):
        table = read_predictions(run, row)
        tables.append(table.assign(group=read_groups(run, row, table["utterance"])))
    return [pd.concat(tables, ignore_index=True)] if score.summary.over == "fold" else tables


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Several seeds' predictions one below the other, each utterance named after its seed too."""
    named = [table.assign(utterance=table["utterance"] + f"@{number}") for number, table in enumerate(tables)]
    return pd.concat(named, ignore_index=True)
