"""Make the rows of `result.json` from predictions, with their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.evaluation.evaluation_sets import EvaluationSet, are_the_same
from melt_ser.evaluation.results import (
    ENSEMBLE,
    MEAN,
    POOLED,
    Evaluation,
    Fold,
    RatingScore,
    Result,
    Slice,
    Unscored,
)
from melt_ser.evaluation.scoring import ANSWER_SETS, answers_among, constant_prediction_warning, score
from melt_ser.evaluation.slices import mean_slices, slices
from melt_ser.models.outputs import Outputs
from melt_ser.runs.answers import Answers
from melt_ser.runs.predictions import prediction_table
from melt_ser.runs.rating_rows import one_rater_rows, rating_rows, without_ties


def answers_of(
    fold: Fold,
    scored: EvaluationSet,
    answers: np.ndarray,
    outputs: Outputs,
    temperature: float | None,
    models: int = 1,
) -> Answers:
    """Return the answers as a table, from an array, (utterances, outputs); the others are those of `Answers`."""
    return Answers(fold, scored, prediction_table(scored, answers, outputs, fold), temperature, models)


@dataclass
class Rows:
    """The rows of a result on one or several corpora: of classes (`evals`), of ratings, and of one rater."""

    evals: list[Evaluation]
    ratings: list[RatingScore]
    one_rater: list[RatingScore]

    @classmethod
    def of(cls, parts: Iterable[Rows]) -> Rows:
        """Return the rows of several corpora, those over all folds of every corpus before those of single folds."""
        listed = list(parts)
        evals = [row for part in listed for row in part.evals]
        ratings = [row for part in listed for row in part.ratings]
        return cls(
            sorted(evals, key=lambda row: isinstance(row.fold, int)),
            sorted(ratings, key=lambda row: isinstance(row.fold, int)),
            [row for part in listed for row in part.one_rater],
        )


def evaluation_rows(folder: Path, folds: Sequence[Answers], outputs: Outputs) -> Rows:
    """Return the rows of one corpus: those over all folds, then those of each fold; write their files.

    folder: the run folder. folds: the answers of each fold's model. outputs: those of the models.
    """
    whole: list[Answers] = []
    if len(folds) > 1:
        share_a_test = are_the_same([answers.scored for answers in folds])
        whole = _mean_and_ensemble(folds, outputs) if share_a_test else [_pooled(folds)]
    rows = [_rows(folder, answers, outputs) for answers in whole]
    rows += [_rows(folder, answers, outputs, one_of_many=bool(whole)) for answers in folds]
    return replace(Rows.of(rows), one_rater=one_rater_rows((whole or folds)[0], outputs))


def with_rows(result: Result, rows: Rows) -> None:
    """Put new rows, of one part of a corpus, into a result, in place of the old ones of that part."""
    first = (rows.evals or rows.ratings)[0]
    replaced = (first.corpus, first.split)
    result.evals = [row for row in result.evals if (row.corpus, row.split) != replaced] + rows.evals
    result.ratings = [row for row in result.ratings if (row.corpus, row.split) != replaced] + rows.ratings
    result.one_rater = [row for row in result.one_rater if (row.corpus, row.split) != replaced] + rows.one_rater


def _mean_and_ensemble(folds: Sequence[Answers], outputs: Outputs) -> list[Answers]:
    """Return the answers of all models, and the answers of the mean of their probabilities."""
    first, together = folds[0].scored, _joined(folds)
    trained_on = np.any([answers.scored.table["trained_on"] for answers in folds], axis=0)
    scored = replace(first, table=first.table.assign(trained_on=trained_on))
    of_models = np.stack([answers.predictions[outputs.names].to_numpy() for answers in folds])
    mean = of_models.mean(axis=0, dtype=np.float64).astype(of_models.dtype)
    scales = {name: scored.scales.get(name, scale) for name, scale in outputs.scales.items()}
    return [
        Answers(MEAN, scored, together.predictions, together.temperature, len(folds)),
        answers_of(ENSEMBLE, scored, mean, replace(outputs, scales=scales), None, len(folds)),
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


def _rows(folder: Path, answers: Answers, outputs: Outputs, one_of_many: bool = False) -> Rows:
    """Score answers, and write them under the run folder.

    The files are named after the corpus. The split is added if it is not "test" or "all", or if the model was trained
    on some of the recordings; the fold is added if it is one of many.
    """
    stem = _file_stem(answers.scored, answers.fold if one_of_many or answers.fold == ENSEMBLE else None)
    path = Path("predictions") / f"{stem}.csv"
    files.write_csv(folder / path, answers.predictions)
    decided = without_ties(answers)
    none_decided = decided.predictions.empty
    evals = _class_rows(decided, list(outputs.classes), path) if outputs.classes and not none_decided else []
    return Rows(evals, rating_rows(answers, outputs, path, none_decided), [])


def _class_rows(answers: Answers, classes: list[str], path: Path) -> list[Evaluation]:
    """Score classes with each answer set.

    Answers are chosen among the classes of the corpus (answer set closed), or among all classes (open). path: of the
    predictions, in the run folder.
    """
    scored, predictions = answers.scored, answers.predictions
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
