"""Methods ranked over test corpora: which is better wherever it is tested?

A method is a system without its training corpus, so that the same backbone and settings count as one wherever they were
trained. Each test corpus counts once: a method's score there is the mean UA over the trainings and test sets of it that
all ranked methods have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pandas as pd

from melt_ser.evaluation.comparison import Ranks, ranks
from melt_ser.reporting.matrix import ScoredSet
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.systems import method_names, method_of

FEWEST_METHODS, MOST_METHODS = 3, 20  # two are compared test set by test set; many hardly ever differ
FEWEST_CORPORA, FEW_CORPORA = 2, 10  # of less than the latter the approximations are rough


@dataclass(frozen=True)
class Ranked:
    """A method's place: its mean rank and UA over the corpora, and the letters that it shares with those like it.

    `strip` is the rank with half the critical difference to either side, (at, low, high), on a scale on which the first
    place is 0 and the last 1: two methods differ where their strips do not overlap.
    """

    method: str
    mean_rank: float
    ua: float
    letters: str
    strip: tuple[float, float, float]


@dataclass(frozen=True)
class Ranking:
    """Methods, the best first, and sentences on what their ranks mean and what they leave out."""

    rows: list[Ranked]
    sentences: list[str]


def rank_methods(system_scores: list[SystemScore]) -> Ranking | None:
    """The ranking by UA under the answer set closed; None if fewer than three methods share two or more corpora.

    Of more than MOST_METHODS it has no rows, and says so.
    """
    closed = [one for one in system_scores if one.answer_set.startswith("closed")]
    methods = len({method_of(one.key) for one in closed})
    if methods > MOST_METHODS:
        return Ranking([], [f"{methods} methods are more than {MOST_METHODS}; report fewer runs."])
    scores = _scores(closed)
    complete = _complete(scores)
    by_corpus = complete.groupby(level="corpus").mean()
    if len(by_corpus) < FEWEST_CORPORA or len(by_corpus.columns) < FEWEST_METHODS:
        return None
    found = ranks(by_corpus)
    ordered = sorted(found.mean_ranks, key=lambda name: (found.mean_ranks[name], name))
    rows = [
        Ranked(name, found.mean_ranks[name], float(by_corpus[name].mean()), _letters(found, name), _strip(found, name))
        for name in ordered
    ]
    return Ranking(rows, [*_meaning(found, list(by_corpus.index)), *_left_out(scores, complete)])


def _letters(found: Ranks, name: str) -> str:
    return "".join(chr(ord("a") + number) for number, group in enumerate(found.alike) if name in group)


def _strip(found: Ranks, name: str) -> tuple[float, float, float]:
    places, half = len(found.mean_ranks) - 1, found.critical_difference / 2
    at = (found.mean_ranks[name] - 1) / places
    return at, max(at - half / places, 0.0), min(at + half / places, 1.0)


def _scores(system_scores: list[SystemScore]) -> pd.DataFrame:
    """UA of each method (a column) on each test set after each training (the rows); NaN where that was not run."""
    names = method_names([one.runs[0] for one in system_scores])
    rows = [
        (one.corpus, repr(ScoredSet.of(one)), _training(one), names[method_of(one.key)], one.summary.mean["ua"])
        for one in system_scores
    ]
    frame = pd.DataFrame(rows, columns=["corpus", "test", "training", "method", "ua"])
    return frame.pivot_table(index=["corpus", "test", "training"], columns="method", values="ua", aggfunc="mean")


def _training(score: SystemScore) -> str:
    return json.dumps(json.loads(score.key)["dataset"], sort_keys=True)


def _complete(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores without what some lack: again and again, the method or the row that lacks the largest share goes."""
    while scores.isna().any(axis=None):
        of_methods, of_rows = scores.isna().mean(axis=0), scores.isna().mean(axis=1)
        if of_methods.max() > of_rows.max():
            scores = scores.drop(columns=of_methods.idxmax())
        else:
            scores = scores[of_rows < of_rows.max()]
    return scores


def _left_out(scores: pd.DataFrame, complete: pd.DataFrame) -> list[str]:
    methods = [name for name in scores.columns if name not in complete.columns]
    tests = len(scores) - len(complete)
    sentences = [f"Not ranked, since scores are missing: {', '.join(methods)}."] if methods else []
    return sentences + ([f"{tests} of {len(scores)} pairs of training and test are left out."] if tests else [])


def _meaning(found: Ranks, corpora: list[str]) -> list[str]:
    number, difference = len(corpora), found.critical_difference
    first = (
        f"Mean rank (1 is best) by UA over {number} test corpora ({', '.join(corpora)}), answer set closed. A method "
        f"is all settings but corpora and seed; of several trainings that are tested on a corpus the mean UA counts."
    )
    test = (
        f"Friedman's p, of all methods being alike: {found.friedman_p:.3f}. Methods whose mean ranks are "
        f"{difference:.2f} (Nemenyi's critical difference at 5 %) or more apart differ; those that share a letter are "
        f"not told apart."
    )
    if not found.can_differ:
        test += f" With {number} corpora no two of {len(found.mean_ranks)} methods can be that far apart."
    few = f" With fewer than {FEW_CORPORA} corpora they are rough: trust the ranks no further than the figures."
    assumptions = (
        "Both tests take corpora as independent of each other, which two label sets of the same recordings are not, "
        "and are approximations for many corpora."
    )
    return [first, test, assumptions + (few if number < FEW_CORPORA else "")]
