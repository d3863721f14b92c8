"""Identical audio under different names: releases hold copies, and a copy on both sides of a split is a leak.

Audio is identical where the decoded samples and their number are (`content_hash`); a copy in another lossless format is
found, one that was resampled or compressed is not.
"""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from melt_ser.corpora.splits import FoldSplit


def same_audio(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose samples another recording (`source`) has too, one group of identical ones after the other."""
    recordings = table.groupby("content_hash")["source"].transform("nunique")
    return table[recordings > 1].sort_values(["content_hash", "utterance"], kind="stable")


def shared_audio(parts: FoldSplit) -> pd.DataFrame:
    """Each pair of utterances with identical audio in different parts: part, utterance, other_part, other_utterance."""
    tables = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    columns = ["part", "utterance", "other_part", "other_utterance"]
    pairs = [
        table[["content_hash", "utterance"]]
        .assign(part=name)
        .merge(
            other[["content_hash", "utterance"]]
            .rename(columns={"utterance": "other_utterance"})
            .assign(other_part=other_name),
            on="content_hash",
        )[columns]
        for (name, table), (other_name, other) in combinations(tables.items(), 2)
    ]
    return pd.concat(pairs, ignore_index=True)


def shared_audio_warnings(corpus: str, parts: FoldSplit) -> list[str]:
    """A sentence where parts of a corpus share audio under different names; none otherwise."""
    pairs = shared_audio(parts)
    if pairs.empty:
        return []
    first = pairs.iloc[0]
    where = "" if parts.fold is None else f" of fold {parts.fold}"
    return [
        f"'{corpus}' has {len(pairs)} pairs of identical audio under different names across the parts{where}, such as "
        f"{first['utterance']} ({first['part']}) and {first['other_utterance']} ({first['other_part']}): what was "
        f"trained on is tested on; give the copies one source, or leave one of each out."
    ]
