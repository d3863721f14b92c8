"""Arrange the cells of a matrix as small tables with one column for each test corpus.

A method that was trained on several corpora has a table of its own: a row and a column for each training corpus, so
that the diagonal is the own corpus, then a column for each other test corpus. All other systems stand below each
other in a table for their training corpus. If a system has several scores on a corpus, the one on the most data is
shown, and each cell says its data.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from melt_ser.core.counting import counted
from melt_ser.evaluation.metrics import percent
from melt_ser.evaluation.results import ELSEWHERE, training_of
from melt_ser.reporting.matrix import Cell, Matrix
from melt_ser.reporting.scores import METRIC, Corpus, above_chance, chance, corpus_names, is_whole, seeds, tested_part
from melt_ser.reporting.systems import method_of


@dataclass
class Block:
    """A small table: cells by row and test corpus. `columns` has the name and the chance level of each corpus.

    `method` is the method of a square table, and rows are its training corpora. It is "" if rows are systems that were
    trained on the corpus `train`, with the label set `labels`.
    """

    method: str
    train: str
    labels: str  # "" if all runs have the same
    columns: dict[Corpus, tuple[str, str]]
    rows: dict[str, dict[Corpus, Cell]]

    @property
    def title(self) -> str:
        return self.method or training_of(self.train) + (f", labels {self.labels}" if self.labels else "")

    @property
    def row_head(self) -> str:
        return "trained on" if self.method else "system"

    def is_own(self, row: str, corpus: Corpus) -> bool:
        """Return whether a cell is on the training corpus of its row."""
        cell = self.rows[row].get(corpus)
        return cell is not None and cell.score.corpus == cell.score.train

    @cached_property
    def seeds(self) -> str:
        """Return "2 seeds" if every cell is a mean over two seeds, and so on; "" if cells differ."""
        return _shared({seeds(cell.score) for cells in self.rows.values() for cell in cells.values()})

    @cached_property
    def _columns(self) -> dict[Corpus, tuple[str, bool]]:
        """The part that all cells of a column share, and whether they have different numbers of classes."""
        found = {}
        for corpus in self.columns:
            scores = [cells[corpus].score for cells in self.rows.values() if corpus in cells]
            several = len({len(score.rows[0].classes) for score in scores}) > 1
            found[corpus] = _shared({tested_part(score) for score in scores}), several
        return found

    def part(self, corpus: Corpus) -> str:
        """Return the part of a corpus that all cells of its column are over; "" if cells differ."""
        return self._columns[corpus][0]

    def data(self, cell: Cell) -> str:
        """Return what a cell is over, as far as it differs from other cells: "fold 1, 2 seeds, 4 classes"."""
        row = cell.score.rows[0]
        part, several = self._columns[cell.score.corpus, row.digest]
        told = [
            "" if part else tested_part(cell.score),
            "" if self.seeds else seeds(cell.score),
            counted(len(row.classes), "class", "classes") if several else "",
        ]
        return ", ".join(filter(None, told))


def blocks_of(matrix: Matrix, methods: dict[str, str]) -> list[Block]:
    """Return the small tables of a matrix, square ones first; `methods` has the names that `method_names` returns."""
    rows: dict[tuple[str, str, str], dict[Corpus, Cell]] = defaultdict(dict)
    trainings: dict[str, set[str]] = defaultdict(set)
    for cell in sorted(matrix.cells, key=lambda cell: (is_whole(cell.score), cell.score.n)):
        score = cell.score
        method = methods[method_of(score.key)]
        trainings[method].add(score.train)
        rows[method, score.system, score.train][score.corpus, score.rows[0].digest] = cell  # the last is on most data
    several = len({_labels(cell) for cell in matrix.cells if not cell.score.is_published}) > 1
    parts: dict[tuple[str, str, str], list[tuple[str, dict[Corpus, Cell]]]] = defaultdict(list)
    for (method, system, train), cells in sorted(rows.items(), key=lambda item: item[0]):
        if len(trainings[method]) > 1:
            data = system.removeprefix(method)  # settings of the data, if other rows have the same training corpus
            parts[method, "", ""].append((f"{train}{data}", cells))
        else:
            labels = _labels(next(iter(cells.values())))
            is_told = several and train != ELSEWHERE
            parts["", train, labels if is_told else ""].append((system, cells))
    ordered = sorted(parts.items(), key=lambda item: (not item[0][0], item[0]))
    trained = {cell.score.train for cell in matrix.cells}
    return [Block(*kind, _columns(members, trained), dict(members)) for kind, members in ordered]


def _labels(cell: Cell) -> str:
    return str(cell.score.runs[0].result.config["labels"].get("name"))


def _columns(members: list[tuple[str, dict[Corpus, Cell]]], trained: set[str]) -> dict[Corpus, tuple[str, str]]:
    corpora = {corpus for _, cells in members for corpus in cells}
    names = corpus_names(corpora)
    columns = {}
    for corpus in sorted(corpora, key=lambda corpus: (corpus[0] not in trained, corpus)):
        levels = {chance(cells[corpus].score.rows[0]) for _, cells in members if corpus in cells}
        shown = " or ".join(map(percent, sorted(level for level in levels if level is not None)))
        columns[corpus] = (names[corpus], shown)
    return columns


def _shared(texts: set[str]) -> str:
    return texts.pop() if len(texts) == 1 else ""


def share(cell: Cell) -> float:
    """Return how dark a cell is: 1 at a UA of 100 %, 0 at chance or below, or if the interval contains chance."""
    if above_chance(cell.score) is False:
        return 0.0
    level = chance(cell.score.rows[0]) or 0.0
    return max(0.0, (cell.score.summary.mean[METRIC] - level) / (1 - level)) if level < 1 else 0.0
