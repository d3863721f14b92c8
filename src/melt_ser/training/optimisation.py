"""Loss, optimiser and schedule, as the `trainer` group asks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from melt_ser.config import Optimiser as OptimiserName
from melt_ser.config import Schedule, TrainerConfig
from melt_ser.models.classifier import SpeechClassifier

SCHEDULES = {
    Schedule.linear: "linear",
    Schedule.cosine: "cosine",
    Schedule.constant: "constant_with_warmup",
}


def class_weights(classes: np.ndarray, number: int) -> Tensor:
    """Weight of each class, (classes,): inverse to its count, mean 1 over the training utterances.

    classes: the class of each training utterance, (utterances,); number: of classes. A class without an utterance
    weighs nothing: label smoothing would otherwise drive every answer towards it.
    """
    counts = np.bincount(classes, minlength=number)
    weights = np.divide(len(classes), np.count_nonzero(counts) * counts, out=np.zeros(number), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def cell_weights(classes: np.ndarray, corpora: np.ndarray) -> np.ndarray:
    """Weight of each training utterance, (utterances,): inverse to the count of its class in its corpus, mean 1.

    classes, corpora: of each training utterance, (utterances,). With N utterances in C cells (a class of a corpus) that
    have any, one of a cell of n weighs N / (C n), so that every cell weighs the same; one corpus gives `class_weights`.
    """
    _, cells, counts = np.unique(np.stack([classes, corpora]), axis=1, return_inverse=True, return_counts=True)
    weights: np.ndarray = (len(classes) / (len(counts) * counts))[cells.ravel()]
    return weights.astype(np.float32)


def make_loss(config: TrainerConfig, weights: Tensor) -> nn.CrossEntropyLoss:
    """Cross-entropy of each utterance, times its class's weight, (classes,).

    A step's loss is the sum over its utterances divided by the sum of their weights, which is what torch calls the
    mean; it is left to the caller, since a step may be spread over several batches and processes.
    """
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=config.label_smoothing, reduction="none")


def make_optimiser(config: TrainerConfig, model: SpeechClassifier, scaled: bool = False) -> Optimizer:
    """Adam or AdamW with one learning rate for the backbone and one for the head.

    Biases and normalisation weights (one-dimensional) are not decayed. One pass over the weights does it all (torch's
    fused kernel), unless the loss is `scaled` (fp16): that kernel would hide from accelerate that it skipped a step.
    """
    groups = []
    for part, rate in ((model.backbone, config.backbone_learning_rate), (model.head, config.head_learning_rate)):
        learning = [parameter for parameter in part.parameters() if parameter.requires_grad]
        for decay in (True, False):
            members = [parameter for parameter in learning if (parameter.ndim > 1) == decay]
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": config.weight_decay if decay else 0.0})
    kind = torch.optim.AdamW if config.optimiser is OptimiserName.adamw else torch.optim.Adam
    return kind(groups, fused=not scaled)


def make_schedule(config: TrainerConfig, optimiser: Optimizer, steps: int) -> LRScheduler:
    """Warm-up over `warmup_fraction` of the steps, then linear, cosine or constant."""
    from transformers import get_scheduler

    schedule: LRScheduler = get_scheduler(
        SCHEDULES[config.schedule], optimiser, round(config.warmup_fraction * steps), steps
    )
    return schedule
