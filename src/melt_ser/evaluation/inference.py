"""A model's probabilities for utterances."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from melt_ser.data.batches import SortedBatches
from melt_ser.data.utterances import Utterances, collate
from melt_ser.evaluation.metrics import confusion_matrix, unweighted_accuracy, weighted_accuracy
from melt_ser.models.classifier import SpeechClassifier


@torch.no_grad()
def classify(model: SpeechClassifier, utterances: Utterances, batch_size: int, accelerator: Accelerator) -> np.ndarray:
    """Probabilities, (utterances, classes), in the order of the table; float32, whatever the training precision."""
    model.eval()
    probabilities = np.empty((len(utterances), len(model.classes)), dtype=np.float32)
    loader = DataLoader(utterances, batch_sampler=SortedBatches(utterances.seconds, batch_size), collate_fn=collate)
    for batch in loader:
        logits = model(batch.audio.to(accelerator.device), batch.lengths.to(accelerator.device))
        probabilities[batch.rows.numpy()] = logits.float().softmax(dim=-1).cpu().numpy()
    return probabilities


def dev_scores(probabilities: np.ndarray, dev: Utterances) -> tuple[float, float, float]:
    """UA, WA and mean cross-entropy of the dev part."""
    names = [str(number) for number in range(probabilities.shape[1])]
    reference = [names[number] for number in dev.classes]
    prediction = [names[number] for number in probabilities.argmax(axis=1)]
    confusion = confusion_matrix(reference, prediction, names)
    right = probabilities[np.arange(len(probabilities)), dev.classes]
    loss = float(-np.log(np.maximum(right, 1e-12)).mean())
    return float(unweighted_accuracy(confusion)), float(weighted_accuracy(confusion)), loss
