"""One label from several votes: the samples of a model, or the labels of several models, prompts or people.

A vote outside the label set (None) counts as a vote. If most votes are outside the set, the consensus has no label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_ROUNDS = 1000
CONVERGED = 1e-7  # largest change of any probability in the last round
SMOOTHING = 1e-6  # votes added to every cell of a rater's matrix, against logarithms of 0
LINES_PER_LABEL = 25  # with fewer, a vote is about as good as Dawid and Skene's model (docs/annotation.md)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Consensus:
    """The label (None: none of the set), the share or probability of each label of the set, and their entropy."""

    label: str | None
    confidences: Mapping[str, float]  # their sum is below 1 if some votes are outside the set
    entropy: float  # bits; includes the votes outside the set

    @property
    def confidence(self) -> float:
        """The label's share or probability; without a label, the share of the votes outside the set."""
        return 1.0 - sum(self.confidences.values()) if self.label is None else self.confidences[self.label]


def majority(votes: Sequence[str | None], labels: Sequence[str]) -> Consensus:
    """Return the most frequent vote; among equal counts, the earliest. Raises ValueError without a vote."""
    if not votes:
        raise ValueError("a majority needs a vote")
    return by_share([{vote: 1.0} for vote in votes], labels)


def by_share(votes: Sequence[Mapping[str | None, float]], labels: Sequence[str]) -> Consensus:
    """Return the label with the largest mean share of votes that may be divided; among equal ones, the earliest."""
    totals: dict[str | None, float] = {}  # ordered by first occurrence, so that max returns the earliest
    for vote in votes:
        for label, share in vote.items():
            totals[label] = totals.get(label, 0.0) + share
    shares = {name: totals.get(name, 0.0) / len(votes) for name in labels}
    top = max(totals, key=lambda label: totals[label])
    return Consensus(top, shares, entropy([total / len(votes) for total in totals.values()]))


def by_probability(probabilities: Mapping[str, float], labels: Sequence[str]) -> Consensus:
    """Return the most probable label; among equal ones, the first of the set."""
    shares = {name: float(probabilities[name]) for name in labels}
    return Consensus(max(labels, key=lambda name: shares[name]), shares, entropy(list(shares.values())))


def entropy(shares: Sequence[float]) -> float:
    """Return Shannon's entropy in bits.

    >>> entropy([0.5, 0.5, 0.0])
    1.0
    """
    return sum(-share * math.log2(share) for share in shares if share > 0) or 0.0


def one_coin(votes: Sequence[Sequence[str | None]], labels: Sequence[str]) -> list[Consensus]:
    """Return the labels of utterances by the one-coin model: Dawid and Skene's with one number for each rater.

    A rater is right with the same probability for every true label, and otherwise gives any other label equally often.
    So few utterances tell the raters apart. Arguments and start are those of `dawid_skene`.
    Source: Zhang, Chen, Zhou and Jordan, Spectral methods meet EM, 2016.
    """

    def errors(counts: Floats) -> Floats:
        right = np.trace(counts, axis1=1, axis2=2) / counts.sum(axis=(1, 2))  # (raters,)
        wrong = (1 - right) / max(len(labels) - 1, 1)
        same = np.eye(len(labels))
        return np.asarray(right[:, None, None] * same + wrong[:, None, None] * (1 - same))

    return _fitted(votes, labels, errors)


def dawid_skene(votes: Sequence[Sequence[str | None]], labels: Sequence[str]) -> list[Consensus]:
    """Return the labels of utterances by Dawid and Skene's model; it estimates each rater's errors from the votes.

    `votes` has a row for each utterance and a column for each rater; None means no vote. The model has, for each rater,
    the probability of each vote given the true label. EM fits these matrices, the prior and the posterior of the true
    labels in turn, starting from the shares of the votes. An utterance without a vote gets the prior.
    Source: Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979.
    """
    return _fitted(votes, labels, lambda counts: counts / counts.sum(axis=2, keepdims=True))


MODELS = {"dawid_skene": dawid_skene, "one_coin": one_coin}
"""The models of raters' errors, by the name of the method."""
FEWEST_RATERS = 3  # that such a model needs to tell their errors apart


def _fitted(
    votes: Sequence[Sequence[str | None]], labels: Sequence[str], errors_of: Callable[[Floats], Floats]
) -> list[Consensus]:
    """Fit a model by EM; `errors_of` maps counts to probabilities, both (raters, true labels, votes)."""
    if not votes:
        return []
    number = {label: position for position, label in enumerate(labels)}
    numbered = np.array([[-1 if vote is None else number[vote] for vote in row] for row in votes])
    given = (numbered[:, :, None] == np.arange(len(labels))).astype(float)  # (utterances, raters, labels)
    posterior = given.sum(axis=1) + 1e-6
    posterior /= posterior.sum(axis=1, keepdims=True)
    for _ in range(MOST_ROUNDS):
        prior = posterior.mean(axis=0)
        errors = errors_of(np.einsum("ut,url->rtl", posterior, given) + SMOOTHING)
        joint = np.log(prior + 1e-300) + np.einsum("url,rtl->ut", given, np.log(errors))
        before, posterior = posterior, np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        if np.abs(posterior - before).max() < CONVERGED:
            break
    return [by_probability(dict(zip(labels, row, strict=True)), labels) for row in posterior.tolist()]
