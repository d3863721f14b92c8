"""Rank methods over test corpora.

A method is a system without its training corpus: the same backbone and settings are one method, on any training corpus.
Each test corpus counts once. A method's score on a corpus is the mean UA over the trainings and test sets that all
ranked methods have.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

from melt_ser.core.counting import counted
from melt_ser.evaluation.ranks import Ranks, ranks
from melt_ser.reporting.headline import p_value
from melt_ser.reporting.matrix import ScoredSet
from melt_ser.reporting.overview import SystemScore
from melt_ser.reporting.systems import method_of

FEWEST_METHODS, MOST_METHODS = 3, 20  # two methods are only compared in pairs (matrix.py); among many, few differ
MOST_NAMED = 3  # pairs that a sentence names
FEWEST_CORPORA, FEW_CORPORA = 2, 10  # below FEW_CORPORA the approximations are rough


@dataclass(frozen=True)
class Ranked:
    """A method: its mean rank and UA over the corpora, and the letters that it shares with methods not shown to differ.

    `strip` is the rank with half the critical difference to either side, (at, low, high). On its scale the first place
    is 0 and the last 1. Two methods differ if their strips do not overlap.
    """

    method: str
    mean_rank: float
    ua: float
    letters: str
    strip: tuple[float, float, float]


@dataclass(frozen=True)
class Ranking:
    """Methods, the best first, and sentences on the meaning of their ranks and on the left-out scores."""

    rows: list[Ranked]
    sentences: list[str]


def rank_methods(system_scores: list[SystemScore], names: dict[str, str]) -> Ranking | None:
    """Rank methods by UA (answer set closed); return None if fewer than three methods share two or more corpora.

    names: of the methods, as `method_names` returns them for all runs of the report.

    A published classifier is not ranked: it has no training here that other methods could share.
    For more than MOST_METHODS methods the ranking has no rows, only a sentence about it.
    """
    closed = [score for score in system_scores if score.answer_set.startswith("closed") and not score.is_published]
    methods = len({method_of(score.key) for score in closed})
    if methods > MOST_METHODS:
        return Ranking([], [f"{methods} methods are more than {MOST_METHODS}; report fewer runs."])
    scores = _scores(closed, names)
    complete = _complete(scores)
    by_corpus = complete.groupby(level="corpus").mean()
    if len(by_corpus) < FEWEST_CORPORA or len(by_corpus.columns) < FEWEST_METHODS:
        return None
    result = ranks(by_corpus)
    ua = by_corpus.mean()
    ordered = sorted(result.mean_ranks, key=lambda name: (result.mean_ranks[name], -ua[name], name))
    rows = [
        Ranked(name, result.mean_ranks[name], float(ua[name]), _letters(result, name), _strip(result, name))
        for name in ordered
    ]
    return Ranking(rows, [*_meaning(result, _tested(closed, complete)), *_left_out(scores, complete, _parts(closed))])


def _tested(scores: list[SystemScore], complete: pd.DataFrame) -> list[str]:
    """Return the corpora of the ranks with their test sets: "emodb (fold 1, 4 classes; whole corpus, 4 classes)"."""
    parts = _parts(scores)
    tests: dict[str, dict[str, None]] = defaultdict(dict)
    for corpus, test, _ in complete.index:
        tests[corpus][parts[test]] = None
    return [f"{corpus} ({'; '.join(found)})" for corpus, found in tests.items()]


def _parts(scores: list[SystemScore]) -> dict[str, str]:
    """Return the part of its corpus that each test set is, by the names of `_scores`."""
    keys = {ScoredSet.of(score) for score in scores}
    parts = {key: f"fold {key.fold}" if key.fold else key.split or "whole corpus" for key in keys}
    return {repr(key): f"{part}, {counted(len(key.classes), 'class', 'classes')}" for key, part in parts.items()}


def _letters(result: Ranks, name: str) -> str:
    return "".join(chr(ord("a") + number) for number, group in enumerate(result.alike) if name in group)


def _strip(result: Ranks, name: str) -> tuple[float, float, float]:
    places, half = len(result.mean_ranks) - 1, result.critical_difference / 2
    at = (result.mean_ranks[name] - 1) / places
    return at, max(at - half / places, 0.0), min(at + half / places, 1.0)


def _scores(system_scores: list[SystemScore], names: dict[str, str]) -> pd.DataFrame:
    """Return the UA of each method (columns) on each test set after each training (rows); NaN if it was not run."""
    rows = [
        (
            score.corpus,
            repr(ScoredSet.of(score)),
            _training(score),
            names[method_of(score.key)],
            score.summary.mean["ua"],
        )
        for score in system_scores
    ]
    frame = pd.DataFrame(rows, columns=["corpus", "test", "training", "method", "ua"])
    return frame.pivot_table(index=["corpus", "test", "training"], columns="method", values="ua", aggfunc="mean")


def _training(score: SystemScore) -> str:
    return json.dumps(json.loads(score.key)["dataset"], sort_keys=True)


def _complete(scores: pd.DataFrame) -> pd.DataFrame:
    """Drop methods and rows until no score is missing; the method or row with the largest missing share goes first."""
    while scores.isna().any(axis=None):
        of_methods, of_rows = scores.isna().mean(axis=0), scores.isna().mean(axis=1)
        if of_methods.max() > of_rows.max():
            scores = scores.drop(columns=of_methods.idxmax())
        else:
            scores = scores[of_rows < of_rows.max()]
    return scores


def _left_out(scores: pd.DataFrame, complete: pd.DataFrame, parts: dict[str, str]) -> list[str]:
    methods = [name for name in scores.columns if name not in complete.columns]
    pairs = [
        f"trained on {json.loads(training)['name']}, tested on {corpus} ({parts[test]})"
        for corpus, test, training in scores.index.difference(complete.index)
    ]
    told = "; ".join(pairs[:MOST_NAMED]) + ("; …" if len(pairs) > MOST_NAMED else "")
    sentences = [f"Not ranked, since scores are missing: {', '.join(methods)}."] if methods else []
    left_out = (
        f"{len(pairs)} of {len(scores)} pairs of a training and a test set are left out, since a method lacks them"
    )
    return sentences + ([f"{left_out}: {told}."] if pairs else [])


def _meaning(result: Ranks, corpora: list[str]) -> list[str]:
    number, difference = len(corpora), result.critical_difference
    first = (
        f"Mean rank (1 is best) by UA over {number} test corpora ({', '.join(corpora)}), with answers among the "
        "classes of the corpus (closed). A method is all settings but corpora and seed; each corpus counts "
        "once, by the mean over those trainings and test sets that all ranked methods have."
    )
    p = "p is not known" if result.friedman_p is None else p_value(result.friedman_p)
    test = (
        f"Friedman's test that all methods are equal: {p}. Methods with mean ranks "
        f"{difference:.2f} (Nemenyi's critical difference at 5 %) or more apart differ; between methods that "
        f"share a letter no difference is shown."
    )
    if not result.can_differ:
        test += f" With {number} corpora no two of {len(result.mean_ranks)} methods can be that far apart."
    few = f" With fewer than {FEW_CORPORA} corpora the tests are rough: do not trust the ranks more than the figures."
    assumptions = (
        "Both tests are approximations for many corpora, and assume that the corpora are independent; two label sets "
        "of the same recordings are not."
    )
    return [first, test, assumptions + (few if number < FEW_CORPORA else "")]
