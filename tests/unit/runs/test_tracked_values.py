"""The values that a tracker gets of a run: no row twice, a column for each interval, and what the numbers rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import rated_runs
from melt_ser.evaluation.results import Result
from melt_ser.runs.folder import read_result
from melt_ser.runs.tracked_values import facts_of, scores_of, table_of
from melt_ser.runs.trackers import LONGEST_TAG, cut
from small_runs import corpus, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one fold of two, with two test speakers: too few for an interval of UA."""
    made = tmp_path_factory.mktemp("tracked")
    return train(made / "runs", corpus(made / "c"), "trainer=probe", "dataset.folds=2")[0]


@pytest.fixture
def result(folder: Path) -> Result:
    return read_result(folder)


def test_equal_answer_sets_have_one_row(result: Result) -> None:
    assert [row.answer_set for row in result.evals] == ["closed", "open"]
    assert table_of(result)["answer_set"].tolist() == ["closed"]
    result.evals[1].classes = [*result.evals[1].classes, "bored"]
    assert table_of(result)["answer_set"].tolist() == ["closed", "open"]


def test_a_missing_interval_has_its_columns_and_its_reason(result: Result) -> None:
    for row in result.evals:
        row.interval_note, row.ci_unit = "No interval of UA: a reason.", "speaker"
        setattr(row, "ua_ci95", None)  # noqa: B010 - a field that is made from METRICS
    [row] = table_of(result).to_dict("records")
    assert pd.isna(row["ua_low"]) and pd.isna(row["ua_high"]) and row["ua"] == result.evals[0].value("ua")
    assert (row["interval_over"], row["interval_note"]) == ("speaker", "No interval of UA: a reason.")


def test_the_facts_are_what_the_numbers_rest_on(result: Result) -> None:
    facts = facts_of(result)
    assert facts["train.digest"] == facts["test.csv.digest"] == result.train.digest
    assert {name for name in facts if name.startswith("run.versions.")} == {
        f"run.versions.{name}" for name in result.run.versions
    }
    assert "" not in facts.values()


def test_a_run_of_attributes_and_classes_has_the_scores_of_both(tmp_path: Path) -> None:
    data = rated_runs.rated_corpus(tmp_path, each=3)
    settings: tuple[Any, ...] = ("dataset.target=several", "dataset.folds=2")
    result = read_result(rated_runs.train(tmp_path / "runs", data, "both.csv", *settings)[0])
    scores, table = scores_of(result), table_of(result)
    assert {"test/csv/closed/ua", "test/csv/arousal/ccc", "best_dev_ua+ccc"} <= set(scores)
    assert {"", "arousal", "valence"} <= set(table["of"])
    assert table.loc[table["of"] == "arousal", "ccc"].notna().all()


def test_a_long_text_is_cut_to_what_a_tag_takes() -> None:
    assert cut("short") == "short"
    assert len(cut("x" * 10_000)) == LONGEST_TAG and cut("x" * 10_000).endswith("…")
