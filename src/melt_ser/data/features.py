"""Features of a frozen prefix, computed once and kept on disk, from where batches are read through a memory map.

    <cache>/features/<key>/
        about.json              prefix, shape of a frame, type
        clips.parquet           clip (see `clip_names`), part, first (frame within the part), count (of frames)
        features<part>.bin      the frames, one after the other, as each process wrote them

The key says all that the features are a function of: of a clip that is its audio, whatever it is called and labelled. A
folder is whole, or it is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from melt_ser import files
from melt_ser.data.audio_cache import clip_names
from melt_ser.data.utterances import Batch, Inputs, Utterances
from melt_ser.models.prefix import Prefix

ABOUT, CLIPS = "about.json", "clips.parquet"


class FeatureStore:
    """The kept features of clips, each (count, *shape)."""

    def __init__(self, folder: Path) -> None:
        about: dict[str, Any] = files.read_json(folder / ABOUT)
        self.folder = folder
        self.prefix = Prefix(about["prefix"])
        self.shape = tuple(about["shape"])
        self.dtype = np.dtype(about["dtype"])
        self.clips: pd.DataFrame = pd.read_parquet(folder / CLIPS).set_index("clip")

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder is a store."""
        return (folder / ABOUT).is_file()

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Part, first and count of each row of a corpus table, all of whose clips the store has."""
        rows: pd.DataFrame = self.clips.loc[clip_names(table).to_pandas(), ["part", "first", "count"]]
        return rows

    def part(self, number: int) -> np.ndarray:
        """A part's frames, (frames, *shape), mapped into memory."""
        flat = np.memmap(self.folder / f"features{number}.bin", self.dtype, mode="r")
        return flat.reshape(-1, *self.shape)


class Features(Inputs):
    """Utterances as the kept features of a frozen prefix; else what `Utterances` is."""

    def __init__(self, utterances: Utterances, table: pd.DataFrame, store: FeatureStore) -> None:
        self.utterances = utterances
        self.seconds = utterances.seconds
        self.classes, self.corpora = utterances.classes, utterances.corpora
        self.epoch = 0
        self.store = store
        self.part, self.first, self.count = store.rows(table).to_numpy(dtype=np.int64).T

    def path(self, row: int) -> Path:
        """The file of a row, for messages."""
        return self.utterances.path(row)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """A whole batch at once, which is how a DataLoader asks where it can."""
        counts = self.count[rows]
        inputs = np.zeros((len(rows), counts.max(), *self.store.shape), dtype=self.store.dtype)
        parts = {number: self.store.part(number) for number in np.unique(self.part[rows])}
        for place, row in enumerate(rows):
            first = self.first[row]
            inputs[place, : self.count[row]] = parts[self.part[row]][first : first + self.count[row]]
        return Batch(
            torch.from_numpy(inputs),
            torch.from_numpy(counts),
            torch.from_numpy(self.classes[rows]),
            torch.tensor(rows),
            self.store.prefix,
        )

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """Nothing is left to do."""
        return batch


def write_description(folder: Path, prefix: Prefix, shape: Sequence[int], dtype: np.dtype, rows: pd.DataFrame) -> None:
    """What makes a folder with parts a store; rows: clip, part, first and count of each."""
    rows.to_parquet(folder / CLIPS, index=False)
    files.write_json(folder / ABOUT, {"prefix": prefix.value, "shape": list(shape), "dtype": dtype.name})
