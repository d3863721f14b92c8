"""Train, dev and test: the release's own split, or generated folds, always apart by group.

A group is a speaker, or a session (in MELD and MELT: a dialogue). Folds and dev parts are generated from
`split_seed`, stratified by class where groups allow it, and checked when they are made. A table that says
neither split nor speaker still trains: each utterance is then its own group, and the result warns of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.corpora.table import check_disjoint
from melt_ser.errors import InputError, SetupError

LEAVE_ONE_OUT = "leave_one_out"
DEFAULT_FOLDS = 5  # of a corpus that has no split of its own and asks for no number


@dataclass(frozen=True)
class Parts:
    """One fold's three tables; `fold` is None for a release's own split."""

    fold: int | None
    train: pd.DataFrame
    dev: pd.DataFrame
    test: pd.DataFrame

    def assignment(self) -> pd.DataFrame:
        """Which utterance went where: columns fold, utterance, source, split."""
        frames = [
            pd.DataFrame(
                {"fold": self.fold or "", "utterance": table["utterance"], "source": table["source"], "split": split}
            )
            for split, table in (("train", self.train), ("dev", self.dev), ("test", self.test))
        ]
        return pd.concat(frames, ignore_index=True)


def make_parts(table: pd.DataFrame, config: DatasetConfig) -> list[Parts]:
    """The parts that the configuration asks for: one, or one for each fold (`fold=all`).

    `table` holds the usable utterances with their `class`. Raises SetupError where the settings do not
    fit the corpus, InputError where the parts are not disjoint or one is empty.
    """
    if config.folds is None and (table["split"] != "").any():
        parts = [_release_parts(table, config)]
    else:
        folds = _fold_groups(table, config)
        parts = [_fold_parts(table, config, folds, number) for number in _chosen(config, len(folds))]
    for part in parts:
        _check(part, config)
    return parts


def group_warnings(table: pd.DataFrame, config: DatasetConfig) -> list[str]:
    """What the groups of a corpus mean for its numbers, one sentence each."""
    group = config.group.value
    unknown = int((table[group] == "").sum())
    sentences = []
    if unknown and (config.folds is not None or not (table["split"] == "dev").any()):
        sentences.append(
            f"{unknown} of {len(table)} utterances of '{config.name}' have no {group}; train, dev and test may share "
            f"{group}s, which flatters the numbers: fill the {group} column."
        )
    speakers = table["speaker"][table["speaker"] != ""].nunique()
    if 0 < speakers <= 2:
        sentences.append(
            f"'{config.name}' has {speakers} speaker{'s' if speakers > 1 else ''}: "
            f"its numbers say nothing about unseen speakers in general."
        )
    if config.synthetic:
        sentences.append(
            f"'{config.name}' is synthetic speech: it shows that the machine works, never how good a model is."
        )
    return sentences


def _release_parts(table: pd.DataFrame, config: DatasetConfig) -> Parts:
    if config.fold not in (1, "1"):
        raise SetupError(
            f"dataset.fold={config.fold} needs folds, and '{config.name}' uses the release's own split; "
            f"set dataset.folds={LEAVE_ONE_OUT} or a number."
        )
    train, dev, test = (table[table["split"] == split] for split in ("train", "dev", "test"))
    if train.empty or test.empty:
        raise InputError(
            f"Corpus '{config.name}' has no {'train' if train.empty else 'test'} rows in its split column; "
            f"fill it, or set dataset.folds={LEAVE_ONE_OUT} or a number to generate folds."
        )
    if dev.empty:
        train, dev = _hold_out_dev(train, config)
    return Parts(None, train, dev, test)


def _fold_parts(table: pd.DataFrame, config: DatasetConfig, folds: list[list[str]], number: int) -> Parts:
    in_test = _groups(table, config).isin(folds[number - 1])
    train, dev = _hold_out_dev(table[~in_test], config)
    return Parts(number, train, dev, table[in_test])


def _fold_groups(table: pd.DataFrame, config: DatasetConfig) -> list[list[str]]:
    """The groups that each fold tests on."""
    groups = _groups(table, config)
    names = sorted(set(groups))
    if (table[config.group.value] == "").any() and config.folds == LEAVE_ONE_OUT:
        raise InputError(
            f"Corpus '{config.name}' does not say every {config.group.value}, so none can be left out in turn; "
            f"fill that column, or set dataset.folds to a number."
        )
    if config.folds == LEAVE_ONE_OUT:
        return [[name] for name in names]
    try:
        number = min(DEFAULT_FOLDS, len(names)) if config.folds is None else int(str(config.folds))
    except ValueError:
        raise SetupError(f"dataset.folds is {LEAVE_ONE_OUT}, a number or null, not '{config.folds}'.") from None
    if not 2 <= number <= len(names):
        raise SetupError(
            f"dataset.folds={number} does not fit '{config.name}', which has {len(names)} {config.group.value}s; "
            f"choose 2 to {len(names)}, or {LEAVE_ONE_OUT}."
        )
    held_out = _stratified_groups(table["class"], groups, number, config.split_seed)
    return [sorted(set(groups.iloc[rows])) for rows in held_out]


def _hold_out_dev(train: pd.DataFrame, config: DatasetConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split whole groups off the training side, near `dev_fraction` of its rows."""
    if not 0.0 < config.dev_fraction < 1.0:
        raise SetupError(f"dataset.dev_fraction is between 0 and 1, not {config.dev_fraction}.")
    groups = _groups(train, config)
    number = min(max(2, round(1 / config.dev_fraction)), groups.nunique())
    if number < 2:
        raise InputError(
            f"Corpus '{config.name}' has a single {config.group.value} left to train on, so no dev part can be held "
            f"out; use fewer folds, or give the table a split column with dev rows."
        )
    candidates = _stratified_groups(train["class"], groups, number, config.split_seed)
    dev = min(candidates, key=lambda rows: _distance(train["class"], rows, config.dev_fraction))
    in_dev = np.zeros(len(train), dtype=bool)
    in_dev[dev] = True
    return train[~in_dev], train[in_dev]


def _distance(classes: pd.Series, rows: np.ndarray, fraction: float) -> tuple[int, float]:
    """How far a candidate dev part is from the ideal: missing classes first, then its size."""
    missing = classes.nunique() - classes.iloc[rows].nunique()
    return missing, abs(len(rows) / len(classes) - fraction)


def _stratified_groups(classes: pd.Series, groups: pd.Series, number: int, seed: int) -> list[np.ndarray]:
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import, needed only here

    folds = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    with np.errstate(all="ignore"):
        held_out = [test for _, test in folds.split(classes, classes, groups)]
    return [rows for rows in held_out if len(rows)]


def _groups(table: pd.DataFrame, config: DatasetConfig) -> pd.Series:
    """The group of each row; a row whose group is unknown is a group of its own (`group_warnings` says so)."""
    groups: pd.Series = table[config.group.value]
    return groups.where(groups != "", "utterance " + table["utterance"])


def _chosen(config: DatasetConfig, number: int) -> Sequence[int]:
    if config.fold == "all":
        return range(1, number + 1)
    if not str(config.fold).isdigit() or not 1 <= int(config.fold) <= number:
        raise SetupError(f"dataset.fold is 1 to {number} or all for '{config.name}', not {config.fold}.")
    return [int(config.fold)]


def _check(parts: Parts, config: DatasetConfig) -> None:
    tables = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    for name, table in tables.items():
        if table.empty:
            raise InputError(f"The {name} part of '{config.name}' is empty; check dataset.folds and the split column.")
    check_disjoint(tables, "source", config.name)
    check_disjoint(tables, config.group.value, config.name)
