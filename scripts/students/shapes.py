"""The shape of the students: that of `backbone=<family>_tiny` with these changes, about three million weights."""

from __future__ import annotations

from typing import Any

FAMILIES = ("wav2vec2", "hubert", "wavlm", "data2vec")

SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "intermediate_size": 768,
    "conv_dim": [64, 64, 96, 96, 128, 128, 128],
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
