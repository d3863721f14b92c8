"""Several corpora as one to train on: their tables under names that cannot clash, their parts put together.

A member keeps its label map, rules and protocol. One with a split of its own keeps it, so that its test part is not
trained on; one without gives all its rows to train, but for a dev part, whole groups of its protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError
from melt_ser.core.files import sha256
from melt_ser.corpora.corpus import GENERAL_READERS, Corpus
from melt_ser.corpora.splits import FoldSplit, check_split, has_split, release_parts, with_dev
from melt_ser.corpora.table import shared_values


def unite(config: DatasetConfig, members: Sequence[Corpus]) -> Corpus:
    """The members as one corpus, whose table says in `corpus` which row is whose, and has the audio's full paths.

    Raises InputError where two members have a recording in common, which would be trained on under two labels.
    """
    tables = [_table(member) for member in members]
    for position, first in enumerate(tables):
        for second, member in zip(tables[position + 1 :], members[position + 1 :], strict=True):
            shared = shared_values(first, second, "source")
            if shared:
                raise InputError(
                    f"'{members[position].name}' and '{member.name}' share {len(shared)} recordings (such as "
                    f"'{shared[0]}'), so '{config.name}' would have them twice; take one out of dataset.members."
                )
    table = pd.concat(tables, ignore_index=True)
    notes = [f"'{config.name}' is {_listed(members)}; each row's corpus is in front of its utterance in splits.csv."]
    notes += [f"{member.name}: {note}" for member in members for note in member.notes]
    return Corpus(
        config,
        Path("/"),  # what a full path is below
        table,
        pd.concat([_named(member.clips, member) for member in members], ignore_index=True),
        pd.concat([_named(member.dropped, member) for member in members], ignore_index=True),
        notes,
        sha256(repr([(member.name, member.digest) for member in members])),
    )


def _listed(members: Sequence[Corpus]) -> str:
    return " + ".join(f"{member.name} ({len(member.table)} utterances)" for member in members)


def _named(rows: pd.DataFrame, member: Corpus) -> pd.DataFrame:
    return rows.assign(utterance=f"{member.name}/" + rows["utterance"])


def _table(member: Corpus) -> pd.DataFrame:
    """A member's table with names that no other member has, but for recordings, speakers and sessions they share.

    A reader of a release names its recordings `<release>/...`, the same in every corpus that reuses them; in a table of
    one's own they may be called anything.
    """
    table = _named(member.table, member)
    own = member.config.reader in GENERAL_READERS
    if own:
        table["source"] = f"{member.name}/" + table["source"]
    release = table["source"].str.partition("/")[0]
    for column in ("speaker", "session"):
        table[column] = (release + "/" + table[column]).where(table[column] != "", "")
    table["audio"] = f"{member.root.resolve()}/" + table["audio"]
    return table.assign(corpus=member.name)


def union_parts(usable: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    """The members' train, dev and test parts put together; the test part is empty where no member has one.

    Raises what a member's own split raises, and InputError where a recording is in two parts.
    """
    parts = [_member_parts(usable[usable["corpus"] == name], member) for name, member in config.member_settings.items()]
    train, dev, test = (
        pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("train", "dev", "test")
    )
    union = FoldSplit(None, train, dev, test, tuple(note for part in parts for note in part.notes))
    check_split(union, config)
    return union


def _member_parts(table: pd.DataFrame, config: DatasetConfig) -> FoldSplit:
    if config.folds is None and has_split(table, config):
        parts = release_parts(table, config)
        check_split(parts, config)
        return parts
    if table.empty:
        raise InputError(f"No utterance of '{config.name}' has a class of the label space; take it out of the union.")
    return with_dev(FoldSplit(None, table, table[:0], table[:0]), config)
