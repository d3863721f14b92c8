"""Data sets and their batches: lengths after augmentation, and random crops of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from melt_ser.config import AugmentConfig
from melt_ser.data.datasets import Batch, WaveformDataset
from melt_ser.data.stage import Stage


def test_dataset_lengths_are_those_after_speed_and_crop(tmp_path: Path) -> None:
    table = pd.DataFrame({"audio": ["a.wav", "b.wav"], "start": np.nan, "end": np.nan, "duration": [1.8, 9.0]})
    table["class"] = "sad"
    slow = AugmentConfig(speed_factors=[0.9, 1.0])
    assert WaveformDataset(table, tmp_path, ["sad"], True).seconds.tolist() == [1.8, 9.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow).seconds.tolist() == [2.0, 10.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow, 5.0).seconds.tolist() == [2.0, 5.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow, 5.0, pad_seconds=5.0).seconds.tolist() == [5.0, 5.0]


def test_random_crops_cut_only_the_longer_utterances_and_repeat_themselves() -> None:
    features = torch.arange(2 * 10, dtype=torch.float32).reshape(2, 10, 1)
    batch = Batch(features, torch.tensor([10, 3]), torch.tensor([0, 1]), torch.tensor([7, 8]), Stage.states)
    flipped = Batch(*(tensor.flip(0) for tensor in (features, batch.lengths, batch.classes, batch.rows)), Stage.states)
    starts = set()
    for epoch in range(40):
        cropped = batch.crop_frames(4, seed=0, epoch=epoch)
        assert torch.equal(flipped.crop_frames(4, seed=0, epoch=epoch).inputs.flip(0), cropped.inputs)
        assert cropped.lengths.tolist() == [4, 3]
        assert cropped.inputs[0, :, 0].diff().tolist() == [1, 1, 1]
        assert cropped.inputs[1, :3, 0].tolist() == [10, 11, 12]
        starts.add(int(cropped.inputs[0, 0, 0]))
    assert starts == set(range(7))
    assert batch.crop_frames(10, seed=0, epoch=1) is batch
