"""The shapes of the students: each self-supervised family with fewer channels and layers, about two million weights."""

from __future__ import annotations

from typing import Any

COMMON: dict[str, Any] = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "conv_dim": [64, 64, 96, 96, 128, 128, 128],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": True,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "attention_dropout": 0.0,
}
BASE = {"num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 8, "feat_extract_norm": "group"}
"""The norms of the base models: one over time in the first convolution, and one behind each sublayer."""

SHAPES: dict[str, dict[str, Any]] = {
    "wav2vec2": COMMON | BASE,
    "hubert": COMMON | BASE,
    "wavlm": COMMON | BASE,
    # data2vec counts the layers of its positional encoder; it has no choice of norms
    "data2vec": COMMON | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 9, "num_conv_pos_embedding_groups": 8},
}
