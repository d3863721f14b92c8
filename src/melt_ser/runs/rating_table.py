"""The table of ratings that the terminal shows: attributes, and distributions of votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from melt_ser.evaluation.rating_metrics import ATTRIBUTE_METRICS, DISTRIBUTION_METRICS, RatingMetric
from melt_ser.evaluation.rating_scores import DISTRIBUTION
from melt_ser.evaluation.results import RatingScore
from melt_ser.runs.table import interval_text, legend

if TYPE_CHECKING:
    from rich.table import Table

ATTRIBUTES_MEANING = (
    "CCC: concordance correlation coefficient (Lin 1989); RMSE on the scale of the attribute; 95 % intervals. ±: the "
    "standard deviation over seeds or models; the interval of a mean over seeds is the mean of theirs."
)
VOTES_MEANING = (
    "KL and JS: Kullback-Leibler and Jensen-Shannon divergence from the shares of the votes, in nats, lower is better; "
    "F1: macro-F1 of the most voted class, and of all classes above their even share; top 2: the most voted class is "
    "among the two most probable. F1 and top 2 in %; 95 % intervals."
)


def metrics_of(row: RatingScore) -> dict[str, RatingMetric]:
    """Return the metrics that a row has, by their names."""
    return DISTRIBUTION_METRICS if row.of == DISTRIBUTION else ATTRIBUTE_METRICS


def rating_tables(rows: Sequence[RatingScore]) -> list[Table]:
    """Return a table of the attributes and one of the distributions, each only if there are rows of it."""
    distributions = [row for row in rows if row.of == DISTRIBUTION]
    attributes = [row for row in rows if row.of != DISTRIBUTION]
    tables = [_table("Attributes (95 % intervals)", attributes, ATTRIBUTE_METRICS)] if attributes else []
    if distributions:
        tables.append(_table("Shares of the votes (95 % intervals)", distributions, DISTRIBUTION_METRICS))
    return tables


def _table(title: str, rows: Sequence[RatingScore], metrics: Mapping[str, RatingMetric]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=0, caption_justify="left")
    table.caption = " ".join(rating_legend(rows))
    table.add_column("corpus", overflow="fold", min_width=7)
    table.add_column("fold", overflow="fold", min_width=4)
    table.add_column("of", overflow="fold", min_width=8)
    table.add_column("n", justify="right", min_width=5)
    for metric in metrics.values():
        table.add_column(metric.label, justify="right", min_width=8)
    for row in rows:
        table.add_row(
            row.corpus if row.split == "test" else f"{row.corpus} ({row.split})",
            "" if row.fold is None else str(row.fold),
            row.of,
            str(row.n),
            *(shown(row, name, metric) for name, metric in metrics.items()),
        )
    return table


def rating_legend(rows: Sequence[RatingScore]) -> list[str]:
    """Return sentences on the marks of the rows' intervals, and the reasons of those that are missing."""
    return legend([(row, [row.ci95.get(name) for name in metrics_of(row)]) for row in rows])


def shown(row: RatingScore, name: str, metric: RatingMetric) -> str:
    """Return a metric of a row with its interval; "–" if it is not defined."""
    value = row.values.get(name)
    if value is None:
        return "–"
    spread = row.spread.get(name)
    text = metric.show(value) + ("" if spread is None else f" ± {metric.show(spread)}")
    return text + interval_text(row.ci95.get(name), row, metric)
