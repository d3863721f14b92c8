"""The goals of a run's folds: the loss, and the right answers of train and dev."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from melt_ser.config import Target
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.targets import attributes_of, shares_of
from melt_ser.data.datasets import class_numbers
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.outputs import Outputs
from melt_ser.runs.plan import RunPlan
from melt_ser.training.objective import SMALLEST_SHARE
from melt_ser.training.targets import Goals, Targets


def goals_of(plan: RunPlan, split: FoldSplit) -> Goals:
    """Return the goals of a fold."""
    is_distribution = plan.corpus.target is Target.distribution
    train, dev = (targets_of(part, plan.outputs, plan.space, is_distribution) for part in (split.train, split.dev))
    return Goals(plan.config.objective, train, dev)


def targets_of(table: pd.DataFrame, outputs: Outputs, space: LabelSpace, is_distribution: bool) -> Targets:
    """Return the targets of the rows of a corpus table.

    space: the classes by emotion, for the votes. is_distribution: see `Targets`.
    """
    shares = shares_of(table, space, outputs.classes) if outputs.classes else None
    if shares is not None and not shares.any():
        shares = None
    low, high = np.array(list(outputs.scales.values()), dtype=np.float64).reshape(-1, 2).T
    attributes = 2 * (attributes_of(table, list(outputs.scales)) - low) / (high - low) - 1
    return Targets(class_numbers(table, outputs.classes), shares, attributes, is_distribution)


def with_uncertainties(model: SpeechClassifier, plan: RunPlan) -> None:
    """Give a model the two numbers that weigh its losses, if they are learnt."""
    if plan.config.objective.learned_weights:
        device = next(model.head.parameters()).device
        model.uncertainties = nn.Parameter(torch.zeros(2, device=device))


@torch.no_grad()
def correct_priors(model: SpeechClassifier, goals: Goals, power: float) -> None:
    """Divide the model's probabilities by a power of the classes' shares in the training part (prior_correction).

    The correction becomes a part of the last layer's bias.
    """
    count = len(model.classes)
    if power == 0.0 or not count:
        return
    shares = torch.from_numpy(goals.train.shares_to_learn(count).mean(axis=0)).clamp(min=SMALLEST_SHARE)
    bias = model.head.output.bias
    bias[:count] -= power * shares.log().to(bias)
