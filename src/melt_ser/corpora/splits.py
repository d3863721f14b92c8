"""Train, dev and test: a release's own split, generated folds, EmoBox's lists, or the members of a union together.

A group is a speaker, a session (in MELD and MELT: a dialogue), or a single recording; `check_fold_split` refuses parts
that share one. Folds and dev parts are generated from `split_seed` and stratified by class as far as the groups allow.
A generated dev part is taken from train. A table without splits and speakers can be used too: each recording is then a
group of its own, and the result carries a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig, Group
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.emobox import EMOBOX, emobox_parts, number_of_folds
from melt_ser.corpora.fold_split import FoldSplit, check_fold_split, dev_overlap_notes, overlap_notes
from melt_ser.corpora.grouping import groups_of, nearest_set, stratified_sets

LEAVE_ONE_OUT = "leave_one_out"
DEFAULT_FOLDS = 5  # if the corpus has no split of its own and dataset.folds is not set


def make_fold_splits(table: pd.DataFrame, config: DatasetConfig) -> list[FoldSplit]:
    """Return the configured split: one, or with `fold=all` one for each fold.

    `table` holds the usable utterances with their `class`. A union has one split; its test part is empty if no member
    has a test part.

    Raises SetupError if the settings do not fit the corpus, InputError if parts overlap or one is empty.
    """
    if config.members:
        return [_union_split(table, config)]
    if config.folds == EMOBOX:
        splits = [_emobox_split(table, config, number) for number in _chosen_folds(config, number_of_folds(config))]
    elif config.folds is None and has_split(table, config):
        splits = [_release_split(table, config)]
    else:
        test_groups = _test_groups(table, config)
        splits = [
            _generated_split(table, config, test_groups[number - 1], number)
            for number in _chosen_folds(config, len(test_groups))
        ]
    return [_checked(split, config) for split in splits]


def _checked(split: FoldSplit, config: DatasetConfig) -> FoldSplit:
    """Return the split with its sentences about shared speakers and groups; raise the errors of `check_fold_split`."""
    check_fold_split(split, config)
    return replace(split, notes=split.notes + overlap_notes(split, config))


def _chosen_folds(config: DatasetConfig, number: int) -> Sequence[int]:
    if config.fold == "all":
        return range(1, number + 1)
    if not str(config.fold).isdigit() or not 1 <= int(config.fold) <= number:
        raise SetupError(f"dataset.fold is 1 to {number} or all for '{config.name}', not {config.fold}.")
    return [int(config.fold)]


def has_split(table: pd.DataFrame, config: DatasetConfig) -> bool:
    """Return whether the release has a split; raise SetupError if the protocol asks for that split and it is absent."""
    if (table["split"] != "").any():
        return True
    declared = config.protocols.get(config.protocol or "")
    if declared and declared.split_from:
        others = [name for name in config.protocols if name != config.protocol]
        fix = f", or set dataset.protocol={others[0]}" if others else ""
        raise SetupError(
            f"'{config.name}' has no {config.protocol} split here: {declared.split_from} does not give it; "
            f"get the release that has it{fix}."
        )
    return False


def _release_split(table: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    """Return the release's own split, with a dev part taken from train if the release has no dev part."""
    if config.fold not in (1, "1"):
        raise SetupError(
            f"dataset.fold={config.fold} needs folds, and '{config.name}' uses the release's own split; "
            f"set dataset.folds={LEAVE_ONE_OUT} or a number."
        )
    train, dev, test = (table[table["split"] == part] for part in ("train", "dev", "test"))
    if train.empty or test.empty:
        raise InputError(
            f"Corpus '{config.name}' has no {'train' if train.empty else 'test'} rows in its split column; "
            f"fill it, or set dataset.folds={LEAVE_ONE_OUT} or a number to generate folds."
        )
    unassigned = table["utterance"][table["split"] == ""]
    notes: tuple[str, ...] = ()
    if len(unassigned):
        notes = (
            f"{len(unassigned)} utterances of '{config.name}' have no split and are left out (such as "
            f"{unassigned.iloc[0]}).",
        )
    return _with_dev(FoldSplit(None, train, dev, test, notes), config)


def _emobox_split(table: pd.DataFrame, config: DatasetConfig, number: int) -> FoldSplit:
    part_of_row, notes = emobox_parts(table, config, number)
    train, dev, test = (table[part_of_row == part] for part in ("train", "dev", "test"))
    if train.empty or test.empty:
        raise InputError(
            f"No utterance of '{config.name}' is in EmoBox's {'train' if train.empty else 'test'} list of fold "
            f"{number}; check that the file names are the release's."
        )
    return _with_dev(FoldSplit(number, train, dev, test, notes), config)


def _generated_split(table: pd.DataFrame, config: DatasetConfig, test_groups: list[str], number: int) -> FoldSplit:
    in_test = groups_of(table, config.group).isin(test_groups)
    return _with_dev(FoldSplit(number, table[~in_test], table[:0], table[in_test]), config)


def _union_split(table: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    """Return the members' train, dev and test parts put together.

    `allow_speaker_overlap` of the union holds for every member. Raises the errors of each member's own split, and
    InputError if a recording is in two parts.
    """
    splits = []
    for name, member in config.member_settings.items():
        allowed = member.allow_speaker_overlap or config.allow_speaker_overlap
        splits.append(_member_split(table[table["corpus"] == name], replace(member, allow_speaker_overlap=allowed)))
    train, dev, test = (
        pd.concat([split.parts[part] for split in splits], ignore_index=True) for part in ("train", "dev", "test")
    )
    union = FoldSplit(None, train, dev, test, tuple(note for split in splits for note in split.notes))
    check_fold_split(union, config)
    return replace(union, notes=union.notes + _notes_across_members(union, config))


def _notes_across_members(union: FoldSplit, config: DatasetConfig) -> tuple[str, ...]:
    """Return a sentence for each member with test speakers that are in the train or dev part of other members."""
    notes: tuple[str, ...] = ()
    for member in union.test["corpus"].unique():
        train, dev = (part[part["corpus"] != member] for part in (union.train, union.dev))
        notes += overlap_notes(FoldSplit(None, train, dev, union.test[union.test["corpus"] == member]), config)
    return notes


def _member_split(table: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    """Return a member's own split, so that its test part is not trained on; otherwise all its rows as train and dev."""
    if config.folds is None and has_split(table, config):
        return _checked(_release_split(table, config), config)
    if table.empty:
        raise InputError(f"No utterance of '{config.name}' has a class of the label space; take it out of the union.")
    return _with_dev(FoldSplit(None, table, table[:0], table[:0]), config)


def _with_dev(split: FoldSplit, config: DatasetConfig) -> FoldSplit:
    """Return the split with a dev part: its own, otherwise whole groups moved from train to dev.

    Dev gets about `dev_fraction` of train's rows. If train has a single group, its recordings are divided instead.
    """
    if not split.dev.empty:
        return replace(split, notes=split.notes + dev_overlap_notes(split, config))
    declared = config.protocols.get(config.protocol or "")
    if declared and declared.split_from and config.expected.get("dev"):
        raise InputError(
            f"The {config.protocol} split of '{config.name}' has {config.expected['dev']} dev utterances and none of "
            f"them is here ({declared.split_from}); complete the release."
        )
    if not 0.0 < config.dev_fraction < 1.0:
        raise SetupError(f"dataset.dev_fraction is between 0 and 1, not {config.dev_fraction}.")
    train, notes = split.train, split.notes
    groups = groups_of(train, config.group)
    if groups.nunique() == 1:
        groups = groups_of(train, Group.source)
        notes += (
            f"'{config.name}' leaves a single {config.group.value} to train on, so dev is drawn from its "
            f"recordings: the best epoch is chosen on a {config.group.value} that was trained on.",
        )
    elif split.fold is None:
        notes += (
            f"The split of '{config.name}' has no dev part: about {100 * config.dev_fraction:g} % of train, whole "
            f"{config.group.value}s, are used as one (dataset.dev_fraction, dataset.split_seed).",
        )
    number = min(max(2, round(1 / config.dev_fraction)), groups.nunique())
    if number < 2:
        raise InputError(
            f"Corpus '{config.name}' has a single recording left to train on, so there can be no dev part; "
            f"add recordings."
        )
    sets = stratified_sets(train, groups, number, config.split_seed)
    in_dev = np.zeros(len(train), dtype=bool)
    in_dev[nearest_set(train["class"], sets, config.dev_fraction)] = True
    return FoldSplit(split.fold, train[~in_dev], train[in_dev], split.test, notes)


def _test_groups(table: pd.DataFrame, config: DatasetConfig) -> list[list[str]]:
    """Return the test groups of each fold."""
    group, groups = config.group.value, groups_of(table, config.group)
    names = sorted(groups.unique())
    if table["source"].nunique() < 2:
        raise InputError(
            f"All utterances of '{config.name}' are from one recording ('{table['source'].iloc[0]}'), so train, dev "
            f"and test cannot be kept apart; add recordings, or name the recordings within the file in the source "
            f"column."
        )
    if len(names) < 2:
        raise SetupError(
            f"'{config.name}' has only one {group}, so no fold can hold one out; set dataset.group=source to keep "
            f"recordings apart, and the result says what that means."
        )
    if config.folds == LEAVE_ONE_OUT:
        if (table[group] == "").any():
            raise InputError(
                f"Corpus '{config.name}' does not name every {group}, so none can be left out in turn; "
                f"fill that column, or set dataset.folds to a number."
            )
        return [[name] for name in names]
    try:
        number = min(DEFAULT_FOLDS, len(names)) if config.folds is None else int(str(config.folds))
    except ValueError:
        raise SetupError(
            f"dataset.folds is {LEAVE_ONE_OUT}, a number, {EMOBOX} or null, not '{config.folds}'."
        ) from None
    if not 2 <= number <= len(names):
        raise SetupError(
            f"dataset.folds={number} does not fit '{config.name}', which has {len(names)} {group}s; "
            f"choose 2 to {len(names)}, or {LEAVE_ONE_OUT}."
        )
    return [list(groups.iloc[rows].unique()) for rows in stratified_sets(table, groups, number, config.split_seed)]
