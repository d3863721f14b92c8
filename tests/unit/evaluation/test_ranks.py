"""Mean ranks over corpora, against published values and computations by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from melt_ser.core.errors import InputError
from melt_ser.evaluation.ranks import ranks

# Demšar 2006, Table 5(a): critical values of the two-tailed Nemenyi test at 0.05, for 2 to 10 systems.
NEMENYI = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
# Demšar 2006, Table 6: AUC of four learners (C4.5, with pruning, with a minimum, with both) on 14 data sets.
DEMSAR = [
    *([0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967]),
    *([0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931]),
    *([0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875]),
    *([1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669]),
    *([0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970]),
]


def test_ranks_of_the_example_in_the_paper() -> None:
    result = ranks(pd.DataFrame(DEMSAR, columns=["C4.5", "+m", "+cf", "+m+cf"]))
    assert result.mean_ranks == pytest.approx({"C4.5": 3.143, "+m": 2.000, "+cf": 2.893, "+m+cf": 1.964}, abs=1e-3)
    assert result.critical_difference == pytest.approx(1.25, abs=0.01)
    assert result.friedman_p is not None and 0.01 < result.friedman_p < 0.05
    assert result.corpora == 14


@pytest.mark.parametrize("systems", range(2, 11))
def test_the_critical_difference_is_that_of_the_published_table(systems: int) -> None:
    scores = pd.DataFrame(np.random.default_rng(0).uniform(size=(12, systems)))
    unit = np.sqrt(systems * (systems + 1) / (6 * 12))
    assert ranks(scores).critical_difference / unit == pytest.approx(NEMENYI[systems - 2], abs=2e-3)


def test_friedmans_p_is_near_that_of_all_permutations() -> None:
    # Three systems on four corpora: all 6 ** 4 rankings are equally likely if the systems are equal.
    scores = pd.DataFrame([[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.6, 0.5, 0.4], [0.8, 0.9, 0.1]], columns=list("abc"))
    result = ranks(scores)
    assert result.mean_ranks == {"a": 1.25, "b": 2.0, "c": 2.75}
    orders = np.array(list(itertools.permutations([1, 2, 3])))
    sums = np.array([orders[list(choice)].sum(axis=0) for choice in itertools.product(range(6), repeat=4)])
    spread = ((sums - 8) ** 2).sum(axis=1)
    exact = (spread >= ((np.array([5, 8, 11]) - 8) ** 2).sum()).mean()
    assert result.friedman_p == pytest.approx(np.exp(-4.5 / 2))  # the closed form of chi-squared with 2 degrees
    assert result.friedman_p == pytest.approx(exact, abs=0.03)


def test_ranks_are_shared_by_ties_and_two_systems_have_no_friedman_test() -> None:
    result = ranks(pd.DataFrame({"a": [0.5, 0.6], "b": [0.5, 0.4]}))
    assert result.mean_ranks == {"a": 1.25, "b": 1.75}
    assert result.friedman_p is None
    assert ranks(pd.DataFrame(np.ones((3, 3)))).friedman_p == 1.0


def test_ranks_refuse_a_missing_score_or_too_few_systems() -> None:
    with pytest.raises(InputError, match="1 of 2 corpora lack a system's score, the first is 'urdu'"):
        ranks(pd.DataFrame({"a": [0.5, 0.5], "b": [0.5, None]}, index=["emodb", "urdu"]))
    with pytest.raises(InputError, match="two or more corpora and systems, not 1 and 2"):
        ranks(pd.DataFrame({"a": [0.5], "b": [0.4]}))


def test_systems_within_the_critical_difference_are_alike() -> None:
    result = ranks(pd.DataFrame(DEMSAR, columns=["C4.5", "+m", "+cf", "+m+cf"]))
    assert result.alike == [["+m+cf", "+m", "+cf", "C4.5"]], "1.18 apart, and 1.25 is needed"
    steps = pd.DataFrame(np.tile([5, 4, 3, 2, 1], (12, 1)), columns=list("abcde"))  # ranks 1 to 5, difference 1.76
    assert ranks(steps).alike == [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"]]
    assert ranks(steps).can_differ


@pytest.mark.parametrize(("systems", "corpora"), [(2, 4), (3, 3), (4, 3)])
def test_ranks_over_too_few_corpora_cannot_differ(systems: int, corpora: int) -> None:
    scores = pd.DataFrame(np.tile(np.arange(systems), (corpora, 1)))
    assert ranks(scores).can_differ
    assert not ranks(scores[:-1]).can_differ
