"""Train, dev and test: a release's own split or folds, generated folds, EmoBox's lists, or a union's members together.

A group is a speaker, a session (in MELD and MELT: a dialogue), or a single recording; `check_fold_split` refuses parts
that share one. Folds, and dev parts that a release lacks, are drawn by `split_seed` (corpora/dev_part.py,
corpora/grouping.py): whole groups, alike in labels and gender.

They are drawn from every annotated row of the release, with the release's own labels, and then keep the rows that the
run uses. So neither the label source of a run (`dataset.label_file`, melt or melt_human) nor its classes move a
recording from one part to another, and what differs between two such runs is the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.dev_part import with_dev
from melt_ser.corpora.emobox import EMOBOX, emobox_parts, number_of_folds
from melt_ser.corpora.fold_split import FoldSplit, check_fold_split, overlap_notes
from melt_ser.corpora.grouping import balanced_sets, groups_of
from melt_ser.corpora.table import FOLD

LEAVE_ONE_OUT = "leave_one_out"
OF_RELEASE = "release"  # the value of dataset.folds for folds that the reader gives
LISTED_FOLDS = (OF_RELEASE, EMOBOX)
DEFAULT_FOLDS = 5  # if the corpus has no split of its own and dataset.folds is not set


def make_fold_splits(
    table: pd.DataFrame,
    config: DatasetConfig,
    annotated: pd.DataFrame | None = None,
    tested: pd.DataFrame | None = None,
) -> list[FoldSplit]:
    """Return the configured split: one, or with `fold=all` one for each fold that has utterances to test on.

    Args:
        table: the utterances that the run uses, with their `class`.
        config: the settings of the corpus. A union has one split, whose test part is empty if no member has one.
        annotated: the rows to draw from (`Corpus.annotated`), by default `table`.
        tested: the utterances of test parts, with the `class` that they are scored against; by default `table`.

    Raises SetupError if the settings do not fit the corpus, InputError if parts overlap or one is empty.
    """
    annotated = table if annotated is None else annotated
    if config.members:
        return [_union_split(table, config, annotated)]
    drawn = _draw(annotated, config)
    notes = _seed_notes(annotated, config, drawn)
    splits = [_used(split, table, config) for split in drawn]
    if tested is not None:
        splits = [replace(used, test=split.of(tested).test) for used, split in zip(splits, drawn, strict=True)]
    empty = [str(split.fold) for split in splits if split.test.empty]
    if config.fold == "all" and 0 < len(empty) < len(splits):
        splits = [split for split in splits if not split.test.empty]
        notes += (
            f"Fold {', '.join(empty)} of '{config.name}' is left out: no utterance of its {config.group.value}s has a "
            f"label and a class of this run.",
        )
    return [_checked(replace(split, notes=split.notes + notes), config) for split in splits]


def _draw(annotated: pd.DataFrame, config: DatasetConfig) -> list[FoldSplit]:
    """Return the parts of each chosen fold, with all annotated rows."""
    if config.folds == EMOBOX:
        return [_emobox_split(annotated, config, number) for number in _chosen_folds(config, number_of_folds(config))]
    if config.folds == OF_RELEASE:
        number = sum(str(column).startswith(FOLD) for column in annotated)
        if not number:
            raise SetupError(f"'{config.name}' has no folds of its own; set dataset.folds={LEAVE_ONE_OUT} or a number.")
        return [_given_split(annotated, config, fold) for fold in _chosen_folds(config, number)]
    if config.folds is None and has_split(annotated, config):
        return [_release_split(annotated, config)]
    test_groups = _test_groups(annotated, config)
    return [
        _generated_split(annotated, config, test_groups[number - 1], number)
        for number in _chosen_folds(config, len(test_groups))
    ]


def _checked(split: FoldSplit, config: DatasetConfig) -> FoldSplit:
    """Return the split with its sentences about shared speakers and groups; raise the errors of `check_fold_split`."""
    check_fold_split(split, config)
    return replace(split, notes=split.notes + overlap_notes(split, config))


def _used(split: FoldSplit, table: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    """Return the split with the utterances of `table` alone, and a sentence about those that are in no part of it."""
    notes: tuple[str, ...] = ()
    if split.fold is None:
        unassigned = table["utterance"][table["split"] == ""]
        if len(unassigned):
            notes = (
                f"'{config.name}' leaves out {counted(len(unassigned), 'utterance')} without a split (such as "
                f"{unassigned.iloc[0]}).",
            )
    elif config.folds == EMOBOX:
        _, notes = emobox_parts(table, config, split.fold)
    used = split.of(table)
    return replace(used, notes=notes + used.notes)


def _seed_notes(annotated: pd.DataFrame, config: DatasetConfig, drawn: list[FoldSplit]) -> tuple[str, ...]:
    """Return a sentence if a `split_seed` other than 0 gives the test parts, or all parts, that 0 gives."""
    if config.split_seed == 0:
        return ()
    first = replace(config, split_seed=0)
    if config.folds in LISTED_FOLDS:
        fixed = f"{'EmoBox' if config.folds == EMOBOX else 'the release'} fixes them"
    elif drawn[0].fold is None:
        has_dev = (annotated["split"] == "dev").any()
        fixed = (
            "the release fixes them" if has_dev else "the release fixes the test part, and few dev parts are balanced"
        )
    elif config.folds == LEAVE_ONE_OUT:
        fixed = f"each {config.group.value} is tested on once"
    else:
        number = groups_of(annotated, config.group).nunique()
        fixed = f"few divisions of its {number} {config.group.value}s are balanced"
        ours, others = ({frozenset(groups) for groups in _test_groups(annotated, each)} for each in (config, first))
        if ours != others:
            return ()
        first = replace(first, fold="all")  # the same division may number its folds in another way
    tested = {frozenset(split.test["utterance"]): set(split.dev["utterance"]) for split in _draw(annotated, first)}
    moved = any(set(split.dev["utterance"]) != tested[frozenset(split.test["utterance"])] for split in drawn)
    what = "moves the dev part alone; the test parts are" if moved else "moves nothing; the parts are"
    return (f"dataset.split_seed={config.split_seed} of '{config.name}' {what} those of 0, because {fixed}.",)


def _chosen_folds(config: DatasetConfig, number: int) -> Sequence[int]:
    if config.fold == "all":
        return range(1, number + 1)
    if not str(config.fold).isdecimal() or not 1 <= int(config.fold) <= number:
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
    return with_dev(FoldSplit(None, train, dev, test), config)


def _given_split(table: pd.DataFrame, config: DatasetConfig, number: int) -> FoldSplit:
    """Return one of the folds that the release has, with a dev part taken from train if it has none."""
    train, dev, test = (table[table[f"{FOLD}{number}"] == part] for part in ("train", "dev", "test"))
    if train.empty or test.empty:
        raise InputError(
            f"Fold {number} of '{config.name}' has no {'train' if train.empty else 'test'} clip here; check that all "
            f"of its audio is there."
        )
    rest = len(table) - len(train) - len(dev) - len(test)
    notes = (f"{rest} utterances of '{config.name}' are in no part of fold {number} and are left out.",) if rest else ()
    return with_dev(FoldSplit(number, train, dev, test, notes), config)


def _emobox_split(table: pd.DataFrame, config: DatasetConfig, number: int) -> FoldSplit:
    part_of_row, _ = emobox_parts(table, config, number)
    train, dev, test = (table[part_of_row == part] for part in ("train", "dev", "test"))
    if train.empty or test.empty:
        raise InputError(
            f"No utterance of '{config.name}' is in EmoBox's {'train' if train.empty else 'test'} list of fold "
            f"{number}; check that the file names are the release's."
        )
    return with_dev(FoldSplit(number, train, dev, test), config)


def _generated_split(table: pd.DataFrame, config: DatasetConfig, test_groups: list[str], number: int) -> FoldSplit:
    in_test = groups_of(table, config.group).isin(test_groups)
    return with_dev(FoldSplit(number, table[~in_test], table[:0], table[in_test]), config)


def _union_split(table: pd.DataFrame, config: DatasetConfig, annotated: pd.DataFrame) -> FoldSplit:
    """Return the members' train, dev and test parts put together.

    `allow_speaker_overlap`, `split_seed` and `dev_group` of the union hold for every member. Raises the errors of each
    member's own split, and InputError if a recording is in two parts.
    """
    splits = []
    for name, member in config.member_settings.items():
        member = replace(
            member,
            allow_speaker_overlap=member.allow_speaker_overlap or config.allow_speaker_overlap,
            split_seed=config.split_seed or member.split_seed,
            dev_group=config.dev_group or member.dev_group,
        )
        rows, of_release = (whole[whole["corpus"] == name] for whole in (table, annotated))
        splits.append(_member_split(rows, member, of_release))
    train, dev, test = (
        pd.concat([split.parts[part] for split in splits], ignore_index=True) for part in ("train", "dev", "test")
    )
    notes = tuple(note for split in splits for note in split.notes)
    within_groups, is_cut = any(split.dev_within_groups for split in splits), all(split.dev_is_cut for split in splits)
    union = FoldSplit(None, train, dev, test, notes, within_groups, is_cut)
    check_fold_split(union, config)
    return replace(union, notes=union.notes + _notes_across_members(union, config))


def _notes_across_members(union: FoldSplit, config: DatasetConfig) -> tuple[str, ...]:
    """Return a sentence for each member with test speakers that are in the train or dev part of other members."""
    notes: tuple[str, ...] = ()
    for member in union.test["corpus"].unique():
        train, dev = (part[part["corpus"] != member] for part in (union.train, union.dev))
        notes += overlap_notes(FoldSplit(None, train, dev, union.test[union.test["corpus"] == member]), config)
    return notes


def _member_split(table: pd.DataFrame, config: DatasetConfig, annotated: pd.DataFrame) -> FoldSplit:
    """Return a member's own split, so that its test part is not trained on; otherwise all its rows as train and dev."""
    if table.empty:
        raise InputError(f"No utterance of '{config.name}' has a class of the label space; take it out of the union.")
    if config.folds is None and has_split(annotated, config):
        drawn = _release_split(annotated, config)
        used = _used(drawn, table, config)
        return _checked(replace(used, notes=used.notes + _seed_notes(annotated, config, [drawn])), config)
    return with_dev(FoldSplit(None, annotated, annotated[:0], annotated[:0]), config).of(table)


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
            f"dataset.folds is {LEAVE_ONE_OUT}, a number, {OF_RELEASE}, {EMOBOX} or null, not '{config.folds}'."
        ) from None
    if not 2 <= number <= len(names):
        raise SetupError(
            f"dataset.folds={number} does not fit '{config.name}', which has {len(names)} {group}s; "
            f"choose 2 to {len(names)}, or {LEAVE_ONE_OUT}."
        )
    return [list(groups.iloc[rows].unique()) for rows in balanced_sets(table, groups, number, config.split_seed)]
