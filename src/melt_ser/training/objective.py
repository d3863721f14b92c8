"""The loss of each utterance, by the group `objective`: of classes, of shares of votes, of attributes, or of several.

The training loop multiplies the losses by the utterances' weights and divides their sum over a step by the number of
its utterances. The sum of the weights would be the wrong divisor: it is large in a step with a rare class, so that rare
classes would lose a part of their weight.

Sources: config.py names the paper of each loss.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from melt_ser.config import AttributeLoss, ClassLoss, ObjectiveConfig, Smoothing
from melt_ser.core.errors import SetupError
from melt_ser.models.outputs import Outputs
from melt_ser.training.targets import Targets

Shares = TypeVar("Shares", np.ndarray, Tensor)
SMALLEST_SHARE = 1e-8  # of a class without utterances, whose logarithm would be infinite


class Objective(nn.Module):
    """The losses of logits. The targets lie on the device, so a step waits for no number."""

    classes: Tensor
    goal: Tensor
    spread: Tensor | None
    attributes: Tensor
    log_shares: Tensor
    factors: Tensor

    def __init__(
        self, config: ObjectiveConfig, outputs: Outputs, targets: Targets, smoothed: np.ndarray, smoothing: float
    ) -> None:
        """Prepare the targets of a training part.

        Args:
            config: the `objective` settings.
            outputs: those of the model.
            targets: the right answers of the training part.
            smoothed: 1 for each class that uniform smoothing spreads the target over, otherwise 0, (classes,).
            smoothing: the share of the target that is spread (`trainer.label_smoothing`).

        Raises SetupError if confusability is asked for and the corpus has no votes.
        """
        super().__init__()
        self.config, self.count = config, len(outputs.classes)
        self.register_buffer("classes", torch.tensor(targets.classes))
        self.register_buffer("attributes", torch.tensor(targets.attributes, dtype=torch.float32))
        of_class = self.count > 0 and not targets.is_distribution and config.class_loss is ClassLoss.cross_entropy
        self.plain: nn.CrossEntropyLoss | None = None
        if of_class and config.smoothing is Smoothing.uniform and smoothed.all():  # torch smooths over all classes
            self.plain = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
        elif self.count:
            spread = _spread(config, targets, self.count, smoothed, smoothing)
            goal = _smooth(_goal(config, targets, self.count), spread, smoothing)
            self.smoothing = smoothing
            self.register_buffer("spread", None if spread is None else torch.from_numpy(spread).float())
            self.register_buffer("goal", torch.from_numpy(goal).float())
            counts = targets.shares_to_learn(self.count).sum(axis=0)
            shares = np.maximum(counts / counts.sum(), SMALLEST_SHARE)
            self.register_buffer("log_shares", torch.from_numpy(config.adjustment * np.log(shares)).float())
            sizes = np.maximum(counts / counts.max(), SMALLEST_SHARE)
            self.register_buffer("factors", torch.from_numpy(sizes**config.scaling).float())

    def forward(self, logits: Tensor, rows: Tensor, uncertainties: Tensor | None = None) -> Tensor:
        """Return the loss of each utterance, (batch,).

        Args:
            logits: those of the model, (batch, outputs).
            rows: the rows of the utterances in the training part, (batch,), or with mixup the shares of the classes,
                (batch, classes).
            uncertainties: of the classes and of the attributes, if their weights are learnt, (2,).
        """
        of_classes = self._of_classes(logits[:, : self.count], rows) if self.count else None
        if logits.shape[1] == self.count:
            assert of_classes is not None
            return of_classes
        of_attributes = self._of_attributes(logits[:, self.count :].float(), self.attributes[rows])
        if of_classes is None:
            return of_attributes
        if uncertainties is not None:
            weights = torch.exp(-uncertainties)
            return weights[0] * of_classes + weights[1] * of_attributes + uncertainties.sum()
        return self.config.class_weight * of_classes + self.config.attribute_weight * of_attributes

    def _of_classes(self, logits: Tensor, rows: Tensor) -> Tensor:
        if self.plain is not None:
            losses: Tensor = self.plain(logits, self.classes[rows] if rows.ndim == 1 else rows)
            return losses
        goal = self.goal[rows] if rows.ndim == 1 else _smooth(rows, self.spread, self.smoothing)
        kind = self.config.class_loss
        if kind is ClassLoss.multi_label:
            return nn.functional.binary_cross_entropy_with_logits(logits, goal, reduction="none").mean(dim=1)
        if kind is ClassLoss.vector_scaling:
            logits = logits * self.factors
        if kind in (ClassLoss.logit_adjusted, ClassLoss.vector_scaling):
            logits = logits + self.log_shares
        logarithms = logits.log_softmax(dim=1)
        if kind is ClassLoss.focal:
            logarithms = (1 - logarithms.exp()).clamp(min=1e-12) ** self.config.focal_gamma * logarithms
        losses = -(goal * logarithms).sum(dim=1)
        return losses + torch.special.xlogy(goal, goal).sum(dim=1) if kind is ClassLoss.divergence else losses

    def _of_attributes(self, answers: Tensor, goal: Tensor) -> Tensor:
        """Return the mean loss over the attributes, (batch,); an unknown attribute counts for nothing."""
        known = ~goal.isnan()
        goal = torch.where(known, goal, torch.zeros_like(goal))
        if self.config.attribute_loss is AttributeLoss.squared_error:
            squares = torch.where(known, (answers - goal) ** 2, torch.zeros_like(goal))
            return squares.sum(dim=1) / known.sum(dim=1).clamp(min=1)
        of_batch: Tensor = (1 - concordance(answers, goal, known.float())).mean()
        return of_batch.expand(len(answers))


def concordance(answers: Tensor, goal: Tensor, weights: Tensor) -> Tensor:
    """Return the CCC of each column of answers and goals, (batch, columns) each; 0 if both are constant.

    weights: 1 for each number that counts, otherwise 0, (batch, columns).
    """
    n = weights.sum(dim=0).clamp(min=1)
    centre_a, centre_g = ((values * weights).sum(dim=0) / n for values in (answers, goal))
    moved_a, moved_g = (answers - centre_a) * weights, (goal - centre_g) * weights
    variance_a, variance_g = (moved_a**2).sum(dim=0) / n, (moved_g**2).sum(dim=0) / n
    covariance = (moved_a * moved_g).sum(dim=0) / n
    return 2 * covariance / (variance_a + variance_g + (centre_a - centre_g) ** 2 + 1e-8)


def _goal(config: ObjectiveConfig, targets: Targets, count: int) -> np.ndarray:
    """Return the targets of the class loss, (utterances, classes): shares, or for multi_label 0 and 1."""
    goal: np.ndarray = targets.shares_to_learn(count)
    if config.class_loss is ClassLoss.multi_label:
        goal = (goal > 1 / count).astype(np.float64)
    return goal


def _spread(
    config: ObjectiveConfig, targets: Targets, count: int, smoothed: np.ndarray, smoothing: float
) -> np.ndarray | None:
    """Return how smoothing spreads the share of each class over all, (classes, classes); None for independent ones."""
    if config.class_loss is ClassLoss.multi_label or smoothing == 0.0:
        return None
    if config.smoothing is Smoothing.confusability:
        return confusability(targets, count)
    return np.tile(smoothed / smoothed.sum(), (count, 1))


def _smooth(goal: Shares, spread: Shares | None, smoothing: float) -> Shares:
    """Return targets, (utterances, classes), of which the share `smoothing` is spread; see `_spread`."""
    if smoothing == 0.0:
        return goal
    if spread is None:
        return goal * (1 - smoothing) + smoothing / 2
    smooth: Shares = (1 - smoothing) * goal + smoothing * goal @ spread
    return smooth


def confusability(targets: Targets, count: int) -> np.ndarray:
    """Return the mean votes for the other classes of each class's utterances, (classes, classes), rows with the sum 1.

    A class whose raters all agree has its whole row on itself. Raises SetupError without votes.
    """
    if targets.shares is None:
        raise SetupError(
            "objective.smoothing=confusability needs the votes of raters (dataset.raters, or +dataset.votes)."
        )
    votes = np.zeros((count, count))
    np.add.at(votes, targets.classes, targets.shares)
    np.fill_diagonal(votes, 0.0)
    alone = votes.sum(axis=1) == 0
    votes[alone, alone.nonzero()[0]] = 1.0
    rows: np.ndarray = votes / votes.sum(axis=1, keepdims=True)
    return rows
