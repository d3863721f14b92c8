"""Majority and Dawid-Skene: by hand, against a plain second implementation, and on raters whose errors are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melt_ser.annotation.consensus import SMOOTHING, by_probability, dawid_skene, majority

LABELS = ["anger", "joy", "sadness"]


def test_a_majority_with_shares_and_entropy() -> None:
    found = majority(["joy", "anger", "joy", "joy"], LABELS)
    assert (found.label, found.confidence) == ("joy", 0.75)
    assert found.confidences == {"anger": 0.25, "joy": 0.75, "sadness": 0.0}
    assert found.entropy == pytest.approx(0.8112781)
    assert majority(["joy"], LABELS).entropy == 0.0
    with pytest.raises(ValueError, match="needs a vote"):
        majority([], LABELS)


def test_of_equal_counts_the_first_vote_wins() -> None:
    assert majority(["joy", "anger", "anger", "joy"], LABELS).label == "joy"
    assert majority(["anger", "joy", "joy", "anger"], LABELS).label == "anger"


def test_votes_outside_the_set_count_and_are_never_forced_into_it() -> None:
    most = majority([None, None, "joy"], LABELS)
    assert (most.label, most.confidences["joy"]) == (None, pytest.approx(1 / 3))
    assert most.confidence == pytest.approx(2 / 3)
    assert majority([None, "joy", "joy"], LABELS).confidence == pytest.approx(2 / 3)


@given(st.lists(st.sampled_from([*LABELS, None]), min_size=1, max_size=20))
def test_a_majority_is_a_majority(votes: list[str | None]) -> None:
    found = majority(votes, LABELS)
    assert all(votes.count(found.label) >= votes.count(vote) for vote in votes)
    assert 0.0 <= found.entropy <= math.log2(len(LABELS) + 1) + 1e-12
    assert sum(found.confidences.values()) == pytest.approx(1 - votes.count(None) / len(votes))


def test_the_most_probable_label() -> None:
    found = by_probability({"joy": 0.5, "anger": 0.25, "sadness": 0.25}, LABELS)
    assert (found.label, found.confidence, found.entropy) == ("joy", 0.5, 1.5)


def plain_dawid_skene(votes: Sequence[Sequence[str | None]]) -> list[dict[str, float]]:
    """The model written out in loops, with none of the other's code."""
    raters = range(len(votes[0]))
    shares = []
    for row in votes:
        counts = {label: row.count(label) + 1e-6 for label in LABELS}
        shares.append({label: counts[label] / sum(counts.values()) for label in LABELS})
    moved = 1.0
    while moved > 1e-7:
        moved = 0.0
        prior = {label: sum(share[label] for share in shares) / len(votes) for label in LABELS}
        errors = {}
        for rater in raters:
            for true in LABELS:
                said = dict.fromkeys(LABELS, SMOOTHING)
                for row, share in zip(votes, shares, strict=True):
                    if row[rater] is not None:
                        said[row[rater]] += share[true]
                errors[rater, true] = {label: said[label] / sum(said.values()) for label in LABELS}
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
    """True labels, and raters that are right with the probabilities given and else say their neighbour's label."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(3, utterances, p=[0.5, 0.3, 0.2])
    right = generator.random((utterances, len(accuracies))) < accuracies
    said = np.where(right, truth[:, None], (truth[:, None] + 1) % 3)
    said[generator.random(said.shape) < missing] = 3
    return [LABELS[label] for label in truth], [[[*LABELS, None][vote] for vote in row] for row in said]


@settings(max_examples=6)
@given(st.integers(0, 1000), st.floats(0.0, 0.5))
def test_it_is_the_plain_one(seed: int, missing: float) -> None:
    _, votes = simulated([0.9, 0.7, 0.6], 30, seed, missing)
    fitted = [found.confidences for found in dawid_skene(votes, LABELS)]
    plain = plain_dawid_skene(votes)
    for mine, theirs in zip(fitted, plain, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


def test_it_finds_the_truth_better_than_the_majority_where_raters_err_in_their_own_ways() -> None:
    truth, votes = simulated([0.95, 0.45, 0.45, 0.45], 2000, seed=0)
    fitted = [found.label for found in dawid_skene(votes, LABELS)]
    most = [majority(row, LABELS).label for row in votes]
    accuracy = [np.mean([one == true for one, true in zip(labels, truth, strict=True)]) for labels in (fitted, most)]
    assert accuracy[0] > 0.94 > accuracy[1] + 0.1


def test_its_probabilities_are_calibrated_where_the_model_holds() -> None:
    truth, votes = simulated([0.8, 0.7, 0.6], 4000, seed=1)
    found = dawid_skene(votes, LABELS)
    right = np.mean([one.label == true for one, true in zip(found, truth, strict=True)])
    assert right == pytest.approx(np.mean([one.confidence for one in found]), abs=0.02)


def test_an_utterance_without_a_vote_has_the_prior() -> None:
    _, votes = simulated([0.9, 0.9, 0.9], 300, seed=2)
    found = dawid_skene([*votes, [None, None, None]], LABELS)
    mean = {label: np.mean([one.confidences[label] for one in found]) for label in LABELS}
    assert found[-1].confidences == pytest.approx(mean, abs=1e-3)
    assert dawid_skene([], LABELS) == []


def test_it_is_crowd_kits() -> None:
    """Toloka's library, where it is installed: the same model and the same estimates."""
    aggregation = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is not installed")
    import pandas as pd

    _, votes = simulated([0.9, 0.8, 0.7, 0.7], 200, seed=3)
    rows = [(task, worker, vote) for task, row in enumerate(votes) for worker, vote in enumerate(row)]
    theirs = aggregation.DawidSkene(n_iter=200, tol=-1).fit_predict_proba(
        pd.DataFrame(rows, columns=["task", "worker", "label"])
    )
    mine = np.array([[found.confidences[label] for label in LABELS] for found in dawid_skene(votes, LABELS)])
    assert np.abs(mine - theirs[LABELS].to_numpy()).max() < 1e-4
