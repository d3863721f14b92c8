"""Say of a score what it is over: test data, seeds or folds, chance, interval."""

from __future__ import annotations

from collections.abc import Iterable

from melt_ser.evaluation.metrics import METRICS, percent
from melt_ser.evaluation.results import EvaluationSummary
from melt_ser.reporting.overview import SystemScore
from melt_ser.runs.table import interval_text

Corpus = tuple[str, str]  # name and digest: other data may have the same name
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
    if score.is_over_own_folds:
        return f"{score.summary.count} folds"
    if score.corpus != score.train:
        told = {"all": f"all {models} models", "mean": f"mean of {row.models} models"}.get(str(row.fold), "")
        if score.summary.over == "fold":
            told = f"mean of {score.summary.count} models"
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


def interval_shown(score: SystemScore) -> str:
    """Return " [66.0, 76.0]ˢ", " [–]" if there is a reason why the interval is missing, otherwise "" (over folds)."""
    if not score.interval_rows:
        return ""
    bounds = interval(score)
    noted = score.rows[0] if bounds else next((row for row in score.rows if row.interval_note), score.rows[0])
    return interval_text(bounds, noted, METRICS[METRIC])


def with_interval(score: SystemScore) -> str:
    """Return the UA in per cent, with its interval if it has one: "71.2 [66.0, 76.0]ˢ"."""
    return percent(score.summary.mean[METRIC]) + (interval_shown(score) if interval(score) else "")


def corpus_names(corpora: Iterable[Corpus]) -> dict[Corpus, str]:
    """Return the name of each corpus; if several tables have one name, with the beginning of the digest."""
    known = list(corpora)
    names = [name for name, _ in known]
    return {(name, digest): name if names.count(name) == 1 else f"{name}, table {digest[:6]}" for name, digest in known}


def above_chance(score: SystemScore) -> bool | None:
    """Return whether the whole interval (without one: the UA) is above chance; None if chance is not known."""
    level = chance(score.rows[0])
    bounds = interval(score)
    return None if level is None else (bounds[0] if bounds else score.summary.mean[METRIC]) > level
