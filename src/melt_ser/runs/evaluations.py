"""Make the rows of `result.json` from predictions, with their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.evaluation.evaluation_sets import EvaluationSet, are_the_same
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.results import ENSEMBLE, MEAN, POOLED, Evaluation, Fold, Slice, Unscored
from melt_ser.evaluation.scoring import ANSWER_SETS, answers_among, constant_prediction_warning, score
from melt_ser.evaluation.slices import mean_slices, slices
from melt_ser.runs.predictions import prediction_table


@dataclass
class Answers:
    """The answers of one or several models for an evaluation set.

    fold: the number of the model's fold, None for the release's own split, or `POOLED`, `MEAN` or `ENSEMBLE`.
    scored: the utterances.
    predictions: a `prediction_table` of each model, one below the other.
    temperature: fitted on dev: one number, or one for each prediction, (predictions,); None: unknown.
    models: the number of models that answered each utterance.
    """

    fold: Fold
    scored: EvaluationSet
    predictions: pd.DataFrame
    temperature: float | Floats | None
    models: int = 1


def answers_of(
    fold: Fold,
    scored: EvaluationSet,
    probabilities: np.ndarray,
    classes: list[str],
    temperature: float | None,
    models: int = 1,
) -> Answers:
    """Return the answers for probabilities, (utterances, classes); the other arguments are those of `Answers`."""
    return Answers(fold, scored, prediction_table(scored, probabilities, classes, fold), temperature, models)


def evaluation_rows(folder: Path, folds: Sequence[Answers], classes: list[str]) -> list[Evaluation]:
    """Return the rows of one corpus: those over all folds, then those of each fold; write their files.

    folder: the run folder. folds: the answers of each fold's model. classes: the classes of the models.
    """
    whole: list[Answers] = []
    if len(folds) > 1:
        share_a_test = are_the_same([answers.scored for answers in folds])
        whole = _mean_and_ensemble(folds, classes) if share_a_test else [_pooled(folds)]
    rows = [row for answers in whole for row in _rows(folder, answers, classes)]
    return rows + [row for answers in folds for row in _rows(folder, answers, classes, one_of_many=bool(whole))]


def in_order(rows: list[Evaluation]) -> list[Evaluation]:
    """Return the rows over all folds of every corpus before those of single folds."""
    return sorted(rows, key=lambda row: isinstance(row.fold, int))


def with_rows(before: Sequence[Evaluation], rows: list[Evaluation]) -> list[Evaluation]:
    """Return rows with new ones, of one part of a corpus, in place of the old ones of that part."""
    replaced = (rows[0].corpus, rows[0].split)
    return [row for row in before if (row.corpus, row.split) != replaced] + rows


def _mean_and_ensemble(folds: Sequence[Answers], classes: list[str]) -> list[Answers]:
    """Return the answers of all models, and the answers of the mean of their probabilities."""
    first, together = folds[0].scored, _joined(folds)
    trained_on = np.any([answers.scored.table["trained_on"] for answers in folds], axis=0)
    scored = replace(first, table=first.table.assign(trained_on=trained_on))
    probabilities = np.stack([answers.predictions[classes].to_numpy() for answers in folds])
    mean = probabilities.mean(axis=0, dtype=np.float64).astype(probabilities.dtype)
    return [
        Answers(MEAN, scored, together.predictions, together.temperature, len(folds)),
        answers_of(ENSEMBLE, scored, mean, classes, None, len(folds)),
    ]


def _pooled(folds: Sequence[Answers]) -> Answers:
    """Return the answers of all folds, each for its own part of the corpus."""
    scored = [answers.scored for answers in folds]
    table = pd.concat([part.table for part in scored], ignore_index=True)
    return replace(_joined(folds), scored=replace(scored[0], table=table, dropped=_sum_of_dropped(scored)))


def _joined(folds: Sequence[Answers]) -> Answers:
    """Stack predictions and temperatures; these are None if a fold has none."""
    known = [answers.temperature for answers in folds if answers.temperature is not None]
    times = [len(answers.predictions) for answers in folds]
    return Answers(
        POOLED,
        folds[0].scored,
        pd.concat([answers.predictions for answers in folds], ignore_index=True),
        np.repeat(np.asarray(known, dtype=np.float64), times) if len(known) == len(folds) else None,
    )


def _rows(folder: Path, answers: Answers, classes: list[str], one_of_many: bool = False) -> list[Evaluation]:
    """Score answers with each answer set; write them under the run folder.

    Answers are chosen among the classes of the corpus (answer set closed), or among all classes (open). The files are
    named after the corpus. The split is added if it is not "test" or "all", or if the model was trained on some of the
    recordings; the fold is added if it is one of many.
    """
    scored, predictions = answers.scored, answers.predictions
    stem = _file_stem(scored, answers.fold if one_of_many or answers.fold == ENSEMBLE else None)
    path = Path("predictions") / f"{stem}.csv"
    files.write_csv(folder / path, predictions)
    models = predictions["fold"] if answers.fold == MEAN else None
    rows, warnings = [], []
    for answer_set in ANSWER_SETS:
        scores = score(
            predictions,
            predictions["speaker"],
            classes,
            scored.corpus_classes,
            answer_set,
            models=models,
            temperature=answers.temperature,
        )
        row = scores.as_evaluation(
            corpus=scored.name,
            split=scored.split,
            fold=answers.fold,
            answer_set=answer_set,
            digest=scored.corpus.digest,
            dropped=scored.dropped,
            models=answers.models,
            precision=scored.precision.value,
            slices=_slices(answers, scores.classes),
            overlap=scored.overlap,
            predictions=path.as_posix(),
        )
        warning = constant_prediction_warning(scores) if answer_set == "closed" else None
        warnings += [warning] if warning else []
        rows.append(row)
    for row in rows:
        row.warnings = [*warnings, *scored.notes]
    return rows


def _file_stem(evaluation_set: EvaluationSet, fold: Fold) -> str:
    usual = evaluation_set.split in ("test", "all") and not evaluation_set.overlap
    stem = evaluation_set.name if usual else f"{evaluation_set.name}_{evaluation_set.split}"
    return stem if fold is None else f"{stem}_{fold}" if isinstance(fold, str) else f"{stem}_fold{fold}"


def _slices(answers: Answers, classes: list[str]) -> list[Slice]:
    table, count = answers.scored.table, len(answers.scored.table)
    of_models = []
    for begin in range(0, len(answers.predictions), count):
        predictions = answers.predictions.iloc[begin : begin + count]
        of_models.append(slices(table, predictions["reference"], answers_among(predictions, classes), classes))
    return of_models[0] if len(of_models) == 1 else mean_slices(of_models)


def unscored_entries(unscored: dict[str, str]) -> list[Unscored]:
    """Return the entries of a result for test corpora that could not be read."""
    return [Unscored(corpus=name, reason=reason) for name, reason in unscored.items()]


def _sum_of_dropped(evaluation_sets: Sequence[EvaluationSet]) -> dict[str, int]:
    """Add the counts of the folds; refused clips are counted for the whole corpus, so they are added once."""
    dropped: dict[str, int] = {}
    for part in evaluation_sets:
        for reason, count in part.dropped.items():
            refused = reason.startswith("clip refused")
            dropped[reason] = count if refused else dropped.get(reason, 0) + count
    return dropped
