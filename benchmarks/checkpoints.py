"""Make a checkpoint with random weights in a local folder, for both transformers and melt_ser.

`base` is the family's default configuration in transformers and the shape of the published base model; `tiny` is the
shape of this project's `*_tiny` backbones. Layer drop and SpecAugment are off, so that every system computes the same
layers. An attention mask is requested if transformers' own conversion of checkpoints requests it: not if the
convolutions have a group norm. That case is faster.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoModelForAudioClassification, PreTrainedConfig, Wav2Vec2FeatureExtractor

from clips import CLASSES
from melt_ser.config import BackboneConfig
from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.families import load_backbone
from melt_ser.models.quiet import quiet_transformers


def model_config(family: str, size: str) -> PreTrainedConfig:
    """Return the transformers configuration of a family and size, with MELT's classes."""
    kind = CONFIG_MAPPING[MODEL_TYPES[family]]
    shape = {}
    if size == "tiny":
        shape = load_backbone(BackboneConfig(name="tiny", family=family), seed=0).model.config.to_dict()
    more = {"layerdrop": 0.0, "apply_spec_augment": False, "id2label": dict(enumerate(CLASSES))}
    more["label2id"] = {name: number for number, name in enumerate(CLASSES)}
    return kind.from_dict(shape | more)


def save_checkpoint(family: str, size: str, folder: Path, seed: int) -> Path:
    """Write the classifier and its feature extractor; return the folder."""
    config = model_config(family, size)
    torch.manual_seed(seed)
    masked = getattr(config, "feat_extract_norm", "layer") == "layer"
    with quiet_transformers():
        AutoModelForAudioClassification.from_config(config).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked).save_pretrained(folder)
    return folder
