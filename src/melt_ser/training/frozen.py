"""The frozen part of a model in a training step."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import TrainerConfig
from melt_ser.data.datasets import Batch
from melt_ser.data.stage import Stage
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.prefix import compute_stage, crop_at_random


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
    if batch.after is not prefix:
        with accelerator.autocast():
            inputs, lengths = compute_stage(model, prefix, inputs, lengths)
    if config.crop_seconds is None or prefix is Stage.pooled:
        return inputs, lengths
    frames = int(model.backbone.frames_of(torch.tensor(round(config.crop_seconds * SAMPLE_RATE))))
    return crop_at_random(inputs, lengths, batch.rows, frames, seed, epoch)
