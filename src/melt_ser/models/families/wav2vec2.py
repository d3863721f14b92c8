"""wav2vec 2.0 and the families of its kind: HuBERT, WavLM, data2vec, UniSpeech and UniSpeech-SAT.

Convolutions over the waveform, a projection, positions, a transformer; in some checkpoints an adapter (add_adapter)
that shortens the output. An adapter is computed for `head.layers=last`, which reads its frames; the other choices of
`head.layers` read the states below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from melt_ser.audio import SAMPLE_RATE
from melt_ser.config import BackboneConfig, HeadConfig, Kernels, LastState
from melt_ser.models.backbone import Backbone
from melt_ser.models.checkpoint_config import extractor_settings
from melt_ser.models.checkpoint_files import find_checkpoint
from melt_ser.models.kernels import apply_kernels, encode_waveforms
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.weights import pretrained_model, random_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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

It is wide rather than deep, and has dropout, because a model soon memorises a few hundred clips. On half of
EmoDB's speakers, two layers with dropout did better than four without, in less time.
"""

TINY_NORMS = {"feat_extract_norm": "group", "do_stable_layer_norm": True}
"""The norms of random weights, except for data2vec: it offers no choice of norms.

The convolutions are those of the base models, because they are faster. The transformer is that of the large models,
because it learns from random weights; that of the base models hardly does.
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
only layer. It normalises after each sublayer, like base models, and it learned less with the others' dropout.
"""

FIRST_WEIGHT = "feature_extractor.conv_layers.0.conv.weight"  # all of these families have it


class Wav2Vec2Backbone(Backbone):
    """A transformers model of any of these families; kernels/masking.py keeps its frames free of padding.

    model: the transformers model; it is changed in place.
    kernels: the code that computes the model (see kernels/__init__.py).
    """

    def __init__(
        self, family: str, model: PreTrainedModel, do_normalize: bool, kernels: Kernels = Kernels.fast
    ) -> None:
        super().__init__(model, do_normalize, kernels)
        self.family = family
        self.padding = apply_kernels(model, kernels)
        self.stop_unused()

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def output_size(self) -> int:
        return self.hidden_size if self.adapter is None else int(self.model.config.output_hidden_size)

    @property
    def adapter(self) -> Any:
        """The convolutions behind the last layer; None for most checkpoints."""
        return getattr(self.model, "adapter", None)

    @property
    def number_of_layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def channels(self) -> int:
        return int(self.model.config.conv_dim[-1])

    @property
    def layer_drop(self) -> float:
        return float(self.model.config.layerdrop)

    @property
    def masks_input(self) -> bool:
        return bool(max(self.model.config.mask_time_prob, self.model.config.mask_feature_prob) > 0)

    @property
    def convolution(self) -> list[nn.Module]:
        return [self.model.feature_extractor]

    @property
    def embedding(self) -> list[nn.Module]:
        encoder = self.encoder
        parts = [self.model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        return parts if self.normalises_last else [*parts, encoder.layer_norm]

    @property
    def encoder(self) -> Any:
        return self.model.encoder

    @property
    def normalises_last(self) -> bool:
        """Whether the encoder's norm comes after the layers (most large models) instead of before them."""
        return bool(getattr(self.model.config, "do_stable_layer_norm", False))

    @property
    def name_in_classifier(self) -> str:
        return str(self.model.base_model_prefix)

    def equals_transformers(self, head: HeadConfig) -> bool:
        return self.adapter is None and head.last_state == LastState.before_norm

    def feature_extractor(self) -> Any:
        from transformers import Wav2Vec2FeatureExtractor

        return Wav2Vec2FeatureExtractor(
            sampling_rate=SAMPLE_RATE, do_normalize=self.do_normalize, return_attention_mask=True
        )

    def frames_of(self, lengths: Tensor) -> Tensor:
        below_the_adapter = {} if self.adapter is None else {"add_adapter": False}
        frames: Tensor = self.model._get_feat_extract_output_lengths(lengths, **below_the_adapter)
        return frames

    def output_frames(self, frames: Tensor) -> Tensor:
        for layer in [] if self.adapter is None else self.adapter.layers:
            frames = shortened(frames, layer)
        return frames

    def compute_convolution(self, audio: Tensor, lengths: list[int] | Tensor) -> Tensor:
        return encode_waveforms(self.model, self.kernels, self.padding, audio, lengths).transpose(1, 2)

    def project(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        """Return the projected features, masked at random in training, with zeros for frames of padding."""
        projected = self.model.feature_projection(convolved)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        with self._masking(hidden.shape[1]):
            hidden = self.model._mask_hidden_states(hidden, attention_mask=frame_mask)
        masked: Tensor = hidden.masked_fill(~frame_mask[:, :, None], 0.0)
        return masked

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        encoder, hidden = self.encoder, self.project(convolved, frame_mask)
        with self.padding.set(frame_mask=frame_mask):
            hidden = hidden + encoder.pos_conv_embed(hidden)
        if not self.normalises_last:
            hidden = encoder.layer_norm(hidden)
        dropped: Tensor = encoder.dropout(hidden)
        return dropped

    def adapt(self, state: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        adapter = self.adapter
        if adapter is None:
            return state, frame_mask
        if adapter.proj is not None:
            state = adapter.proj_layer_norm(adapter.proj(state))
        for layer in adapter.layers:
            with self.padding.set(frame_mask=frame_mask):
                state = self.adapter_layer(layer, state, frame_mask)
            frame_mask = mask_of(shortened(frame_mask.sum(dim=1), layer), state.shape[1], state.device)
        return state, frame_mask

    def adapter_layer(self, layer: Any, state: Tensor, frame_mask: Tensor) -> Tensor:
        """Run a layer of the adapter on frames, (batch, frames, features), with their mask, (batch, frames)."""
        frames: Tensor = layer(state.transpose(1, 2)).transpose(1, 2)
        return frames

    @contextmanager
    def _masking(self, frames: int) -> Iterator[None]:
        """Draw SpecAugment from torch's random state within the block, so that a resumed run repeats it."""
        config = self.model.config
        if not self.model.training or max(config.mask_time_prob, config.mask_feature_prob) == 0:
            yield
            return
        before = config.apply_spec_augment  # set again below, since the configuration is saved with the model
        config.apply_spec_augment = frames >= config.mask_time_length  # transformers refuses shorter clips
        state = np.random.get_state()
        np.random.seed(int(torch.randint(2**31, ())))
        try:
            yield
        finally:
            np.random.set_state(state)
            config.apply_spec_augment = before

    def freeze(self, part: str | int) -> None:
        super().freeze(part)
        self.stop_unused()

    def stop_unused(self) -> None:
        """Stop weights from learning that no forward pass reads: they would have no gradient."""
        masks = self.masks_input and not isinstance(self.freezing, int)
        if not masks and hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)

    def train(self, mode: bool = True) -> Wav2Vec2Backbone:
        """Set the training mode; frozen parts and batch norms (HuBERT, conformer) always stay in evaluation mode.

        A batch norm would mix the utterances of a batch; it keeps the statistics of its pretraining.
        """
        super().train(mode)
        if self.model.training:  # otherwise they are in evaluation mode already
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.eval()
        return self

    def gradient_checkpointing_enable(self) -> None:
        self.model.gradient_checkpointing_enable(
            {"use_reentrant": False, "context_fn": self.padding.checkpoint_contexts}
        )


def shortened(frames: Tensor, layer: Any) -> Tensor:
    """Return the numbers of frames, (batch,), that a layer of an adapter makes of these."""
    convolution = next(module for module in layer.modules() if isinstance(module, nn.Conv1d))
    kernel, stride, padding = convolution.kernel_size[0], convolution.stride[0], int(convolution.padding[0])
    return (frames + 2 * padding - kernel) // stride + 1


def masking_settings(
    layer_drop: float, time_mask_probability: float, feature_mask_probability: float
) -> dict[str, Any]:
    """Return the keys of transformers' configurations for skipped layers and SpecAugment."""
    return {
        "layerdrop": layer_drop,
        "apply_spec_augment": max(time_mask_probability, feature_mask_probability) > 0,
        "mask_time_prob": time_mask_probability,
        "mask_feature_prob": feature_mask_probability,
        "mask_time_min_masks": 0,  # with 2, transformers' default, a short clip would be masked whole
        "mask_feature_min_masks": 0,  # WavLM's code reads it, but its configuration has no default
    }


def tiny_architecture(family: str) -> dict[str, Any]:
    """Return the settings of a transformers configuration for random weights of a family."""
    return TINY | (TINY_DATA2VEC if family == "data2vec" else TINY_NORMS)


def load_backbone(
    config: BackboneConfig, seed: int, time_mask_probability: float = 0.0, feature_mask_probability: float = 0.0
) -> Backbone:
    """Build the backbone of a configuration; the arguments are those of `families.load_backbone`."""
    settings = masking_settings(config.layer_drop, time_mask_probability, feature_mask_probability)
    return load_waveform_encoder(Wav2Vec2Backbone, tiny_architecture(config.family), config, seed, settings)


def load_waveform_encoder(
    kind: type[Wav2Vec2Backbone], tiny: dict[str, Any], config: BackboneConfig, seed: int, settings: dict[str, Any]
) -> Backbone:
    """Build a backbone whose first module is the convolutional encoder of wav2vec 2.0.

    Args:
        kind: the class of the backbone.
        tiny: the keys of transformers' configuration for random weights.
        config, seed: as for `families.load_backbone`.
        settings: further keys of the configuration, those of `masking_settings`.
    """
    family, kernels = config.family, Kernels(config.kernels)
    if config.checkpoint is None:
        return kind(family, random_model(config, seed, settings, tiny), do_normalize=True, kernels=kernels)
    folder = find_checkpoint(config)
    model = pretrained_model(folder, config, seed, settings, FIRST_WEIGHT)
    do_normalize = bool(extractor_settings(folder).get("do_normalize", True))  # the default of transformers
    return kind(family, model, do_normalize, kernels)
