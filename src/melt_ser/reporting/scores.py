"""Say of a score what it is over: test data, seeds or folds, chance, interval."""

from __future__ import annotations

from melt_ser.evaluation.metrics import percent
from melt_ser.evaluation.results import EvaluationSummary
from melt_ser.reporting.overview import SystemScore

METRIC = "ua"  # ranks systems and fills matrices


def chance(row: EvaluationSummary) -> float | None:
    """Return the UA of guesses; None if a damaged result has no class."""
    return row.chance if row.classes else None


def is_whole(score: SystemScore) -> bool:
    """Return whether all folds are in the score, pooled or as a mean."""
    return score.rows[0].fold in ("all", "mean") or score.summary.over == "fold"


def tested_part(score: SystemScore) -> str:
    """Return the part of the corpus that was scored: "all 10 folds", "fold 1", "test", or "" for a whole other corpus.

    Of an own corpus, all folds are the whole corpus: each utterance was answered by the model that did not train on it.
    """
    row, models = score.rows[0], len(score.runs[0].result.train.folds)
    if score.summary.over == "fold":
        return f"{score.summary.count} folds"
    if score.corpus != score.train:
        told = {"all": f"all {models} models", "mean": f"mean of {row.models} models"}.get(str(row.fold), "")
        return ", ".join(filter(None, ["" if row.split == "all" else row.split, told]))
    if isinstance(row.fold, int):
        return f"fold {row.fold}"
    return f"all {models} folds" if row.fold == "all" else row.split


def seeds(score: SystemScore) -> str:
    """Return "2 seeds" for a mean over seeds, otherwise ""."""
    return f"{score.summary.count} seeds" if score.summary.over == "seed" and score.summary.count > 1 else ""


def interval(score: SystemScore) -> list[float] | None:
    """Return the 95 % interval of the UA; of a mean over seeds, the means of the bounds. None over folds."""
    return score.summary.interval[METRIC]


def interval_mark(score: SystemScore) -> str:
    """Return the mark of what the interval is over (`INTERVAL_MARKS`)."""
    return score.rows[0].interval_mark


def with_interval(score: SystemScore) -> str:
    """Return the UA in per cent with its interval and the mark of that: "71.2 [66.0, 76.0]ˢ"."""
    bounds = interval(score)
    text = percent(score.summary.mean[METRIC])
    return f"{text} [{percent(bounds[0])}, {percent(bounds[1])}]{interval_mark(score)}" if bounds else text


def above_chance(score: SystemScore) -> bool | None:
    """Return whether the whole interval (without one: the UA) is above chance; None if chance is not known."""
    level = chance(score.rows[0])
    bounds = interval(score)
    return None if level is None else (bounds[0] if bounds else score.summary.mean[METRIC]) > level
