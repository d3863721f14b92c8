"""One interface to wav2vec 2.0, HuBERT, WavLM and data2vec: waveforms in, frames and their mask out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from melt_ser.audio.waveform import RECEPTIVE_FIELD
from melt_ser.config import BackboneConfig, Kernels
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.models.checkpoint_config import MODEL_TYPES, family_name
from melt_ser.models.kernels import apply_kernels, encode_waveforms, layer_input
from melt_ser.models.weights import pretrained_model, random_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def mask_of(counts: Tensor, frames: int, device: torch.device) -> Tensor:
    """Return the frame mask, (batch, frames), true for the first `counts` frames of each utterance, (batch,)."""
    return torch.arange(frames, device=device) < counts.to(device, non_blocking=True)[:, None]


@dataclass(frozen=True)
class BackboneOutput:
    """The frames of a batch.

    last_hidden_state: (batch, frames, features), the output of the transformers model.
    hidden_states: the input of the first transformer layer and the output of every layer, each
        (batch, frames, features); None if they were not asked for. Models with a stable layer norm (the large ones)
        normalise once more after the last layer, so their hidden_states[-1] differs from last_hidden_state. This is so
        in transformers 5; in transformers 4 and in SUPERB's code both are the same (`head.last_state`).
    frame_mask: (batch, frames), true for frames that belong to the utterance; the values of other frames mean nothing.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None
    frame_mask: Tensor


class Backbone(nn.Module):
    """A transformers model of any of the families; its frames do not depend on padding (see kernels/masking.py).

    model: the transformers model; it is changed in place.
    do_normalize: whether the model wants normalised audio.
    kernels: the code that computes the model (see kernels/__init__.py).
    """

    def __init__(self, model: PreTrainedModel, do_normalize: bool, kernels: Kernels = Kernels.fast) -> None:
        super().__init__()
        self.model = model
        self.do_normalize = do_normalize
        self.frozen: list[nn.Module] = []
        self.freezing: str | int = "nothing"
        self.kernels = kernels
        self.padding = apply_kernels(model, kernels)

    @property
    def hidden_size(self) -> int:
        """The number of features of a frame."""
        return int(self.model.config.hidden_size)

    @property
    def has_stable_layer_norm(self) -> bool:
        """Whether the encoder's norm comes after the layers (the large models) instead of before them."""
        return bool(getattr(self.model.config, "do_stable_layer_norm", False))

    @property
    def number_of_layers(self) -> int:
        """The number of transformer layers; the model has one more hidden state."""
        return int(self.model.config.num_hidden_layers)

    def forward(self, audio: Tensor, lengths: Tensor, output_hidden_states: bool = False) -> BackboneOutput:
        """Compute the frames of audio, (batch, samples) float32, prepared by `prepare_waveform` and zero padded.

        lengths: (batch,) in samples, each at least 400 and at most the samples of the batch; preferably on the CPU,
            because they are read there.

        Raises ValueError for other lengths.
        """
        learning = torch.is_grad_enabled() and self.model not in self.frozen
        with torch.set_grad_enabled(learning):
            convolved, frame_mask = self.convolve(audio, lengths)
            return self.transform(self.embed(convolved, frame_mask), frame_mask, 0, output_hidden_states)

    def convolve(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """First stage: return the output of the waveform encoder, (batch, frames, channels), and the frame mask.

        Raises ValueError for lengths under 400 samples or over those of the batch.
        """
        samples = audio.shape[1]
        own_samples = lengths.tolist()
        if min(own_samples) < RECEPTIVE_FIELD or max(own_samples) > samples:
            raise ValueError(f"Lengths are {RECEPTIVE_FIELD}..{samples} samples (see prepare_waveform): {own_samples}")
        frames = int(self.frames_of(torch.tensor(samples)))
        frame_mask = mask_of(self.frames_of(lengths), frames, audio.device)
        features = encode_waveforms(self.model, self.kernels, self.padding, audio, own_samples)
        return features.transpose(1, 2), frame_mask

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        """Second stage: turn the output of the first into the input of the layers, (batch, frames, features)."""
        model, encoder = self.model, self.model.encoder
        projected = model.feature_projection(convolved)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        with self._masking(hidden.shape[1]):
            hidden = model._mask_hidden_states(hidden, attention_mask=frame_mask)
        hidden = hidden.masked_fill(~frame_mask[:, :, None], 0.0)
        with self.padding.set(frame_mask=frame_mask):
            hidden = hidden + encoder.pos_conv_embed(hidden)
        if not self.has_stable_layer_norm:
            hidden = encoder.layer_norm(hidden)
        dropped: Tensor = encoder.dropout(hidden)
        return dropped

    def transform(
        self, hidden: Tensor, frame_mask: Tensor, first_layer: int = 0, output_hidden_states: bool = False
    ) -> BackboneOutput:
        """Third stage: run the transformer layers from `first_layer` on, and the last norm.

        hidden: the input of `first_layer`, (batch, frames, features).
        frame_mask: (batch, frames).

        The `hidden_states` of the output begin with `hidden`.
        """
        states = self.layers(hidden, frame_mask, first_layer, self.number_of_layers, output_hidden_states)
        last = self.model.encoder.layer_norm(states[-1]) if self.has_stable_layer_norm else states[-1]
        return BackboneOutput(last, tuple(states) if output_hidden_states else None, frame_mask)

    def layers(self, hidden: Tensor, frame_mask: Tensor, first: int, last: int, every: bool = False) -> list[Tensor]:
        """Run the transformer layers `first` to `last` - 1; return a list with the last output, or all.

        Args:
            hidden: the input of layer `first`, (batch, frames, features).
            frame_mask: (batch, frames).
            first, last: counted from 0.
            every: return `hidden` and then the output of every layer, each (batch, frames, features).
        """
        encoder, layer_drop = self.model.encoder, self.model.config.layerdrop
        batch = layer_input(self.model, self.kernels, hidden, frame_mask)
        states = [batch.hidden]
        for layer in encoder.layers[first:last]:
            output = states[-1]
            if not (encoder.training and layer_drop > 0 and bool(torch.rand(()) < layer_drop)):
                output = layer(output, **batch.arguments)
                output = output[0] if isinstance(output, tuple) else output
            states = [*states, output] if every else [output]
        return [batch.unpacked(state) for state in states]

    def frames_of(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames for these lengths in samples."""
        frames: Tensor = self.model._get_feat_extract_output_lengths(lengths)
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
        """Stop a part from learning; it stays in evaluation mode (no dropout) even while the rest trains.

        part: "nothing", "convolution" (the waveform encoder), "everything", or a number k, which freezes the waveform
            encoder, the projection, the positions and the lowest k transformer layers.

        Raises SetupError for another word, or if k exceeds the number of layers.
        """
        parts = self._parts(part)
        self.requires_grad_(True)
        for module in parts:
            module.requires_grad_(False)
        if isinstance(part, int) and hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)
        self.frozen, self.freezing = parts, part
        self.train(self.training)

    def _parts(self, part: str | int) -> list[nn.Module]:
        model = self.model
        named = {"nothing": [], "convolution": [model.feature_extractor], "everything": [model]}
        if isinstance(part, str):
            if part not in named:
                raise SetupError(f"trainer.freeze={part} is unknown; {did_you_mean(part, named)}")
            return named[part]
        if not 0 <= part <= self.number_of_layers:
            raise SetupError(f"trainer.freeze={part}, but the backbone has {self.number_of_layers} layers.")
        encoder = model.encoder
        parts = [model.feature_extractor, model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        if not self.has_stable_layer_norm:
            parts.append(encoder.layer_norm)
        return [*parts, *encoder.layers[:part]]

    def train(self, mode: bool = True) -> Backbone:
        """Set the training mode; frozen parts and a batch norm (HuBERT) always stay in evaluation mode.

        The batch norm would mix the utterances of a batch; it keeps the statistics of its pretraining.
        """
        if self.freezing == "everything" and not self.model.training:
            self.training = mode
            return self  # saves two walks through all modules per epoch, and an epoch of a head takes milliseconds
        super().train(mode)
        for part in self.frozen:
            part.eval()
        batch_norm = getattr(self.model.encoder.pos_conv_embed, "batch_norm", None)
        if batch_norm is not None:
            batch_norm.eval()
        return self

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the layers in the backward pass instead of keeping their outputs: less memory, more time."""
        self.model.gradient_checkpointing_enable(
            {"use_reentrant": False, "context_fn": self.padding.checkpoint_contexts}
        )


def load_backbone(
    config: BackboneConfig,
    seed: int,
    time_mask_probability: float = 0.0,
    feature_mask_probability: float = 0.0,
) -> Backbone:
    """Build the backbone of a configuration, in float32 on the CPU; the global random state stays as it was.

    seed: seeds random weights, if `config.checkpoint` is None.
    time_mask_probability, feature_mask_probability: SpecAugment's shares of masked frames and features.

    Raises SetupError, one sentence with the fix, if the family is unknown, or the checkpoint cannot be found, read or
    built.
    """
    if family_name(config) not in MODEL_TYPES:
        raise SetupError(
            f"backbone.family={family_name(config)} is unknown; {did_you_mean(family_name(config), MODEL_TYPES)}"
        )
    settings = {
        "layerdrop": config.layer_drop,
        "apply_spec_augment": max(time_mask_probability, feature_mask_probability) > 0,
        "mask_time_prob": time_mask_probability,
        "mask_feature_prob": feature_mask_probability,
        "mask_time_min_masks": 0,  # with 2, transformers' default, a short clip would be masked whole
        "mask_feature_min_masks": 0,  # WavLM's code reads it, but its configuration has no default
    }
    if config.checkpoint is None:
        return Backbone(random_model(config, seed, settings), do_normalize=True, kernels=Kernels(config.kernels))
    return Backbone(*pretrained_model(config, seed, settings), kernels=Kernels(config.kernels))
