"""The pooled features of utterances: a vector for each hidden state that a head uses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.evaluation.inference import in_batches
from melt_ser.models.classifier import SpeechClassifier


def pooled_features(
    model: SpeechClassifier, utterances: ClipDataset, batch_size: int, accelerator: Accelerator
) -> np.ndarray:
    """Return the pooled features of every utterance, (utterances, states, features), in float32, in every process.

    The arguments are those of `_pooled_batches`.
    """
    features = torch.zeros(len(utterances), *model.head.pooled_shape, device=accelerator.device)
    for rows, pooled in _pooled_batches(model, utterances, batch_size, accelerator):
        features[rows] = pooled
    summed: np.ndarray = accelerator.reduce(features, "sum").cpu().numpy()
    return summed


def set_scale(model: SpeechClassifier, utterances: ClipDataset, batch_size: int, accelerator: Accelerator) -> None:
    """Set the head's standardisation to the mean and deviation of its pooled features, and of words, over utterances.

    The arguments are those of `_pooled_batches`. The model is in evaluation mode afterwards.
    """
    sums = torch.zeros(2, *model.head.pooled_shape, dtype=torch.float64)
    for _, pooled in _pooled_batches(model, utterances, batch_size, accelerator):
        values = pooled.cpu().double()
        sums += torch.stack([values.sum(dim=0), values.square().sum(dim=0)])
    mean, square = accelerator.reduce(sums.to(accelerator.device), "sum") / len(utterances)
    model.head.set_scale(mean, (square - mean.square()).clamp(min=0.0).sqrt())
    if utterances.text is not None:
        model.head.set_text_scale(utterances.text)


def _pooled_batches(
    model: SpeechClassifier, utterances: ClipDataset, batch_size: int, accelerator: Accelerator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return an iterator over the rows of each batch, (batch,), and their pooled features, (batch, states, features).

    Args:
        model: its head has a fixed pooling; it is set to evaluation mode.
        utterances: audio, or cached features of the model.
        batch_size: utterances in a batch.
        accelerator: gives the device and the processes.
    """
    model.eval()

    def pooled(batch: Batch) -> Tensor:
        states = model.continue_from(batch.stage, batch.inputs, batch.lengths)
        return torch.stack(model.head.pooled(states), dim=1)

    own_generator = torch.Generator()  # so that the draws of the training stay as they are
    less_memory = "lower trainer.batch_size"
    return in_batches(pooled, utterances, batch_size, accelerator, less_memory, "vectors of the clips", own_generator)
