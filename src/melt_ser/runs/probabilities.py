"""Compute the probabilities of a run's models for their evaluation sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from accelerate import Accelerator

from melt_ser.data.datasets import ClipDataset
from melt_ser.evaluation.evaluation_sets import EvaluationSet, are_the_same
from melt_ser.evaluation.inference import predict_probabilities, predict_with_all
from melt_ser.models.classifier import SpeechClassifier


def predict_each(
    models: Sequence[SpeechClassifier],
    evaluation_sets: Sequence[EvaluationSet],
    read: Callable[[EvaluationSet], ClipDataset],
    batch_size: int,
    accelerator: Accelerator,
    which: str = "",
) -> list[np.ndarray]:
    """Return each model's probabilities for its own set, (utterances, classes).

    If all models have the same test utterances, these are read once, and a backbone that the models share is computed
    once. `read` returns the utterances of a set, `which` names the model in the progress, and the other arguments are
    those of `predict_with_all`.
    """
    title, precision = f"scoring {evaluation_sets[0].name}{which}", evaluation_sets[0].precision
    if are_the_same(evaluation_sets):
        title += f" by {len(models)} models" if len(models) > 1 else ""
        utterances = read(evaluation_sets[0])
        return list(predict_with_all(models, utterances, batch_size, accelerator, title=title, precision=precision))
    return [
        predict_probabilities(model, read(scored), batch_size, accelerator, title=title, precision=precision)
        for model, scored in zip(models, evaluation_sets, strict=True)
    ]
