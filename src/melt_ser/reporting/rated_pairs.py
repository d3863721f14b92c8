"""Compare systems by their CCC of each attribute and of the mean, or by the KL of distributions.

As for UA (`significance`), the best system of a test set is found on the same data. So all pairs of systems are tested
and corrected together, and the comparisons with the best are kept. Systems are compared if they have the same training
corpus, test set and attributes, on the utterances that both answered.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.comparison import holm
from melt_ser.evaluation.evaluation_sets import SHARE
from melt_ser.evaluation.metrics import Floats, p_text
from melt_ser.evaluation.rating_comparison import RatingDifference, compare_ratings
from melt_ser.evaluation.rating_scores import DISTRIBUTION, MEAN_OF_ATTRIBUTES
from melt_ser.evaluation.results import Fold
from melt_ser.reporting.matrix import MARKS
from melt_ser.reporting.rated import RatedSystem
from melt_ser.reporting.significance import MOST_COMPARISONS
from melt_ser.reporting.utterances import by_model
from melt_ser.runs.predictions import REFERENCE, numbers_in, read_prediction_table

COLUMNS = ("system", "trained on", "tested on", "of", "best", "utterances", "difference", "p", "units")
NUMBERS = ("utterances", "difference", "p")
Read = Callable[[Path, Fold], list[pd.DataFrame]]  # `_answers`
MEANING = (
    "The best on the test data minus this system, in CCC, or in KL for shares of votes, with its 95 % interval by a "
    "paired jackknife, which leaves out each unit in turn, on the utterances that both answered. All pairs of systems "
    "with the same training corpus, test data and attribute are tested, and p is corrected over all of them (Holm)."
)


@dataclass(frozen=True)
class RatedPair:
    """A comparison of the best system of a test set with another one; `p` is corrected over all pairs."""

    best: RatedSystem
    system: RatedSystem
    difference: RatingDifference
    p: float

    @property
    def mark(self) -> str:
        """Return † or ‡ if the system is significantly worse than the best on their utterances, otherwise ""."""
        lead = self.difference.difference * (-1 if self.system.first.of == DISTRIBUTION else 1)  # the best KL is low
        return next((mark for level, mark in MARKS if self.p <= level and lead > 0), "")

    @property
    def cells(self) -> list[str]:
        """Return the texts of COLUMNS."""
        found, system = self.difference, self.system
        bounds = f" [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}]" if found.interval else ""
        names = (system.system, system.train, system.tested_on, system.first.of, self.best.system)
        shown = (f"{found.n:,}", f"{found.difference:+.3f}{bounds}", p_text(self.p), f"{found.units} {found.unit}s")
        return [*names, *shown]


@dataclass
class RatedPairs:
    """The comparisons with the best systems, and a sentence for each pair that could not be compared."""

    pairs: list[RatedPair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def marked(self, systems: Sequence[RatedSystem]) -> list[RatedSystem]:
        """Return the systems with their marks."""
        marks = {_key(pair.system): pair.mark for pair in self.pairs}
        return [replace(system, mark=marks.get(_key(system), "")) for system in systems]


def _key(system: RatedSystem) -> tuple[str, ...]:
    row = system.first
    return system.runs[0].system, row.corpus, row.digest, row.split, str(row.fold), row.of


def compare_rated(systems: Sequence[RatedSystem]) -> RatedPairs:
    """Compare systems of `rated_systems`, the best first."""
    alike: dict[tuple[str, ...], list[RatedSystem]] = defaultdict(list)
    for system in systems:
        row, train = system.first, system.runs[0].result.train
        attributes = " ".join(train.scales) if row.of == MEAN_OF_ATTRIBUTES else ""
        alike[train.corpus, row.corpus, row.digest, row.split, str(row.fold), row.of, attributes].append(system)
    found = RatedPairs()
    number = sum(math.comb(len(group), 2) for group in alike.values())
    if number > MOST_COMPARISONS:
        found.notes.append(
            f"Attributes and votes are not compared: {number:,} pairs of systems are more than {MOST_COMPARISONS:,}; "
            "report fewer runs."
        )
        return found
    read = cache(_answers)  # a file has every attribute of a system
    tested = [pair for group in alike.values() if len(group) > 1 for pair in _tested(group, read, found.notes)]
    corrected = holm([pair.p for pair, _ in tested])
    found.pairs = [replace(pair, p=p) for (pair, has_best), p in zip(tested, corrected, strict=True) if has_best]
    return found


def _tested(group: Sequence[RatedSystem], read: Read, notes: list[str]) -> list[tuple[RatedPair, bool]]:
    """Return the pairs of a group, their p not yet corrected, and whether the first of the group is in the pair."""
    answers: list[list[pd.DataFrame] | None] = []
    for system in group:
        try:
            runs = zip(system.runs, system.rows, strict=True)
            answers.append([table for run, row in runs for table in read(run.folder / row.predictions, row.fold)])
        except InputError as error:
            answers.append(None)
            notes.append(f"{system.system} on {system.tested_on} is not compared by its {system.first.of}: {error}")
    pairs = []
    for first, second in combinations(range(len(group)), 2):
        one, other = answers[first], answers[second]
        if one is None or other is None:
            continue
        try:
            difference = _difference(group[first], one, other)
        except InputError as error:
            names = f"{group[first].system} and {group[second].system} on {group[first].tested_on}"
            notes.append(f"{names} are not compared by their {group[first].first.of}: {error}")
            continue
        pairs.append((RatedPair(group[first], group[second], difference, difference.p), first == 0))
    return pairs


def _answers(path: Path, fold: Fold) -> list[pd.DataFrame]:
    """Return the predictions of each model in a file, by utterance; InputError if it is not sound."""
    table = read_prediction_table(path, (), fold)
    return [of_model.set_index("utterance", drop=False) for of_model in by_model(table, fold)]


def _difference(system: RatedSystem, one: list[pd.DataFrame], other: list[pd.DataFrame]) -> RatingDifference:
    """Compare the answers of two systems; InputError if they cannot be compared."""
    common = one[0].index
    for table in (*one[1:], *other):
        common = common.intersection(table.index)
    if common.empty:
        raise InputError("they were tested on no utterance in common.")
    first, second = ([_ratings(system, table.loc[common]) for table in tables] for tables in (one, other))
    references = first[0][0]
    for name, values in references.items():
        if not np.array_equal(values, second[0][0][name], equal_nan=True):
            raise InputError("they were tested against other ratings.")
    mine, theirs = ([predictions for _, predictions in answers] for answers in (first, second))
    speakers = one[0].loc[common, "speaker"] if "speaker" in one[0] else None
    return compare_ratings(next(iter(system.metrics.values())), references, mine, theirs, speakers)


def _ratings(system: RatedSystem, table: pd.DataFrame) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the references and the predictions of a table that a row of a system is over."""
    train, of = system.runs[0].result.train, system.first.of
    if of == DISTRIBUTION:
        shares, classes = [SHARE + name for name in train.classes], list(train.classes)
        return {of: numbers_in(table, shares)}, {of: numbers_in(table, classes)}
    names = [name for name in train.scales if name + REFERENCE in table] if of == MEAN_OF_ATTRIBUTES else [of]
    references = {name: numbers_in(table, [name + REFERENCE])[:, 0] for name in names}
    return references, {name: numbers_in(table, [name])[:, 0] for name in names}
