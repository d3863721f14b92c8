"""Features of a frozen prefix, computed once and kept on disk, from where batches are read.

    <cache>/features/<key>/
        about.json              prefix, shape of a frame, type
        clips.parquet           clip (see `clip_names`), part, first (frame within the part), count (of frames)
        features<part>.bin      the frames, one after the other, as each process wrote them

The key says all that the features are a function of: of a clip that is its audio, whatever it is called and labelled. A
folder is whole, or it is not there. The features of few clips are read once, of many batch by batch: at an offset and
not mapped, since mapped pages count as the memory of the process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from melt_ser.core import files
from melt_ser.core.errors import InputError
from melt_ser.data.audio_cache import clip_names
from melt_ser.data.datasets import KEPT_BYTES, Batch, ClipDataset, WaveformDataset
from melt_ser.data.stage import Stage

ABOUT, CLIPS = "about.json", "clips.parquet"


class FeatureStore:
    """The kept features of clips, each (count, *shape)."""

    def __init__(self, folder: Path) -> None:
        about: dict[str, Any] = files.read_json(folder / ABOUT)
        self.folder = folder
        self.prefix = Stage(about["prefix"])
        self.shape = tuple(about["shape"])
        self.dtype = np.dtype(about["dtype"])
        self.frame_bytes = math.prod(self.shape) * self.dtype.itemsize
        self.clips: pd.DataFrame = pd.read_parquet(folder / CLIPS).set_index("clip")

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder is a store that this process may read."""
        return os.access(folder / ABOUT, os.R_OK)

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Part, first and count of each row of a corpus table, all of whose clips the store has."""
        rows: pd.DataFrame = self.clips.loc[clip_names(table).to_pandas(), ["part", "first", "count"]]
        return rows

    def read(self, parts: np.ndarray, firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The features of some clips, (clips, frames, *shape), zero after each one's own.

        parts, firsts, counts: where each clip's are, (clips,). Raises InputError for a part that is cut short.
        """
        frames = np.zeros((len(counts), counts.max(), *self.shape), dtype=self.dtype)
        for part in np.unique(parts):
            path = self.folder / f"features{part}.bin"
            with path.open("rb", buffering=0) as file:
                for clip in np.flatnonzero(parts == part):
                    own = frames[clip, : counts[clip]]
                    if os.preadv(file.fileno(), [own.data], firsts[clip] * self.frame_bytes) != own.nbytes:
                        raise InputError(f"{path} is cut short; delete {self.folder} and run again.")
        return frames


class FeatureDataset(ClipDataset):
    """Utterances as the kept features of a frozen prefix; else what `WaveformDataset` is."""

    def __init__(self, utterances: WaveformDataset, table: pd.DataFrame, store: FeatureStore) -> None:
        self.utterances = utterances
        self.seconds = utterances.seconds
        self.classes, self.corpora = utterances.classes, utterances.corpora
        self.epoch = 0
        self.store = store
        self.part, self.first, self.count = store.rows(table).to_numpy(dtype=np.int64).T
        size = len(self) * self.count.max(initial=0) * store.frame_bytes  # with padding
        self.in_memory = store.read(self.part, self.first, self.count) if 0 < size <= KEPT_BYTES else None

    def path(self, row: int) -> Path:
        """The file of a row, for messages."""
        return self.utterances.path(row)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """A whole batch at once, which is how a DataLoader asks where it can."""
        counts = self.count[rows]
        if self.in_memory is None:
            inputs = self.store.read(self.part[rows], self.first[rows], counts)
        else:
            inputs = self.in_memory[rows, : counts.max()]
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


def write_description(folder: Path, prefix: Stage, shape: Sequence[int], dtype: np.dtype, rows: pd.DataFrame) -> None:
    """What makes a folder with parts a store; rows: clip, part, first and count of each."""
    rows.to_parquet(folder / CLIPS, index=False)
    files.write_json(folder / ABOUT, {"prefix": prefix.value, "shape": list(shape), "dtype": dtype.name})
