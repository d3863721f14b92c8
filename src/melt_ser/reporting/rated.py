"""The scores of attributes and of distributions of votes in a report: one row for each system and test set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev

from melt_ser.evaluation.metrics import METRICS, percent
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, RatingMetric
from melt_ser.evaluation.rating_scores import DISTRIBUTION
from melt_ser.evaluation.results import ENSEMBLE, RatingScore
from melt_ser.evaluation.summary import mean_interval
from melt_ser.reporting.collect import Run
from melt_ser.reporting.scores import Corpus, corpus_names
from melt_ser.reporting.systems import system_names
from melt_ser.runs.rating_rows import CLASS
from melt_ser.runs.rating_table import ATTRIBUTES_MEANING, VOTES_MEANING, metrics_of, rating_legend, shown

ONE_RATER = ("tested on", "of", "utterances", "one rater")
ONE_RATER_MEANING = (
    "What one rater scores against the others, as far as an utterance has three raters or more: a label against the "
    "class that most of the others chose (none if that is a tie), a number against their mean. UA and WA in %."
)
LABELS = {
    **{name: metric.label for name, metric in METRICS.items()},
    **{name: metric.label for name, metric in ATTRIBUTE_METRICS.items()},
}
MARKS_MEANING = " † ‡: worse than the best of the same training corpus and test data at p < 0.05, 0.01."
HEAD = ("system", "trained on", "tested on", "of", "n")


@dataclass(frozen=True)
class RatedSystem:
    """A system's scores of one attribute, of their mean, or of a distribution: one row of each of its seeds."""

    system: str
    train: str
    runs: list[Run]
    rows: list[RatingScore]
    corpus: str  # that was tested; if several tables have its name, with the beginning of the digest
    mark: str = ""  # of `rated_pairs`: significantly below the best of its test set

    @property
    def first(self) -> RatingScore:
        """Return the row of the first seed."""
        return self.rows[0]

    @property
    def metrics(self) -> dict[str, RatingMetric]:
        """Return the metrics of the row, by their names."""
        return metrics_of(self.first)

    @property
    def tested_on(self) -> str:
        """Return the corpus, with the split if it is not test, and a single fold: of another corpus, the model's."""
        fold, is_own = self.first.fold, self.first.corpus == self.train
        of_model = f", model of fold {fold}" if isinstance(fold, int) and not is_own else ""
        return _tested_on(self.first, self.corpus, is_own) + of_model

    @property
    def over(self) -> str:
        """Return the number of seeds or models of a mean; "" for a single model."""
        if len(self.rows) > 1:
            return f"{len(self.rows)} seeds"
        return f"{self.first.models} models" if self.first.models > 1 else ""

    @property
    def cells(self) -> list[str]:
        """Return the texts of HEAD, and of each metric; the first one has the mark."""
        ranked, *others = (shown(self.mean, name, metric) for name, metric in self.metrics.items())
        value, bracket, interval = ranked.partition(" [")
        number = f"{self.first.n:,}, {self.over}" if self.over else f"{self.first.n:,}"
        return [
            *(self.system, self.train, self.tested_on, self.first.of, number),
            *(value + self.mark + bracket + interval, *others),
        ]

    @cached_property
    def mean(self) -> RatingScore:
        """Return the mean over the seeds as a row; the interval is the mean of theirs."""
        if len(self.rows) == 1:
            return self.first
        values: dict[str, float | None] = {}
        spread: dict[str, float] = {}
        for name in self.metrics:
            known = [value for row in self.rows if (value := row.values.get(name)) is not None]
            whole = len(known) == len(self.rows)
            values[name] = fmean(known) if whole else None
            spread |= {name: stdev(known)} if whole else {}
        bounds = {name: mean_interval([row.ci95.get(name) for row in self.rows]) for name in self.metrics}
        first, notes = self.first, dict.fromkeys(row.interval_note for row in self.rows if row.interval_note)
        return RatingScore(
            corpus=first.corpus, split=first.split, fold=first.fold, of=first.of, n=first.n, values=values, ci95=bounds,
            ci_unit=first.ci_unit, interval_note=" ".join(notes), spread=spread,
        )  # fmt: skip


def rated_systems(runs: Sequence[Run]) -> list[RatedSystem]:
    """Return the scores of every system on every test set, the best first; ensembles of folds are left out."""
    names = system_names(list(runs))
    alike: dict[tuple[str, ...], list[tuple[Run, RatingScore]]] = defaultdict(list)
    for run in runs:
        for row in run.result.whole_ratings():
            if row.fold != ENSEMBLE:
                alike[run.system, row.corpus, row.digest, row.split, str(row.fold), row.of].append((run, row))
    tables_of: dict[str, dict[Corpus, None]] = defaultdict(dict)  # by attribute: a digest covers the ratings too
    for _, corpus, digest, _, _, of in alike:
        tables_of[of][corpus, digest] = None
    corpora = {of: corpus_names(found) for of, found in tables_of.items()}
    systems = []
    for (key, corpus, digest, _, _, of), pairs in alike.items():
        seeds = [run for run, _ in pairs], [row for _, row in pairs]
        systems.append(RatedSystem(names[key], seeds[0][0].result.train.corpus, *seeds, corpora[of][corpus, digest]))
    return sorted(systems, key=_rank)


def one_rater(runs: Sequence[Run]) -> list[list[str]]:
    """Return the cells of ONE_RATER: the scores of one rater against the others on each test set, each once."""
    found: dict[tuple[str, ...], None] = {}
    for run in runs:
        for row in run.result.one_rater:
            shown_values = [
                f"{LABELS[name]} {percent(value) if row.of == CLASS else f'{value:.3f}'}"
                for name, value in row.values.items()
                if value is not None
            ]
            tested_on = _tested_on(row, row.corpus, row.corpus == run.result.train.corpus)
            found[tested_on, row.of, f"{row.n:,}", ", ".join(shown_values)] = None
    return [list(cells) for cells in found]


def _tested_on(row: RatingScore, corpus: str, is_own: bool) -> str:
    split = "" if row.split in ("test", "all") else f" ({row.split})"
    fold = f", fold {row.fold}" if isinstance(row.fold, int) and is_own else ""
    return f"{corpus}{split}{fold}"


def _rank(system: RatedSystem) -> tuple[str, bool, str, float, str]:
    """Return a sort key: test set, the mean after single attributes, then the best system first."""
    name = next(iter(system.metrics))
    value = system.mean.values[name]
    best_first = math.inf if value is None else value if system.first.of == DISTRIBUTION else -value
    return system.tested_on, system.first.of == "mean", system.first.of, best_first, system.system


def tables(systems: Sequence[RatedSystem]) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """Return title, meaning, columns and rows of the table of attributes and of that of votes, if there are rows."""
    found = []
    for title, meaning, is_distribution in (
        ("Attributes", ATTRIBUTES_MEANING, False),
        ("Shares of the votes", VOTES_MEANING, True),
    ):
        rows = [system for system in systems if (system.first.of == DISTRIBUTION) == is_distribution]
        if rows:
            columns = [*HEAD, *(metric.label for metric in rows[0].metrics.values())]
            meaning += MARKS_MEANING if any(row.mark for row in rows) else ""
            meaning = " ".join([meaning, *rating_legend([row for system in rows for row in system.rows])])
            found.append((title, meaning, columns, [system.cells for system in rows]))
    return found
