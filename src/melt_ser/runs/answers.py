"""The answers of models for an evaluation set."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from melt_ser.evaluation.evaluation_sets import EvaluationSet
from melt_ser.evaluation.metrics import Floats
from melt_ser.evaluation.results import Fold


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
