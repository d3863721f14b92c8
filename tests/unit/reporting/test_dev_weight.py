"""The weight of text beside speech: the best UA on dev, ties to 0.5, and dev parts that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melt_ser.core.errors import InputError
from melt_ser.reporting.dev_weight import DevWeights, best_weight
from melt_ser.runs.predictions import read_dev_table

CLASSES = ["angry", "sad"]


def dev(angry: dict[str, float], references: str) -> pd.DataFrame:
    """Return answers for dev from the probability of anger; the references are a or s."""
    reference = ["angry" if letter == "a" else "sad" for letter in references]
    shares = np.array(list(angry.values()))
    return pd.DataFrame({"utterance": list(angry), "reference": reference, "angry": shares, "sad": 1 - shares})


HEARD = dev({"1": 0.9, "2": 0.4, "3": 0.2, "4": 0.1}, "aass")


def test_dev_weight_is_the_best_one_nearest_to_a_half() -> None:
    read = dev({"1": 0.6, "2": 0.9, "3": 0.9, "4": 0.4}, "aass")  # right about 2 from 0.25 up, wrong about 3 from 0.45
    assert best_weight(HEARD, read, CLASSES) == 0.4
    certain = dev({"1": 0.9, "2": 0.9, "3": 0.1, "4": 0.1}, "aass")
    assert best_weight(HEARD, certain, CLASSES) == 0.5  # any weight from 0.25 up is right about all
    assert best_weight(certain, HEARD, CLASSES) == 0.5


def test_dev_weight_rare_classes_count_as_much_as_frequent_ones() -> None:
    heard = dev({"1": 0.3, "2": 0.3, "3": 0.3, "4": 0.3}, "asss")  # 3 of 4 right, UA 0.5
    read = dev({"1": 0.9, "2": 0.8, "3": 0.2, "4": 0.2}, "asss")  # 3 of 4 right, UA 0.83
    assert best_weight(heard, read, CLASSES) > 0.3


def test_dev_weight_utterances_without_words_are_left_out_and_other_parts_are_refused() -> None:
    read = dev({"4": 0.1, "2": 0.9}, "sa")
    assert best_weight(HEARD, read, CLASSES) == 0.5
    with pytest.raises(InputError, match="dev parts are not the same utterances"):
        best_weight(HEARD, dev({"4": 0.1, "9": 0.9}, "sa"), CLASSES)
    with pytest.raises(InputError, match="dev parts have other labels"):
        best_weight(HEARD, dev({"4": 0.1, "2": 0.9}, "ss"), CLASSES)


def test_dev_weight_each_fold_chooses_its_own_once(tmp_path: Path) -> None:
    for name, shares in (("heard", (0.9, 0.6)), ("read", (0.6, 0.1))):
        for fold, wrong in ((1, name == "heard"), (2, name == "read")):
            folder = tmp_path / name / "folds" / str(fold)
            folder.mkdir(parents=True)
            low, high = (shares[1], shares[0]) if wrong else (shares[0], shares[1])
            dev({"1": low, "2": high}, "as").to_csv(folder / "dev.csv", index=False)
    weights = DevWeights(tuple(CLASSES), read_dev_table)
    of_rows = weights.of_rows(tmp_path / "heard", tmp_path / "read", pd.Series([2, 1, 1]))
    first, second = (
        best_weight(*(pd.read_csv(tmp_path / name / "folds" / fold / "dev.csv") for name in ("heard", "read")), CLASSES)
        for fold in ("1", "2")
    )
    assert first != second
    assert of_rows.tolist() == [second, first, first]
    with pytest.raises(InputError, match="a run has no answers for dev"):
        weights.of_rows(tmp_path / "heard", tmp_path / "read", pd.Series([3]))
