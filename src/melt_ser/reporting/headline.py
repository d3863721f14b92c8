"""Say which system is best on each test corpus, by how much, and how sure that is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from melt_ser.core.counting import counted
from melt_ser.corpora.sentences import sentences_read
from melt_ser.evaluation.metrics import percent
from melt_ser.evaluation.results import training_of
from melt_ser.reporting.matrix import Cell, Matrix, ScoredSet
from melt_ser.reporting.scores import (
    METRIC,
    above_chance,
    chance,
    corpus_names,
    seeds,
    tested_part,
    with_interval,
)

WHOLE = "whole corpus"
SURE = 0.05  # a lead with a p-value up to this is significant


@dataclass(frozen=True)
class TestSet:
    """The cells of one test set, the best first.

    `main` are two sets of a corpus: all of it, and the one that most systems were tested on.
    """

    __test__ = False  # pytest would take it for a test by its name

    corpus: str
    part: str  # "fold 1", or "whole corpus"
    detail: str  # "fold 1, 4 classes, 39 utterances"; first the table, if several have the name of the corpus
    main: bool
    cells: list[Cell]
    several_trainings: bool  # whether systems of the report were trained on different corpora

    def name_of(self, cell: Cell) -> str:
        """Return the name of a system, with its training corpus if the report has several, or if it is not known."""
        score = cell.score
        is_told = self.several_trainings or score.is_published
        return f"{score.system} ({training_of(score.train)})" if is_told else score.system

    @property
    def classes(self) -> str:
        """Return the classes, as in "angry, happy, neutral, sad"."""
        return ", ".join(self.best.score.rows[0].classes)

    @property
    def best(self) -> Cell:
        return self.cells[0]

    @property
    def rank(self) -> str:
        return "Best" if len(self.cells) > 1 else "Only system"

    @property
    def lead(self) -> str:
        """Return how far the best is ahead of the second, and how sure that is; "" without a second one."""
        if len(self.cells) == 1:
            return ""
        second = self.cells[1]
        ahead = self.best.score.summary.mean[METRIC] - second.score.summary.mean[METRIC]
        if ahead == 0:
            return f"as good as {self.name_of(second)}"
        points = f"{100 * ahead:.1f}" if ahead >= 0.0005 else "less than 0.1"
        lead = f"{points} points ahead of {self.name_of(second)}"
        if second.p is None or second.comparison is None:
            return f"{lead} (not tested)"
        of_folds = self.best.score.is_over_own_folds or second.score.is_over_own_folds
        if of_folds and second.comparison.difference <= 0:
            return f"{lead} by the mean over folds, but not by all their answers together"
        tested = f"({p_value(second.p)}, over {second.comparison.units} {second.comparison.unit}s)"
        return f"{lead} {tested}" if second.is_below(SURE) else f"{lead}, not significantly {tested}"

    @property
    def against_chance(self) -> str:
        level = chance(self.best.score.rows[0])
        if level is None:
            return "chance is not known"
        above = above_chance(self.best.score)
        return f"chance {percent(level)}" if above else f"not clearly above chance ({percent(level)})"

    @property
    def sure(self) -> bool:
        """Return whether the best is significantly ahead of the second and above chance, and there is no caution."""
        is_ahead = len(self.cells) > 1 and self.cells[1].is_below(SURE)
        return is_ahead and bool(above_chance(self.best.score)) and not self.caution

    @property
    def caution(self) -> str:
        """Return why the best says nothing about emotion: it reads words, and speakers read sentences; "" otherwise."""
        notes = [note for run in self.best.score.runs for note in run.result.warnings]
        sentences = sentences_read(notes, self.corpus)
        return f"What the words give it says nothing about emotion: the speakers read {sentences}." if sentences else ""

    @property
    def figure(self) -> str:
        """Return the UA of the best with its interval, and the number of seeds of a mean."""
        many = seeds(self.best.score)
        return with_interval(self.best.score) + (f" (mean of {many})" if many else "")

    @property
    def sentence(self) -> str:
        found = f"{self.name_of(self.best)}, UA {self.figure}"
        told = "; ".join(filter(None, [found, self.lead, self.against_chance]))
        return f"{self.rank} on {self.corpus} ({self.detail}): {told}." + (f" {self.caution}" if self.caution else "")


def p_value(p: float) -> str:
    """Return a p-value as text.

    >>> p_value(0.0312), p_value(0.0002)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def test_sets(matrix: Matrix) -> list[TestSet]:
    """Return the test sets of a matrix by corpus: its main sets first, and a whole corpus before its parts."""
    cells: dict[ScoredSet, list[Cell]] = defaultdict(list)
    for row in matrix.rows.values():
        for key, cell in row.items():
            cells[key].append(cell)
    by_corpus: dict[tuple[str, str], list[ScoredSet]] = defaultdict(list)
    for key in cells:
        by_corpus[key.corpus, key.digest].append(key)
    several = len({cell.score.train for cell in matrix.cells}) > 1
    found = []
    names = corpus_names(by_corpus)
    for corpus, keys in sorted(by_corpus.items()):
        keys.sort(key=lambda key: (-len(cells[key]), -key.n, key))
        wholes = [key for key in keys if _part(key, cells[key]) == WHOLE]
        for key in keys:
            ranked = sorted(cells[key], key=lambda cell: -cell.score.summary.mean[METRIC])
            part = _part(key, ranked)
            table = names[corpus].removeprefix(corpus[0]).removeprefix(", ")
            numbers = f"{counted(len(key.classes), 'class', 'classes')}, {counted(key.n, 'utterance')}"
            detail = ", ".join(filter(None, [table, part, numbers]))
            main = key in (keys[0], *wholes[:1])
            found.append(TestSet(corpus[0], part, detail, main, ranked, several))
    return sorted(found, key=lambda one: (one.corpus, not one.main, one.part != WHOLE, -len(one.cells)))


test_sets.__test__ = False  # type: ignore[attr-defined]


def _part(key: ScoredSet, cells: list[Cell]) -> str:
    if key.fold or key.split:
        return f"fold {key.fold}" if key.fold else key.split
    some_folds = all(cell.score.is_over_own_folds for cell in cells)  # they may not be all folds of the corpus
    return tested_part(cells[0].score) if some_folds else WHOLE
