"""The input of the transformer layers: packed on a CPU, padded on a GPU, or as transformers wants it.

Packed frames are the frames of a batch without padding: one utterance after another, (1, frames of all, features).
Linear layers, norms and dropout treat each frame alone, and attention goes over one utterance at a time (attention.py),
so no time goes into padding. A GPU computes padded batches, with one call for the attention of all utterances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from melt_ser.models.kernels.attention import has_position_bias, position_bias
from melt_ser.models.kernels.masking import mask_if_padded
from melt_ser.models.kernels.recording import reads_lengths


@dataclass(frozen=True)
class LayerInput:
    """A batch in the form that the layers of an encoder take.

    hidden: (batch, frames, features), or packed frames if `counts` is given.
    arguments: the other arguments of every layer.
    frames: the number of frames of the padded batch.
    counts: the number of frames of each utterance, if they are packed.
    """

    hidden: Tensor
    arguments: dict[str, Any]
    frames: int
    counts: list[int] | None = None

    def unpacked(self, output: Tensor) -> Tensor:
        """Return the output of a layer as (batch, frames, features)."""
        return output if self.counts is None else unpack(output, self.counts, self.frames)


def fast_layer_input(encoder: Any, hidden: Tensor, frame_mask: Tensor) -> LayerInput:
    """Arrange frames, (batch, frames, features), and their mask for layers with our attention."""
    frames = hidden.shape[1]
    counts: list[int] | None = frame_mask.sum(dim=1).tolist() if packs_on(hidden.device) else None
    arguments: dict[str, Any] = {"attention_mask": counts or mask_if_padded(frame_mask)}
    if has_position_bias(encoder):
        arguments["position_bias"] = position_bias(encoder.layers[0].attention, frames)
    return LayerInput(pack(hidden, counts) if counts else hidden, arguments, frames, counts)


def transformers_layer_input(encoder: Any, hidden: Tensor, frame_mask: Tensor) -> LayerInput:
    """Arrange frames, (batch, frames, features), and their mask for layers with transformers' own attention."""
    from transformers.masking_utils import create_bidirectional_mask

    batch, frames, _ = hidden.shape
    mask = mask_if_padded(frame_mask)
    if has_position_bias(encoder):
        bias = encoder.layers[0].attention.compute_bias(frames, frames)  # (heads, frames, frames)
        return LayerInput(hidden, {"attention_mask": mask, "position_bias": bias.repeat(batch, 1, 1)}, frames)
    mask = create_bidirectional_mask(config=encoder.config, inputs_embeds=hidden, attention_mask=mask)
    return LayerInput(hidden, {"attention_mask": mask}, frames)


def is_conformer(encoder: Any) -> bool:
    """Say whether the layers of an encoder convolve over time between attention and feed-forward layers."""
    return hasattr(encoder.layers[0], "conv_module")


def conformer_layer_input(encoder: Any, hidden: Tensor, frame_mask: Tensor) -> LayerInput:
    """Arrange frames, (batch, frames, features), and their mask for the layers of a conformer."""
    from transformers.masking_utils import create_bidirectional_mask

    mask = mask_if_padded(frame_mask)
    if mask is not None:
        mask = create_bidirectional_mask(
            config=encoder.config,
            inputs_embeds=hidden,
            attention_mask=mask,
            allow_is_bidirectional_skip=False,  # to find out whether it may be skipped, the CPU would wait for a GPU
        )
    positions = encoder.embed_positions
    if positions is not None:
        # transformers keeps the table of the last call in the type and on the device that it had then.
        positions.cached_sequence_length = None
        positions = positions(hidden.float())
    return LayerInput(hidden, {"attention_mask": mask, "relative_position_embeddings": positions}, hidden.shape[1])


def packs_on(device: torch.device) -> bool:
    """Say whether our layers compute packed frames on this device."""
    return reads_lengths(device)


def pack(frames: Tensor, counts: list[int]) -> Tensor:
    """Pack (batch, frames, features) into (1, frames of all, features); `counts` are the frames of each utterance."""
    own = [utterance[:count] for utterance, count in zip(frames.unbind(), counts, strict=True)]
    return torch.cat(own)[None]


def unpack(packed: Tensor, counts: list[int], frames: int) -> Tensor:
    """Undo `pack`: return (batch, frames, features) with zeros after each utterance."""
    own = packed[0].split_with_sizes(counts)
    padded = [nn.functional.pad(each, (0, 0, 0, frames - count)) for each, count in zip(own, counts, strict=True)]
    return torch.stack(padded)
