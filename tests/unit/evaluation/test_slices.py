"""Results by speaker, gender and the like: each utterance counted once a kind, by the same definitions as the whole."""

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
    """A corpus table with its references and predictions, two of three right."""
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


def test_slices_are_scikit_learns_of_the_rows_of_each_value() -> None:
    table, reference, prediction = a_corpus()
    found = slices(table, reference, prediction, CLASSES)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [entry["by"] for entry in found] == ["speaker"] * 4 + ["gender"] * 3 + ["intensity"] * 2 + ["duration"] * 3
    for entry in found:
        if entry["by"] != "duration":
            rows = np.flatnonzero(table[entry["by"]] == (entry["value"] or ""))
            of = [np.asarray(labels)[rows] for labels in (reference, prediction)]
            assert entry["n"] == len(rows)
            assert entry["wa"] == pytest.approx(accuracy_score(*of))
            assert entry["ua"] == pytest.approx(balanced_accuracy_score(*of))
    for kind in ("speaker", "gender", "intensity", "duration"):
        assert sum(entry["n"] for entry in found if entry["by"] == kind) == 60


def test_unknown_values_are_one_slice_without_a_name_and_one_value_is_no_slice() -> None:
    table, reference, prediction = a_corpus()
    genders = [entry["value"] for entry in slices(table, reference, prediction, CLASSES) if entry["by"] == "gender"]
    assert genders == ["female", "male", None]
    one = table.assign(gender="female", speaker="", intensity="", duration=2.0)
    assert slices(one, reference, prediction, CLASSES) == []


def test_durations_are_cut_in_thirds_named_by_their_bounds() -> None:
    table, reference, prediction = a_corpus(9)
    table["duration"] = [1.0, 2, 3, 4, 5, 6, 7, 8, np.nan]
    found = [entry for entry in slices(table, reference, prediction, CLASSES) if entry["by"] == "duration"]
    assert {entry["value"]: entry["n"] for entry in found} == {
        "up to 3.33 s": 3,
        "over 5.67 s": 3,
        "3.33 to 5.67 s": 2,
        None: 1,
    }


def test_beyond_the_largest_speakers_the_rest_is_one_slice() -> None:
    rows = 3 * MOST_VALUES
    table = make_table([{"speaker": f"s{row // 2:03}" if row < 400 else f"t{row}"} for row in range(rows)])
    found = slices(table, ["sad"] * rows, ["sad"] * rows, CLASSES)
    assert len(found) == MOST_VALUES + 1
    assert {entry["n"] for entry in found[:-1]} == {2}
    assert (found[-1]["value"], found[-1]["n"]) == (None, 200)
