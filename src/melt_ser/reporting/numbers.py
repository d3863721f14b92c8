"""Metrics as people read them: per cent with one decimal, means with their deviation, intervals."""

from __future__ import annotations

from melt_ser.evaluation.metrics import METRICS, percent
from melt_ser.reporting.overview import SystemScore
from melt_ser.runs.table import shown


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

    A single value has its 95 % interval, unless `interval` is false. "–": a run lacks the metric.
    """
    if name not in score.summary.mean:
        return "–"
    metric, deviation = METRICS[name], score.summary.standard_deviation[name]
    if deviation is not None:
        return f"{metric.show(score.summary.mean[name])} ± {metric.show(deviation)}"
    return shown(score.rows[0], name, metric, interval)


def over(score: SystemScore) -> str:
    """Return the number of runs in a mean: "3 seeds", "5 folds", or "" for a single run.

    Folds that one run pooled are no mean: their utterances are scored together.
    """
    count = score.summary.count
    return f"{count} {score.summary.over}s" if count > 1 else ""
