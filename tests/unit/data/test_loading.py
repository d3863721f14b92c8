"""Batches are read ahead, by processes that live as long as the training, and are those of each epoch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from melt_ser.audio.augment import Augmentation
from melt_ser.config import AugmentConfig
from melt_ser.data.batches import Shard, ShuffledBatches
from melt_ser.data.datasets import WaveformDataset
from melt_ser.data.loading import AheadLoader, EpochLoader, read_ahead


class Watched(WaveformDataset):
    """Utterances that note the process that reads them."""

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int, int]:
        (self.root / f"read_by_{os.getpid()}").touch()
        return super().__getitem__(row)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_its_own_batches_and_draws_whoever_reads_them(tmp_path: Path, workers: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", generator.normal(0, 0.1, 8000 + 100 * number), 16000)
    table = pd.DataFrame({"audio": [f"{number}.wav" for number in range(6)], "class": "sad", "duration": 0.5})
    table = table.assign(start=np.nan, end=np.nan)
    augment = Augmentation(AugmentConfig(gain_decibels=6.0))
    plan = ShuffledBatches(table["duration"], batch_size=2, seed=0)
    data = Watched(table, tmp_path, ["sad"], False, augment)
    loader = EpochLoader(data, plan, Shard(), workers, for_gpu=False)
    alone = WaveformDataset(table, tmp_path, ["sad"], False, augment)
    for epoch in (1, 2, 3):
        alone.epoch = epoch
        for (micro_batch, batch), rows in zip(loader.epoch(epoch), plan.batches(epoch), strict=True):
            assert micro_batch.rows == batch.rows.tolist() == rows
            assert torch.equal(batch.inputs, WaveformDataset.collate([alone[row] for row in rows]).inputs)
    readers = {int(path.name.removeprefix("read_by_")) for path in tmp_path.glob("read_by_*")}
    assert len(readers) == max(workers, 1)
    assert (os.getpid() in readers) == (workers == 0)


def test_a_job_with_a_part_of_a_machine_has_no_more_decoding_processes_than_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6}, raising=False)
    table = pd.DataFrame({"audio": ["a.wav"] * 1000, "class": "sad", "duration": 0.5, "start": np.nan, "end": np.nan})
    data = WaveformDataset(table, tmp_path, ["sad"], False)
    assert AheadLoader(data, [[0]], for_gpu=True).loader.num_workers == 3


def test_items_are_read_ahead_in_their_order() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(6):
            read.append(number)
            yield number

    ahead = read_ahead(items(), ahead=2)
    assert next(ahead) == 0
    enough = threading.Event()
    for _ in range(100):
        if len(read) >= 3 or enough.wait(0.01):
            break
    assert len(read) >= 3  # two more than were asked for
    assert list(ahead) == [1, 2, 3, 4, 5]


def test_an_error_of_the_reading_thread_is_raised_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("clip3.wav is broken")

    ahead = read_ahead(items())
    assert next(ahead) == 0
    with pytest.raises(ValueError, match=r"clip3\.wav is broken"):
        next(ahead)
