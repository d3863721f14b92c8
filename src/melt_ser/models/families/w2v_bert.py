"""w2v-BERT 2.0: a log-mel filter bank, a projection, conformer layers with relative positions; 50 frames a second.

Its convolutions over time look back only, and a clip's first frame begins with its first sample. Some checkpoints have
an adapter (add_adapter) that halves the frames; `wav2vec2.py` says which heads read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from melt_ser.config import BackboneConfig, Kernels
from melt_ser.core.errors import SetupError
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_config import extractor_settings
from melt_ser.models.checkpoint_files import find_checkpoint
from melt_ser.models.families.conformer import ConformerBackbone
from melt_ser.models.families.filter_bank import FilterBank
from melt_ser.models.families.wav2vec2 import masking_settings, shortened
from melt_ser.models.weights import pretrained_model, random_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STRIDE = 2  # frames of 10 ms in a frame of the model


class W2vBertBackbone(ConformerBackbone):
    """A Wav2Vec2BertModel of transformers; it is changed in place."""

    family = "w2v_bert"

    def __init__(self, model: PreTrainedModel, kernels: Kernels = Kernels.fast) -> None:
        super().__init__(self.family, model, do_normalize=False, kernels=kernels)
        self.filter_bank = FilterBank(self.channels // STRIDE, STRIDE)

    @property
    def channels(self) -> int:
        return int(self.model.config.feature_projection_input_dim)

    @property
    def convolution(self) -> list[nn.Module]:
        return []

    @property
    def normalises_last(self) -> bool:
        return False

    def feature_extractor(self) -> Any:
        from transformers import SeamlessM4TFeatureExtractor

        bands = self.channels // STRIDE
        return SeamlessM4TFeatureExtractor(feature_size=bands, num_mel_bins=bands, stride=STRIDE)

    def frames_of(self, lengths: Tensor) -> Tensor:
        return self.filter_bank.frames_of(lengths)

    def compute_convolution(self, audio: Tensor, lengths: list[int] | Tensor) -> Tensor:
        features: Tensor = self.filter_bank(audio, torch.as_tensor(lengths))
        return features

    def adapt(self, state: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.model.intermediate_ffn is not None:
            state = state + 0.5 * self.model.intermediate_ffn(state)
        return super().adapt(state, frame_mask)

    def adapter_layer(self, layer: Any, state: Tensor, frame_mask: Tensor) -> Tensor:
        counts = shortened(frame_mask.sum(dim=1), layer)
        frames: Tensor = layer(state, attention_mask=frame_mask, sub_sampled_lengths=counts)
        return frames


TINY: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "hidden_dropout": 0.1,
    "activation_dropout": 0.1,
    "feat_proj_dropout": 0.1,
}
"""The architecture of random weights: about a million parameters."""


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone of a configuration; the arguments are those of `families.load_backbone`."""
    settings = masking_settings(config.layer_drop, time_mask_probability, feature_mask_probability)
    if config.checkpoint is None:
        model = random_model(config, seed, settings, TINY)
    else:
        folder = find_checkpoint(config)
        extractor = extractor_settings(folder)
        model = pretrained_model(folder, config, seed, settings, "feature_projection.projection.weight")
        made = extractor.get("num_mel_bins", 80), extractor.get("stride", STRIDE)
        width = model.config.feature_projection_input_dim
        if made != (width // STRIDE, STRIDE):
            raise SetupError(
                f"The feature extractor in {folder} joins {made[1]} frames of {made[0]} mel bands, but config.json has "
                f"feature_projection_input_dim={width}; get both from the same checkpoint."
            )
    return W2vBertBackbone(model, Kernels(config.kernels))
