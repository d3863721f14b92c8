"""Utterances as model input: decoded, for training also cropped and augmented, normalised, padded together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import torch
from torch import Tensor
from torch.utils.data import Dataset

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.augment import Augmentation
from melt_ser.audio.decode import read_audio
from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.config import AugmentConfig
from melt_ser.data.audio_cache import AudioCache
from melt_ser.data.stage import Stage

KEPT_BYTES = 512 * 2**20  # a part whose decoded clips or kept features fit into this is read once, not every epoch


@dataclass
class Batch:
    """What a model computes at once.

    inputs: audio, (batch, samples) float32, or the features of a frozen prefix, (batch, frames, ...).
    lengths: (batch,), in samples or frames; on the CPU, which reads them.
    classes: (batch,); rows: (batch,) of the table.
    stage: the stage of `inputs`.
    """

    inputs: Tensor
    lengths: Tensor
    classes: Tensor
    rows: Tensor
    stage: Stage = Stage.nothing

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, but for its lengths; from pinned memory the copy overlaps with computing."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory (a DataLoader calls it)."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(self, inputs=change(self.inputs), classes=change(self.classes), rows=change(self.rows))


class ClipDataset(Dataset[Any], ABC):
    """What training and scoring read: `WaveformDataset`, or the kept `FeatureDataset` of them."""

    seconds: np.ndarray  # how long each is at most, (utterances,)
    classes: np.ndarray  # (utterances,)
    corpora: np.ndarray  # (utterances,): the number of the corpus, 0 but in a union of several
    epoch: int

    def __len__(self) -> int:
        return len(self.classes)

    @abstractmethod
    def path(self, row: int) -> Path:
        """The file of a row, for messages."""

    @staticmethod
    @abstractmethod
    def collate(items: Any) -> Batch:
        """What a loader got for some rows, as a batch."""


class WaveformDataset(ClipDataset):
    """The rows of a corpus table as (waveform, class index, row).

    Without `augment` and `crop_seconds` an item is a function of the clip alone. They draw from a generator of (seed,
    epoch, row), so that neither order, workers nor resuming change what is drawn. Clips shorter than `pad_seconds`
    are followed by zeros that count as audio. The table is held as arrays: a million Python strings would be copied
    into every decoding process, since counting references writes to them.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        root: Path,
        classes: Sequence[str],
        do_normalize: bool,
        augment: AugmentConfig | None = None,
        crop_seconds: float | None = None,
        pad_seconds: float | None = None,
        seed: int = 0,
        cache: AudioCache | None = None,
    ) -> None:
        numbers = {name: number for number, name in enumerate(classes)}
        self.root = root
        self.audio = pyarrow.array(table["audio"], pyarrow.large_string())
        self.starts = table["start"].to_numpy(dtype="float64")
        self.ends = table["end"].to_numpy(dtype="float64")
        self.classes = table["class"].map(numbers).to_numpy(dtype="int64")
        members = table["corpus"] if "corpus" in table else pd.Series("", table.index)
        self.corpora = pd.factorize(members, sort=True)[0]
        self.do_normalize = do_normalize
        self.augmentation = Augmentation(augment) if augment is not None else None
        self.crop_samples = round(crop_seconds * SAMPLE_RATE) if crop_seconds else None
        self.pad_samples = round(pad_seconds * SAMPLE_RATE) if pad_seconds else 0
        self.seed = seed
        self.epoch = 0
        durations = table["duration"].to_numpy(dtype="float64")
        self.seconds = _longest(durations, augment, crop_seconds, pad_seconds)
        self.cache = cache
        self.clips = cache.numbers(table) if cache is not None else np.full(len(table), -1)
        self.decoded: dict[int, np.ndarray] = {}
        self.keeps_decoded = durations.sum() * SAMPLE_RATE * 4 <= KEPT_BYTES

    def __len__(self) -> int:
        return len(self.audio)

    def path(self, row: int) -> Path:
        """The file of a row."""
        return self.root / str(self.audio[row])

    def __getitem__(self, row: int) -> tuple[Tensor, int, int]:
        waveform = self._decode(row)
        generator = np.random.default_rng([self.seed, self.epoch, row])
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, generator)
        if self.crop_samples is not None:
            waveform = self._crop(waveform, self.crop_samples, generator)
        waveform = np.pad(waveform, (0, max(0, self.pad_samples - len(waveform))))
        return prepare_waveform(torch.from_numpy(waveform), self.do_normalize), int(self.classes[row]), row

    @staticmethod
    def collate(items: Sequence[tuple[Tensor, int, int]]) -> Batch:
        """Pad the waveforms of a batch with zeros to the longest."""
        audio, lengths = pad_together([waveform for waveform, _, _ in items])
        classes = torch.tensor([label for _, label, _ in items])
        return Batch(audio, lengths, classes, torch.tensor([row for _, _, row in items]))

    def _decode(self, row: int) -> np.ndarray:
        if row in self.decoded:
            return self.decoded[row]
        clip = int(self.clips[row])
        waveform = self.cache.read(clip) if self.cache is not None and clip >= 0 else None
        if waveform is None:
            start, end = self.starts[row], self.ends[row]
            waveform = read_audio(
                self.path(row),
                None if np.isnan(start) else float(start),
                None if np.isnan(end) else float(end),
            )
            if self.cache is not None and clip >= 0:
                self.cache.write(clip, waveform)
        if self.keeps_decoded:
            self.decoded[row] = waveform
        return waveform

    @staticmethod
    def _crop(waveform: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
        spare = len(waveform) - samples
        first = int(generator.integers(spare + 1)) if spare > 0 else 0
        return waveform[first : first + samples]


def _longest(
    durations: np.ndarray, augment: AugmentConfig | None, crop_seconds: float | None, pad_seconds: float | None
) -> np.ndarray:
    """How long each utterance is at most, once it is augmented, cropped and padded."""
    seconds = durations / min(augment.speed_factors) if augment is not None else durations
    seconds = np.minimum(seconds, crop_seconds) if crop_seconds else seconds
    return np.maximum(seconds, pad_seconds) if pad_seconds else seconds
