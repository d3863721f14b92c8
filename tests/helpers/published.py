"""Classifiers as others publish them: small random models, made and saved by transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForAudioClassification,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.families.whisper import TINY
from small_models import KINDS, small_config, speechlike

SUPERB = ("neu", "hap", "ang", "sad")
SUPERB_MAP = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"}
CLIPS = [
    speechlike(100_000),
    torch.linspace(0.1, 0.4, 40_000) * torch.sin(torch.arange(40_000) * 0.1) + 0.1 * speechlike(40_000),
    speechlike(200_000) * torch.sin(torch.arange(200_000) * 0.01),
]
WHISPER = TINY | {"d_model": 32, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}


def write_classifier(folder: Path, kind: str, labels: tuple[str, ...] = SUPERB, **settings: object) -> Path:
    """Write a folder as on the hub: a classifier with weights away from zero.

    kind: one of KINDS, "w2v_bert" or "whisper".
    settings: further keys of the transformers configuration, such as use_weighted_layer_sum.
    """
    family, architecture = KINDS.get(kind, (kind, {}))
    shape = WHISPER if family == "whisper" else small_config(family, **architecture).architecture
    names = dict(enumerate(labels))
    config = CONFIG_MAPPING[MODEL_TYPES[family]](
        **shape | {"classifier_proj_size": 24, "id2label": names, "label2id": {name: n for n, name in names.items()}},
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForAudioClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter += 0.3 * torch.randn(parameter.shape)
                else:
                    parameter *= 4  # with the initial weights, all clips have nearly the same frames
    extractor = _extractor(family)
    _spread_logits(model.eval(), extractor)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def _extractor(family: str) -> Any:
    """Return the feature extractor of transformers that a published classifier of a family comes with."""
    match family:
        case "whisper":
            return WhisperFeatureExtractor(80)
        case "w2v_bert":
            return SeamlessM4TFeatureExtractor()
        case _:
            return Wav2Vec2FeatureExtractor(do_normalize=True)


@torch.no_grad()
def _spread_logits(model: Any, extractor: Any) -> None:
    """Give the logits of CLIPS the mean 0 and the deviation 0.4, since a random model answers alike to everything."""
    inputs = [extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt") for clip in CLIPS]
    logits = torch.cat([model(**one).logits for one in inputs])
    scale, mean = 0.4 / logits.std(dim=0), logits.mean(dim=0)
    model.classifier.weight.mul_(scale[:, None])
    model.classifier.bias.copy_((model.classifier.bias - mean) * scale)


def as_soxan(folder: Path, output: str = "out_proj") -> tuple[nn.Linear, nn.Linear]:
    """Replace the head of a written classifier by that of soxan: dense, tanh, `output`; return its two layers."""
    labels = len(json.loads((folder / "config.json").read_text())["id2label"])
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(("projector", "classifier"))}
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    dense, last = nn.Linear(width, width), nn.Linear(width, labels)
    for name, layer in (("dense", dense), (output, last)):
        kept |= {f"classifier.{name}.{part}": tensor for part, tensor in layer.state_dict().items()}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return dense, last
