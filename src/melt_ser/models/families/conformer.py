"""wav2vec 2.0 with conformer layers (wav2vec2-conformer), and what all conformers share.

A conformer layer has a convolution over time, whose padding kernels/masking.py takes care of, and its positions enter
the attention of every layer, relative or rotary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from melt_ser.config import BackboneConfig
from melt_ser.models.backbone import Backbone
from melt_ser.models.families.wav2vec2 import TINY, Wav2Vec2Backbone, load_waveform_encoder, masking_settings


class ConformerBackbone(Wav2Vec2Backbone):
    """A wav2vec2-conformer of transformers; it is changed in place."""

    @property
    def embedding(self) -> list[nn.Module]:
        return [self.model.feature_projection, self.encoder.dropout]

    @property
    def normalises_last(self) -> bool:
        return True

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        embedded: Tensor = self.encoder.dropout(self.project(convolved, frame_mask))
        return embedded

    def layers(self, hidden: Tensor, frame_mask: Tensor, first: int, last: int, every: bool = False) -> list[Tensor]:
        with self.padding.set(frame_mask=frame_mask):
            return super().layers(hidden, frame_mask, first, last, every)

    def stop_unused(self) -> None:
        super().stop_unused()
        if hasattr(self.encoder, "pos_conv_embed"):
            self.encoder.pos_conv_embed.requires_grad_(False)  # only in checkpoints: transformers does not compute it


TINY_CONFORMER: dict[str, Any] = {
    "intermediate_size": 512,
    "feat_extract_norm": "group",
    "conv_depthwise_kernel_size": 31,
}
"""Changes to TINY: a conformer layer has two feed-forward parts and a convolution."""


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone of a configuration; the arguments are those of `families.load_backbone`."""
    settings = masking_settings(config.layer_drop, time_mask_probability, feature_mask_probability)
    return load_waveform_encoder(ConformerBackbone, TINY | TINY_CONFORMER, config, seed, settings)
