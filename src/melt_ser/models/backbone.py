"""The interface of every backbone: waveforms in, frames and their mask out, in stages that can be frozen and cached.

A model family is a subclass of `Backbone` in a module of `melt_ser.models.families`, or in a module of the user's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from melt_ser.audio import RECEPTIVE_FIELD
from melt_ser.config import Kernels
from melt_ser.core.errors import SetupError, did_you_mean
from melt_ser.models.kernels import layer_input
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.kernels.recording import is_recording
from melt_ser.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from melt_ser.config import HeadConfig


@dataclass(frozen=True)
class BackboneOutput:
    """The frames of a batch.

    last_hidden_state: (batch, frames, features), the output of the transformers model. If a checkpoint has an adapter
        behind its last layer (add_adapter) and the hidden states are asked for, it is the input of the adapter instead:
        all states then have the same frames.
    hidden_states: the input of the first transformer layer and the output of every layer, each
        (batch, frames, features); None if they were not asked for. Models that normalise after the last layer (Whisper,
        and most large models of the other families) have a hidden_states[-1] that differs from last_hidden_state. This
        is so in transformers 5; in transformers 4 and in SUPERB's code both are the same (`head.last_state`).
    frame_mask: (batch, frames), true for frames that belong to the utterance; the values of other frames mean nothing.
    is_pooled: whether the states hold one vector of each utterance, (batch, 1, features), that the head's pooling made.
    text: the vector of each utterance's words, (batch, features), if the head reads them too.
    """

    last_hidden_state: Tensor
    hidden_states: tuple[Tensor, ...] | None
    frame_mask: Tensor
    is_pooled: bool = False
    text: Tensor | None = None


class Backbone(nn.Module, ABC):
    """An encoder of speech. Its frames do not depend on padding or on the other utterances of the batch.

    family: the name of its family, `backbone.family`.
    has_frames: whether a clip has frames over time. If not, it has one frame, and a head has nothing to pool or choose.
    reads_words: whether its input is token ids, (batch, tokens), in place of audio; a frame is a token then.
    model: the transformers model with the weights.
    do_normalize: whether the model wants audio of zero mean and unit variance.
    kernels: the code that computes the layers (see kernels/__init__.py).
    freezing: the part of the last `freeze`, a number from 0 up if it is one; `frozen` has the modules that it stopped.
    """

    family: str
    has_frames: bool = True
    reads_words: bool = False

    def __init__(self, model: PreTrainedModel | nn.Identity, do_normalize: bool, kernels: Kernels) -> None:
        super().__init__()
        self.model: Any = model
        self.do_normalize = do_normalize
        self.kernels = kernels
        self.frozen: list[nn.Module] = []
        self.freezing: str | int = "nothing"

    # A family defines these.

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """The number of features of a frame."""

    @property
    @abstractmethod
    def number_of_layers(self) -> int:
        """The number of transformer layers; the model has one more hidden state."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """The number of features of a frame of `convolve`."""

    @property
    @abstractmethod
    def layer_drop(self) -> float:
        """The probability that training skips a layer."""

    @property
    @abstractmethod
    def masks_input(self) -> bool:
        """Whether training masks the input of the layers at random (SpecAugment)."""

    @property
    @abstractmethod
    def convolution(self) -> list[nn.Module]:
        """The modules of `convolve` that have weights."""

    @property
    @abstractmethod
    def embedding(self) -> list[nn.Module]:
        """The modules of `embed`."""

    @property
    @abstractmethod
    def encoder(self) -> Any:
        """The module with the transformer `layers`, from the lowest, and the `layer_norm` of `normalises_last`."""

    @abstractmethod
    def frames_of(self, lengths: Tensor) -> Tensor:
        """Return the numbers of frames for these lengths in samples."""

    @abstractmethod
    def compute_convolution(self, audio: Tensor, lengths: list[int] | Tensor) -> Tensor:
        """Return the features of audio, (batch, samples), as (batch, frames, channels).

        lengths: in samples; a tensor, (batch,), while a graph is recorded (kernels/recording.py).
        """

    @abstractmethod
    def embed(self, convolved: Tensor, frame_mask: Tensor) -> Tensor:
        """Second stage: turn the output of the first into the input of the layers, (batch, frames, features)."""

    @property
    @abstractmethod
    def normalises_last(self) -> bool:
        """Whether the model has a norm behind its last layer."""

    @abstractmethod
    def feature_extractor(self) -> Any:
        """Return transformers' feature extractor, to be saved with the model."""

    # A family that transformers has a classifier for, over all frames, replaces these.

    @property
    def name_in_classifier(self) -> str:
        """The attribute that holds the model in transformers' classifier of the family."""
        return ""

    def equals_transformers(self, head: HeadConfig) -> bool:
        """Return whether transformers' classifier of the family gives the same frames to this head, for one clip."""
        return False

    # Every family shares these; one that is no transformers model replaces `device`, `settings`, `save`, `keep_layers`.

    @property
    def output_size(self) -> int:
        """The number of features of a frame of `last_hidden_state`, if no hidden states are asked for."""
        return self.hidden_size

    def output_frames(self, frames: Tensor) -> Tensor:
        """Return the numbers of frames of `last_hidden_state` for these of the layers, (batch,)."""
        return frames

    def adapt(self, state: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of the model and its mask for the normalised output of the last layer and its mask."""
        return state, frame_mask

    @property
    def device(self) -> torch.device:
        """The device that computes the frames."""
        return next(self.parameters()).device

    @property
    def options(self) -> dict[str, Any]:
        """The settings of `backbone` that a saved model needs, next to its family."""
        return {}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that decide the frames, next to the weights."""
        settings: dict[str, Any] = self.model.config.to_dict()
        return settings

    def save(self, folder: Path) -> None:
        """Write what `load_backbone` reads: the weights, configuration and feature extractor of transformers."""
        with quiet_transformers():
            self.model.save_pretrained(folder)
            self.feature_extractor().save_pretrained(folder)

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
        own_samples = lengths if is_recording() else lengths.tolist()
        if isinstance(own_samples, list) and (min(own_samples) < RECEPTIVE_FIELD or max(own_samples) > samples):
            raise ValueError(f"Lengths are {RECEPTIVE_FIELD}..{samples} samples (see prepare_waveform): {own_samples}")
        features = self.compute_convolution(audio, own_samples)
        return features, mask_of(self.frames_of(lengths), features.shape[1], audio.device)

    def transform(
        self, hidden: Tensor, frame_mask: Tensor, first_layer: int = 0, output_hidden_states: bool = False
    ) -> BackboneOutput:
        """Third stage: run the transformer layers from `first_layer` on, and the last norm.

        hidden: the input of `first_layer`, (batch, frames, features); `hidden_states` of the output begin with it.
        frame_mask: (batch, frames).
        """
        states = self.layers(hidden, frame_mask, first_layer, self.number_of_layers, output_hidden_states)
        last = self.normalise_last(states[-1])
        if output_hidden_states:
            return BackboneOutput(last, tuple(states), frame_mask)
        last, frame_mask = self.adapt(last, frame_mask)
        return BackboneOutput(last, None, frame_mask)

    def layers(self, hidden: Tensor, frame_mask: Tensor, first: int, last: int, every: bool = False) -> list[Tensor]:
        """Run the transformer layers `first` to `last` - 1; return a list with the last output, or all.

        Args:
            hidden: the input of layer `first`, (batch, frames, features).
            frame_mask: (batch, frames).
            first, last: counted from 0.
            every: return `hidden` and then the output of every layer, each (batch, frames, features).
        """
        batch = layer_input(self.encoder, self.kernels, hidden, frame_mask)
        states = [batch.hidden]
        for layer in self.encoder.layers[first:last]:
            output = states[-1]
            if not (self.model.training and self.layer_drop > 0 and bool(torch.rand(()) < self.layer_drop)):
                output = layer(output, **batch.arguments)
                output = output[0] if isinstance(output, tuple) else output
            states = [*states, output] if every else [output]
        return [batch.unpacked(state) for state in states]

    def normalise_last(self, state: Tensor) -> Tensor:
        """Return the output of the last layer, (batch, frames, features), after the norm behind it, if there is one."""
        normalised: Tensor = self.encoder.layer_norm(state) if self.normalises_last else state
        return normalised

    def keep_layers(self, number: int) -> None:
        """Remove the transformer layers above the lowest `number`; they are neither computed nor saved."""
        del self.encoder.layers[number:]
        self.model.config.num_hidden_layers = number

    def freeze(self, part: str | int) -> None:
        """Stop a part from learning; it stays in evaluation mode (no dropout) even while the rest trains.

        part: "nothing", "convolution" (the waveform encoder), "everything", or a number k, which freezes the waveform
            encoder, the projection, the positions and the lowest k transformer layers; -k: all but the top k layers.

        Raises SetupError for another word, or if the model has fewer layers.
        """
        if isinstance(part, int) and -self.number_of_layers <= part < 0:
            part += self.number_of_layers
        parts = self._parts(part)
        self.requires_grad_(True)
        for module in parts:
            module.requires_grad_(False)
        self.frozen, self.freezing = parts, part
        self.train(self.training)

    def _parts(self, part: str | int) -> list[nn.Module]:
        named = {"nothing": [], "convolution": self.convolution, "everything": [self.model]}
        if isinstance(part, str):
            if part not in named:
                raise SetupError(f"trainer.freeze={part} is unknown; {did_you_mean(part, named)}")
            return named[part]
        number = self.number_of_layers
        if not 0 <= part <= number:
            raise SetupError(f"trainer.freeze={part}, but layers 1 to {number} are used; see head.layers.")
        return [*self.convolution, *self.embedding, *self.encoder.layers[:part]]

    def train(self, mode: bool = True) -> Backbone:
        """Set the training mode; frozen parts always stay in evaluation mode."""
        if self.freezing == "everything" and not self.model.training:
            self.training = mode
            return self  # saves two walks through all modules per epoch, and an epoch of a head takes milliseconds
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the layers in the backward pass instead of keeping their outputs: less memory, more time."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
