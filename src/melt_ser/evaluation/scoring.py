"""Compute the metrics of a result row from saved predictions, with an explicit answer set.

A model trained on seven classes may be tested on a corpus that has four of them:

* `closed` lets the model choose among the classes that the corpus has (their probabilities renormalised);
* `open` lets it choose among all training classes, and an answer that the corpus does not have is an error.

If the corpus has every training class, the two are the same. Ties go to the class that comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation.calibration import calibration_entry, mean_entry
from melt_ser.evaluation.metrics import METRICS, Floats, Integers, confusion_matrix, recall
from melt_ser.evaluation.results import Calibration, Count, Evaluation
from melt_ser.evaluation.statistics import Intervals, bootstrap_intervals

ANSWER_SETS = ("closed", "open")
PREDICTION_COLUMNS = ("utterance", "reference", "prediction")


@dataclass(frozen=True)
class Scores:
    """The scores of predictions with one answer set; fractions in 0..1."""

    n: int
    classes: list[str]  # the classes that the model could answer
    confusion: list[list[Count]]
    values: dict[str, float]  # by the names of METRICS
    spread: dict[str, float]  # their standard deviation over models (divisor: models - 1); {} for one model
    intervals: Intervals
    intervals_over_utterances: Intervals
    recall: dict[str, float | None]  # None for a class that does not occur
    calibration: Calibration
    predicted: dict[str, Count]  # number of answers by class

    def as_evaluation(self, **context: Any) -> Evaluation:
        """Return a row of `result.json`; `context` has the fields that do not come from the scores."""
        bounds = {f"{name}_ci95": interval for name, interval in self.intervals.of.items()}
        over_utterances = self.intervals_over_utterances.of
        metrics: dict[str, Any] = {**self.values, **bounds}  # the fields that METRICS adds
        return Evaluation(
            n=self.n,
            classes=self.classes,
            confusion=self.confusion,
            ci_unit=self.intervals.unit,
            interval_note=self.intervals.note,
            ci95_over_utterances={name: bounds for name, bounds in over_utterances.items() if bounds},
            recall=self.recall,
            ece=self.calibration.ece,
            calibration=self.calibration,
            predicted=self.predicted,
            spread=self.spread,
            **metrics,
            **context,
        )


def score(
    predictions: pd.DataFrame,
    speakers: pd.Series | None,
    training_classes: Sequence[str],
    corpus_classes: Sequence[str],
    answer_set: str,
    *,
    models: pd.Series | None = None,
    temperature: float | Floats | None = None,
) -> Scores:
    """Score predictions with one answer set; the scores of several models are means over them.

    Args:
        predictions: columns `utterance`, `reference`, `prediction` and a probability for each class, in the order of
            `training_classes`. `prediction` is for readers of the file: both answer sets decide by the probabilities. A
            column `fold` allows an utterance once in each fold.
        speakers: speaker of each row, in the same order ("" = unknown), or None if no speaker is known.
        training_classes: classes of the model, in the order of the probability columns.
        corpus_classes: the training classes that the whole test corpus has, not only this split.
        answer_set: "closed" or "open".
        models: the model of each row, if several models answered every utterance.
        temperature: fitted on dev, for the calibration: a number for all rows, or one for each, (rows,).

    Raises InputError if the predictions do not fit the classes, are not probabilities, or are empty.
    """
    _validate(predictions, training_classes, corpus_classes, answer_set, models)
    classes = [name for name in training_classes if answer_set == "open" or name in corpus_classes]
    reference, prediction = predictions["reference"], pd.Series(answers_among(predictions, classes))
    of_model = _rows_of_models(models, len(predictions))
    reference = reference.reset_index(drop=True)
    confusions = np.stack([confusion_matrix(reference[rows], prediction[rows], classes) for rows in of_model])
    confusion = confusions[0] if len(of_model) == 1 else confusions.mean(axis=0)
    values = {name: metric.function(confusions) for name, metric in METRICS.items()}
    over_units, over_utterances = (
        bootstrap_intervals(reference, prediction, classes, names, predictions["utterance"], models)
        for names in (speakers, None)
    )
    recalls = recall(confusion).tolist()
    return Scores(
        n=len(predictions) // len(of_model),
        classes=classes,
        confusion=confusion.tolist(),
        values={name: float(of_models.mean()) for name, of_models in values.items()},
        spread={name: float(of_models.std(ddof=1)) for name, of_models in values.items() if len(of_models) > 1},
        intervals=over_units,
        intervals_over_utterances=over_utterances,
        recall={name: None if np.isnan(value) else value for name, value in zip(classes, recalls, strict=True)},
        calibration=_calibration(predictions[classes], reference.eq(prediction), temperature, of_model),
        predicted=dict(zip(classes, confusion.sum(axis=0).tolist(), strict=True)),
    )


def _rows_of_models(models: pd.Series | None, rows: int) -> list[Integers]:
    """Return the positions of each model's rows."""
    if models is None:
        return [np.arange(rows)]
    numbers = pd.factorize(models)[0]
    return [np.flatnonzero(numbers == number) for number in range(numbers.max() + 1)]


def _calibration(
    probabilities: pd.DataFrame, right: pd.Series, temperature: float | Floats | None, of_model: list[Integers]
) -> Calibration:
    """Return the calibration of one model, or the mean over several."""
    values, hits = probabilities.to_numpy(dtype=np.float64), right.to_numpy()
    entries = [
        calibration_entry(
            values[rows], hits[rows], temperature[rows] if isinstance(temperature, np.ndarray) else temperature
        )
        for rows in of_model
    ]
    return entries[0] if len(entries) == 1 else mean_entry(entries, calibration_entry(values, hits).curve)


def answers_among(predictions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Return the most probable of `classes` for each row; the table has a column for each class."""
    answers = predictions[list(classes)].to_numpy(dtype=np.float64).argmax(axis=1)
    return [classes[answer] for answer in answers]


def constant_prediction_warning(scores: Scores) -> str | None:
    """Return a warning if all of several utterances got the same answer and some were wrong, otherwise None."""
    answered = [name for name, count in scores.predicted.items() if count]
    if len(answered) > 1 or scores.n == 1 or scores.values["wa"] == 1:
        return None
    return (
        f"The model answered {answered[0]!r} for all {scores.n} utterances, like a model that "
        "has learned nothing; check the audio, the learning rate and the number of epochs, or C of a probe."
    )


def _validate(
    predictions: pd.DataFrame,
    training_classes: Sequence[str],
    corpus_classes: Sequence[str],
    answer_set: str,
    models: pd.Series | None,
) -> None:
    if answer_set not in ANSWER_SETS:
        raise InputError(f"There is no answer set {answer_set!r}; choose from: {', '.join(ANSWER_SETS)}.")
    strangers = [name for name in corpus_classes if name not in training_classes]
    if strangers or not corpus_classes:
        raise InputError(
            f"The corpus classes {list(corpus_classes)} must be one or more of the training classes "
            f"{list(training_classes)}."
        )
    expected = [*PREDICTION_COLUMNS, *training_classes]
    if [column for column in predictions.columns if column in expected] != expected:
        raise InputError(f"The predictions have the columns {list(predictions.columns)}, not {expected}.")
    if predictions.empty:
        raise InputError("There are no predictions to score; check the split and the label map of the test corpus.")
    _validate_rows(predictions, training_classes, corpus_classes, models)


def _validate_rows(
    predictions: pd.DataFrame,
    training_classes: Sequence[str],
    corpus_classes: Sequence[str],
    models: pd.Series | None,
) -> None:
    utterances = predictions["utterance"]
    names = predictions[[column for column in ("utterance", "fold") if column in predictions]]
    too_few = pd.Series(False, utterances.index)
    if models is not None:
        too_few = utterances.map(utterances.value_counts()) < models.nunique()
    for problem, rows in (
        ("has no name", utterances.isna() | utterances.eq("")),
        ("is predicted twice", names.duplicated()),
        ("is not predicted by every model", too_few),
        ("has a reference outside the corpus classes", ~predictions["reference"].isin(list(corpus_classes))),
    ):
        if rows.any():
            first = predictions.loc[rows.to_numpy()].iloc[0]
            raise InputError(
                f"Utterance {first['utterance']!r} {problem} (reference {first['reference']!r}, corpus classes "
                f"{list(corpus_classes)}; {int(rows.sum())} such rows); correct the predictions."
            )
    try:
        probabilities = predictions[list(training_classes)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"A probability is not a number ({error}); correct the predictions.") from error
    # Rounded and half-precision probabilities do not sum exactly to 1; logits are far from it.
    wrong = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1) | ~(abs(probabilities.sum(axis=1) - 1) < 0.02)
    if wrong.any():
        raise InputError(
            f"Utterance {utterances[wrong].iloc[0]!r} has values that are not probabilities with the sum 1 "
            f"({int(wrong.sum())} such rows); the model may have diverged, or these are logits."
        )
