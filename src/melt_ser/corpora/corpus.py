"""A corpus ready for use: its release read, its audio verified once, the rules applied, its labels mapped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.corpora.duplicates import same_audio
from melt_ser.corpora.labels import LabelSpace
from melt_ser.corpora.rules import rules

GENERAL_READERS = ("csv", "hub", "audformat_database")  # of any corpus, so common words for emotions are known


@dataclass
class Corpus:
    """A verified corpus; `table` has `COLUMNS`, `content_hash`, `sample_rate` and `emotion` (None: not used).

    That of MELT also has `other_emotion`, by the label source that is not read; that of a union, `corpus`.
    """

    config: DatasetConfig
    root: Path
    table: pd.DataFrame
    clips: pd.DataFrame  # every row of the release: `COLUMNS`, what verification measured, and `reason` (None: used)
    dropped: pd.DataFrame  # utterance, audio, reason: what the release has and the table has not
    notes: list[str]
    digest: str

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def rules(self) -> dict[str, Any]:
        """The versioned rules by which clips were refused, for the result; of a union, each member's."""
        if self.config.members:
            return {name: rules(member) for name, member in self.config.member_settings.items()}
        return rules(self.config)

    @property
    def duplicates(self) -> pd.DataFrame:
        """The rows of `table` with the samples of another recording, one group after the other (see `same_audio`)."""
        return same_audio(self.table)

    def usable(self, space: LabelSpace) -> tuple[pd.DataFrame, Counter[str]]:
        """The rows that have a class in the label space, with a `class` column; and why others are left out."""
        classes = space.classify(self.table["emotion"])
        left_out = Counter[str]()
        for label, emotion in self.table.loc[classes.isna(), ["label", "emotion"]].itertuples(index=False):
            reason = "maps to null" if emotion is None else f"({emotion}) is not in the classes"
            left_out[f"label '{label}' {reason}"] += 1
        if self.config.both_labels:
            by_one = classes.notna() & space.classify(self.table["other_emotion"]).isna()
            left_out += Counter({"the other source's label is not in the classes": int(by_one.sum())})
            classes = classes.mask(by_one, None)
        return self.table.assign(**{"class": classes})[classes.notna()], left_out
