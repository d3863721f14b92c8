"""Saved predictions to the metrics of one result row, under an explicit cross-corpus protocol.

A model trained on seven classes may be tested on a corpus that has four of them:

* `closed` lets the model choose among the classes that the corpus has (their probabilities renormalised);
* `open` lets it choose among all that it was trained on, and an answer the corpus does not have is an error.

Where the corpus has every training class the two are the same. Ties go to the class that comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.evaluation import metrics
from melt_ser.evaluation.calibration import calibration_entry
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.statistics import bootstrap_intervals

PROTOCOLS = ("closed", "open")
PREDICTION_COLUMNS = ("utterance", "reference", "prediction")


def score(
    predictions: pd.DataFrame,
    speakers: pd.Series | None,
    training_classes: Sequence[str],
    corpus_classes: Sequence[str],
    protocol: str,
    *,
    recordings: pd.Series | None = None,
    temperature: float | Floats | None = None,
) -> dict[str, Any]:
    """The metric keys of a result's `evals` entry, all JSON-able; fractions in 0..1.

    Args:
        predictions: columns `utterance`, `reference`, `prediction`, then one probability a training class, in order.
            `prediction` is for people who read the file: both protocols decide from the probabilities.
        speakers: speaker of each row, in the same order ("" = unknown), or None where no speaker is known.
        training_classes: classes of the model, in the order of the probability columns.
        corpus_classes: those of them that the whole test corpus has, not only this split.
        protocol: "closed" or "open".
        recordings: what each row was predicted from, where several models' predictions of the same are pooled.
        temperature: fitted on dev, for the calibration: one for all rows, or one for each.

    Raises InputError where the predictions do not fit the classes, are not probabilities, or are empty.
    """
    _validate(predictions, training_classes, corpus_classes, protocol)
    classes = [name for name in training_classes if protocol == "open" or name in corpus_classes]
    reference, prediction = predictions["reference"], pd.Series(answers_among(predictions, classes))
    confusion = metrics.confusion_matrix(reference, prediction, classes)
    main, plain = (bootstrap_intervals(reference, prediction, classes, names, recordings) for names in (speakers, None))
    right = reference.to_numpy() == prediction.to_numpy()
    calibration = calibration_entry(predictions[classes].to_numpy(dtype=np.float64), right, temperature)
    recalls = metrics.recall(confusion).tolist()
    return {
        "n": len(predictions),
        "classes": classes,
        "confusion": confusion.tolist(),
        "ua": float(metrics.unweighted_accuracy(confusion)),
        "wa": float(metrics.weighted_accuracy(confusion)),
        "macro_f1": float(metrics.macro_f1(confusion)),
        "weighted_f1": float(metrics.weighted_f1(confusion)),
        "ua_ci95": list(main.ua),
        "wa_ci95": list(main.wa),
        "macro_f1_ci95": list(main.macro_f1),
        "ci_unit": main.unit,
        "ci95_over_utterances": {"ua": list(plain.ua), "wa": list(plain.wa), "macro_f1": list(plain.macro_f1)},
        "recall": {name: None if np.isnan(value) else value for name, value in zip(classes, recalls, strict=True)},
        "ece": calibration["ece"],
        "calibration": calibration,
        "predicted": dict(zip(classes, confusion.sum(axis=0).tolist(), strict=True)),
    }


def answers_among(predictions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The class of highest probability of each row, among `classes`, of which the table has a column each."""
    answers = predictions[list(classes)].to_numpy(dtype=np.float64).argmax(axis=1)
    return [classes[answer] for answer in answers]


def constant_prediction_warning(scored: dict[str, Any]) -> str | None:
    """One sentence when a model gave the same answer to each of several utterances, not all of it right, else None."""
    answered = [name for name, count in scored["predicted"].items() if count]
    if len(answered) > 1 or scored["n"] == 1 or scored["wa"] == 1:
        return None
    return (
        f"The model answered {answered[0]!r} for all {scored['n']} utterances, as a model would that "
        "has learned nothing; check the learning rate, the number of epochs and the audio."
    )


def _validate(
    predictions: pd.DataFrame, training_classes: Sequence[str], corpus_classes: Sequence[str], protocol: str
) -> None:
    if protocol not in PROTOCOLS:
        raise InputError(f"There is no protocol {protocol!r}; choose from: {', '.join(PROTOCOLS)}.")
    strangers = [name for name in corpus_classes if name not in training_classes]
    if strangers or not corpus_classes:
        raise InputError(
            f"The corpus classes {list(corpus_classes)} must be one or more of the training classes "
            f"{list(training_classes)}."
        )
    expected = [*PREDICTION_COLUMNS, *training_classes]
    if list(predictions.columns) != expected:
        raise InputError(f"The predictions have the columns {list(predictions.columns)}, not {expected}.")
    if predictions.empty:
        raise InputError("There are no predictions to score; check the split and the label map of the test corpus.")
    _validate_rows(predictions, training_classes, corpus_classes)


def _validate_rows(predictions: pd.DataFrame, training_classes: Sequence[str], corpus_classes: Sequence[str]) -> None:
    utterances = predictions["utterance"]
    for problem, rows in (
        ("has no name", utterances.isna() | utterances.eq("")),
        ("is predicted twice", utterances.duplicated()),
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
    # Half-precision and rounded probabilities do not sum to 1 exactly; logits are far off.
    wrong = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1) | ~(abs(probabilities.sum(axis=1) - 1) < 0.02)
    if wrong.any():
        raise InputError(
            f"Utterance {utterances[wrong].iloc[0]!r} has values that are not probabilities which sum to 1 "
            f"({int(wrong.sum())} such rows); the model may have diverged, or these are logits."
        )
