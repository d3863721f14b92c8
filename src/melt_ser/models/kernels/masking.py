"""Batch invariance: an utterance gets the same frames alone and in a padded batch, whatever its neighbours.

Write L for the samples of one utterance and N > L for the samples it is padded to. Convolutions without
padding compute frame t from samples before some r(t) only, so the frames with r(t) <= L, which `frame_mask`
marks, cannot see the padding. Attention takes a mask (attention.py), and layer norms look at one frame at a
time. Padding leaks into valid frames in three places, each closed here:

1. Group norm after the first convolution (feat_extract_norm="group": the base models). With a group per
   channel c it normalises over time, y[c, t] = w[c] * (x[c, t] - mean) / sqrt(variance + eps) + b[c], and
   takes the mean and variance over all N samples' frames instead of the utterance's own T(L) = (L - kernel)
   // stride + 1. The models were trained on unpadded crops, so the statistics over the first T(L) frames are
   the ones their weights expect. `UtteranceGroupNorm` normalises those frames by themselves and writes zeros
   behind them. (Where nothing learns, a CPU computes each utterance by itself: see convolution.py.)
2. data2vec's positional encoder is a stack of padded convolutions. The frames behind an utterance enter it as
   zeros, but leave each layer with values of their own, which the next layer reads. An utterance alone has
   zeros there, so the padded frames are zeroed before every layer.
3. HuBERT models with a batch norm before the positional convolution (conv_pos_batch_norm) turn the zeros
   behind an utterance into its bias; they are zeroed again after it.

No parameter is added, renamed or changed: checkpoints of any size load and save as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

normalise_forward = torch.ops.aten.native_group_norm
normalise_backward = torch.ops.aten.native_group_norm_backward


class Padding:
    """What the modules below have to know about the batch at hand; None while nothing is padded.

    samples: of each utterance. first_frames: each utterance's frames after the first convolution.
    frame_mask: (batch, frames), true where a frame of the backbone belongs to the utterance.
    """

    def __init__(self) -> None:
        self.samples: list[int] | None = None
        self.first_frames: list[int] | None = None
        self.frame_mask: Tensor | None = None

    @contextmanager
    def during(self, **values: Any) -> Iterator[None]:
        """Hold these values within the block."""
        before = vars(self).copy()
        vars(self).update(values)
        try:
            yield
        finally:
            vars(self).update(before)

    def checkpoint_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """For torch's gradient checkpointing: what is recomputed sees the values of its forward pass."""
        return nullcontext(), self.during(**vars(self))

    def zero_input(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Forward pre-hook: zero the padded frames of (batch, features, frames)."""
        return (self._zeroed(inputs[0]),)

    def zero_output(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Forward hook: zero the padded frames of (batch, features, frames)."""
        return self._zeroed(output)

    def _zeroed(self, features: Tensor) -> Tensor:
        return features if self.frame_mask is None else features.masked_fill(~self.frame_mask[:, None, :], 0.0)


class UtteranceGroupNorm(nn.GroupNorm):
    """Group norm of (batch, channels, frames) over each utterance's own frames, zeros behind them.

    Computed in float32; shares the parameters of the `norm` it replaces.
    """

    def __init__(self, norm: nn.GroupNorm, padding: Padding) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.padding = padding

    def forward(self, features: Tensor) -> Tensor:
        if self.padding.first_frames is None:
            return super().forward(features.float()).to(features.dtype)
        normalised: Tensor = _NormaliseEach.apply(
            features, self.weight, self.bias, self.padding.first_frames, self.num_groups, self.eps
        )
        return normalised


class _NormaliseEach(torch.autograd.Function):
    """torch's own group norm kernels, forward and backward, on one utterance after the other.

    Several times faster on a CPU than masked means and variances of the batch, since the kernels are fused
    and padding costs nothing; autograd through slices would touch the whole batch once an utterance.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, frames: list[int], groups: int, eps: float
    ) -> Tensor:
        output = torch.zeros_like(features)
        weight, bias = weight.float(), bias.float()
        statistics = []
        for utterance, length in enumerate(frames):
            own = _own_frames(features, utterance, length)
            normalised, mean, deviation = normalise_forward(own, weight, bias, 1, own.shape[1], length, groups, eps)
            output[utterance, :, :length] = normalised[0]
            statistics += [mean, deviation]
        ctx.save_for_backward(features, weight, *statistics)
        ctx.frames, ctx.groups = frames, groups
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        features, weight, *statistics = ctx.saved_tensors
        of_features = torch.zeros_like(features)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        wanted = list(ctx.needs_input_grad[:3])
        for utterance, length in enumerate(ctx.frames):
            own, own_gradient = (_own_frames(tensor, utterance, length) for tensor in (features, gradient))
            mean, deviation = statistics[2 * utterance : 2 * utterance + 2]
            parts = normalise_backward(
                own_gradient, own, mean, deviation, weight, 1, own.shape[1], length, ctx.groups, wanted
            )
            if wanted[0]:
                of_features[utterance, :, :length] = parts[0][0]
            if wanted[1]:
                of_weight += parts[1]
            if wanted[2]:
                of_bias += parts[2]
        return of_features, of_weight, of_bias, None, None, None


def _own_frames(features: Tensor, utterance: int, length: int) -> Tensor:
    return features[utterance : utterance + 1, :, :length].float().contiguous()


def make_batch_invariant(model: PreTrainedModel) -> Padding:
    """Close the leaks of a backbone in place; returns what its forward pass has to fill in."""
    padding = Padding()
    first_convolution = model.feature_extractor.conv_layers[0]
    if isinstance(getattr(first_convolution, "layer_norm", None), nn.GroupNorm):
        first_convolution.layer_norm = UtteranceGroupNorm(first_convolution.layer_norm, padding)
    positions = model.encoder.pos_conv_embed
    for layer in getattr(positions, "layers", []):
        layer.register_forward_pre_hook(padding.zero_input)
    if getattr(positions, "batch_norm", None) is not None:
        positions.batch_norm.register_forward_hook(padding.zero_output)
    return padding
