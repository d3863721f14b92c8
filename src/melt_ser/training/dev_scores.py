"""The scores of a dev part, by which the best epoch and the best settings of a probe are chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from melt_ser.evaluation.dev_metric import dev_metric
from melt_ser.evaluation.metrics import confusion_matrix, unweighted_accuracy, weighted_accuracy
from melt_ser.evaluation.rating_metrics import concordance, divergence, moments
from melt_ser.models.outputs import Outputs
from melt_ser.training.targets import Targets

LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class DevScores:
    """The scores of one epoch, or of one candidate.

    metric: the name of the score that chooses (`dev_metric`).
    value: that score; the highest is best. loss: the lowest is best among equals.
    columns: further scores, by their names in metrics.csv.
    """

    metric: str
    value: float
    loss: float
    columns: dict[str, float]

    @property
    def rank(self) -> tuple[float, float]:
        """Return a key; the best scores have the greatest."""
        return self.value, -self.loss

    @property
    def ua(self) -> float | None:
        """Return UA, or None without classes."""
        return self.columns.get("dev_ua")


def no_dev(outputs: Outputs, is_distribution: bool) -> DevScores:
    """Return the scores of a training without a dev part: NaN."""
    columns = dict.fromkeys([*(("dev_ua", "dev_wa") if outputs.classes else ())], math.nan)
    columns |= {"dev_kl": math.nan} if is_distribution else {}
    columns |= {"dev_ccc": math.nan} if outputs.scales else {}
    metric = dev_metric(bool(outputs.classes), bool(outputs.scales), is_distribution)
    return DevScores(metric, math.nan, math.nan, columns)


def dev_scores(answers: np.ndarray, targets: Targets, outputs: Outputs) -> DevScores:
    """Return the scores of answers, (utterances, outputs), as `Outputs.answers` gives them."""
    count = len(outputs.classes)
    columns: dict[str, float] = {}
    loss = 0.0
    if count:
        names = [str(number) for number in range(count)]
        reference = [names[number] for number in targets.classes]
        prediction = [names[number] for number in answers[:, :count].argmax(axis=1)]
        confusion = confusion_matrix(reference, prediction, names)
        columns["dev_ua"], columns["dev_wa"] = (
            float(unweighted_accuracy(confusion)),
            float(weighted_accuracy(confusion)),
        )
        right = answers[np.arange(len(answers)), targets.classes]
        loss = float(-np.log(np.maximum(right, LEAST_PROBABILITY)).mean())
    if targets.is_distribution:
        assert targets.shares is not None
        loss = columns["dev_kl"] = float(divergence(targets.shares, answers[:, :count].astype(np.float64))[:, 1].mean())
    if outputs.scales:
        columns["dev_ccc"] = mean_concordance(answers[:, count:], targets, outputs)
        loss += 1 - columns["dev_ccc"]
    metric = dev_metric(bool(count), bool(outputs.scales), targets.is_distribution)
    parts = {"-kl": "dev_kl", "ccc": "dev_ccc", "ua": "dev_ua"}
    values = [(-1 if name == "-kl" else 1) * columns[parts[name]] for name in metric.split("+")]
    return DevScores(metric, sum(values) / len(values), loss, columns)


def mean_concordance(answers: np.ndarray, targets: Targets, outputs: Outputs) -> float:
    """Return the mean CCC over the attributes; it is 0 for one whose answers and goals are constant."""
    found = []
    for position, (low, high) in enumerate(outputs.scales.values()):
        known = ~np.isnan(targets.attributes[:, position])
        goal = low + (targets.attributes[known, position] + 1) * (high - low) / 2
        value = float(concordance(moments(goal, answers[known, position].astype(np.float64)).sum(axis=0)))
        found.append(0.0 if math.isnan(value) else value)
    return sum(found) / len(found)
