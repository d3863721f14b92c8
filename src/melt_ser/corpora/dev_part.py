"""The dev part: that of the release, or whole groups (speakers, sessions, dialogues, recordings) cut from train.

It chooses the model (the best epoch), so ideally it has speakers of its own. If the training side has few of them,
that costs much: of the four sessions that IEMOCAP leaves to train on, one would be 25 % of the data and of the
speakers. Then dev is cut by dialogue, or by recording, from within the groups of train, and the result says so
(`dataset.dev_group`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig, DevGroup
from melt_ser.core.errors import InputError, SetupError
from melt_ser.corpora.fold_split import FoldSplit, dev_overlap_notes, number_known
from melt_ser.corpora.grouping import TRAITS, balanced_sets, groups_of, held_out_set
from melt_ser.corpora.table import shared_values

FEW_GROUPS = 100  # if dev is cut from within this many groups or fewer, it takes a similar share of each


def with_dev(split: FoldSplit, config: DatasetConfig) -> FoldSplit:
    """Return the split with a dev part: its own, otherwise about `dev_fraction` of train's rows, as whole groups."""
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
    number = max(2, round(1 / config.dev_fraction))  # sets of about the size of dev
    train = split.train
    kind = _dev_group(train, config, number)
    groups = groups_of(train, kind)
    number = min(number, groups.nunique())
    if number < 2:
        name, fix = kind.value, "add recordings, or set dataset.dev_group=source"
        if kind is DevGroup.source:
            name, fix = "recording", "add recordings"
        raise InputError(
            f"Corpus '{config.name}' has a single {name} left to train on, so there can be no dev part; {fix}."
        )
    divides = kind.value != config.group.value and train[config.group.value].nunique() <= FEW_GROUPS
    traits = (*TRAITS, config.group.value) if divides else TRAITS
    sets = balanced_sets(train, groups, number, config.split_seed, traits)
    in_dev = np.zeros(len(train), dtype=bool)
    in_dev[held_out_set(train["label"], sets, config.dev_fraction, config.split_seed)] = True
    cut = replace(split, train=train[~in_dev], dev=train[in_dev], dev_is_cut=True)
    return replace(cut, notes=cut.notes + _notes(cut, config, kind), dev_within_groups=kind.value != config.group.value)


def _dev_group(train: pd.DataFrame, config: DatasetConfig, number: int) -> DevGroup:
    """Return the group that dev is made of: `dev_group`, or by default one that the training side has enough of.

    number: this many groups are enough, about 1 / `dev_fraction`.
    """
    if config.dev_group is not None:
        names = train.get(config.dev_group.value)
        if names is None or not (names.fillna("") != "").any():
            raise SetupError(
                f"'{config.name}' does not name its {config.dev_group.value}s; set dataset.dev_group=source, or "
                f"null to let the corpus decide."
            )
        return config.dev_group
    if groups_of(train, config.group).nunique() >= number:
        return DevGroup(config.group.value)
    dialogues = train.get("dialogue")
    return DevGroup.source if dialogues is None or dialogues.nunique() < number else DevGroup.dialogue


def _notes(split: FoldSplit, config: DatasetConfig, kind: DevGroup) -> tuple[str, ...]:
    """Return a sentence if dev has the groups of train, or if the release's split has no dev part."""
    group, words = config.group.value, {DevGroup.source: "recording"}
    share = len(split.dev) / (len(split.dev) + len(split.train))
    part = f"about {100 * share:.0f} % of train, whole {words.get(kind, kind.value)}s"
    shared = len(shared_values(split.train, split.dev, group))
    if kind.value != group and shared:
        known = number_known(split.training_side(group), group)
        return (
            f"'{config.name}' leaves {known} {group}{'s' if known > 1 else ''} to train on, and dev is {part} "
            f"(dataset.dev_group={kind.value}): the model is chosen on {_trained_on(split, group)} trained on.",
        )
    if split.fold is None:
        return (
            f"The split of '{config.name}' has no dev part: {part}, are used as one (dataset.dev_fraction, "
            f"dataset.split_seed).",
        )
    return ()


def _trained_on(split: FoldSplit, group: str) -> str:
    name = "speaker" if shared_values(split.train, split.dev, "speaker") else group
    single = len(shared_values(split.train, split.dev, name)) == 1
    return f"a {name} that was" if single else f"{name}s that were"
