"""Majority and Dawid-Skene: by hand, against a plain second implementation, and on raters with known errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from melt_ser.annotation.consensus import (
    MOST_ROUNDS,
    SMOOTHING,
    Consensus,
    by_probability,
    dawid_skene,
    majority,
    one_coin,
)

LABELS = ["anger", "joy", "sadness"]


def test_majority_has_shares_and_entropy() -> None:
    consensus = majority(["joy", "anger", "joy", "joy"], LABELS)
    assert (consensus.label, consensus.confidence) == ("joy", 0.75)
    assert consensus.confidences == {"anger": 0.25, "joy": 0.75, "sadness": 0.0}
    assert consensus.entropy == pytest.approx(0.8112781)
    assert majority(["joy"], LABELS).entropy == 0.0
    with pytest.raises(ValueError, match="needs a vote"):
        majority([], LABELS)


def test_majority_takes_the_first_vote_of_equal_counts() -> None:
    assert majority(["joy", "anger", "anger", "joy"], LABELS).label == "joy"
    assert majority(["anger", "joy", "joy", "anger"], LABELS).label == "anger"


def test_majority_counts_votes_outside_the_set_and_never_changes_them() -> None:
    most = majority([None, None, "joy"], LABELS)
    assert (most.label, most.confidences["joy"]) == (None, pytest.approx(1 / 3))
    assert most.confidence == pytest.approx(2 / 3)
    assert majority([None, "joy", "joy"], LABELS).confidence == pytest.approx(2 / 3)


@given(st.lists(st.sampled_from([*LABELS, None]), min_size=1, max_size=20))
def test_majority_has_at_least_as_many_votes_as_any_other(votes: list[str | None]) -> None:
    consensus = majority(votes, LABELS)
    assert all(votes.count(consensus.label) >= votes.count(vote) for vote in votes)
    assert 0.0 <= consensus.entropy <= math.log2(len(LABELS) + 1) + 1e-12
    assert sum(consensus.confidences.values()) == pytest.approx(1 - votes.count(None) / len(votes))


def test_by_probability_takes_the_most_probable_label() -> None:
    consensus = by_probability({"joy": 0.5, "anger": 0.25, "sadness": 0.25}, LABELS)
    assert (consensus.label, consensus.confidence, consensus.entropy) == ("joy", 0.5, 1.5)


def plain_dawid_skene(votes: Sequence[Sequence[str | None]]) -> list[dict[str, float]]:
    """Fit the model in plain loops that share no code with ours."""
    raters = range(len(votes[0]))
    shares = []
    for row in votes:
        counts = {label: row.count(label) + 1e-6 for label in LABELS}
        shares.append({label: counts[label] / sum(counts.values()) for label in LABELS})
    moved, rounds = 1.0, 0
    while moved > 1e-7 and rounds < MOST_ROUNDS:  # some votes need thousands of rounds to converge
        moved, rounds = 0.0, rounds + 1
        prior = {label: sum(share[label] for share in shares) / len(votes) for label in LABELS}
        errors = {}
        for rater in raters:
            for true in LABELS:
                weights = dict.fromkeys(LABELS, SMOOTHING)
                for row, share in zip(votes, shares, strict=True):
                    if row[rater] is not None:
                        weights[row[rater]] += share[true]
                errors[rater, true] = {label: weights[label] / sum(weights.values()) for label in LABELS}
        for number, row in enumerate(votes):
            products = {}
            for true in LABELS:
                products[true] = prior[true]
                for rater in raters:
                    if row[rater] is not None:
                        products[true] *= errors[rater, true][row[rater]]
            share = {label: products[label] / sum(products.values()) for label in LABELS}
            moved = max([moved, *(abs(share[label] - shares[number][label]) for label in LABELS)])
            shares[number] = share
    return shares


def simulated(
    accuracies: Sequence[float], utterances: int, seed: int, missing: float = 0.0
) -> tuple[list[str], list[list[str | None]]]:
    """Return true labels and votes; a rater is right with its accuracy and otherwise votes for the next label."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(3, utterances, p=[0.5, 0.3, 0.2])
    right = generator.random((utterances, len(accuracies))) < accuracies
    votes = np.where(right, truth[:, None], (truth[:, None] + 1) % 3)
    votes[generator.random(votes.shape) < missing] = 3
    return [LABELS[label] for label in truth], [[[*LABELS, None][vote] for vote in row] for row in votes]


@settings(max_examples=6)
@example(seed=200, missing=0.03125)  # ends at MOST_ROUNDS
@given(seed=st.integers(0, 1000), missing=st.floats(0.0, 0.5))
def test_dawid_skene_equals_a_plain_implementation(seed: int, missing: float) -> None:
    _, votes = simulated([0.9, 0.7, 0.6], 30, seed, missing)
    fitted = [fit.confidences for fit in dawid_skene(votes, LABELS)]
    plain = plain_dawid_skene(votes)
    for ours, theirs in zip(fitted, plain, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_dawid_skene_beats_the_majority_if_raters_differ_in_their_errors() -> None:
    truth, votes = simulated([0.95, 0.45, 0.45, 0.45], 2000, seed=0)
    fitted = [fit.label for fit in dawid_skene(votes, LABELS)]
    most = [majority(row, LABELS).label for row in votes]
    accuracy = [
        np.mean([label == true for label, true in zip(labels, truth, strict=True)]) for labels in (fitted, most)
    ]
    assert accuracy[0] > 0.94 > accuracy[1] + 0.1


def test_dawid_skene_is_calibrated_on_data_of_its_own_model() -> None:
    truth, votes = simulated([0.8, 0.7, 0.6], 4000, seed=1)
    consensus = dawid_skene(votes, LABELS)
    right = np.mean([one.label == true for one, true in zip(consensus, truth, strict=True)])
    assert right == pytest.approx(np.mean([one.confidence for one in consensus]), abs=0.02)


def test_dawid_skene_gives_an_utterance_without_a_vote_the_prior() -> None:
    _, votes = simulated([0.9, 0.9, 0.9], 300, seed=2)
    consensus = dawid_skene([*votes, [None, None, None]], LABELS)
    mean = {label: np.mean([one.confidences[label] for one in consensus]) for label in LABELS}
    assert consensus[-1].confidences == pytest.approx(mean, abs=1e-3)
    assert dawid_skene([], LABELS) == []


@pytest.mark.parametrize(("ours", "name"), [(dawid_skene, "DawidSkene"), (one_coin, "OneCoinDawidSkene")])
def test_the_models_equal_crowd_kits(
    ours: Callable[[Sequence[Sequence[str | None]], Sequence[str]], list[Consensus]], name: str
) -> None:
    """Toloka's library, if installed, has the same models and gets the same estimates."""
    aggregation = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")
    import pandas as pd

    _, votes = simulated([0.9, 0.8, 0.7, 0.7], 200, seed=3)
    rows = [(task, worker, vote) for task, row in enumerate(votes) for worker, vote in enumerate(row)]
    theirs = getattr(aggregation, name)(n_iter=200, tol=-1).fit_predict_proba(
        pd.DataFrame(rows, columns=["task", "worker", "label"])
    )
    mine = np.array([[fit.confidences[label] for label in LABELS] for fit in ours(votes, LABELS)])
    assert np.abs(mine - theirs[LABELS].to_numpy()).max() < 1e-4


def test_one_coin_needs_fewer_utterances_than_dawid_skene() -> None:
    """Sixty lines, as in a pilot: one number for each rater is learnt, nine are not."""
    shares = dict.fromkeys(("one_coin", "dawid_skene"), 0.0)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        names = list("abcdefg")
        truth = generator.choice(7, 60, p=[0.45, 0.17, 0.13, 0.1, 0.08, 0.04, 0.03])
        right = generator.random((60, 3)) < [0.75, 0.65, 0.6]
        given = np.where(right, truth[:, None], (truth[:, None] + generator.integers(1, 7, (60, 3))) % 7)
        votes = [[names[vote] for vote in row] for row in given]
        for method in (one_coin, dawid_skene):
            fitted = method(votes, names)
            hits = [one.label == names[true] for one, true in zip(fitted, truth, strict=True)]
            shares[method.__name__] += float(np.mean(hits)) / 20
    assert shares["one_coin"] > shares["dawid_skene"] + 0.05


def test_one_coin_without_votes_or_with_one_label_is_defined() -> None:
    assert one_coin([], LABELS) == []
    assert [one.label for one in one_coin([["joy", "joy", None]], ["joy"])] == ["joy"]
