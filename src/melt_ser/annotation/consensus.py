"""One label from several: the samples of a model, or the labels of several models or prompts.

A vote outside the label set (None) is a vote all the same: where most say none of the labels, none is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MOST_ROUNDS = 1000
CONVERGED = 1e-7  # that no probability moves by from one round to the next
SMOOTHING = 1e-6  # votes that a rater is supposed to have given each label beforehand, against logarithms of 0


@dataclass(frozen=True)
class Consensus:
    """The label (None: none of the set), the share or probability of each label of the set, and their entropy."""

    label: str | None
    confidences: Mapping[str, float]  # their sum is below 1 where votes lie outside the set
    entropy: float  # bits; of the votes outside the set too

    @property
    def confidence(self) -> float:
        """That of the label; of none, the share of the votes outside the set."""
        return 1.0 - sum(self.confidences.values()) if self.label is None else self.confidences[self.label]


def majority(votes: Sequence[str | None], labels: Sequence[str]) -> Consensus:
    """The most frequent vote, of several the one given first. ValueError without a vote."""
    if not votes:
        raise ValueError("a majority needs a vote")
    counts = Counter(votes)  # in the order of first occurrence, which max keeps
    label = max(counts, key=lambda vote: counts[vote])
    shares = {name: counts[name] / len(votes) for name in labels}
    return Consensus(label, shares, entropy([count / len(votes) for count in counts.values()]))


def by_probability(probabilities: Mapping[str, float], labels: Sequence[str]) -> Consensus:
    """The most probable label, of equal ones the first of the set."""
    shares = {name: float(probabilities[name]) for name in labels}
    return Consensus(max(labels, key=lambda name: shares[name]), shares, entropy(list(shares.values())))


def entropy(shares: Sequence[float]) -> float:
    """Shannon's entropy in bits.

    >>> entropy([0.5, 0.5, 0.0])
    1.0
    """
    return sum(-share * math.log2(share) for share in shares if share > 0) or 0.0


def dawid_skene(votes: Sequence[Sequence[str | None]], labels: Sequence[str]) -> list[Consensus]:
    """The labels of utterances by Dawid and Skene's model, which learns from the votes how each rater errs.

    `votes` has a row for each utterance and a column for each rater; None is no vote. Each rater has a matrix of the
    probabilities of what it says, given the true label; these, the prior and the true labels' posteriors are fitted
    in turn (EM), from the shares of the votes on. An utterance without a vote gets the prior.
    Source: Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979.
    """
    if not votes:
        return []
    number = {label: position for position, label in enumerate(labels)}
    said = np.array([[-1 if vote is None else number[vote] for vote in row] for row in votes])
    given = (said[:, :, None] == np.arange(len(labels))).astype(float)  # (utterances, raters, labels)
    posterior = given.sum(axis=1) + 1e-6
    posterior /= posterior.sum(axis=1, keepdims=True)
    for _ in range(MOST_ROUNDS):
        prior = posterior.mean(axis=0)
        errors = np.einsum("ut,url->rtl", posterior, given) + SMOOTHING  # (raters, true labels, said labels)
        errors /= errors.sum(axis=2, keepdims=True)
        joint = np.log(prior + 1e-300) + np.einsum("url,rtl->ut", given, np.log(errors))
        before, posterior = posterior, np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        if np.abs(posterior - before).max() < CONVERGED:
            break
    return [by_probability(dict(zip(labels, row, strict=True)), labels) for row in posterior.tolist()]
