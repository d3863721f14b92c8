"""Fractions as people read them: per cent with one decimal."""

from __future__ import annotations

from melt_ser.reporting.overview import SystemScore


def percent(fraction: float) -> str:
    """
    >>> percent(0.6875)
    '68.8'
    """
    return f"{100 * fraction:.1f}"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign.

    >>> points(-0.0123)
    '-1.2'
    """
    return f"{100 * difference:+.1f}"


def beside(figures: tuple[float, float | None] | None) -> str:
    """A figure of ours with the published one and the difference; "–" where one is not known.

    >>> beside((0.5, 0.75))
    '50.0 (75.0, -25.0)'
    >>> beside((0.5, None))
    '50.0 (–)'
    """
    if figures is None:
        return "–"
    ours, theirs = figures
    return f"{percent(ours)} ({'–' if theirs is None else f'{percent(theirs)}, {points(ours - theirs)}'})"


def figure(standing: SystemScore, metric: str, interval: bool = True) -> str:
    """The mean ± standard deviation of several runs; of a single one the figure, with its interval where it has one."""
    mean, deviation = standing.summary.mean[metric], standing.summary.standard_deviation[metric]
    if deviation is not None:
        return f"{percent(mean)} ± {percent(deviation)}"
    bounds = standing.rows[0].get(f"{metric}_ci95") if interval else None
    return f"{percent(mean)} [{percent(bounds[0])}, {percent(bounds[1])}]" if bounds else percent(mean)


def over(standing: SystemScore) -> str:
    """What the figure is a mean of: "3 seeds", "5 folds", or "" for a single run.

    Folds that one run pooled are not a mean: their utterances are scored together.
    """
    count = standing.summary.count
    return f"{count} {standing.summary.over}s" if count > 1 else ""
