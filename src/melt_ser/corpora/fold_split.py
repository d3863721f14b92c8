"""One fold's train, dev and test, and the checks that nothing leaks from one part into another.

Recordings are never shared. Groups (speakers, sessions) are shared only if `dataset.allow_speaker_overlap` allows it,
or between train and dev, if dev is cut from within the groups of train (`FoldSplit.dev_within_groups`) or if there is
only one group. Other functions write sentences about the limits of the scores, such as shared speakers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from melt_ser.config import DatasetConfig, Group
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.corpora.emobox import EMOBOX
from melt_ser.corpora.sentences import telling_sentences_note
from melt_ser.corpora.table import shared_values

SPLIT_COLUMNS = ("fold", "utterance", "source", "content_hash", "split")  # the columns of splits.csv


@dataclass(frozen=True)
class FoldSplit:
    """The three parts of one fold.

    Attributes:
        fold: the fold's number from 1, or None for a release's own split.
        train, dev, test: tables of utterances; a union's test part may be empty.
        notes: sentences about left-out utterances and about limits of the fold's scores.
        dev_within_groups: whether dev was cut from the groups of train, so that the two may share them.
        dev_is_cut: whether dev was cut from train, because the release has no dev part.
    """

    fold: int | None
    train: pd.DataFrame
    dev: pd.DataFrame
    test: pd.DataFrame
    notes: tuple[str, ...] = ()
    dev_within_groups: bool = False
    dev_is_cut: bool = False

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The three tables by name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}

    def training_side(self, column: str) -> pd.DataFrame:
        """Return one column of train and dev together: both shape the model, dev by the choice of the epoch."""
        return pd.concat([self.train[[column]], self.dev[[column]]])

    def of(self, table: pd.DataFrame) -> FoldSplit:
        """Return the split with those rows of `table` that are in its parts, by utterance."""
        train, dev, test = (table[table["utterance"].isin(part["utterance"])] for part in self.parts.values())
        return replace(self, train=train, dev=dev, test=test)

    def assignment(self) -> pd.DataFrame:
        """Return a table with the part of every utterance (`SPLIT_COLUMNS`)."""
        frames = [
            table.assign(fold=self.fold or "", split=part)[list(SPLIT_COLUMNS)] for part, table in self.parts.items()
        ]
        return pd.concat(frames, ignore_index=True)


def check_fold_split(split: FoldSplit, config: DatasetConfig) -> None:
    """Raise InputError if a part is empty, or shares a recording or a group with another part.

    Train and dev may share groups if the training side has only one, or if dev was cut from within them. With
    `allow_speaker_overlap` any parts may share groups, but never recordings. The split's notes report these cases. A
    union may have an empty test part.
    """
    for part, table in split.parts.items():
        if table.empty and not (part == "test" and config.members):
            raise InputError(
                f"{_name(split, config)} has no {part} utterance with a label and a class of this run; choose another "
                f"dataset.fold or dataset.split_seed, or check the labels and the split column."
            )
    check_disjoint(split.parts, "source", config.name)
    if config.allow_speaker_overlap:
        return
    group = config.group.value
    may_share = split.dev_within_groups or split.training_side(group)[group].nunique() <= 1
    for part, others in (("dev", () if may_share else ("train",)), ("test", ("train", "dev"))):
        shared, places = _shared(split, part, others, group)
        if shared:
            known = number_known(split.parts[part], group)
            raise InputError(
                f"{_name(split, config)} has {len(shared)} of its {known} {part} {group}s in {places} too (such as "
                f"'{shared[0]}'): choose another dataset.protocol or fix the split column, or set "
                f"dataset.allow_speaker_overlap=true to run it and have the result say so."
            )


def check_disjoint(parts: Mapping[str, pd.DataFrame], column: str, corpus: str) -> None:
    """Raise InputError if two parts share a value of `column` (a source, a speaker, a session)."""
    for (first, table), (second, other) in combinations(parts.items(), 2):
        shared = shared_values(table, other, column)
        if shared:
            fix = "dataset.folds=5 dataset.group=source" if column == "source" else "dataset.group or dataset.folds"
            raise InputError(
                f"The {first} and {second} parts of '{corpus}' share {counted(len(shared), column)} (such as "
                f"'{shared[0]}'); fix the split column, or draw other parts with {fix}."
            )


def overlap_notes(split: FoldSplit, config: DatasetConfig) -> tuple[str, ...]:
    """Return a sentence for test speakers, and one for test groups, that are in train or dev too.

    A fold of EmoBox always gets the sentence about speakers, even if the count is 0.
    """
    notes = []
    for column in dict.fromkeys(("speaker", config.group.value)):
        shared, places = _shared(split, "test", ("train", "dev"), column)
        if shared or (config.folds == EMOBOX and column == "speaker"):
            known = number_known(split.test, column)
            notes.append(
                f"{_name(split, config)}: {len(shared)} of the {known} test {column}s "
                f"{'is' if len(shared) == 1 else 'are'} in {places} too."
            )
    return tuple(notes)


def dev_overlap_notes(split: FoldSplit, config: DatasetConfig) -> tuple[str, ...]:
    """Return a sentence if a dev part that comes from the release or from EmoBox shares groups with train."""
    group = config.group.value
    shared = len(shared_values(split.train, split.dev, group))
    sentence = (
        f"{_name(split, config)}: {shared} of the {number_known(split.dev, group)} dev {group}s "
        f"{'is' if shared == 1 else 'are'} in train too: the model is chosen on {group}s that were trained on."
    )
    return (sentence,) if shared else ()


def _shared(split: FoldSplit, part: str, others: Sequence[str], column: str) -> tuple[list[str], str]:
    """Return the values of a part that other parts have too, sorted, and those parts in words ("train or dev")."""
    shared = {other: shared_values(split.parts[other], split.parts[part], column) for other in others}
    places = [other for other, values in shared.items() if values]
    return sorted({value for values in shared.values() for value in values}), " or ".join(places or others)


def _name(split: FoldSplit, config: DatasetConfig) -> str:
    if split.fold is None:
        return f"The split of '{config.name}'"
    return f"{'EmoBox fold' if config.folds == EMOBOX else 'Fold'} {split.fold} of '{config.name}'"


def number_known(table: pd.DataFrame, column: str) -> int:
    """Return the number of known values of a column, such as speakers."""
    return int(table[column][table[column] != ""].nunique())


def group_warnings(table: pd.DataFrame, config: DatasetConfig) -> list[str]:
    """Return sentences about the limits of a corpus' scores.

    They are about unknown groups, few speakers, words that give the label away, and synthetic speech. For a union,
    return the sentences of each member.
    """
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
    speakers = number_known(table, "speaker")
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
    if "class" in table:
        sentences += telling_sentences_note(table, config.name)
    if config.synthetic:
        sentences.append(
            f"'{config.name}' is synthetic speech: it shows that the machine works, never how good a model is."
        )
    return sentences


def shared_audio(split: FoldSplit) -> pd.DataFrame:
    """Return each pair of utterances with identical audio in different parts.

    The columns are part, utterance, other_part and other_utterance.
    """
    columns = ["part", "utterance", "other_part", "other_utterance"]
    pairs = [
        table[["content_hash", "utterance"]]
        .assign(part=part)
        .merge(
            other[["content_hash", "utterance"]]
            .rename(columns={"utterance": "other_utterance"})
            .assign(other_part=other_part),
            on="content_hash",
        )[columns]
        for (part, table), (other_part, other) in combinations(split.parts.items(), 2)
    ]
    return pd.concat(pairs, ignore_index=True)


def shared_audio_warnings(corpus: str, split: FoldSplit) -> list[str]:
    """Return one sentence if parts share audio under different names, otherwise nothing."""
    pairs = shared_audio(split)
    if pairs.empty:
        return []
    first = pairs.iloc[0]
    where = "" if split.fold is None else f" of fold {split.fold}"
    return [
        f"'{corpus}' has {counted(len(pairs), 'pair')} of identical audio under different names across the "
        f"parts{where}, such as {first['utterance']} ({first['part']}) and {first['other_utterance']} "
        f"({first['other_part']}): the parts are not independent; give the copies one source, or leave all but "
        "one of them out."
    ]
