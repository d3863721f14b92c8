"""Utterances as model input: decoded, augmented and cropped for training, normalised, padded to one length.

`ClipDataset` is the interface that training and scoring read. `WaveformDataset`, here, yields audio; `TextDataset`, in
words.py, the words; `FeatureDataset`, in feature_store.py, yields cached features of a frozen stage.
"""

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
from torch.utils.data import Dataset, get_worker_info

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.augment import Augmentation, Crop, happens, mix
from melt_ser.audio.decode import read_audio
from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.config import AugmentConfig
from melt_ser.data.audio_cache import AudioCache
from melt_ser.data.stage import Stage

# Decoded clips or cached features stay in memory if those of the whole data set are not larger.
MEMORY_LIMIT = 512 * 2**20  # bytes


@dataclass
class Batch:
    """The input of a model for some utterances.

    inputs: audio, (batch, samples) float32, token ids, (batch, tokens), or the features of a frozen stage,
        (batch, frames, ...).
    lengths: samples, tokens or frames of each utterance, (batch,); always on the CPU.
    classes: the class index of each utterance, (batch,), or the share of each class, (batch, classes), with mixup.
    rows: the rows of the table, (batch,).
    stage: the stage of `inputs`.
    text: the vector of each utterance's words, (batch, features), if the model reads them beside the audio.
    """

    inputs: Tensor
    lengths: Tensor
    classes: Tensor
    rows: Tensor
    stage: Stage = Stage.nothing
    text: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, its lengths on the CPU; a copy from pinned memory overlaps with computing."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; a DataLoader calls this."""
        return self._map(Tensor.pin_memory)

    def crop_frames(self, frames: int, seed: int, epoch: int) -> Batch:
        """Return the batch with at most `frames` frames of each utterance.

        A longer utterance keeps a random window, drawn from (seed, epoch, row).
        """
        if int(self.lengths.max()) <= frames:
            return self
        cropped = self.inputs[:, :frames].clone()
        for position, (row, count) in enumerate(zip(self.rows.tolist(), self.lengths.tolist(), strict=True)):
            if count > frames:
                first = int(np.random.default_rng([seed, epoch, row]).integers(count - frames + 1))
                cropped[position] = self.inputs[position, first : first + frames]
        return replace(self, inputs=cropped, lengths=self.lengths.clamp(max=frames))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        text = None if self.text is None else change(self.text)
        return replace(
            self, inputs=change(self.inputs), classes=change(self.classes), rows=change(self.rows), text=text
        )


def class_numbers(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return the place of each row's class among `classes`, (rows,); zeros if there are none."""
    numbers: np.ndarray = np.zeros(len(table), dtype=np.int64)
    if classes:
        numbers = table["class"].map({name: number for number, name in enumerate(classes)}).to_numpy(dtype="int64")
    return numbers


class ClipDataset(Dataset[Any], ABC):
    """Utterances that a model trains on or is scored on.

    seconds: the greatest length of each utterance after augmentation, (utterances,).
    classes: the class index of each utterance, (utterances,).
    corpora: the number of each utterance's corpus, (utterances,); all 0 unless the corpus is a union of several.
    epoch: the training epoch; the random draws depend on it. Processes that read for this one see it change.
    is_cached: whether the items are cached features, so that nothing is decoded.
    text: the vector of each utterance's words, (utterances, features), if the model reads them beside the audio.
    do_normalize, pad_samples, crop, seed: as for audio (`WaveformDataset`); these are the values of words.
    """

    is_cached = False
    text: Tensor | None = None
    do_normalize = False
    pad_samples = 0
    crop: Crop | None = None
    seed = 0
    seconds: np.ndarray
    classes: np.ndarray
    corpora: np.ndarray

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """Return the training epoch."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._epoch.fill_(number)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def lengths(self) -> Tensor:
        """Return the greatest number of samples (of words: tokens) of each utterance, (utterances,)."""
        return torch.tensor(self.seconds * SAMPLE_RATE).round().long()

    def read_labels(self, table: pd.DataFrame, classes: Sequence[str]) -> None:
        """Set `classes` and `corpora` from a corpus table with a column `class`; a model may know no classes."""
        self.classes = class_numbers(table, classes)
        members = table["corpus"] if "corpus" in table else pd.Series("", table.index)
        self.corpora = pd.factorize(members, sort=True)[0]

    @abstractmethod
    def path(self, row: int) -> Path:
        """Return the audio file of a row."""

    @staticmethod
    @abstractmethod
    def collate(items: Any) -> Batch:
        """Join the items that a loader has read into one batch."""


class WaveformDataset(ClipDataset):
    """The rows of a corpus table as (waveform, class, row).

    The class is its index, or with mixup the shares of all classes, (classes,).

    Without `augment` and `crop`, an item is a function of the clip alone. Both draw from a generator of (seed, epoch,
    row), so that neither order nor workers nor resuming changes the draws. If the table has a column `place` (see
    `crops_of`), each row is cut at its place, and nothing is drawn. The table is held as arrays: every decoding process
    would copy a million Python strings, because reading a string writes its reference count.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        root: Path,
        classes: Sequence[str],
        do_normalize: bool,
        augment: Augmentation | None = None,
        crop: Crop | None = None,
        pad_seconds: float | None = None,
        seed: int = 0,
        cache: AudioCache | None = None,
    ) -> None:
        """Prepare to read the rows of a table.

        Args:
            table: rows of a corpus table with a column `class`.
            root: the folder of the audio files.
            classes: the names of the classes, in the order of their indices.
            do_normalize: whether to scale each waveform to mean 0 and variance 1.
            augment: random changes of the audio; None: no change.
            crop: cut longer clips; None: no cut.
            pad_seconds: append zeros to shorter clips up to this length, after they are normalised. The zeros count as
                audio: they have frames.
            seed: the seed of augmentation and crops.
            cache: decoded clips, read and filled.
        """
        super().__init__()
        self.root = root
        self.audio = pyarrow.array(table["audio"], pyarrow.large_string())
        self.starts = table["start"].to_numpy(dtype="float64")
        self.ends = table["end"].to_numpy(dtype="float64")
        self.read_labels(table, classes)
        self.do_normalize = do_normalize
        self.number_of_classes = len(classes)
        self.augmentation = augment
        self.crop = crop
        self.places = table["place"].to_numpy() if "place" in table else None
        self.pad_samples = round(pad_seconds * SAMPLE_RATE) if pad_seconds else 0
        self.seed = seed
        durations = table["duration"].to_numpy(dtype="float64")
        self.seconds = _greatest_lengths(durations, augment, crop, pad_seconds)
        self.cache = cache
        self.clips = cache.numbers(table) if cache is not None else np.full(len(table), -1)
        self.decoded: dict[int, np.ndarray] = {}
        self.keeps_decoded = durations.sum() * SAMPLE_RATE * 4 <= MEMORY_LIMIT

    def path(self, row: int) -> Path:
        """Return the audio file of a row."""
        return self.root / str(self.audio[row])

    def __getitem__(self, row: int) -> tuple[Tensor, int | np.ndarray, int]:
        generator = np.random.default_rng([self.seed, self.epoch, row])
        waveform = self._draw(row, generator)
        target: int | np.ndarray = int(self.classes[row])
        if self.augmentation is not None and self.augmentation.config.mixup_probability > 0:
            waveform, target = self._mixed(waveform, row, generator, self.augmentation.config)
        prepared = prepare_waveform(torch.from_numpy(waveform), self.do_normalize)
        padded = torch.nn.functional.pad(prepared, (0, max(0, self.pad_samples - len(prepared))))
        return padded, target, row

    def _draw(self, row: int, generator: np.random.Generator) -> np.ndarray:
        """Return the waveform of a row, augmented and cropped."""
        waveform = self._decode(row)
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, generator)
        if self.crop is not None:
            spare = len(waveform) - self.crop.samples
            place = None if self.places is None else int(self.places[row])
            first = self.crop.draw(generator, spare) if place is None else self.crop.first_sample(place, spare)
            waveform = waveform[first : first + self.crop.samples]
        return waveform

    def _mixed(
        self, waveform: np.ndarray, row: int, generator: np.random.Generator, config: AugmentConfig
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the waveform of a row, perhaps mixed with that of a random row, and the shares of the classes."""
        shares = np.eye(self.number_of_classes, dtype=np.float32)
        own = shares[self.classes[row]]
        if not happens(config.mixup_probability, generator):
            return waveform, own
        other = int(generator.integers(len(self)))
        mixed, share = mix(waveform, self._draw(other, generator), config.mixup_alpha, generator)
        return mixed, share * own + (1 - share) * shares[self.classes[other]]

    @staticmethod
    def collate(items: Sequence[tuple[Tensor, int | np.ndarray, int]]) -> Batch:
        """Pad the waveforms with zeros to the longest and return them as a batch."""
        audio, lengths = pad_together([waveform for waveform, _, _ in items])
        classes = torch.from_numpy(np.stack([target for _, target, _ in items]))
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
        if self.keeps_decoded and get_worker_info() is None:  # each decoding process would keep the whole corpus
            self.decoded[row] = waveform
        return waveform


def _greatest_lengths(
    durations: np.ndarray, augment: Augmentation | None, crop: Crop | None, pad_seconds: float | None
) -> np.ndarray:
    """Return the greatest length in seconds of each utterance after augmentation, cropping and padding."""
    seconds = durations / min(augment.config.speed_factors) if augment is not None else durations
    seconds = np.minimum(seconds, crop.seconds) if crop is not None else seconds
    return np.maximum(seconds, pad_seconds) if pad_seconds else seconds
