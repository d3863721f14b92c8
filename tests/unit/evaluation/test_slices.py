"""Scores by speaker, gender and so on: each utterance counts once per column, with the metrics of the whole."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from melt_ser.corpora.table import make_table
from melt_ser.evaluation.slices import MOST_VALUES, slices

CLASSES = ["angry", "neutral", "sad"]


def a_corpus(rows: int = 60) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Make a corpus table with references and predictions; four of five are right."""
    generator = np.random.default_rng(0)
    reference = [CLASSES[row % 3] for row in range(rows)]
    prediction = [CLASSES[(row + (row % 5 == 0)) % 3] for row in range(rows)]
    table = make_table(
        [
            {
                "speaker": f"s{row % 4}",
                "gender": ("female", "male", "")[row % 4 // 2 if row % 4 < 3 else 2],
                "language": "de",
                "intensity": "strong" if row % 7 else "normal",
                "duration": float(generator.uniform(1, 4)),
            }
            for row in range(rows)
        ]
    )
    return table, reference, prediction


def test_slices_agree_with_scikit_learn_on_the_rows_of_each_value() -> None:
    table, reference, prediction = a_corpus()
    entries = slices(table, reference, prediction, CLASSES)
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    assert [entry["by"] for entry in entries] == ["speaker"] * 4 + ["gender"] * 3 + ["intensity"] * 2 + ["duration"] * 3
    for entry in entries:
        if entry["by"] != "duration":
            rows = np.flatnonzero(table[entry["by"]] == (entry["value"] or ""))
            own = [np.asarray(labels)[rows] for labels in (reference, prediction)]
            assert entry["n"] == len(rows)
            assert entry["wa"] == pytest.approx(accuracy_score(*own))
            assert entry["ua"] == pytest.approx(balanced_accuracy_score(*own))
    for kind in ("speaker", "gender", "intensity", "duration"):
        assert sum(entry["n"] for entry in entries if entry["by"] == kind) == 60


def test_slices_join_unknown_values_and_need_two_values() -> None:
    table, reference, prediction = a_corpus()
    genders = [entry["value"] for entry in slices(table, reference, prediction, CLASSES) if entry["by"] == "gender"]
    assert genders == ["female", "male", None]
    one = table.assign(gender="female", speaker="", intensity="", duration=2.0)
    assert slices(one, reference, prediction, CLASSES) == []


def test_slices_cut_durations_in_thirds_named_by_their_bounds() -> None:
    table, reference, prediction = a_corpus(9)
    table["duration"] = [1.0, 2, 3, 4, 5, 6, 7, 8, np.nan]
    entries = [entry for entry in slices(table, reference, prediction, CLASSES) if entry["by"] == "duration"]
    assert {entry["value"]: entry["n"] for entry in entries} == {
        "up to 3.33 s": 3,
        "over 5.67 s": 3,
        "3.33 to 5.67 s": 2,
        None: 1,
    }


def test_slices_join_the_values_beyond_the_largest() -> None:
    rows = 3 * MOST_VALUES
    table = make_table([{"speaker": f"s{row // 2:03}" if row < 400 else f"t{row}"} for row in range(rows)])
    entries = slices(table, ["sad"] * rows, ["sad"] * rows, CLASSES)
    assert len(entries) == MOST_VALUES + 1
    assert {entry["n"] for entry in entries[:-1]} == {2}
    assert (entries[-1]["value"], entries[-1]["n"]) == (None, 200)
