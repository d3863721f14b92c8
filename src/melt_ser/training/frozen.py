"""The frozen part of a model in a training step."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import TrainerConfig
from melt_ser.data.datasets import Batch
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier


def frozen_part(
    config: TrainerConfig,
    model: SpeechClassifier,
    prefix: Stage,
    batch: Batch,
    seed: int,
    epoch: int,
    accelerator: Accelerator,
) -> tuple[Tensor, Tensor]:
    """What the learning part of a model is given of a batch: the features of its prefix, and their lengths.

    They are computed unless the batch has them, and then cropped at random: the frozen part hears whole clips, as it
    does in a test, whether or not its features are kept.
    """
    inputs, lengths = batch.inputs, batch.lengths
    if prefix is Stage.nothing:
        return inputs, lengths
    if batch.stage is not prefix:
        with accelerator.autocast():
            inputs, lengths = model.compute_stage(prefix, inputs, lengths)
    if config.crop_seconds is None or prefix is Stage.pooled:
        return inputs, lengths
    frames = int(model.backbone.frames_of(torch.tensor(round(config.crop_seconds * SAMPLE_RATE))))
    return crop_at_random(inputs, lengths, batch.rows, frames, seed, epoch)


def crop_at_random(
    features: Tensor, counts: Tensor, rows: Tensor, frames: int, seed: int, epoch: int
) -> tuple[Tensor, Tensor]:
    """Features of a batch in which no utterance has more than `frames` frames, and the new counts.

    Where the window of a longer one begins is a function of seed, epoch and row.
    """
    if int(counts.max()) <= frames:
        return features, counts
    cropped = features[:, :frames].clone()
    for position, (row, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True)):
        if count > frames:
            first = int(np.random.default_rng([seed, epoch, row]).integers(count - frames + 1))
            cropped[position] = features[position, first : first + frames]
    return cropped, counts.clamp(max=frames)
