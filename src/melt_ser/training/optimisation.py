"""Loss weights, loss, optimiser and schedule, from the `trainer` settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from melt_ser.config import Balance, Schedule, TrainerConfig
from melt_ser.config import Optimiser as OptimiserName
from melt_ser.core.console import say
from melt_ser.models.backbone import Backbone
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.targets import Targets

SCHEDULES = {
    Schedule.linear: "linear",
    Schedule.cosine: "cosine",
    Schedule.constant: "constant_with_warmup",
}


@dataclass(frozen=True)
class Weighting:
    """The weight of each training utterance, by `trainer.balance`.

    in_loss: weight of each utterance in the loss, with mean 1, (utterances,).
    sampling: weight of each utterance when batches are drawn, (utterances,); None: each comes once per epoch.
    smoothed: 1 for each class that label smoothing spreads the target over, otherwise 0, (classes,).
    """

    in_loss: np.ndarray
    sampling: np.ndarray | None
    smoothed: np.ndarray

    @classmethod
    def of_targets(cls, balance: Balance, targets: Targets, corpora: np.ndarray, number: int) -> Weighting:
        """Weigh utterances by their classes; shares of votes are learnt as they are, unless classes are sampled.

        The arguments are those of `of`.
        """
        if targets.is_distribution and balance is Balance.loss:
            balance = Balance.nothing
        return cls.of(balance, targets.classes, corpora, number)

    @classmethod
    def of(cls, balance: Balance, classes: np.ndarray, corpora: np.ndarray, number: int) -> Weighting:
        """Weigh utterances in the loss, in sampling, or not at all.

        Args:
            balance: whether the loss, the sampling or nothing balances the classes.
            classes: the class of each utterance, (utterances,).
            corpora: the number of the corpus of each utterance, (utterances,).
            number: the number of classes.
        """
        by_cell = cell_weights(classes, corpora)
        if balance is Balance.loss:  # no smoothing towards a class without utterances: its weight is 0
            return cls(by_cell, None, np.bincount(classes, minlength=number) > 0)
        return cls(np.ones_like(by_cell), by_cell if balance is Balance.sampling else None, np.ones(number))


def cell_weights(classes: np.ndarray, corpora: np.ndarray) -> np.ndarray:
    """Return the weight of each training utterance, (utterances,), with mean 1.

    classes, corpora: class and corpus of each training utterance, (utterances,). A cell is a class in a corpus. With N
    utterances in C cells, each utterance in a cell of n utterances weighs N / (C n), so that all cells weigh the same.
    """
    _, cells, counts = np.unique(np.stack([classes, corpora]), axis=1, return_inverse=True, return_counts=True)
    weights: np.ndarray = (len(classes) / (len(counts) * counts))[cells.ravel()]
    return weights.astype(np.float32)


def rates_for(config: TrainerConfig, utterances: float) -> TrainerConfig:
    """Return the settings with the learning rates for steps of this mean number of utterances, and say the factor.

    The rates of a recipe are those of its `batch_size`. They grow with the square root of the step, the rule for Adam
    and AdamW (Malladi et al. 2022, arXiv:2205.10287); the linear rule is for plain gradient descent.
    """
    factor = math.sqrt(utterances / config.batch_size)
    say(
        f"note: steps of up to {config.step_seconds} s have {utterances:.1f} clips on average; the learning rates are "
        f"{factor:.2f} times those of trainer.batch_size={config.batch_size}."
    )
    return replace(
        config,
        head_learning_rate=config.head_learning_rate * factor,
        backbone_learning_rate=config.backbone_learning_rate * factor,
    )


def make_optimiser(config: TrainerConfig, model: SpeechClassifier, scaled: bool = False) -> Optimizer:
    """Return Adam or AdamW with the learning rates of the head and of the backbone's layers.

    Biases and normalisation weights (one-dimensional) get no weight decay. The optimiser is torch's fused one, except
    with fp16 loss scaling (`scaled`): with the fused one, accelerate does not learn of skipped steps.
    """
    groups = []
    for weights, rate in (
        *_backbone_rates(config, model.backbone),
        ([*model.head.parameters(), *model.parameters(recurse=False)], config.head_learning_rate),
    ):
        learning = [weight for weight in weights if weight.requires_grad]
        for decay in (True, False):
            members = [weight for weight in learning if (weight.ndim > 1) == decay]
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": config.weight_decay if decay else 0.0})
    kind = torch.optim.AdamW if config.optimiser is OptimiserName.adamw else torch.optim.Adam
    return kind(groups, fused=not scaled)


def _backbone_rates(config: TrainerConfig, backbone: Backbone) -> list[tuple[list[nn.Parameter], float]]:
    """Return the weights of the backbone with their learning rates, from the lowest part up.

    Layer i of n has rate * layer_decay ** (n - i). What lies behind the last layer has its rate; what lies below the
    layers counts as layer 0.
    """
    rate = config.backbone_learning_rate
    if config.layer_decay == 1.0:  # one group, as checkpoints from before this setting have it
        return [(list(backbone.parameters()), rate)]
    top = backbone.number_of_layers
    height_of = dict.fromkeys(backbone.parameters(), 0)
    for height, layer in enumerate(backbone.encoder.layers, start=1):
        height_of |= dict.fromkeys(layer.parameters(), height)
    for part in _behind_layers(backbone):
        height_of |= dict.fromkeys(part.parameters(), top)
    members: list[list[nn.Parameter]] = [[] for _ in range(top + 1)]
    for weight, height in height_of.items():
        members[height].append(weight)
    return [(weights, rate * config.layer_decay ** (top - height)) for height, weights in enumerate(members)]


def _behind_layers(backbone: Backbone) -> list[nn.Module]:
    """Return the norm behind the last layer, and what adapts its output in some checkpoints (add_adapter)."""
    adapting = (getattr(backbone.model, name, None) for name in ("intermediate_ffn", "adapter"))
    norm = [backbone.encoder.layer_norm] if backbone.normalises_last else []
    return [*norm, *(part for part in adapting if part is not None)]


def make_schedule(config: TrainerConfig, optimiser: Optimizer, steps: int) -> LRScheduler:
    """Return the schedule: warm-up over `warmup_fraction` of the steps, then linear, cosine or constant."""
    from transformers import get_scheduler

    schedule: LRScheduler = get_scheduler(
        SCHEDULES[config.schedule], optimiser, round(config.warmup_fraction * steps), steps
    )
    return schedule
