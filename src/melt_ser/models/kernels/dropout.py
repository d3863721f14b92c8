"""Dropout on a CPU with cheap random numbers; torch's own took a tenth of a training step there.

Four units share 64 random bits, so the probability is a multiple of 1/65536 (0.1 becomes 0.100006); the units that
remain are scaled by exactly that. The bits come from numpy's fastest generator, seeded in each call from torch's. So
they repeat with torch's seed, in a resumed run, and if gradient checkpointing computes a layer again. The mask
is written as zeros and ones in the type of the features: multiplying by it is several times as fast as
`torch.where`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

STEPS = 2**16


class Dropout(nn.Dropout):
    """`nn.Dropout`, computed by `drop_out`."""

    def forward(self, features: Tensor) -> Tensor:
        return drop_out(features, self.p if self.training else 0.0)


def use_fast_dropout(model: nn.Module) -> None:
    """Replace every `nn.Dropout` within a model, in place; weights are not affected."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


def drop_out(features: Tensor, probability: float) -> Tensor:
    """Zero each of the features with this probability, and scale the others to keep the mean."""
    if features.device.type != "cpu":
        return nn.functional.dropout(features, probability)
    dropped = round(probability * STEPS)
    if dropped in (0, STEPS):
        return features * (1.0 - probability) if dropped else features
    output: Tensor = _DropOut.apply(features, dropped)
    return output


class _DropOut(torch.autograd.Function):
    """Keep only the random bits for the backward pass, two bytes per unit; autograd would keep a float."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, dropped: int) -> Tensor:
        bits = _random_bits(features.numel()).view(features.shape)
        ctx.save_for_backward(bits)
        ctx.dropped = dropped
        return _masked(features, bits, dropped)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (bits,) = ctx.saved_tensors
        return _masked(gradients[0], bits, ctx.dropped), None


def _random_bits(number: int) -> Tensor:
    """Draw this number of random int16; they depend only on the state of torch's generator."""
    generator = np.random.SFC64(int(torch.randint(2**63 - 1, ())))
    return torch.from_numpy(generator.random_raw(math.ceil(number / 4)).view(np.int16)[:number])


def _masked(features: Tensor, bits: Tensor, dropped: int) -> Tensor:
    mask = torch.ge(bits, dropped - STEPS // 2, out=torch.empty_like(features))
    return mask.mul_(features).mul_(STEPS / (STEPS - dropped))
