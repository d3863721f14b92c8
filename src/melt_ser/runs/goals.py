"""The goals of a run's folds: the loss, and the right answers of train and dev."""

from __future__ import annotations

import torch
from torch import nn

from melt_ser.config import Target
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.runs.plan import RunPlan
from melt_ser.training.targets import Goals, Targets


def goals_of(plan: RunPlan, split: FoldSplit) -> Goals:
    """Return the goals of a fold."""
    is_distribution = plan.corpus.target is Target.distribution
    train, dev = (Targets.of(part, plan.outputs, plan.space, is_distribution) for part in (split.train, split.dev))
    return Goals(plan.config.objective, train, dev)


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
    shares = torch.from_numpy(goals.train.shares_to_learn(count).mean(axis=0)).clamp(min=1e-8)
    bias = model.head.output.bias
    bias[:count] -= power * shares.log().to(bias)
