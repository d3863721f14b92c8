"""Cached features of a frozen stage on disk: their format, and the data set that reads them.

    <cache>/features/<key>/
        about.json              stage (called "prefix"), shape of a frame, type
        clips.parquet           clip (see `feature_names`), part, first (frame within the part), count (of frames)
        features<part>.bin      the frames, one after the other, as each process wrote them

The key covers everything that the features depend on: of a clip, the audio but not the name or label. If the audio is
cropped before the frozen stage, each crop is stored like a clip of its own (`crops_of`). A folder is
complete, or it does not exist. The features of a small data set are read once, those of a large one batch by batch.
Files are not memory-mapped: mapped pages count as memory of the process.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from melt_ser.audio.augment import Crop
from melt_ser.core import files
from melt_ser.core.errors import InputError, first_line
from melt_ser.data.audio_cache import clip_names
from melt_ser.data.datasets import MEMORY_LIMIT, Batch, ClipDataset
from melt_ser.data.stage import Stage

ABOUT, CLIPS = "about.json", "clips.parquet"
STAGE_KEY = "prefix"  # the stage's key in about.json; renaming it would make existing caches unreadable


class FeatureStore:
    """A folder of cached features; a clip's features have the shape (count, *shape)."""

    def __init__(self, folder: Path) -> None:
        """Read the description of a store; raise InputError if a file of it is damaged or missing."""
        self.folder = folder
        with self._telling_damage():
            about: dict[str, Any] = files.read_json(folder / ABOUT)
            self.stage = Stage(about[STAGE_KEY])
            self.shape = tuple(about["shape"])
            self.dtype = np.dtype(about["dtype"])
            self.clips: pd.DataFrame = pd.read_parquet(folder / CLIPS).set_index("clip")
        self.frame_bytes = math.prod(self.shape) * self.dtype.itemsize

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder is a store that this process may read."""
        return os.access(folder / ABOUT, os.R_OK)

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return part, first and count of each row of a corpus table; raise KeyError if the store lacks a clip."""
        rows: pd.DataFrame = self.clips.loc[feature_names(table), ["part", "first", "count"]]
        return rows

    def read(self, parts: np.ndarray, firsts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the features of some clips, (clips, frames, *shape), with zeros after each clip's own frames.

        parts, firsts, counts: the place of each clip's features, (clips,). Raises InputError for a part that is cut
        short or missing.
        """
        frames = np.zeros((len(counts), counts.max(), *self.shape), dtype=self.dtype)
        for part in np.unique(parts):
            path = self.folder / f"features{part}.bin"
            with self._telling_damage(), path.open("rb", buffering=0) as file:
                for clip in np.flatnonzero(parts == part):
                    own = frames[clip, : counts[clip]]
                    if os.preadv(file.fileno(), [own.data], firsts[clip] * self.frame_bytes) != own.nbytes:
                        raise InputError(f"{path} is cut short; delete {self.folder} and run again.")
        return frames

    @contextlib.contextmanager
    def _telling_damage(self) -> Iterator[None]:
        """Raise InputError if a file cannot be read: a scratch disk may delete old ones, and leave others."""
        try:
            yield
        except (OSError, ValueError, KeyError) as error:  # ValueError: neither JSON nor parquet
            raise InputError(
                f"The cached features in {self.folder} cannot be read ({first_line(error)}); delete that folder and "
                "run again."
            ) from error


def crops_of(table: pd.DataFrame, crop: Crop | None) -> pd.DataFrame:
    """Return a corpus table with a row for each crop of each clip, in the column `place`; unchanged without a crop."""
    if crop is None:
        return table
    places = crop.places_of(table["duration"].to_numpy(dtype="float64"))
    rows = table.iloc[np.repeat(np.arange(len(table)), places)].reset_index(drop=True)
    return rows.assign(place=np.concatenate([np.arange(number) for number in places]))


def feature_names(table: pd.DataFrame) -> list[str]:
    """Return the name of each row in a store, (rows,): that of its clip, and the place of its crop if it has one."""
    names: list[str] = clip_names(table).to_pylist()
    if "place" not in table:
        return names
    return [f"{name}#{place}" for name, place in zip(names, table["place"], strict=True)]


class FeatureDataset(ClipDataset):
    """The rows of a corpus table as cached features of a frozen stage; it yields whole batches.

    If `utterances` are cropped, it draws the same crops as they do.
    """

    is_cached = True

    def __init__(self, utterances: ClipDataset, table: pd.DataFrame, store: FeatureStore) -> None:
        """Replace the audio of `utterances`, the rows of `table`, by their features in `store`."""
        super().__init__()
        self.utterances = utterances
        self.seconds = utterances.seconds
        self.classes, self.corpora, self.text = utterances.classes, utterances.corpora, utterances.text
        self.store = store
        crop = utterances.crop
        self.places = np.ones(len(table), dtype=np.int64)
        if crop is not None:
            self.places = crop.places_of(table["duration"].to_numpy(dtype="float64"))
        self.first_crop = self.places.cumsum() - self.places
        self.part, self.first, self.count = store.rows(crops_of(table, crop)).to_numpy(dtype=np.int64).T
        size = len(self.count) * self.count.max(initial=0) * store.frame_bytes  # with padding
        self.in_memory = store.read(self.part, self.first, self.count) if 0 < size <= MEMORY_LIMIT else None

    def path(self, row: int) -> Path:
        """Return the audio file of a row, for messages."""
        return self.utterances.path(row)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return a whole batch; a DataLoader calls this instead of `__getitem__`."""
        crops = self._draw_crops(np.asarray(rows))
        counts = self.count[crops]
        if self.in_memory is None:
            inputs = self.store.read(self.part[crops], self.first[crops], counts)
        else:
            inputs = self.in_memory[crops, : counts.max()]
        return Batch(
            torch.from_numpy(inputs),
            torch.from_numpy(counts),
            torch.from_numpy(self.classes[rows]),
            torch.tensor(rows),
            self.store.stage,
        )

    def _draw_crops(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of a crop of each utterance: the crop that `utterances` draws in this epoch."""
        crops: np.ndarray = self.first_crop[rows]
        for position in np.flatnonzero(self.places[rows] > 1):
            generator = np.random.default_rng([self.utterances.seed, self.epoch, int(rows[position])])
            crops[position] += generator.integers(self.places[rows[position]])
        return crops

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """Return the batch; it is complete already."""
        return batch


def write_description(folder: Path, stage: Stage, shape: Sequence[int], dtype: np.dtype, rows: pd.DataFrame) -> None:
    """Turn a folder with written parts into a store.

    Args:
        folder: the folder.
        stage: the stage of the features.
        shape: the shape of one frame.
        dtype: the type of the stored numbers.
        rows: clip, part, first and count of each clip.
    """
    rows.to_parquet(folder / CLIPS, index=False)
    files.write_json(folder / ABOUT, {STAGE_KEY: stage.value, "shape": list(shape), "dtype": dtype.name})
