"""`trainer.balance=loss` on MELD's annotation file: each class has the same share of the gradient of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from melt_ser.config import Balance, HeadConfig, TrainerConfig
from melt_ser.data.datasets import Batch, ClipDataset
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.training.device import make_accelerator
from melt_ser.training.fit import fit
from small_models import small_backbone

EMOTIONS = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]


class Silence(ClipDataset):
    """Utterances whose pooled features are all 0, so that their gradients differ by their weight alone."""

    def __init__(self, classes: np.ndarray, seconds: np.ndarray) -> None:
        super().__init__()
        self.classes, self.seconds, self.corpora = classes, seconds, np.zeros_like(classes)

    def path(self, row: int) -> Path:
        return Path(str(row))

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        classes, features = torch.from_numpy(self.classes[rows]), torch.zeros(len(rows), 1, 1, 32)
        return Batch(features, torch.ones(len(rows), dtype=torch.int64), classes, torch.tensor(rows), Stage.pooled)

    @staticmethod
    def collate(items: Batch) -> Batch:
        return items


def meld(shared_data: Path) -> Silence:
    table = pd.read_csv(shared_data / "meld" / "train_sent_emo.csv")
    start, end = (pd.to_timedelta(table[key].str.replace(",", ".")) for key in ("StartTime", "EndTime"))
    classes = table["Emotion"].map(EMOTIONS.index).to_numpy(dtype="int64")
    return Silence(classes, (end - start).dt.total_seconds().clip(lower=0.1).to_numpy())


def shares(train: Silence, folder: Path, **settings: object) -> np.ndarray:
    """Return each class's share of the gradient at the logits over an epoch of `fit` that learns nothing."""
    config = TrainerConfig(
        epochs=1, freeze="everything", head_learning_rate=0.0, weight_decay=0.0, crop_seconds=None, **settings
    )
    model = SpeechClassifier(small_backbone("hubert-base"), HeadConfig(), EMOTIONS)
    model.backbone.freeze(config.freeze)
    nn.init.zeros_(model.head.output.bias)
    sums = np.zeros(len(EMOTIONS))

    def add(gradient: Tensor) -> None:  # it is negative at an utterance's own class alone
        np.add.at(sums, gradient.argmin(dim=1).numpy(), gradient.norm(dim=1).numpy())

    def watch(module: nn.Module, inputs: object, logits: Tensor) -> None:
        if logits.requires_grad:
            logits.register_hook(add)

    model.head.output.register_forward_hook(watch)
    dev = Silence(np.arange(7), np.ones(7))
    fit(config, model, Stage.pooled, train, dev, 0, folder, make_accelerator("cpu"))
    return sums / sums.sum()


@pytest.mark.parametrize(
    "settings", [{}, {"gradient_accumulation": 4, "batch_seconds": 20.0}, {"label_smoothing": 0.1}]
)
def test_every_class_of_meld_has_a_seventh_of_the_gradient_of_an_epoch(
    shared_data: Path, tmp_path: Path, settings: dict[str, float]
) -> None:
    train = meld(shared_data)
    assert shares(train, tmp_path, batch_size=8, balance=Balance.loss, **settings) == pytest.approx(
        [1 / 7] * 7, abs=1e-3
    )


def test_without_balance_a_class_has_the_share_of_its_utterances(shared_data: Path, tmp_path: Path) -> None:
    train = meld(shared_data)
    own = np.bincount(train.classes) / len(train)
    assert shares(train, tmp_path, batch_size=8, balance=Balance.nothing) == pytest.approx(own, abs=1e-3)
