"""Train, dev and test: the release's own split, generated folds, or EmoBox's lists, always apart by group.

A group is a speaker, a session (in MELD and MELT: a dialogue), or only the recording. Folds and dev parts are
generated from `split_seed`, stratified by class where groups allow it, and checked when they are made and when they
are used. Dev comes from the training side. A table that says neither split nor speaker still trains: each recording
is then its own group, and the result warns of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig, Group
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.emobox import EMOBOX, assign, number_of_folds
from melt_ser.corpora.grouping import groups_of, nearest_set, stratified_sets
from melt_ser.corpora.table import check_disjoint, shared_values

LEAVE_ONE_OUT = "leave_one_out"
DEFAULT_FOLDS = 5  # of a corpus that has no split of its own and asks for no number
ASSIGNMENT = ("fold", "utterance", "source", "content_hash", "split")  # the columns of splits.csv


@dataclass(frozen=True)
class FoldSplit:
    """One fold's three tables; `fold` is None for a release's own split, `notes` what its numbers cannot mean."""

    fold: int | None
    train: pd.DataFrame
    dev: pd.DataFrame
    test: pd.DataFrame
    notes: tuple[str, ...] = ()

    def assignment(self) -> pd.DataFrame:
        """Which utterance went where: the columns of `ASSIGNMENT`."""
        frames = [
            table.assign(fold=self.fold or "", split=split)[list(ASSIGNMENT)]
            for split, table in (("train", self.train), ("dev", self.dev), ("test", self.test))
        ]
        return pd.concat(frames, ignore_index=True)


def make_splits(table: pd.DataFrame, config: DatasetConfig) -> list[FoldSplit]:
    """The parts that the configuration asks for: one, or one for each fold (`fold=all`).

    `table` holds the usable utterances with their `class`. Raises SetupError where the settings do not
    fit the corpus, InputError where the parts are not disjoint or one is empty.
    """
    if config.folds == EMOBOX:
        parts = [_emobox_parts(table, config, number) for number in _chosen(config, number_of_folds(config))]
    elif config.folds is None and has_split(table, config):
        parts = [release_parts(table, config)]
    else:
        folds = _fold_groups(table, config)
        parts = [_fold_parts(table, config, folds, number) for number in _chosen(config, len(folds))]
    for part in parts:
        check_split(part, config)
    return [replace(part, notes=part.notes + _overlap_notes(part, config)) for part in parts]


def check_split(parts: FoldSplit, config: DatasetConfig) -> None:
    """Raise InputError where a part is empty, or shares a recording or a group with another.

    Train and dev may share the group where the training side has a single one, and any parts where
    `allow_speaker_overlap` says so (groups, never recordings); the notes tell of both. A union may have no test part.
    """
    tables = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    for name, table in tables.items():
        if table.empty and not (name == "test" and config.members):
            raise InputError(f"The {name} part of '{config.name}' is empty; check dataset.folds and the split column.")
    check_disjoint(tables, "source", config.name)
    group = config.group.value
    training = pd.concat([parts.train[[group]], parts.dev[[group]]])
    if config.allow_speaker_overlap:
        return
    several = training[group].nunique() > 1
    for name, table, others in (
        ("dev", parts.dev, parts.train if several else parts.train[:0]),
        ("test", parts.test, training),
    ):
        shared = shared_values(others, table, group)
        if shared:
            raise InputError(
                f"{_name(parts, config)} of '{config.name}' has {len(shared)} of its {_known(table, group)} {name} "
                f"{group}s in train{'ing' if name == 'test' else ''} too (such as '{shared[0]}'): choose another "
                f"dataset.protocol or fix the split column, or set dataset.allow_speaker_overlap=true to run it and "
                f"have the result say so."
            )


def group_warnings(table: pd.DataFrame, config: DatasetConfig) -> list[str]:
    """What the groups of a corpus mean for its numbers, one sentence each; of a union, each member's sentences."""
    if config.members:
        return [
            f"{name}: {sentence}"
            for name, member in config.member_settings.items()
            for sentence in group_warnings(table[table["corpus"] == name], member)
        ]
    group = config.group.value
    unknown = int((table[group] == "").sum())
    sentences = []
    if unknown and (config.folds is not None or not (table["split"] == "dev").any()):
        sentences.append(
            f"{unknown} of {len(table)} utterances of '{config.name}' have no {group}; train, dev and test may share "
            f"{group}s, which flatters the numbers: fill the {group} column."
        )
    speakers = _known(table, "speaker")
    if 0 < speakers <= 2:
        sentences.append(
            f"'{config.name}' has {speakers} speaker{'s' if speakers > 1 else ''}: "
            f"its numbers say nothing about unseen speakers in general."
        )
    elif config.group is Group.source:
        sentences.append(
            f"The parts of '{config.name}' keep recordings apart, not speakers: "
            f"its numbers say nothing about unseen speakers."
        )
    if config.synthetic:
        sentences.append(
            f"'{config.name}' is synthetic speech: it shows that the machine works, never how good a model is."
        )
    return sentences


def has_split(table: pd.DataFrame, config: DatasetConfig) -> bool:
    """Whether the release says a split; SetupError where the protocol is that split and the release lacks it."""
    if (table["split"] != "").any():
        return True
    declared = config.protocols.get(config.protocol or "")
    if declared and declared.split_from:
        others = [name for name in config.protocols if name != config.protocol]
        fix = f", or set dataset.protocol={others[0]}" if others else ""
        raise SetupError(
            f"'{config.name}' has no {config.protocol} split here: {declared.split_from} says none; "
            f"get the release that has it{fix}."
        )
    return False


def _overlap_notes(parts: FoldSplit, config: DatasetConfig) -> tuple[str, ...]:
    """Where the test speakers (and groups, whose overlap was allowed) are in train; of EmoBox's folds also none."""
    notes = []
    for column in dict.fromkeys(("speaker", config.group.value)):
        training = pd.concat([parts.train[[column]], parts.dev[[column]]])
        shared = len(shared_values(training, parts.test, column))
        if shared or (config.folds == EMOBOX and column == "speaker"):
            known = _known(parts.test, column)
            notes.append(
                f"{_name(parts, config)}: {shared} of the {known} test {column}s are in the training side too."
            )
    return tuple(notes)


def _dev_overlap_note(parts: FoldSplit, config: DatasetConfig) -> tuple[str, ...]:
    """Where train has groups of a dev part that the release or EmoBox gives."""
    group = config.group.value
    shared = len(shared_values(parts.train, parts.dev, group))
    sentence = (
        f"{_name(parts, config)}: {shared} of the {_known(parts.dev, group)} dev {group}s are in train too: the best "
        f"epoch is chosen on {group}s that were trained on."
    )
    return (sentence,) if shared else ()


def _name(parts: FoldSplit, config: DatasetConfig) -> str:
    if parts.fold is None:
        return "The split"
    return f"Fold {parts.fold}{' of EmoBox' if config.folds == EMOBOX else ''}"


def _known(table: pd.DataFrame, column: str) -> int:
    return int(table[column][table[column] != ""].nunique())


def release_parts(table: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    """The release's own split, with a dev part of train's where it has none."""
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
    unassigned = table["utterance"][table["split"] == ""]
    notes = (
        (
            f"{len(unassigned)} utterances of '{config.name}' have no split and are left out (such as "
            f"{unassigned.iloc[0]}).",
        )
        if len(unassigned)
        else ()
    )
    return with_dev(FoldSplit(None, train, dev, test, notes), config)


def _emobox_parts(table: pd.DataFrame, config: DatasetConfig, number: int) -> FoldSplit:
    listed, notes = assign(table, config, number)
    train, dev, test = (table[listed == part] for part in ("train", "dev", "test"))
    if train.empty or test.empty:
        raise InputError(
            f"No utterance of '{config.name}' is in EmoBox's {'train' if train.empty else 'test'} list of fold "
            f"{number}; check that the file names are the release's."
        )
    return with_dev(FoldSplit(number, train, dev, test, notes), config)


def _fold_parts(table: pd.DataFrame, config: DatasetConfig, folds: list[list[str]], number: int) -> FoldSplit:
    in_test = groups_of(table, config.group).isin(folds[number - 1])
    return with_dev(FoldSplit(number, table[~in_test], table[:0], table[in_test]), config)


def with_dev(parts: FoldSplit, config: DatasetConfig) -> FoldSplit:
    """The parts as they are, or with whole groups split off train, near `dev_fraction` of its rows, as dev.

    A training side with a single group cannot hold one out: its recordings are then dealt out by class.
    """
    if not parts.dev.empty:
        return replace(parts, notes=parts.notes + _dev_overlap_note(parts, config))
    declared = config.protocols.get(config.protocol or "")
    if declared and declared.split_from and config.expected.get("dev"):
        raise InputError(
            f"The {config.protocol} split of '{config.name}' has {config.expected['dev']} dev utterances and none of "
            f"them is here ({declared.split_from}); complete the release."
        )
    if not 0.0 < config.dev_fraction < 1.0:
        raise SetupError(f"dataset.dev_fraction is between 0 and 1, not {config.dev_fraction}.")
    train, notes = parts.train, parts.notes
    groups = groups_of(train, config.group)
    if groups.nunique() == 1:
        groups = groups_of(train, Group.source)
        notes += (
            f"Where '{config.name}' leaves a single {config.group.value} to train on, dev is drawn from its "
            f"recordings: the best epoch is chosen on a {config.group.value} that was trained on.",
        )
    elif parts.fold is None:
        notes += (
            f"The split of '{config.name}' has no dev part: about {100 * config.dev_fraction:g} % of train, whole "
            f"{config.group.value}s, are used as one (dataset.dev_fraction, dataset.split_seed).",
        )
    number = min(max(2, round(1 / config.dev_fraction)), groups.nunique())
    if number < 2:
        raise InputError(
            f"Corpus '{config.name}' has a single recording left to train on, so there can be no dev part."
        )
    sets = stratified_sets(train, groups, number, config.split_seed)
    in_dev = np.zeros(len(train), dtype=bool)
    in_dev[nearest_set(train["class"], sets, config.dev_fraction)] = True
    return FoldSplit(parts.fold, train[~in_dev], train[in_dev], parts.test, notes)


def _fold_groups(table: pd.DataFrame, config: DatasetConfig) -> list[list[str]]:
    """The groups that each fold tests on."""
    group, groups = config.group.value, groups_of(table, config.group)
    names = sorted(groups.unique())
    if table["source"].nunique() < 2:
        raise InputError(
            f"Every utterance of '{config.name}' is of one recording ('{table['source'].iloc[0]}'), so train, dev and "
            f"test cannot be kept apart; add recordings, or name those that the file holds in the source column."
        )
    if len(names) < 2:
        raise SetupError(
            f"'{config.name}' has one {group} alone, so no fold can hold one out; set dataset.group=source to keep "
            f"recordings apart, and the result says what that means."
        )
    if config.folds == LEAVE_ONE_OUT:
        if (table[group] == "").any():
            raise InputError(
                f"Corpus '{config.name}' does not say every {group}, so none can be left out in turn; "
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


def _chosen(config: DatasetConfig, number: int) -> Sequence[int]:
    if config.fold == "all":
        return range(1, number + 1)
    if not str(config.fold).isdigit() or not 1 <= int(config.fold) <= number:
        raise SetupError(f"dataset.fold is 1 to {number} or all for '{config.name}', not {config.fold}.")
    return [int(config.fold)]
