"""A corpus ready for use (its audio verified, unusable clips refused, its labels mapped), or a union of such corpora.

In a union each member keeps its own label map and its own rules for clips (`verification.rules`). Names that could
clash get a prefix (see `_rows_in_union`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.config import DatasetConfig, Target
from melt_ser.core.counting import counted
from melt_ser.core.errors import InputError
from melt_ser.core.files import sha256
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.ratings import ATTRIBUTE, VOTES, Ratings, rescaled, united
from melt_ser.corpora.reader import is_own_corpus
from melt_ser.corpora.sentences import shared_script_note
from melt_ser.corpora.table import shared_values
from melt_ser.corpora.targets import WITHOUT, attribute_names, check_target, target_of, voted_emotions, with_classes
from melt_ser.corpora.verification import rules


@dataclass
class Corpus:
    """A verified corpus.

    Attributes:
        config: its settings.
        root: the folder that the paths of its audio are relative to.
        table: the rows with usable audio: `COLUMNS`, `content_hash`, `sample_rate`, `emotion` (None: left out). MELT's
            table also has `other_emotion`, from the label source that is not read; a union's has `corpus`.
        clips: every row of the release, with `COLUMNS`, the measures of verification and `reason` (None: used).
        dropped: the rows and files of the release that are not in `table`, with utterance, audio and reason.
        notes: sentences for the report and the result.
        digest: SHA-256 of the rows (function `table.digest`), or of the members' digests in a union.
        annotated: every row of the release with the release's label, even if it is left out later, with `COLUMNS`.
            Folds and dev parts are drawn from it (corpora/splits.py).
        ratings: attributes and votes; None: it has none. `table` has them too, in columns of their own.
    """

    config: DatasetConfig
    root: Path
    table: pd.DataFrame
    clips: pd.DataFrame
    dropped: pd.DataFrame
    notes: list[str]
    digest: str
    annotated: pd.DataFrame
    ratings: Ratings | None = None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def rules(self) -> dict[str, Any]:
        """The rules that refuse clips, with their version; for a union, the rules of each member."""
        if self.config.members:
            return {name: rules(member) for name, member in self.config.member_settings.items()}
        return rules(self.config)

    @property
    def duplicates(self) -> pd.DataFrame:
        """The rows of `table` that have the same samples as another recording, one group after the other."""
        return same_audio(self.table)

    @cached_property
    def target(self) -> Target:
        """The judgement that a model learns of this corpus. Raises InputError if the corpus lacks it."""
        target = target_of(self.config, self.table, self.ratings)
        check_target(target, self.table, self.name)
        return target

    @property
    def emotions(self) -> list[str | None]:
        """The emotions of the rows, or those that have a vote if votes are the target."""
        if self.target is Target.distribution:
            return list(voted_emotions(self.table))
        return [] if self.target is Target.attributes else list(self.table["emotion"])

    def usable(self, space: LabelSpace) -> tuple[pd.DataFrame, Counter[str]]:
        """Return the rows with a class in the label space, in the column `class`, and counts of the others by reason.

        With `dataset.both_labels`, the label of the other source must have a class too. Votes and attributes as the
        target: see `targets.with_classes`.
        """
        if self.target in WITHOUT:
            return with_classes(self.table, self.target, space)
        classes = space.classify(self.table["emotion"])
        left_out = Counter[str]()
        for label, emotion in self.table.loc[classes.isna(), ["label", "emotion"]].itertuples(index=False):
            reason = "maps to null" if emotion is None else f"({emotion}) is not in the classes"
            left_out[f"label '{label}' {reason}"] += 1
        if self.config.both_labels:
            by_one = classes.notna() & space.classify(self.table["other_emotion"]).isna()
            reason = "dataset.both_labels: the label of the other source is not in the classes"
            left_out += Counter({reason: int(by_one.sum())})
            classes = classes.mask(by_one, None)
        return self.table.assign(**{"class": classes})[classes.notna()], left_out


def same_audio(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have the same samples as another recording (`source`), one group after the other.

    Releases contain copies under different names, and a copy on both sides of a split leaks test data. Audio is the
    same if `content_hash` is: this finds a copy in another lossless format, but not a resampled or compressed one.
    """
    recordings = table.groupby("content_hash")["source"].transform("nunique")
    return table[recordings > 1].sort_values(["content_hash", "utterance"], kind="stable")


def unite(config: DatasetConfig, members: Sequence[Corpus]) -> Corpus:
    """Return the members as one corpus; its table has each row's member (`corpus`) and the full path of its audio.

    Raises InputError if two members share a recording: it would be used twice, perhaps with two labels.
    """
    ratings = united([member.ratings for member in members], [member.name for member in members])
    tables = [_rows_in_union(member, _on_scales(member, ratings)) for member in members]
    shared_scripts = []
    for (first, first_table), (second, second_table) in combinations(zip(members, tables, strict=True), 2):
        shared = shared_values(first_table, second_table, "source")
        if shared:
            raise InputError(
                f"'{first.name}' and '{second.name}' share {counted(len(shared), 'recording')} (such as "
                f"'{shared[0]}'), so '{config.name}' would have them twice; take one of the two out of dataset.members."
            )
        shared_scripts += shared_script_note(first_table, second_table, (first.name, second.name))
    sizes = " + ".join(f"{member.name} ({counted(len(member.table), 'utterance')})" for member in members)
    notes = [f"'{config.name}' is {sizes}; each row's corpus is in front of its utterance in splits.csv."]
    notes += shared_scripts
    notes += [f"{member.name}: {note}" for member in members for note in member.notes]
    return Corpus(
        config,
        Path("/"),  # full paths are relative to this
        _without_missing_votes(pd.concat(tables, ignore_index=True)),
        pd.concat([_with_member_names(member.clips, member) for member in members], ignore_index=True),
        pd.concat([_with_member_names(member.dropped, member) for member in members], ignore_index=True),
        notes,
        sha256(repr([(member.name, member.digest) for member in members])),
        pd.concat([_rows_in_union(member, member.annotated) for member in members], ignore_index=True),
        ratings,
    )


def _on_scales(member: Corpus, ratings: Ratings | None) -> pd.DataFrame:
    """Return a member's table with the attributes of the union alone, on the union's scales."""
    kept = {} if ratings is None else ratings.scales
    dropped = [ATTRIBUTE + name for name in attribute_names(member.table) if name not in kept]
    scales = {} if member.ratings is None else member.ratings.scales
    moved = {
        ATTRIBUTE + name: rescaled(member.table[ATTRIBUTE + name], scales[name], scale)
        for name, scale in kept.items()
        if name in scales
    }
    return member.table.drop(columns=dropped).assign(**moved)


def _without_missing_votes(table: pd.DataFrame) -> pd.DataFrame:
    """Return a union's table with 0 votes for the emotions that a member has no votes for."""
    votes = [column for column in map(str, table) if column.startswith(VOTES)]
    return table.assign(**{column: table[column].fillna(0.0) for column in votes})


def _rows_in_union(member: Corpus, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a member with names that clash with no other member's by chance.

    The reader of a release names its recordings `<release>/...`. These names stay, so
    that recordings in several members are found. Speakers and sessions get the release's name in front. The recordings
    of a user's own corpus may have any names, so they get the member's name in front.
    """
    table = _with_member_names(rows, member)
    if is_own_corpus(member.config):
        table["source"] = f"{member.name}/" + table["source"]
    release = table["source"].str.partition("/")[0]
    for column in ("speaker", "session"):
        table[column] = (release + "/" + table[column]).where(table[column] != "", "")
    table["audio"] = os.path.join(member.root.resolve(), "") + table["audio"]
    return table.assign(corpus=member.name)


def _with_member_names(rows: pd.DataFrame, member: Corpus) -> pd.DataFrame:
    return rows.assign(utterance=f"{member.name}/" + rows["utterance"])
