"""Measure how much the logits of an utterance depend on its batch: the largest difference by family and size.

    python benchmarks/batch_invariance.py [--sizes small base large] [--seed 0]

Random weights in the shape of the published checkpoints (`small` is a tenth of that, for a quick look); speech-like
noise of 0.03 to 6 s. For each utterance: alone in plain transformers, alone, in a padded batch, in the batch reversed,
and next to a much longer clip. Prints a table and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from transformers import CONFIG_MAPPING, AutoModel

from melt_ser.audio.waveform import pad_together, prepare_waveform
from melt_ser.config import BackboneConfig, HeadConfig
from melt_ser.models.checkpoint_config import MODEL_TYPES
from melt_ser.models.classifier import SpeechClassifier
from melt_ser.models.families import load_backbone

SECONDS = (0.03, 0.4, 1.3, 2.7, 4.1, 6.0)
SHAPES = {
    "small": {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
LARGE_NORMS = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
BASE_NORMS = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}


def architecture(family: str, size: str) -> dict[str, object]:
    """Return the published shape; settings of the tiny default are reset."""
    full = SHAPES[size] | {"conv_dim": [64 if size == "small" else 512] * 7}
    if family == "data2vec":
        return full | {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19, "num_conv_pos_embedding_groups": 16}
    norms = LARGE_NORMS if size == "large" else BASE_NORMS
    return full | norms | {"num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16}


def largest_differences(family: str, size: str, seed: int) -> dict[str, float]:
    """Return the largest absolute differences: logits from the utterance alone, frames from plain transformers."""
    config = BackboneConfig(name=size, family=family, architecture=architecture(family, size))
    backbone = load_backbone(config, seed)
    torch.manual_seed(seed)
    head = HeadConfig(layers="weighted")
    classifier = SpeechClassifier(backbone, head, ["angry", "happy", "neutral", "sad"]).eval()
    plain = AutoModel.from_config(CONFIG_MAPPING[MODEL_TYPES[family]].from_dict(backbone.model.config.to_dict())).eval()
    plain.load_state_dict(backbone.model.state_dict())
    clips = []
    for seconds in SECONDS:
        noise = torch.randn(round(seconds * 16_000)) * torch.linspace(0.02, 0.3, round(seconds * 16_000)) + 0.05
        clips.append(prepare_waveform(noise, do_normalize=True))
    found = {"batch": 0.0, "order": 0.0, "company": 0.0, "transformers": 0.0}
    with torch.no_grad():
        alone = torch.cat([classifier(*pad_together([clip])) for clip in clips])
        batch = classifier(*pad_together(clips))
        reverse = classifier(*pad_together(clips[::-1])).flip(0)
        for number, clip in enumerate(clips):
            company = classifier(*pad_together([clip, clips[-1]]))[:1]
            frames = classifier.backbone(*pad_together([clip])).last_hidden_state
            theirs = plain(clip[None]).last_hidden_state
            found["company"] = max(found["company"], (company - alone[number]).abs().max().item())
            found["transformers"] = max(found["transformers"], (frames - theirs).abs().max().item())
    found["batch"] = (batch - alone).abs().max().item()
    found["order"] = (reverse - alone).abs().max().item()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SHAPES), default=["base", "large"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    print(f"{'family':<10} {'size':<6} {'batch':>9} {'order':>9} {'company':>9} {'transformers':>13}")
    for size in options.sizes:
        for family in MODEL_TYPES:
            started = time.perf_counter()
            found = largest_differences(family, size, options.seed)
            rows.append({"family": family, "size": size, **found, "seconds": round(time.perf_counter() - started, 1)})
            print(
                f"{family:<10} {size:<6} {found['batch']:>9.1e} {found['order']:>9.1e} {found['company']:>9.1e} "
                f"{found['transformers']:>13.1e}",
                flush=True,
            )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
