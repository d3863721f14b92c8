"""One interface to wav2vec 2.0, HuBERT, WavLM and data2vec: waveforms in, frames and their mask out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from melt_ser.audio.waveform import RECEPTIVE_FIELD
from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.models.kernels.attention import position_bias, use_fast_attention
from melt_ser.models.kernels.convolution import use_fast_convolutions
from melt_ser.models.kernels.dropout import use_fast_dropout
from melt_ser.models.kernels.masking import make_batch_invariant
from melt_ser.models.kernels.packing import pack, packs_on, unpack
from melt_ser.models.kernels.positions import use_fast_positions
from melt_ser.models.pretrained import family_name
from melt_ser.models.weights import MODEL_TYPES, pretrained_model, random_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FREEZE = ("nothing", "convolution", "everything")


def mask_of(counts: Tensor, frames: int, device: torch.device) -> Tensor:
    """The frame mask, (batch, frames), of utterances with so many frames each, (batch,)."""
    return torch.arange(frames, device=device) < counts.to(device, non_blocking=True)[:, None]


def _where_padded(frame_mask: Tensor) -> Tensor | None:
    """The mask; None where nothing is padded, so that nothing has to be masked; on a GPU, to ask would be to wait."""
    return None if frame_mask.device.type == "cpu" and bool(frame_mask.all()) else frame_mask


@dataclass(frozen=True)
class BackboneOutput:
    """Frames of a batch.

    last_hidden_state: (batch, frames, features), what the model itself calls its output.
    hidden_states: the input of the first transformer layer and the output of every layer, each
        (batch, frames, features), or None if they were not asked for. Models with a stable layer norm (the
        large ones) normalise once more after the last layer, so there hidden_states[-1] differs from
        last_hidden_state.
    frame_mask: (batch, frames), true where a frame belongs to the utterance; values elsewhere mean nothing.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None
    frame_mask: Tensor


class Backbone(nn.Module):
    """A transformers model of any of the families, whose frames do not depend on padding (see masking.py)."""

    def __init__(self, model: PreTrainedModel, do_normalize: bool) -> None:
        super().__init__()
        self.model = model
        self.do_normalize = do_normalize
        self.frozen: list[nn.Module] = []
        self.freezing: str | int = "nothing"
        self.padding = make_batch_invariant(model)
        use_fast_convolutions(model, self.padding)
        use_fast_positions(model)
        use_fast_attention(model)
        use_fast_dropout(model)
        # Its only use is reentrant checkpointing; without it no gradient of the audio is computed.
        model.feature_extractor._requires_grad = False

    @property
    def hidden_size(self) -> int:
        """Features of a frame."""
        return int(self.model.config.hidden_size)

    @property
    def has_stable_layer_norm(self) -> bool:
        """Whether the norm comes after the layers (the large models) instead of before them."""
        return bool(getattr(self.model.config, "do_stable_layer_norm", False))

    @property
    def number_of_layers(self) -> int:
        """Transformer layers; there is one hidden state more."""
        return int(self.model.config.num_hidden_layers)

    def forward(self, audio: Tensor, lengths: Tensor, output_hidden_states: bool = False) -> BackboneOutput:
        """Frames of audio, (batch, samples) float32, prepared by `prepare_waveform` and zero padded.

        lengths: (batch,) in samples, at least 400 each, the longest at most the samples of the batch; best on the CPU,
            which reads them.
        """
        learning = torch.is_grad_enabled() and self.model not in self.frozen
        with torch.set_grad_enabled(learning):
            convolved, frame_mask = self.convolve(audio, lengths)
            return self.transform(self.embed(convolved, frame_mask), frame_mask, 0, output_hidden_states)

    def convolve(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """First stage: what the waveform encoder makes of the audio, (batch, frames, channels), and the frame mask."""
        samples = audio.shape[1]
        own_samples = lengths.tolist()
        if min(own_samples) < RECEPTIVE_FIELD or max(own_samples) > samples:
            raise ValueError(f"Lengths are {RECEPTIVE_FIELD}..{samples} samples (see prepare_waveform): {own_samples}")
        frames = int(self.frames_of(torch.tensor(samples)))
        frame_mask = mask_of(self.frames_of(lengths), frames, audio.device)
        padded = min(own_samples) < samples
        first_frames = [self._first_frames(length) for length in own_samples] if padded else None
        with self.padding.during(samples=own_samples if padded else None, first_frames=first_frames):
            convolved: Tensor = self.model.feature_extractor(audio).transpose(1, 2)
        return convolved, frame_mask

    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        """Second stage: the input of the first transformer layer, (batch, frames, features)."""
        model, encoder = self.model, self.model.encoder
        projected = model.feature_projection(convolved)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        with self._masking(hidden.shape[1]):
            hidden = model._mask_hidden_states(hidden, attention_mask=frame_mask)
        hidden = hidden.masked_fill(~frame_mask[:, :, None], 0.0)
        with self.padding.during(frame_mask=_where_padded(frame_mask)):
            hidden = hidden + encoder.pos_conv_embed(hidden)
        if not self.has_stable_layer_norm:
            hidden = encoder.layer_norm(hidden)
        dropped: Tensor = encoder.dropout(hidden)
        return dropped

    def transform(
        self, hidden: Tensor, frame_mask: Tensor, first_layer: int = 0, output_hidden_states: bool = False
    ) -> BackboneOutput:
        """Third stage: the transformer layers from `first_layer` on, whose input is `hidden`, and the last norm.

        `hidden_states` are then those from the input of `first_layer` on.
        """
        states = self.layers(hidden, frame_mask, first_layer, self.number_of_layers, output_hidden_states)
        last = self.model.encoder.layer_norm(states[-1]) if self.has_stable_layer_norm else states[-1]
        return BackboneOutput(last, tuple(states) if output_hidden_states else None, frame_mask)

    def layers(self, hidden: Tensor, frame_mask: Tensor, first: int, last: int, every: bool = False) -> list[Tensor]:
        """The output of layer last-1; with `every` the input of layer `first` and the outputs from there on."""
        encoder, layer_drop = self.model.encoder, self.model.config.layerdrop
        counts = frame_mask.sum(dim=1).tolist() if packs_on(hidden.device) else None
        settings: dict[str, Any] = {"attention_mask": counts or _where_padded(frame_mask)}
        if self.model.config.model_type == "wavlm":
            settings["position_bias"] = position_bias(encoder.layers[0].attention, hidden.shape[1])
        states = [pack(hidden, counts) if counts else hidden]
        for layer in encoder.layers[first:last]:
            output = states[-1]
            if not (encoder.training and layer_drop > 0 and bool(torch.rand(()) < layer_drop)):
                output = layer(output, **settings)
                output = output[0] if isinstance(output, tuple) else output
            states = [*states, output] if every else [output]
        return [unpack(state, counts, hidden.shape[1]) for state in states] if counts else states

    def frames_of(self, lengths: Tensor) -> Tensor:
        """Frames of audio with these lengths in samples."""
        frames: Tensor = self.model._get_feat_extract_output_lengths(lengths)
        return frames

    def _first_frames(self, length: int) -> int:
        """Frames after the first convolution."""
        return (length - int(self.model.config.conv_kernel[0])) // int(self.model.config.conv_stride[0]) + 1

    @contextmanager
    def _masking(self, frames: int) -> Iterator[None]:
        """SpecAugment drawn from torch's random state, so that a resumed run repeats it."""
        config = self.model.config
        if not self.model.training or max(config.mask_time_prob, config.mask_feature_prob) == 0:
            yield
            return
        asked = config.apply_spec_augment  # put back, since the configuration is saved with the model
        config.apply_spec_augment = frames >= config.mask_time_length  # transformers raises below that
        state = np.random.get_state()
        np.random.seed(int(torch.randint(2**31, ())))
        try:
            yield
        finally:
            np.random.set_state(state)
            config.apply_spec_augment = asked

    def freeze(self, what: str | int) -> None:
        """Stop a part from learning; it stays in evaluation mode (no dropout) even while the rest trains.

        what: "nothing", "convolution" (the waveform encoder), "everything", or k: the waveform encoder,
            projection and positions, and the lowest k transformer layers.
        """
        parts = self._parts(what)
        self.requires_grad_(True)
        for part in parts:
            part.requires_grad_(False)
        if isinstance(what, int) and hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)
        self.frozen, self.freezing = parts, what
        self.train(self.training)

    def _parts(self, what: str | int) -> list[nn.Module]:
        model = self.model
        named = {"nothing": [], "convolution": [model.feature_extractor], "everything": [model]}
        if isinstance(what, str):
            if what not in named:
                raise SetupError(f"trainer.freeze={what} is unknown; {did_you_mean(what, FREEZE)}")
            return named[what]
        if not 0 <= what <= self.number_of_layers:
            raise SetupError(f"trainer.freeze={what}, but the backbone has {self.number_of_layers} layers.")
        encoder = model.encoder
        parts = [model.feature_extractor, model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        if not self.has_stable_layer_norm:
            parts.append(encoder.layer_norm)
        return [*parts, *encoder.layers[:what]]

    def train(self, mode: bool = True) -> Backbone:
        """As for any module, but frozen parts stay in evaluation mode, and so does a batch norm (HuBERT).

        The latter would mix the utterances of a batch; it keeps the statistics of its pretraining.
        """
        if self.freezing == "everything" and not self.model.training:
            self.training = mode
            return self  # no walk through all its modules, twice an epoch of milliseconds
        super().train(mode)
        for part in self.frozen:
            part.eval()
        batch_norm = getattr(self.model.encoder.pos_conv_embed, "batch_norm", None)
        if batch_norm is not None:
            batch_norm.eval()
        return self

    def gradient_checkpointing_enable(self) -> None:
        """Recompute layers in the backward pass instead of keeping them: less memory, more time."""
        self.model.gradient_checkpointing_enable(
            {"use_reentrant": False, "context_fn": self.padding.checkpoint_contexts}
        )


def load_backbone(
    config: BackboneConfig,
    seed: int,
    time_mask_probability: float = 0.0,
    feature_mask_probability: float = 0.0,
) -> Backbone:
    """The backbone of a configuration, in float32 on the CPU; the global random state stays as it was.

    seed: of random weights (`config.checkpoint` is None).
    time_mask_probability, feature_mask_probability: SpecAugment's share of masked frames and features.

    Raises SetupError, one sentence with the fix, for whatever cannot be found, read or built.
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
        "mask_time_min_masks": 0,  # transformers' 2 would mask a short clip whole
        "mask_feature_min_masks": 0,  # WavLM reads it, but its configuration lacks it
    }
    if config.checkpoint is None:
        return Backbone(random_model(config, seed, settings), do_normalize=True)
    return Backbone(*pretrained_model(config, seed, settings))
