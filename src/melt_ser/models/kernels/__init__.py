"""Faster forward passes behind one switch: `backbone.kernels`. Whisper uses only attention.py and layers.py.

`fast` (the default) computes these parts of a transformers model by faster code with the same results:

    attention.py    attention; on a CPU the layers get packed frames, without padding (layers.py)
    convolution.py  the waveform encoder, on a CPU, if no gradient is needed
    positions.py    the positional convolution, if its kernel has 64 or more taps
    dropout.py      the random numbers of dropout, on a CPU

The layers of conformers (wav2vec 2.0 conformer, w2v-BERT) stay transformers' own: they convolve over time, so frames
cannot be packed.

`transformers` leaves all of this to transformers and torch. Both modes keep masking.py, which makes the frames of an
utterance independent of its batch. It changes padded batches only: with `transformers`, a batch of clips of one length
is computed by the libraries alone.

The modes agree up to rounding, with one exception: the random numbers of dropout differ, as between a CPU and a GPU. So
the switch, like the device, is not part of a run's id. The weights have the same names in both modes, so a saved model
does not depend on the mode, and the features of a frozen part that one mode has cached serve the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from melt_ser.config import Kernels
from melt_ser.models.kernels.attention import use_fast_attention
from melt_ser.models.kernels.convolution import encode_frozen, is_frozen_on_cpu
from melt_ser.models.kernels.dropout import use_fast_dropout
from melt_ser.models.kernels.layers import (
    LayerInput,
    conformer_layer_input,
    fast_layer_input,
    is_conformer,
    transformers_layer_input,
)
from melt_ser.models.kernels.masking import BatchPadding, frames_of_first_convolution, make_batch_invariant
from melt_ser.models.kernels.positions import use_fast_positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def apply_kernels(model: PreTrainedModel, kernels: Kernels) -> BatchPadding:
    """Make a model use these kernels, in place; return the object that tells its modules the padding of a batch."""
    padding = make_batch_invariant(model)
    if kernels is Kernels.fast:
        if not is_conformer(model.encoder):
            use_fast_positions(model)
            use_fast_attention(model.encoder)
        use_fast_dropout(model)
    if hasattr(model, "feature_extractor"):
        # transformers computes a gradient of the audio while this is true; only reentrant checkpointing needs it.
        model.feature_extractor._requires_grad = False
    return padding


def encode_waveforms(
    model: PreTrainedModel, kernels: Kernels, padding: BatchPadding, audio: Tensor, samples: list[int] | Tensor
) -> Tensor:
    """Run the waveform encoder of a model: return features, (batch, channels, frames).

    Args:
        model: changed by `apply_kernels`.
        kernels: the argument of `apply_kernels`.
        padding: the result of `apply_kernels`.
        audio: (batch, samples), zero padded.
        samples: the number of samples of each utterance, a tensor in a recorded graph; features beyond its end mean
            nothing.
    """
    encoder = model.feature_extractor
    first_frames: list[int] | Tensor | None = None
    if isinstance(samples, Tensor):
        first_frames = frames_of_first_convolution(model.config, samples)
    elif kernels is Kernels.fast and is_frozen_on_cpu(encoder, audio):
        return encode_frozen(encoder, audio, samples)
    elif min(samples) < audio.shape[1]:
        first_frames = [frames_of_first_convolution(model.config, length) for length in samples]
    with padding.set(first_frames=first_frames):
        features: Tensor = encoder(audio)
    return features


def layer_input(encoder: Any, kernels: Kernels, hidden: Tensor, frame_mask: Tensor) -> LayerInput:
    """Arrange frames, (batch, frames, features), and their mask, (batch, frames), for the layers of an encoder."""
    if is_conformer(encoder):
        return conformer_layer_input(encoder, hidden, frame_mask)
    arrange = fast_layer_input if kernels is Kernels.fast else transformers_layer_input
    return arrange(encoder, hidden, frame_mask)
