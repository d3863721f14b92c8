"""Folds are balanced in classes and gender, and the seed of the split moves them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from melt_ser.cli.compose import load_dataset
from melt_ser.config import DevGroup
from melt_ser.corpora.fold_split import FoldSplit
from melt_ser.corpora.grouping import balanced_sets
from melt_ser.corpora.load import read_release
from melt_ser.corpora.splits import make_fold_splits
from tables import corpus, settings_for


def table_with_groups(case: int) -> tuple[pd.DataFrame, pd.Series, int]:
    """A random table with labels and groups (some large, many of one row), and a number of sets."""
    random = np.random.default_rng(case)
    size, number = int(random.integers(40, 200)), int(random.integers(2, 7))
    table = pd.DataFrame({"utterance": [f"u{row:03}" for row in range(size)]})
    table["label"] = random.integers(0, 1 + case % 7, size).astype(str)
    return table, pd.Series((random.random(size) ** 3 * size / 2).astype(int).astype(str)), number


def sets_of_scikit_learn(table: pd.DataFrame, groups: pd.Series, number: int, seed: int) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        return [rows for _, rows in kind.split(groups, table["label"], groups) if len(rows)]


def imbalance(table: pd.DataFrame, sets: Sequence[np.ndarray], column: str = "label") -> float:
    """The standard deviation over sets of each value's share, averaged over values; 0: every set has the same mix."""
    shares = pd.DataFrame([table[column].iloc[rows].value_counts() for rows in sets]).fillna(0)
    return float((shares / shares.sum()).std(ddof=0).mean())


@pytest.mark.parametrize("case", range(40))
def test_balanced_sets_are_disjoint_in_groups_and_about_as_balanced_as_scikit_learns(case: int) -> None:
    table, groups, number = table_with_groups(case)
    if table["label"].value_counts().max() < number:
        return
    theirs = imbalance(table, sets_of_scikit_learn(table, groups, number, case))
    for seed in range(3):
        ours = balanced_sets(table, groups, number, seed)
        assert sorted(np.concatenate(ours)) == list(table.index)
        assert sum(groups.iloc[rows].nunique() for rows in ours) == groups.nunique()
        assert imbalance(table, ours) <= 1.25 * theirs + 0.01


def test_balanced_sets_never_move() -> None:
    """Run ids and published folds depend on these sets, whatever release of numpy is installed."""
    sets = [
        rows.tolist()
        for case in range(40)
        for table, groups, number in [table_with_groups(case)]
        for rows in balanced_sets(table, groups, number, case)
    ]
    assert (
        hashlib.sha256(repr(sets).encode()).hexdigest()
        == "74af8ae09c4752e97d1aa2abc2ffdaa9cf4f732b91b661f704ed63ced4964a6d"
    )
    rows = pd.Series([f"g{row}" for row in range(200)])  # a group a row: dealt out
    table = pd.DataFrame({"utterance": rows, "label": [str(row % 7) for row in range(200)]})
    dealt = [part.tolist() for part in balanced_sets(table, rows, 5, 3)]
    assert (
        hashlib.sha256(repr(dealt).encode()).hexdigest()
        == "636e289efe437c242b3067e758b920c43010b2772d6e7b147167742a9804d3f6"
    )


def folds_of(table: pd.DataFrame, seed: int, **changes: object) -> list[FoldSplit]:
    return make_fold_splits(table, settings_for(split_seed=seed, fold="all", **changes))


def emodb(shared_data: Path) -> pd.DataFrame:
    config = replace(load_dataset("emodb"), root=str(shared_data / "emodb"))
    table = read_release(config)[1].table
    return table.assign(**{"class": table["label"], "content_hash": table["source"]})


def acted(speakers: int, each: int, men: Sequence[int]) -> pd.DataFrame:
    """A corpus in which each speaker says equally much of everything, as in RAVDESS and EMOVO."""
    table = corpus(speakers, each)
    numbers = table["speaker"].str.removeprefix("s").astype(int)
    return table.assign(gender=np.where(numbers.isin(men), "male", "female"))


def test_the_split_seed_moves_the_folds_of_emodb_and_keeps_them_balanced(shared_data: Path) -> None:
    """Ten speakers, five of each gender: a fold has a woman and a man, whatever the seed."""
    table = emodb(shared_data)
    divisions = set()
    for seed in range(10):
        splits = folds_of(table, seed, folds=5)
        divisions.add(frozenset(frozenset(split.test["speaker"]) for split in splits))
        assert all(sorted(split.test.groupby("speaker")["gender"].first()) == ["female", "male"] for split in splits)
    assert len(divisions) >= 5


def test_the_split_seed_moves_dev_if_each_speaker_is_the_test_part_once(shared_data: Path) -> None:
    table = emodb(shared_data)
    splits = [folds_of(table, seed, folds="leave_one_out") for seed in range(4)]
    for fold in range(10):
        assert len({frozenset(each[fold].test["speaker"]) for each in splits}) == 1
        assert len({frozenset(each[fold].dev["speaker"]) for each in splits}) >= 2
        assert all(0.12 < len(each[fold].dev) / (535 - len(each[fold].test)) < 0.29 for each in splits)
    assert not any("split_seed" in note for note in splits[0][0].notes)
    assert splits[1][0].notes == (
        "dataset.split_seed=1 of 'x' moves the dev part alone; the test parts are those of 0, because each speaker is "
        "tested on once.",
    )


@pytest.mark.parametrize(("speakers", "men", "folds"), [(24, range(0, 24, 2), 6), (6, range(3), 3), (9, range(4), 3)])
def test_folds_are_balanced_in_gender_and_move_with_the_seed(speakers: int, men: Sequence[int], folds: int) -> None:
    """The shapes of RAVDESS, EMOVO and nEMO."""
    table = acted(speakers, 21, men)
    divisions = set()
    for seed in range(8):
        splits = folds_of(table, seed, folds=folds)
        for split in splits:
            genders = split.test.groupby("speaker")["gender"].first()
            assert len(genders) == speakers / folds
            assert abs((genders == "male").sum() - len(men) / folds) < 1
        divisions.add(frozenset(frozenset(split.test["speaker"]) for split in splits))
    assert len(divisions) >= 3


def test_a_split_seed_that_moves_nothing_is_said_to() -> None:
    release = corpus(3, 12).assign(split=lambda table: table["speaker"].map({"s0": "train", "s1": "dev", "s2": "test"}))
    [split] = make_fold_splits(release, settings_for(split_seed=5))
    assert split.notes == (
        "dataset.split_seed=5 of 'x' moves nothing; the parts are those of 0, because the release fixes them.",
    )
    notes = {folds_of(acted(4, 12, (0, 1)), seed, folds=2, dev_group=DevGroup.source)[0].notes[-1] for seed in range(9)}
    assert any("because few divisions of its 4 speakers are balanced" in note for note in notes)
