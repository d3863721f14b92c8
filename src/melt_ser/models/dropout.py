"""Dropout on a CPU with cheap random numbers; torch's own took a tenth of a training step there.

Four units share 64 random bits, so the probability is a multiple of 1/65536 (0.1 becomes 0.100006), and what is kept
is scaled by exactly that. The bits come from torch's CPU generator: they repeat with its seed, in a resumed run, and
where gradient checkpointing computes a layer again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 2**16


class Dropout(nn.Dropout):
    """`nn.Dropout` by `drop_out`."""

    def forward(self, features: Tensor) -> Tensor:
        return drop_out(features, self.p if self.training else 0.0)


def use_fast_dropout(model: nn.Module) -> None:
    """Replace every `nn.Dropout` within a model, which has no parameters to keep."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


def drop_out(features: Tensor, probability: float) -> Tensor:
    """Features with each one zeroed with this probability and the others scaled to keep the mean."""
    if features.device.type != "cpu":
        return nn.functional.dropout(features, probability)
    dropped = round(probability * STEPS)
    if dropped in (0, STEPS):
        return features * (1.0 - probability) if dropped else features
    kept: Tensor = _DropOut.apply(features, dropped)
    return kept


class _DropOut(torch.autograd.Function):
    """Remembers a byte for each unit, where autograd would remember a float."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, dropped: int) -> Tensor:
        number = features.numel()
        bits = torch.empty(math.ceil(number / 4), dtype=torch.int64).random_(-(2**63), None)
        kept = (bits.view(torch.int16)[:number] >= dropped - STEPS // 2).view(features.shape)
        ctx.save_for_backward(kept)
        ctx.scale = STEPS / (STEPS - dropped)
        return torch.where(kept, features, 0.0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.where(kept, gradients[0], 0.0).mul_(ctx.scale), None
