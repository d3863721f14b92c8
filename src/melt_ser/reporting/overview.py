"""The rows of a report, one for each evaluation or one for each system, and the text of their numbers.

A system has the mean over its seeds or folds. Metrics are shown in per cent with one decimal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from melt_ser.core.console import say
from melt_ser.evaluation.metrics import METRICS, percent
from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS
from melt_ser.evaluation.results import ELSEWHERE, EvaluationSummary, RatingScore
from melt_ser.evaluation.summary import Summary, summarise
from melt_ser.reporting.collect import CollectedRuns, Run, collect
from melt_ser.reporting.systems import system_names
from melt_ser.runs.table import interval_text, merged

Over = Literal["seed", "fold"]

METRIC_COLUMNS = tuple(
    column
    for name, metric in METRICS.items()
    for column in (name, *((f"{name}_low", f"{name}_high") if metric.has_interval else ()), f"{name}_spread")
)
COLUMNS = (
    *("system", "backbone", "train", "corpus", "split", "fold", "answer_set", "seed", "models", "classes", "n"),
    *("dropped", "chance"),
    *METRIC_COLUMNS,
    *("ci_unit", "interval_note"),
    *("ece", "ece_with_temperature", "overlap", "synthetic", "warnings", "experiment", "seconds", "digest", "weights"),
    *("run", "folder", "command"),
)
RATING_COLUMNS = (
    "of",
    *(
        f"{name}{end}"
        for name in (*ATTRIBUTE_METRICS, *DISTRIBUTION_METRICS)
        for end in ("", "_low", "_high", "_spread")
    ),
)


def collect_runs(folders: list[Path]) -> CollectedRuns:
    """Collect the runs below folders; print a note for each run left out. SetupError if a folder is missing."""
    collected = collect(folders)
    for note in [*collected.unreadable, *collected.copies]:
        say(f"note: {note.folder} is left out: {note.reason}")
    return collected


def read_runs(folders: list[Path]) -> pd.DataFrame:
    """Return the table of `report --format csv`: a row for each finished run, test corpus, fold and answer set.

    Run folders that cannot be read and copies of a run are left out, with a warning. Raises SetupError if a folder is
    missing.
    """
    return overview(collect_runs(folders).runs)


def overview(runs: list[Run]) -> pd.DataFrame:
    """Return a table of COLUMNS with a row for each run, corpus, split, fold and answer set.

    Metrics and bounds of their 95 % intervals are fractions in 0..1. A cell is empty if its value is not known. If a
    run has ratings, they have rows too, and RATING_COLUMNS follow: the attribute ("mean", or "distribution") and its
    metrics.
    """
    names = system_names(runs)
    rows = [_row(run, names[run.system], row) for run in runs for row in run.evals]
    rated = [_rating_row(run, names[run.system], row) for run in runs for row in run.result.ratings]
    return pd.DataFrame(rows + rated, columns=[*COLUMNS, *(RATING_COLUMNS if rated else ())])


def _row(run: Run, system: str, row: EvaluationSummary) -> dict[str, Any]:
    return {
        **_common_cells(run, system, row),
        **{key: getattr(row, key) for key in ("answer_set", "chance", "ece")},
        "classes": ", ".join(row.classes),
        **_metric_cells(row),
        "ece_with_temperature": row.calibration.ece_with_temperature if row.calibration else None,
    }


def _rating_row(run: Run, system: str, row: RatingScore) -> dict[str, Any]:
    cells: dict[str, Any] = {**_common_cells(run, system, row), "of": row.of}
    for name in row.values:
        cells[name], cells[f"{name}_spread"] = row.values[name], row.spread.get(name)
        cells[f"{name}_low"], cells[f"{name}_high"] = row.ci95.get(name) or (None, None)
    return cells


def _common_cells(run: Run, system: str, row: EvaluationSummary | RatingScore) -> dict[str, Any]:
    result = run.result
    return {
        "system": system,
        "backbone": run.backbone,
        "train": result.train.corpus,
        **{key: getattr(row, key) for key in ("corpus", "split", "fold", "digest", "models", "n", "overlap")},
        "seed": result.run.seed,
        "dropped": sum(row.dropped.values()),
        "ci_unit": row.ci_unit,
        "interval_note": row.interval_note,
        "synthetic": bool(result.config["dataset"].get("synthetic")),
        "warnings": len(result.warnings),
        "experiment": result.run.experiment,
        "seconds": result.run.seconds,
        "weights": run.weights,
        "run": result.run.id,
        "folder": str(run.folder),
        "command": run.command,
    }


def _metric_cells(row: EvaluationSummary) -> dict[str, float | None]:
    cells: dict[str, float | None] = {}
    for name, metric in METRICS.items():
        cells[name] = row.value(name)
        if metric.has_interval:
            cells[f"{name}_low"], cells[f"{name}_high"] = row.interval(name) or (None, None)
        cells[f"{name}_spread"] = row.spread.get(name)
    return cells


@dataclass(eq=False)
class SystemScore:
    """A system on one test corpus with one answer set: the rows of its runs, and their summary.

    It is equal to itself alone, so that functions of a score can keep their values.
    """

    system: str
    key: str  # the `Run.system` of its runs
    train: str
    answer_set: str  # "closed", "open", or "closed = open" if both have the same classes
    runs: list[Run]
    rows: list[EvaluationSummary]  # one for each run
    summary: Summary

    @property
    def corpus(self) -> str:
        """Return the test corpus."""
        return self.rows[0].corpus

    @property
    def is_published(self) -> bool:
        """Return whether the system is a published classifier, which was trained elsewhere."""
        return self.train == ELSEWHERE

    @property
    def chance(self) -> float:
        """Return the UA of guesses among the classes that may be answered."""
        return self.rows[0].chance

    @property
    def fold(self) -> str:
        """Return "all", "mean", "" (the release's own split), or the numbers of the folds that were run."""
        return ", ".join(dict.fromkeys(str(row.fold) for row in self.rows if row.fold is not None))

    @property
    def is_over_own_folds(self) -> bool:
        """Return whether it is a mean over folds of the training corpus, each tested on its own part of it."""
        return self.summary.over == "fold" and self.corpus == self.train

    @property
    def n(self) -> int:
        """Return the number of tested utterances; of folds of the training corpus, that of all of them together."""
        return sum(row.n for row in self.rows) if self.is_over_own_folds else self.rows[0].n

    @property
    def interval_rows(self) -> list[EvaluationSummary]:
        """Return the rows with the intervals of the score; none for a mean over folds, which has no interval."""
        return [] if self.summary.over == "fold" else self.rows


def system_scores(runs: list[Run]) -> list[SystemScore]:
    """Return every system on every test corpus, summarised over its seeds, or otherwise over its folds."""
    names = system_names(runs)
    alike: dict[tuple[str, ...], list[tuple[Run, EvaluationSummary]]] = defaultdict(list)
    for run in runs:
        key = run.system
        for row, answer_set in merged(run.whole_evals()):
            scored = (row.corpus, row.digest, row.split, *row.classes)
            alike[key, answer_set, *scored].append((run, row))
    scores = []
    for (key, answer_set, *_), pairs in alike.items():
        for part in _summarisable(pairs):
            part.sort(key=lambda pair: (pair[0].result.run.seed, str(pair[1].fold).zfill(4)))
            part_runs, rows = [run for run, _ in part], [row for _, row in part]
            unit: Over = "fold" if len({row.fold for row in rows}) > 1 else "seed"
            train = part_runs[0].result.train.corpus
            scores.append(SystemScore(names[key], key, train, answer_set, part_runs, rows, summarise(rows, unit)))
    return sorted(scores, key=lambda score: (score.corpus, score.answer_set, score.fold, -score.summary.mean["ua"]))


def _summarisable(pairs: list[tuple[Run, EvaluationSummary]]) -> list[list[tuple[Run, EvaluationSummary]]]:
    """Divide the rows of a system into parts that differ only in the seed, or only in the fold."""
    by_fold: dict[Any, list[tuple[Run, EvaluationSummary]]] = defaultdict(list)
    for run, row in pairs:
        by_fold[row.fold].append((run, row))
    numbered = [part for fold, part in by_fold.items() if isinstance(fold, int)]
    one_seed = len({run.result.run.seed for part in numbered for run, _ in part}) == 1
    if len(numbered) > 1 and one_seed:
        rest = [part for fold, part in by_fold.items() if not isinstance(fold, int)]
        return [[pair for part in numbered for pair in part], *rest]
    return list(by_fold.values())


def points(difference: float) -> str:
    """Return a difference of two fractions in percentage points, with its sign.

    >>> points(-0.0123)
    '-1.2'
    """
    return f"{100 * difference:+.1f}"


def next_to(figures: tuple[float, float | None] | None) -> str:
    """Return our figure with the published one and the difference; "–" if a figure is not known.

    >>> next_to((0.5, 0.75))
    '50.0 (75.0, -25.0)'
    >>> next_to((0.5, None))
    '50.0 (–)'
    """
    if figures is None:
        return "–"
    ours, theirs = figures
    return f"{percent(ours)} ({'–' if theirs is None else f'{percent(theirs)}, {points(ours - theirs)}'})"


def figure(score: SystemScore, name: str, interval: bool = True) -> str:
    """Return a metric as the mean ± standard deviation of several runs, or as the value of a single run.

    Unless `interval` is false, the 95 % interval follows, with one of INTERVAL_MARKS, or "[–]" if there is a reason why
    it is missing (`interval_legend`). A mean over folds has no interval. A mean over a run's models has ± their
    deviation too. The text is "–" if a run lacks the metric.
    """
    if name not in score.summary.mean:
        return "–"
    metric, deviation = METRICS[name], score.summary.standard_deviation[name]
    if deviation is None:
        deviation = score.rows[0].spread.get(name)
    text = metric.show(score.summary.mean[name]) + (f" ± {metric.show(deviation)}" if deviation is not None else "")
    if not interval or not metric.has_interval or not score.interval_rows:
        return text
    noted = next((row for row in score.rows if row.interval(name) is None), score.rows[0])
    return text + interval_text(score.summary.interval[name], noted, metric)


def over(score: SystemScore) -> str:
    """Return the number of runs in a mean: "3 seeds", "5 folds", "6 models" of one run, or "" for a single model.

    If one run pooled its folds, their utterances are scored together: that is a single run, not a mean.
    """
    count, models = score.summary.count, score.rows[0].models
    if count > 1:
        return f"{count} {score.summary.over}s"
    return f"{models} models" if models > 1 else ""
