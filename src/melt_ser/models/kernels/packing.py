"""The frames of a batch without its padding: one utterance after another, (1, frames of all, features).

So a CPU computes the transformer layers: linear layers, norms and dropout treat each frame alone, and attention goes
over one utterance at a time there (attention.py), so that padding costs nothing in any of them. A GPU computes padded
batches, whose attention is one call.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def packs_on(device: torch.device) -> bool:
    """Whether layers compute packed frames on this device."""
    return device.type == "cpu"


def pack(frames: Tensor, counts: list[int]) -> Tensor:
    """(batch, frames, features), of which each utterance has so many, to (1, frames of all, features)."""
    own = [utterance[:count] for utterance, count in zip(frames.unbind(), counts, strict=True)]
    return torch.cat(own)[None]


def unpack(packed: Tensor, counts: list[int], frames: int) -> Tensor:
    """The inverse of `pack`, with zeros behind each utterance up to so many frames."""
    own = packed[0].split_with_sizes(counts)
    padded = [nn.functional.pad(each, (0, 0, 0, frames - count)) for each, count in zip(own, counts, strict=True)]
    return torch.stack(padded)
