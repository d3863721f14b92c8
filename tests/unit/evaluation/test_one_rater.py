"""What one rater scores against the others, on ratings whose answer can be counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melt_ser.evaluation.one_rater import score_labels, score_numbers


def rated(labels: dict[str, str]) -> pd.DataFrame:
    """Return ratings from a letter for each rater of an utterance."""
    words = {"a": "angry", "s": "sad", "-": None}
    rows = [
        {"utterance": name, "rater": f"r{number}", "class": words[letter]}
        for name, letters in labels.items()
        for number, letter in enumerate(letters)
    ]
    return pd.DataFrame(rows)


def test_a_label_is_scored_against_what_most_of_the_others_chose() -> None:
    single = rated({"one": "aaa", "two": "ssa", "three": "aa", "four": "as-"})
    values, n = score_labels(single, ["angry", "sad"])
    # one: three hits of angry. two: each s sees a tie of s and a (no score), a sees two s: a miss of sad. The others
    # have too few raters.
    assert n == 2
    assert values == {"ua": pytest.approx((3 / 3 + 0 / 1) / 2), "wa": pytest.approx(3 / 4)}


def test_a_number_is_scored_against_the_mean_of_the_others() -> None:
    single = pd.DataFrame(
        {
            "utterance": ["one"] * 3 + ["two"] * 3 + ["three"] * 2,
            "arousal": [1.0, 2.0, 3.0, 5.0, 5.0, 5.0, 1.0, 9.0],
        }
    )
    values, n = score_numbers(single, "arousal")
    own, others = np.array([1, 2, 3, 5, 5, 5]), np.array([2.5, 2.0, 1.5, 5, 5, 5])
    assert n == 2
    assert values["pearson"] == pytest.approx(np.corrcoef(own, others)[0, 1])
    assert values["rmse"] == pytest.approx(np.sqrt(((own - others) ** 2).mean()))


def test_too_few_raters_have_no_score() -> None:
    assert score_labels(rated({"one": "aa"}), ["angry", "sad"]) == ({"ua": None, "wa": None}, 0)
    assert score_labels(rated({"one": "as-"}), ["angry", "sad"])[1] == 0
