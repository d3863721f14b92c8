"""Checkpoints as on the hub: small recognition models with random weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCTC, Wav2Vec2FeatureExtractor

from melt_ser.config import BackboneConfig
from melt_ser.models.backbone import Backbone
from melt_ser.models.families import load_backbone
from small_models import small_backbone

WEIGHTS = "model.safetensors"


def write_checkpoint(folder: Path, family: str, do_normalize: bool = False) -> Backbone:
    """Write a folder as on the hub: a recognition model with its head, and a feature extractor."""
    backbone = small_backbone(family)
    config = copy.deepcopy(backbone.model.config)
    config.vocab_size = 32
    recogniser = AutoModelForCTC.from_config(config)
    setattr(recogniser, recogniser.base_model_prefix, backbone.model)
    recogniser.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return backbone


def load_folder(folder: Path, family: str = "wav2vec2", **settings: object) -> Backbone:
    return load_backbone(BackboneConfig(family=family, checkpoint=str(folder), **settings), seed=0)


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def same_weights(one: Backbone, other: Backbone) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
