"""Data sets and their batches: lengths after augmentation, and random crops of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from melt_ser.audio.augment import Augmentation, Crop
from melt_ser.config import AugmentConfig
from melt_ser.data.datasets import Batch, WaveformDataset
from melt_ser.data.feature_store import crops_of
from melt_ser.data.stage import Stage


def test_dataset_lengths_are_those_after_speed_and_crop(tmp_path: Path) -> None:
    table = pd.DataFrame({"audio": ["a.wav", "b.wav"], "start": np.nan, "end": np.nan, "duration": [1.8, 9.0]})
    table["class"] = "sad"
    slow = Augmentation(AugmentConfig(speed_factors=[0.9, 1.0]))
    assert WaveformDataset(table, tmp_path, ["sad"], True).seconds.tolist() == [1.8, 9.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow).seconds.tolist() == [2.0, 10.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow, Crop(5.0)).seconds.tolist() == [2.0, 5.0]
    assert WaveformDataset(table, tmp_path, ["sad"], True, slow, Crop(5.0), pad_seconds=5.0).seconds.tolist() == [
        5.0,
        5.0,
    ]


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


def sound(tmp_path: Path, *seconds: float) -> pd.DataFrame:
    """Write clips of rising ramps, and return their corpus table."""
    rows = []
    for number, length in enumerate(seconds):
        soundfile.write(tmp_path / f"{number}.wav", np.linspace(-0.5, 0.5, round(length * 16000)), 16000)
        rows.append({"audio": f"{number}.wav", "start": np.nan, "end": np.nan, "duration": length, "class": "sad"})
    return pd.DataFrame(rows)


def test_a_padded_clip_has_the_scale_that_it_has_in_a_test(tmp_path: Path) -> None:
    """Zeros that were normalised with it would scale 2 s in 5 s by the root of 5 / 2, which is 1.58."""
    table = sound(tmp_path, 2.0)
    trained, _, _ = WaveformDataset(table, tmp_path, ["sad"], True, crop=Crop(5.0), pad_seconds=5.0)[0]
    tested, _, _ = WaveformDataset(table, tmp_path, ["sad"], True)[0]
    assert len(trained) == 80000 and torch.equal(trained[:32000], tested)
    assert not trained[32000:].any()


def test_crops_at_places_are_evenly_spaced_and_repeat_themselves(tmp_path: Path) -> None:
    table = sound(tmp_path, 1.2, 0.7)
    data = WaveformDataset(table, tmp_path, ["sad"], False, crop=Crop(0.8, places=5))
    starts = set()
    for epoch in range(60):
        data.epoch = epoch
        long, short = data[0][0], data[1][0]
        assert (len(long), len(short)) == (12800, 11200)
        assert torch.equal(long, data[0][0])
        starts.add(round(float(long[0]) * 1000))
    assert sorted(starts) == pytest.approx([-500, -417, -333, -250, -167], abs=1)
    crops = crops_of(table, data.crop)
    assert crops["place"].tolist() == [0, 1, 2, 3, 4, 0]
    fixed = WaveformDataset(crops, tmp_path, ["sad"], False, crop=data.crop)
    assert [round(float(fixed[row][0][0]) * 1000) for row in range(5)] == sorted(starts)


def test_the_ten_places_of_crops_of_melt_lie_as_close_as_the_papers_recipe_says(shared_data: Path) -> None:
    """conf/trainer/paper.yaml has these figures."""
    table = pd.read_csv(shared_data / "melt" / "meld_train.csv")
    start, end = (pd.to_timedelta(table[key].str.replace(",", ".")) for key in ("StartTime", "EndTime"))
    seconds = (end - start).dt.total_seconds().to_numpy()
    crop = Crop(5.0, places=10)
    longer = seconds[crop.places_of(seconds) == 10]
    assert (len(seconds), len(longer)) == (7024, 1510)
    steps = [crop.first_sample(1, round(length * 16000) - crop.samples) / 16000 for length in longer]
    assert np.mean(steps) == pytest.approx(0.28, abs=0.005)
