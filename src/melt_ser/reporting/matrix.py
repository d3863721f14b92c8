"""Compare systems by test set: the best of each column, and the others that are significantly below it.

Only systems that answered the same utterances with the same classes are compared (`significance`). The UA of a system
with several seeds is their mean.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import NamedTuple

from melt_ser.core.counting import counted
from melt_ser.evaluation.comparison import Comparison
from melt_ser.evaluation.results import POOLED, EvaluationSummary
from melt_ser.evaluation.summary import summarise
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.scores import is_whole
from melt_ser.reporting.significance import significance

MARKS = ((0.01, "‡"), (0.05, "†"))  # corrected p-value up to which a system is marked as below the best


class ScoredSet(NamedTuple):
    """The test data and classes that scores must share to stand in one column."""

    corpus: str
    split: str  # "" for the whole corpus
    fold: str  # "" unless it is a single fold of the corpus
    classes: tuple[str, ...]  # sorted
    n: int
    digest: str

    @staticmethod
    def of(score: SystemScore) -> ScoredSet:
        row = score.rows[0]
        whole = row.split == "all" or row.fold == POOLED or score.is_over_own_folds
        own_fold = score.corpus == score.train and not whole and isinstance(row.fold, int)
        return ScoredSet(
            row.corpus,
            "" if whole else row.split,
            str(row.fold) if own_fold else "",
            tuple(sorted(row.classes)),
            score.n,
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

    def is_below(self, level: float) -> bool:
        """Return whether the score is significantly below the best: at a p of at most `level`.

        The answers of all folds are tested together. Their order may be another one than that of means over folds.
        """
        if self.p is None or self.comparison is None:
            return False
        return self.p <= level and self.comparison.difference > 0

    @property
    def mark(self) -> str:
        return next((mark for level, mark in MARKS if self.is_below(level)), "")


@dataclass
class Matrix:
    """Cells by (system, training corpus) and test set; `columns` has the readable name of each test set.

    compared: a sentence on the systems that were compared, for below the table; "" if none were.
    notes: a sentence for each system that could not be compared.
    """

    answer_set: str
    columns: dict[ScoredSet, str]
    rows: dict[tuple[str, str], dict[ScoredSet, Cell]]
    notes: list[str]
    compared: str = ""

    @property
    def cells(self) -> list[Cell]:
        return [cell for row in self.rows.values() for cell in row.values()]

    def column_of(self, cell: Cell) -> str:
        """Return the name of a cell's column."""
        return self.columns[ScoredSet.of(cell.score)]


def matrices(scores: list[SystemScore]) -> list[Matrix]:
    """Return a matrix for each answer set, closed and open, or one matrix "closed = open" if they are the same."""
    scores = with_single_folds(scores)
    answer_sets: dict[str, tuple[str, ...]]
    if any(score.answer_set == "open" for score in scores):
        answer_sets = {"closed": ("closed", "closed = open"), "open": ("open", "closed = open")}
    else:
        answer_sets = {"closed = open": ("closed = open",)}
    return [
        _matrix(answer_set, [score for score in scores if score.answer_set in chosen])
        for answer_set, chosen in answer_sets.items()
    ]


def with_single_folds(scores: list[SystemScore]) -> list[SystemScore]:
    """Add the scores that runs of all folds have on those folds that other systems were tested on alone."""
    known = {(score.key, ScoredSet.of(score)) for score in scores}
    folds: dict[tuple[str, str], set[str]] = defaultdict(set)  # by corpus and digest
    for _, key in known:
        if key.fold:
            folds[key.corpus, key.digest].add(key.fold)
    tested = {key for _, key in known}
    added = []
    for score in scores:
        first = score.rows[0]
        for fold in sorted(folds[first.corpus, first.digest]) if first.fold == POOLED else ():
            of_fold = _of_fold(score, fold)
            if of_fold is not None and (key := ScoredSet.of(of_fold)) in tested and (score.key, key) not in known:
                added.append(of_fold)
    return [*scores, *added]


def _of_fold(score: SystemScore, fold: str) -> SystemScore | None:
    """Return the score of a system on one of its folds; None unless each of its runs has that fold."""
    first = score.rows[0]
    found = [
        next((row for row in run.evals if str(row.fold) == fold and _alike(row, first)), None) for run in score.runs
    ]
    rows = [row for row in found if row is not None]
    if len(rows) < len(score.runs):
        return None
    return replace(score, rows=rows, summary=summarise(rows, "seed"))


def _alike(row: EvaluationSummary, other: EvaluationSummary) -> bool:
    keys = ("corpus", "digest", "split", "answer_set")
    return all(getattr(row, key) == getattr(other, key) for key in keys)


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
    compared, notes = _compare(list(by_column.values()))
    rows: dict[tuple[str, str], dict[ScoredSet, Cell]] = defaultdict(dict)
    for key in columns:
        for cell in by_column[key]:
            rows[cell.score.system, cell.score.train][key] = cell
    return Matrix(answer_set, columns, dict(sorted(rows.items())), notes, compared)


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
            "classes": f"{counted(len(key.classes), 'class', 'classes')} ({', '.join(key.classes)})",
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


def _compare(columns: list[list[Cell]]) -> tuple[str, list[str]]:
    """Compare the best of each column with the others; return the sentence `compared` and the notes of a matrix."""
    found = significance([[cell.score for cell in cells] for cells in columns])
    for (column, number), behind in found.behind.items():
        cell = columns[column][number]
        cell.compared_with, cell.comparison, cell.p = behind.best, behind.comparison, behind.p
    return found.compared, found.notes
