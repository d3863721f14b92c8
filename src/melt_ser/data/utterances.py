"""Utterances as model input: decoded, for training also cropped and augmented, normalised, padded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import torch
from torch import Tensor
from torch.utils.data import Dataset

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.augment import Augmentation
from melt_ser.audio.decode import read_audio
from melt_ser.config import AugmentConfig
from melt_ser.data.audio_cache import AudioCache
from melt_ser.models.waveform import pad_together, prepare_waveform

KEPT_BYTES = 512 * 2**20  # a part whose decoded clips fit into this is decoded once, not every epoch


@dataclass
class Batch:
    """audio: (batch, samples) float32, lengths: (batch,) samples, classes: (batch,), rows: (batch,) of the table."""

    audio: Tensor
    lengths: Tensor
    classes: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; from pinned memory the copy overlaps with computing."""
        tensors = (self.audio, self.lengths, self.classes, self.rows)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory (a DataLoader calls it)."""
        return Batch(*(tensor.pin_memory() for tensor in (self.audio, self.lengths, self.classes, self.rows)))


class Utterances(Dataset[tuple[Tensor, int, int]]):
    """The rows of a corpus table as (waveform, class index, row).

    Without an `augment` an item is a function of the clip alone. With one, cropping and augmentation draw from
    a generator of (seed, epoch, row), so that neither order, workers nor resuming change what is drawn.
    `seconds` is how long each item is at most, (utterances,). The table is held as arrays: a million Python strings
    would be copied into every decoding process, since counting references writes to them.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        root: Path,
        classes: Sequence[str],
        do_normalize: bool,
        augment: AugmentConfig | None = None,
        crop_seconds: float | None = None,
        pad_to_crop: bool = False,
        seed: int = 0,
        cache: AudioCache | None = None,
    ) -> None:
        numbers = {name: number for number, name in enumerate(classes)}
        self.root = root
        self.audio = pyarrow.array(table["audio"], pyarrow.large_string())
        self.starts = table["start"].to_numpy(dtype="float64")
        self.ends = table["end"].to_numpy(dtype="float64")
        self.classes = table["class"].map(numbers).to_numpy(dtype="int64")
        self.do_normalize = do_normalize
        self.augmentation = Augmentation(augment) if augment is not None else None
        self.crop_samples = round(crop_seconds * SAMPLE_RATE) if crop_seconds else None
        self.pad_to_crop = pad_to_crop
        self.seed = seed
        self.epoch = 0
        durations = table["duration"].to_numpy(dtype="float64")
        self.seconds = self._longest(durations, augment, crop_seconds)
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
        if self.augmentation is not None:
            generator = np.random.default_rng([self.seed, self.epoch, row])
            waveform = self._crop(self.augmentation(waveform, generator), generator)
        return prepare_waveform(torch.from_numpy(waveform), self.do_normalize), int(self.classes[row]), row

    def _longest(self, durations: np.ndarray, augment: AugmentConfig | None, crop_seconds: float | None) -> np.ndarray:
        if augment is None:
            return durations
        slowed = durations / min(augment.speed_factors)
        if not crop_seconds:
            return slowed
        return np.full_like(slowed, crop_seconds) if self.pad_to_crop else np.minimum(slowed, crop_seconds)

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

    def _crop(self, waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if self.crop_samples is None:
            return waveform
        spare = len(waveform) - self.crop_samples
        if spare > 0:
            first = int(generator.integers(spare + 1))
            return waveform[first : first + self.crop_samples]
        return np.pad(waveform, (0, -spare)) if self.pad_to_crop else waveform


def collate(items: Sequence[tuple[Tensor, int, int]]) -> Batch:
    """Pad the waveforms of a batch with zeros to the longest."""
    audio, lengths = pad_together([waveform for waveform, _, _ in items])
    classes = torch.tensor([label for _, label, _ in items])
    return Batch(audio, lengths, classes, torch.tensor([row for _, _, row in items]))
