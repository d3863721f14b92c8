"""Mixup: soft labels that are a function of (seed, epoch, row), and a loss that is linear in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from melt_ser.audio.augment import Augmentation, mix
from melt_ser.config import AugmentConfig, Balance, ClassLoss, ObjectiveConfig
from melt_ser.data.datasets import WaveformDataset
from melt_ser.models.outputs import Outputs
from melt_ser.training.objective import Objective
from melt_ser.training.optimisation import Weighting
from melt_ser.training.targets import Targets

CLASSES = ["angry", "happy", "sad"]


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Clips of one value each, of other lengths, so that a mix shows what is in it."""
    rows = []
    for number in range(6):
        samples = 4000 + 400 * number
        soundfile.write(tmp_path / f"{number}.wav", np.full(samples, 0.1 * (number + 1)), 16_000, subtype="FLOAT")
        rows.append({"audio": f"{number}.wav", "class": CLASSES[number % 3], "duration": samples / 16_000})
    return pd.DataFrame(rows).assign(start=np.nan, end=np.nan)


def mixing(table: pd.DataFrame, root: Path, probability: float = 1.0) -> WaveformDataset:
    config = AugmentConfig(mixup_probability=probability, mixup_alpha=1.0)
    return WaveformDataset(table, root, CLASSES, False, Augmentation(config), seed=7)


def test_a_mix_has_the_shares_of_its_waveforms() -> None:
    generator = np.random.default_rng(0)
    for length, other_length in ((100, 100), (100, 300), (300, 100)):
        waveform, other = np.ones(length, np.float32), 3 * np.ones(other_length, np.float32)
        mixed, share = mix(waveform, other, 1.0, generator)
        both = min(length, other_length)
        np.testing.assert_allclose(mixed[:both], share + 3 * (1 - share), rtol=1e-6)
        np.testing.assert_allclose(mixed[both:], share, rtol=1e-6)
        assert len(mixed) == length and waveform[0] == 1 and other[0] == 3


def test_labels_are_mixed_like_the_waveforms(table: pd.DataFrame, tmp_path: Path) -> None:
    data = mixing(table, tmp_path)
    soft = 0
    for epoch in range(5):
        data.epoch = epoch
        for row in range(len(data)):
            waveform, shares, _ = data[row]
            assert isinstance(shares, np.ndarray)
            assert shares.sum() == pytest.approx(1.0) and shares.min() >= 0
            assert len(waveform) == 4000 + 400 * row
            values = [0.1 * (row + 1), *(0.1 * (other + 1) for other in range(6))]
            own, first = float(shares[row % 3]), float(waveform[0])
            assert any(
                first == pytest.approx(own * values[0] + (1 - own) * value, abs=1e-5) for value in values[1:]
            ) or (
                own == pytest.approx(1.0)  # mixed with a clip of the same class
            )
            soft += own < 0.999
    assert soft > 10


def test_the_draw_depends_on_seed_epoch_and_row_alone(table: pd.DataFrame, tmp_path: Path) -> None:
    data = mixing(table, tmp_path, probability=0.5)
    data.epoch = 3
    inline = [data[row] for row in range(6)]
    again = mixing(table, tmp_path, probability=0.5)
    again.epoch = 3
    loader = DataLoader(again, batch_size=2, sampler=[5, 1, 3, 0, 4, 2], num_workers=2, collate_fn=again.collate)
    seen = {int(row): (batch, place) for batch in loader for place, row in enumerate(batch.rows)}
    for row, (waveform, shares, _) in enumerate(inline):
        batch, place = seen[row]
        assert torch.equal(batch.inputs[place, : len(waveform)], waveform)
        np.testing.assert_array_equal(batch.classes[place].numpy(), shares)
    data.epoch = 4
    assert any(not np.array_equal(data[row][1], inline[row][1]) for row in range(6))


def test_without_mixup_classes_stay_numbers(table: pd.DataFrame, tmp_path: Path) -> None:
    data = WaveformDataset(table, tmp_path, CLASSES, False, Augmentation(AugmentConfig(gain_decibels=6.0)))
    batch = data.collate([data[0], data[4]])
    assert batch.classes.dtype == torch.int64 and batch.classes.tolist() == [0, 1]


@pytest.mark.parametrize("balance", list(Balance))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", [kind for kind in ClassLoss if kind is not ClassLoss.divergence])
def test_the_loss_of_a_mix_is_the_mix_of_the_losses(balance: Balance, smoothing: float, kind: ClassLoss) -> None:
    classes = np.array([0, 0, 0, 1, 1, 3])  # no utterance has class 2
    weighting = Weighting.of(balance, classes, np.zeros(6, dtype=int), 4)
    loss = Objective(ObjectiveConfig(class_loss=kind), Outputs("abcd"), Targets(classes), weighting.smoothed, smoothing)
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    rows, others = torch.tensor([0, 3, 5]), torch.tensor([3, 4, 0])
    first, second = torch.from_numpy(classes)[rows], torch.from_numpy(classes)[others]
    share = torch.tensor([0.7, 0.2, 1.0])
    one_hot = torch.eye(4)
    mixed = share[:, None] * one_hot[first] + (1 - share)[:, None] * one_hot[second]
    torch.testing.assert_close(loss(logits, mixed), share * loss(logits, rows) + (1 - share) * loss(logits, others))
