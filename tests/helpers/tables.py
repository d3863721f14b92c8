"""Make corpus tables for tests of splits and folds; their audio does not exist."""

from __future__ import annotations

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.corpora.table import make_table

CLASSES = ["angry", "happy", "sad"]


def settings_for(**changes: object) -> DatasetConfig:
    """Return the settings of a CSV corpus, with some of them changed."""
    return DatasetConfig(name="x", reader="csv", **changes)  # type: ignore[arg-type]


def corpus(speakers: int, each: int = 6, split: str = "") -> pd.DataFrame:
    """Return a table with `each` utterances of each speaker, their three classes in turn."""
    rows = [
        {
            "utterance": f"s{speaker}_{number}",
            "source": f"x/s{speaker}_{number}",
            "audio": f"s{speaker}_{number}.wav",
            "speaker": f"s{speaker}",
            "split": split,
            "label": CLASSES[number % 3],
        }
        for speaker in range(speakers)
        for number in range(each)
    ]
    table = make_table(rows)
    return table.assign(**{"class": table["label"], "content_hash": table["source"]})
