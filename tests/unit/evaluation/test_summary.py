"""Means over seeds are not means over folds, and the summary names its kind."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from melt_ser.core.errors import InputError
from melt_ser.evaluation.results import EvaluationSummary
from melt_ser.evaluation.summary import summarise


def row(ua: float, fold: int | str | None = None, **other: Any) -> EvaluationSummary:
    same = {"corpus": "emodb", "split": "test", "answer_set": "closed", "classes": ["angry", "sad"], "fold": fold}
    counts = {"n": 10, "dropped": {}}
    metrics = {"ua": ua, "wa": ua / 2, "macro_f1": ua / 4, "weighted_f1": ua / 8}
    return EvaluationSummary(**(counts | same | metrics | other))


def test_over_seeds_the_deviation_is_that_of_a_sample() -> None:
    found = summarise([row(0.5, "all"), row(0.6, "all"), row(0.9, "all")], "seed")
    assert (found.over, found.count) == ("seed", 3)
    assert found.mean == pytest.approx({"ua": 2 / 3, "wa": 1 / 3, "macro_f1": 1 / 6, "weighted_f1": 1 / 12})
    assert found.standard_deviation["ua"] == pytest.approx(statistics.stdev([0.5, 0.6, 0.9]))


def test_over_folds_the_pooled_row_is_no_fold() -> None:
    found = summarise([row(0.1, "all"), row(0.5, 1), row(0.7, 2)], "fold")
    assert (found.over, found.count, found.mean["ua"]) == ("fold", 2, pytest.approx(0.6))


def test_one_row_has_no_deviation() -> None:
    found = summarise([row(0.5)], "seed")
    assert (found.count, found.mean["ua"], found.standard_deviation["ua"]) == (1, 0.5, None)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    for key, value in (("corpus", "urdu"), ("answer_set", "open"), ("classes", ["sad"]), ("split", "dev")):
        with pytest.raises(InputError, match=f"differ in their {key}"):
            summarise([row(0.5, 1), row(0.6, 2, **{key: value})], "fold")
    with pytest.raises(InputError, match="over seeds differ in their fold"):
        summarise([row(0.5, 1), row(0.6, 2)], "seed")
    with pytest.raises(InputError, match="a fold twice"):
        summarise([row(0.5, 1), row(0.6, 1)], "fold")
    with pytest.raises(InputError, match="no row to summarise over folds"):
        summarise([row(0.5, "all")], "fold")
