"""The model families: their names here and in transformers, and the architecture of their random weights."""

from __future__ import annotations

from typing import Any

from melt_ser.config import BackboneConfig

MODEL_TYPES = {"wav2vec2": "wav2vec2", "hubert": "hubert", "wavlm": "wavlm", "data2vec": "data2vec-audio"}
"""The `model_type` of transformers for each of our families."""

TINY: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 1536,
    "conv_dim": [32, 32, 32, 64, 64, 64, 64],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 8,
    "conv_bias": True,
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "feat_proj_dropout": 0.1,
    "attention_dropout": 0.0,
}
"""The architecture of random weights: about a million parameters, and a frame every 20 ms.

It is wide rather than deep, and has dropout, because a model soon learns a few hundred clips by heart. On half of
EmoDB's speakers, two layers with dropout did better than four without, in less time.
"""

TINY_NORMS = {"feat_extract_norm": "group", "do_stable_layer_norm": True}
"""The norms of random weights, except for data2vec, which has no choice of norms.

The convolutions are those of the base models, which are faster. The transformer is that of the large models, which
trains from random weights; that of the base models hardly does.
"""

TINY_DATA2VEC = {
    "num_conv_pos_embeddings": 3,
    "conv_pos_kernel_size": 9,
    "num_hidden_layers": 4,
    "intermediate_size": 640,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
"""Changes to TINY for data2vec.

Its `num_conv_pos_embeddings` counts the layers of the positional encoder; in the other families it is the width of the
only layer. Its norms come after the layers, and with the dropout of the others it learned less.
"""


def family_name(config: BackboneConfig) -> str:
    """Return the family as plain text, whether the setting holds an enumeration or a word."""
    return str(getattr(config.family, "value", config.family))


def family_of(model_type: str | None) -> str | None:
    """Return our family for a `model_type` of transformers; None for every other kind of model."""
    return next((family for family, known in MODEL_TYPES.items() if known == model_type), None)


def tiny_architecture(family: str) -> dict[str, Any]:
    """Return the settings of a transformers configuration for random weights of a family."""
    return TINY | (TINY_DATA2VEC if family == "data2vec" else TINY_NORMS)
