"""The rows of ratings in `result.json`: of attributes, and of distributions of votes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.evaluation.evaluation_sets import SHARE
from melt_ser.evaluation.one_rater import score_labels, score_numbers
from melt_ser.evaluation.rating_metrics import has_tie
from melt_ser.evaluation.rating_scores import Answered, RatingScores, score_attributes, score_distribution
from melt_ser.evaluation.results import MEAN, RatingScore
from melt_ser.models.outputs import Outputs
from melt_ser.runs.answers import Answers
from melt_ser.runs.predictions import REFERENCE

CLASS = "class"  # of one rater: the label
TIED = "no single most voted class"


def rating_rows(answers: Answers, outputs: Outputs, path: Path, none_decided: bool) -> list[RatingScore]:
    """Return the rows of the attributes that the models answer, and of the distribution if votes are the target.

    path: of the predictions, in the run folder. none_decided: whether no utterance has a single most voted class.
    """
    predictions = answers.predictions
    rows = Answered(
        predictions["utterance"], predictions["speaker"], predictions["fold"] if answers.fold == MEAN else None
    )
    scores: list[RatingScores] = []
    classes = list(outputs.classes)
    if _has_shares(predictions, classes):
        scores.append(score_distribution(_shares(predictions, classes), predictions[classes].to_numpy("float64"), rows))
    if outputs.scales:
        names = [name for name in outputs.scales if name + REFERENCE in predictions]
        references = {name: predictions[name + REFERENCE].to_numpy("float64") for name in names}
        found = {name: predictions[name].to_numpy("float64") for name in names}
        scores += score_attributes(references, found, rows)
    return list(_as_rows(scores, answers, path, none_decided))


def _as_rows(scores: Iterable[RatingScores], answers: Answers, path: Path, none_decided: bool) -> Iterable[RatingScore]:
    scored = answers.scored
    warnings = list(scored.notes)
    if none_decided:
        warnings.append("No utterance has a single most voted class, so UA and WA are not known.")
    for of in scores:
        scale = scored.scales.get(of.of)
        yield RatingScore(
            corpus=scored.name,
            split=scored.split,
            fold=answers.fold,
            of=of.of,
            n=of.n,
            values=of.values,
            ci95=of.intervals,
            ci_unit=of.unit,
            interval_note=of.note,
            models=answers.models,
            spread=of.spread,
            scale=list(scale) if scale else None,
            dropped=scored.dropped,
            overlap=scored.overlap,
            digest=scored.corpus.digest,
            precision=scored.precision.value,
            predictions=path.as_posix(),
            warnings=warnings,
        )


def one_rater_rows(answers: Answers, outputs: Outputs) -> list[RatingScore]:
    """Return the scores of one rater against the others on the same utterances; [] if no single ratings are known."""
    scored, ratings = answers.scored, answers.scored.corpus.ratings
    if ratings is None or ratings.single.empty:
        return []
    single = ratings.single[ratings.single["utterance"].isin(scored.table["utterance"])]
    found: list[tuple[str, dict[str, float | None], int]] = []
    if outputs.classes and "emotion" in single:
        of_class = single.assign(**{"class": scored.space.classify(single["emotion"])})
        found.append((CLASS, *score_labels(of_class, scored.corpus_classes)))
    found += [(name, *score_numbers(single, name)) for name in outputs.scales if name in single]
    return [
        RatingScore(
            corpus=scored.name, split=scored.split, fold=answers.fold, of=of, n=n, values=values,
            digest=scored.corpus.digest,
        )
        for of, values, n in found
        if n
    ]  # fmt: skip


def without_ties(answers: Answers) -> Answers:
    """Return the answers for utterances with one most voted class; unchanged if votes are not the target."""
    predictions, scored = answers.predictions, answers.scored
    shares = [column for column in predictions if str(column).startswith(SHARE)]
    if not shares:
        return answers
    decided = ~has_tie(predictions[shares].to_numpy("float64"))
    if decided.all():
        return answers
    kept = predictions["utterance"][decided].unique()
    table = scored.table[scored.table["utterance"].isin(kept)].reset_index(drop=True)
    dropped = {**scored.dropped, TIED: len(scored.table) - len(table)}
    temperature = answers.temperature[decided] if isinstance(answers.temperature, np.ndarray) else answers.temperature
    return replace(
        answers,
        scored=replace(scored, table=table, dropped=dropped),
        predictions=predictions[decided].reset_index(drop=True),
        temperature=temperature,
    )


def _has_shares(predictions: pd.DataFrame, classes: list[str]) -> bool:
    return bool(classes) and SHARE + classes[0] in predictions


def _shares(predictions: pd.DataFrame, classes: list[str]) -> np.ndarray:
    shares: np.ndarray = predictions[[SHARE + name for name in classes]].to_numpy("float64")
    return shares
