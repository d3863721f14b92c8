"""Show the evaluations of a run as a table in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.table import Table

from melt_ser.evaluation.metrics import METRICS, Metric, percent, table_metrics
from melt_ser.evaluation.rating_metrics import RatingMetric
from melt_ser.evaluation.results import ENSEMBLE, INTERVAL_MARKS, MEAN, POOLED, EvaluationFields, RatingScore

NO_INTERVAL = re.compile(r"No interval of [^:]*: (.+?)\.(?= |$)")  # as in `EvaluationFields.interval_note`
Bounds = Sequence[float] | None
Row = TypeVar("Row", bound=EvaluationFields)


def evaluation_table(evals: Sequence[EvaluationFields]) -> Table:
    """Return a table with a row for each evaluation, in their order; metrics in per cent with 95 % intervals.

    The mean over several models has ± and the standard deviation over them.

    If both answer sets of a corpus, split and fold have the same classes, their evaluations are equal and share a row,
    "closed = open". If several rows have the same answers, number of dropped utterances or chance, it stands below the
    table: the rows of many folds then need no second line.
    """
    spread = "; ±: deviation over the models" if any(row.spread for row in evals) else ""
    title = f"Evaluation (%, 95 % intervals{spread})"
    rows = merged(evals)
    dropped = [str(sum(row.dropped.values())) for row, _ in rows]
    columns = {"answers": [answer_set for _, answer_set in rows], "dropped": dropped}
    columns["chance"] = [percent(row.chance) for row, _ in rows]
    shared = [name for name, cells in columns.items() if len(cells) > 1 and len(set(cells)) == 1]
    told = [f"In each row: {', '.join(f'{name} {columns[name][0]}' for name in shared)}."] if shared else []
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, caption_justify="left")
    table.caption = " ".join([*interval_legend(evals), *told])
    # These widths keep every number readable in a terminal of 80 columns; intervals then take a second line.
    table.add_column("corpus", overflow="fold", min_width=7)
    table.add_column("fold", overflow="fold", min_width=4)
    if "answers" not in shared:
        table.add_column("answers", min_width=6)
    table.add_column("n", justify="right", min_width=5)
    own = [name for name in ("dropped", "chance") if name not in shared]
    for name in own:
        table.add_column(name, justify="right", min_width=len(name))
    for metric in table_metrics().values():
        table.add_column(metric.label, justify="right", min_width=11 if metric.shows_interval else 8)
    for number, (row, answer_set) in enumerate(rows):
        answers = [] if "answers" in shared else [answer_set]
        table.add_row(
            row.corpus if row.split == "test" else f"{row.corpus} ({row.split})",
            "" if row.fold is None else str(row.fold),
            *answers,
            str(row.n),
            *(columns[name][number] for name in own),
            *(shown(row, name, metric, metric.shows_interval) for name, metric in table_metrics().items()),
        )
    return table


def fold_text(row: EvaluationFields) -> str:
    """Return the fold of a row in words: "fold 2", "mean of 6 models", or "" for the release's own split."""
    if row.fold in (MEAN, ENSEMBLE):
        return f"{row.fold} of {row.models} models"
    if row.fold == POOLED:
        return "all folds"
    return "" if row.fold is None else f"fold {row.fold}"


def shown(row: EvaluationFields, name: str, metric: Metric, in_full: bool = True) -> str:
    """Return a metric of a row as text; "–" in a result that lacks the metric.

    in_full: add ± the standard deviation over the row's models, and the interval, if it has them. The interval has the
        mark of the unit that it is over; it is "[–]" if the row has a note of the reason.
    """
    value = row.value(name)
    if value is None or not in_full:
        return "–" if value is None else metric.show(value)
    spread = row.spread.get(name)
    text = metric.show(value) + ("" if spread is None else f" ± {metric.show(spread)}")
    return text + (interval_text(row.interval(name), row, metric) if metric.has_interval else "")


def interval_text(bounds: Bounds, row: EvaluationFields | RatingScore, metric: Metric | RatingMetric) -> str:
    """Return " [low, high]" with the row's mark, " [–]" if its note has a reason for no bounds, otherwise ""."""
    if bounds is None:
        return " [–]" if row.interval_note else ""
    return f" [{metric.show(bounds[0])}, {metric.show(bounds[1])}]{row.interval_mark}"


def interval_legend(rows: Sequence[EvaluationFields], metrics: Iterable[str] = METRICS) -> list[str]:
    """Return sentences on the marks of the rows' intervals of metrics, and the reasons of those that are missing."""
    names = [name for name in metrics if METRICS[name].has_interval]
    return legend([(row, [row.interval(name) for name in names]) for row in rows])


def legend(found: Iterable[tuple[EvaluationFields | RatingScore, Sequence[Bounds]]]) -> list[str]:
    """Return sentences on the marks of intervals, and the reasons of missing ones, from rows with their bounds."""
    used, reasons = set(), []
    for row, bounds in found:
        used |= {row.interval_mark} if any(bounds) else set()
        if not all(bounds):
            reasons += [(row.corpus, reason) for reason in NO_INTERVAL.findall(row.interval_note)]
    marks = [f"{mark} {meaning}" for mark, meaning in INTERVAL_MARKS.items() if mark in used]
    missing = [f"[–] on {corpus}: no interval, since {reason}." for corpus, reason in dict.fromkeys(reasons)]
    return [*([f"Intervals: {'; '.join(marks)}."] if marks else []), *missing]


def merged(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Return rows with the answer set to show; if both answer sets have the same classes, keep only the first row."""
    answer_sets: dict[tuple[Any, ...], list[str]] = {}
    first: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row.corpus, row.split, row.fold, tuple(row.classes))
        first.setdefault(key, row)
        answer_sets.setdefault(key, []).append(row.answer_set)
    return [(row, " = ".join(sorted(answer_sets[key]))) for key, row in first.items()]
