"""Fine-tune as a transformers user does: AutoModelForAudioClassification, a padding collator, Trainer.

The script does nothing slow without need: the feature encoder is frozen, lengths are known beforehand, soundfile reads
the audio, and nothing is evaluated, saved or logged.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
import torch
from datasets import Dataset
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from clips import CLASSES, RATE, TABLE
from sampling import Choice


class EpochClock(TrainerCallback):
    """Measure the seconds of the epoch, from its first batch to its last step."""

    seconds = 0.0

    def on_epoch_begin(self, *arguments: Any, **more: Any) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, *arguments: Any, **more: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self.started


class ChosenBatches(Trainer):
    """A Trainer that uses only some of its own sampler's batches."""

    choice: Choice

    def _get_train_sampler(self, *arguments: Any) -> list[int]:
        rows = [int(row) for row in super()._get_train_sampler(*arguments)]
        size = self.args.train_batch_size
        batches = [rows[first : first + size] for first in range(0, len(rows), size)]
        return [row for batch in self.choice(batches) for row in batch]


class TrainerScript:
    """The Trainer script; call `train` once before for a warm-up."""

    filling = 0.0  # seconds before the first epoch: the script caches nothing for later epochs

    def __init__(
        self, checkpoint: Path, clips: Path, batch_size: int, grouped: bool, device: str, precision: str, seed: int
    ) -> None:
        """Load the model and the clips.

        Args:
            checkpoint: folder of the model.
            clips: folder of the corpus.
            batch_size: utterances of a batch.
            grouped: batches of similar length, otherwise random ones.
            device: cpu or cuda.
            precision: fp32 or bf16.
            seed: for the order of the clips and the dropout.
        """
        self.extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
        self.model = AutoModelForAudioClassification.from_pretrained(checkpoint)
        self.model.freeze_feature_encoder()
        table = pd.read_csv(clips / TABLE)
        table = table[table["split"] == "train"]
        self.seconds = table["duration"].to_numpy()
        columns = {
            "path": [str(clips / name) for name in table["audio"]],
            "label": [CLASSES.index(name) for name in table["label"]],
            "length": [round(seconds * RATE) for seconds in self.seconds],
        }
        self.rows = Dataset.from_dict(columns)
        self.settings: dict[str, Any] = {
            "per_device_train_batch_size": batch_size,
            "num_train_epochs": 1,
            "seed": seed,
            "learning_rate": 2e-5,
            "train_sampling_strategy": "group_by_length" if grouped else "random",
            "length_column_name": "length",
            "use_cpu": device == "cpu",
            "bf16": precision == "bf16",
            "dataloader_num_workers": min(8, os.cpu_count() or 1) if device == "cuda" else 0,
            "remove_unused_columns": False,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
        }

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        audio = [soundfile.read(row["path"], dtype="float32")[0] for row in rows]
        batch = self.extractor(audio, sampling_rate=RATE, padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    def train(self, choice: Choice, folder: Path) -> float:
        """Train one epoch on the chosen batches; return its seconds."""
        arguments = TrainingArguments(str(folder), **self.settings)
        clock = EpochClock()
        trainer = ChosenBatches(
            self.model, arguments, self.collate, self.rows, processing_class=self.extractor, callbacks=[clock]
        )
        trainer.choice = choice
        trainer.train()
        return clock.seconds
