"""The tables of predictions in a run folder, `predictions/<corpus>.csv`: make and read them.

    utterance, file, speaker    of the recording; the file is relative to the folder of the corpus
    fold                        of the model that answered; "" for the release's own split
    reference, prediction       classes; the prediction is the open answer, chosen among all classes of the model
    correct                     whether the prediction is the reference
    <class>                     a probability for each class of the model
    share_<class>               the share of the class among the votes, if votes are the target
    <attribute>_reference, <attribute>    on the scale of the corpus, if attributes are a target; one that the corpus
                                lacks has no reference, and is on the scale of the training

A model without classes has no reference, prediction and correct.

Older tables have no file, speaker, fold and correct.

`dev.csv` in the folder of a fold has the utterance, the reference and the probabilities of its dev part, by the model
that learned from train alone. A model without classes has none, and neither has a run from before there was this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core import files
from melt_ser.core.errors import InputError
from melt_ser.corpora.ratings import ATTRIBUTE, rescaled
from melt_ser.evaluation.evaluation_sets import SHARE, EvaluationSet
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.results import MEAN, RERUN_HINT, Fold
from melt_ser.models.outputs import Outputs

DEV_FILE = "dev.csv"
REFERENCE = "_reference"  # ends the column with the right number of an attribute


def prediction_table(evaluation_set: EvaluationSet, answers: np.ndarray, outputs: Outputs, fold: Fold) -> pd.DataFrame:
    """Return the table for answers, (utterances, outputs), in the order of the set."""
    table, classes = evaluation_set.table, list(outputs.classes)
    columns: dict[str, Any] = {
        "utterance": table["utterance"],
        "file": table["audio"],
        "speaker": table["speaker"],
        "fold": "" if fold is None else fold,
    }
    if classes:
        prediction = np.asarray(classes, dtype=object)[answers[:, : len(classes)].argmax(axis=1)]
        columns |= {
            "reference": table["class"],
            "prediction": prediction,
            "correct": prediction == table["class"],
        }
    columns |= {name: answers[:, number] for number, name in enumerate(classes)}
    columns |= {name: table[name] for name in map(str, table) if name.startswith(SHARE)}
    for number, (name, scale) in enumerate(outputs.scales.items(), start=len(classes)):
        if ATTRIBUTE + name in table:
            columns[name + REFERENCE] = table[ATTRIBUTE + name]
        columns[name] = rescaled(answers[:, number], scale, evaluation_set.scales.get(name, scale))
    return pd.DataFrame(columns)


def read_prediction_table(path: Path, classes: Sequence[str], fold: Fold = None) -> pd.DataFrame:
    """Read the table of a result row with this fold and these classes; InputError if it is missing, or not sound.

    A table without classes has no reference and no prediction: it is of attributes alone.
    """
    of_classes = ("reference", "prediction") if classes else ()
    texts = ("utterance", *of_classes, *(["fold"] if fold == MEAN else []))
    needed = dict.fromkeys(texts, str) | dict.fromkeys(classes, float)
    return files.read_csv(path, needed, RERUN_HINT, {"file": str, "speaker": str})


def numbers_in(table: pd.DataFrame, columns: list[str]) -> Floats:
    """Return columns of numbers, (rows, columns); an empty cell is NaN. InputError if one is missing or has a text."""
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"the predictions have no column '{missing[0]}'.")
    try:
        numbers: Floats = table[columns].replace("", math.nan).to_numpy("float64")
    except ValueError as error:
        raise InputError(f"a cell of {', '.join(columns)} is no number ({error}).") from None
    return numbers


def dev_table(dev: pd.DataFrame, answers: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return the content of `dev.csv` from the dev part of a fold and answers, (utterances, outputs)."""
    columns = {name: answers[:, number] for number, name in enumerate(classes)}
    return pd.DataFrame({"utterance": dev["utterance"].array, "reference": dev["class"].array, **columns})


def read_dev_table(folder: Path, fold: str, classes: Sequence[str]) -> pd.DataFrame:
    """Read the `dev.csv` of a fold ("": the release's own split) of the run in `folder`.

    Raises InputError if there is none, as in older runs, or if it is not sound.
    """
    of_one_model = folder / DEV_FILE
    path = of_one_model if of_one_model.is_file() else folder / "folds" / fold / DEV_FILE
    if not path.is_file():
        raise InputError(f"a run has no answers for dev ({DEV_FILE}), as runs of older versions")
    return files.read_csv(path, {"utterance": str, "reference": str} | dict.fromkeys(classes, float), RERUN_HINT)
