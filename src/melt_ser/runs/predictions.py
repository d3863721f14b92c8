"""The tables of predictions in a run folder, `predictions/<corpus>.csv`: make and read them.

    utterance, file, speaker    of the recording; the file is relative to the folder of the corpus
    fold                        of the model that answered; "" for the release's own split
    reference, prediction       classes; the prediction is the open answer, chosen among all classes of the model
    correct                     whether the prediction is the reference
    <class>                     a probability for each class of the model

Older tables have no file, speaker, fold and correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.results import MEAN, RERUN_HINT, Fold


def prediction_table(
    evaluation_set: EvaluationSet, probabilities: np.ndarray, classes: list[str], fold: Fold
) -> pd.DataFrame:
    """Return the table for probabilities, (utterances, classes), in the order of the set."""
    table = evaluation_set.table
    prediction = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)]
    frame = pd.DataFrame(
        {
            "utterance": table["utterance"],
            "file": table["audio"],
            "speaker": table["speaker"],
            "fold": "" if fold is None else fold,
            "reference": table["class"],
            "prediction": prediction,
            "correct": prediction == table["class"],
        }
    )
    return pd.concat([frame, pd.DataFrame(probabilities, columns=classes)], axis=1)


def read_prediction_table(path: Path, classes: Sequence[str], fold: Fold = None) -> pd.DataFrame:
    """Read the table of a result row with this fold and these classes; InputError if it is missing, or not sound."""
    texts = ("utterance", "reference", "prediction", *(["fold"] if fold == MEAN else []))
    needed = dict.fromkeys(texts, str) | dict.fromkeys(classes, float)
    return files.read_csv(path, needed, RERUN_HINT, {"file": str, "speaker": str})
