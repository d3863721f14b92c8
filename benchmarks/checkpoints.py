"""Make a checkpoint with random weights in a local folder, for both transformers and melt_ser.

`base` is the family's default configuration in transformers and the shape of the published base model, `large` that of
the published large one (of Whisper: small and medium, which have as many weights), `tiny` that of this project's
`*_random` backbones. Layer drop and SpecAugment are off, so that every system computes the same
layers. An attention mask is requested if transformers' own conversion of checkpoints requests it: not if the
convolutions have a group norm. That case is faster.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from clips import CLASSES
from melt_ser.config import BackboneConfig
from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.families import load_backbone
from melt_ser.models.quiet import quiet_transformers

WIDE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
LARGE = {
    "wav2vec2": {**WIDE, **STABLE, "conv_bias": True},
    "hubert": {**WIDE, **STABLE, "conv_bias": True},
    "wavlm": {**WIDE, **STABLE},
    "data2vec": WIDE,
}
WHISPER = {  # encoder_layers, d_model, encoder_attention_heads, encoder_ffn_dim
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
}


def model_config(family: str, size: str) -> PreTrainedConfig:
    """Return the transformers configuration of a family and size, with MELT's classes."""
    kind = CONFIG_MAPPING[MODEL_TYPES[family]]
    shape: dict[str, object] = {}
    if family == "whisper" and size in WHISPER:
        keys = ("encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim")
        shape = dict(zip(keys, WHISPER[size], strict=True))
    elif size == "large":
        shape = LARGE[family]
    elif size == "tiny":
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
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked)
        (WhisperFeatureExtractor() if family == "whisper" else extractor).save_pretrained(folder)
    return folder
