"""Batch invariance: an utterance gets the same frames alone and in a padded batch with any neighbours.

Let an utterance have L samples and be padded to N > L. Convolutions without padding compute frame t only from samples
before some r(t). `frame_mask` marks the frames with r(t) <= L; they cannot see the padding. Attention takes a mask
(layers.py), and layer norms look at one frame at a time. Padding leaks into valid frames in five places; this module
closes each:

1. The group norm after the first convolution (feat_extract_norm="group": the base models) has a group per channel c and
   normalises over time: y[c, t] = w[c] * (x[c, t] - mean) / sqrt(variance + eps) + b[c]. Padding lets the mean and
   variance run over the frames of all N samples, not the utterance's own T(L) = (L - kernel) // stride + 1. The models
   were trained on unpadded crops, so their weights expect the statistics over the first T(L) frames.
   `UtteranceGroupNorm` normalises these frames alone and writes zeros after them: on a CPU one utterance after another,
   on a GPU all at once. (If the encoder needs no gradient, the fast kernels for a CPU compute each utterance alone: see
   convolution.py.)
2. data2vec's positional encoder is a stack of padded convolutions. The frames after an utterance enter it as zeros but
   leave each layer with other values, and the next layer reads these. An unpadded utterance has zeros there, so the
   padded frames are zeroed before every layer.
3. HuBERT models with a batch norm before the positional convolution (conv_pos_batch_norm) turn the zeros after an
   utterance into other values; these frames are zeroed again after the norm.
4. The layers of a conformer convolve over neighbouring frames. The frames after an utterance are zeroed before each of
   these convolutions, as an unpadded utterance has zeros there.
5. An adapter (add_adapter) shortens the output by padded convolutions; their inputs are zeroed likewise.

No parameter is added, renamed or changed: checkpoints of any size load and save as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from melt_ser.models.kernels.recording import reads_lengths

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Samples = TypeVar("Samples", int, Tensor)

normalise_forward = torch.ops.aten.native_group_norm
normalise_backward = torch.ops.aten.native_group_norm_backward


class BatchPadding:
    """The padding of the batch that a model computes at this moment, for the modules and hooks of this file.

    transformers does not pass lengths to its norms and positional convolutions. So `Backbone` sets them here, around
    each call that reads them: `with padding.set(frame_mask=mask): ...`.

    first_frames: the frames of each utterance after the first convolution; None if nothing is padded.
    frame_mask: (batch, frames), true for frames that belong to an utterance; None if nothing is padded.
    """

    def __init__(self) -> None:
        self.first_frames: list[int] | Tensor | None = None
        self.frame_mask: Tensor | None = None

    @contextmanager
    def set(self, first_frames: list[int] | Tensor | None = None, frame_mask: Tensor | None = None) -> Iterator[None]:
        """Set both values within the block; restore the earlier ones after it.

        frame_mask: may be true everywhere.
        """
        before = self.first_frames, self.frame_mask
        self.first_frames = first_frames
        self.frame_mask = None if frame_mask is None else mask_if_padded(frame_mask)
        try:
            yield
        finally:
            self.first_frames, self.frame_mask = before

    def checkpoint_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return contexts for gradient checkpointing: the recomputation sees the padding of the forward pass."""
        return nullcontext(), self.set(self.first_frames, self.frame_mask)

    def zero_input(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Zero the padded frames of a module's input, (batch, features, frames): a forward pre-hook."""
        return (self._zeroed(inputs[0]),)

    def zero_output(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Zero the padded frames of a module's output, (batch, features, frames): a forward hook."""
        return self._zeroed(output)

    def _zeroed(self, features: Tensor) -> Tensor:
        return features if self.frame_mask is None else features.masked_fill(~self.frame_mask[:, None, :], 0.0)


class UtteranceGroupNorm(nn.GroupNorm):
    """Group norm of (batch, channels, frames) over each utterance's own frames, with zeros after them.

    It computes in float32 and shares the parameters of the `norm` that it replaces.
    """

    def __init__(self, norm: nn.GroupNorm, padding: BatchPadding) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.padding = padding

    def forward(self, features: Tensor) -> Tensor:
        frames = self.padding.first_frames
        if frames is None:
            return super().forward(features.float()).to(features.dtype)
        if not reads_lengths(features.device):
            return normalise_together(features, self.weight, self.bias, frames, self.num_groups, self.eps)
        normalised: Tensor = _NormaliseEach.apply(features, self.weight, self.bias, frames, self.num_groups, self.eps)
        return normalised


class _NormaliseEach(torch.autograd.Function):
    """Apply torch's own kernels of the group norm, forward and backward, to one utterance after another.

    On a CPU this is several times faster than masked means and variances of the batch: the kernels are fused, and
    no time goes into padding. Autograd through slices would touch the whole batch once for each utterance.
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
        feature_gradient = torch.zeros_like(features)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(weight)
        wanted = list(ctx.needs_input_grad[:3])
        for utterance, length in enumerate(ctx.frames):
            own, own_gradient = (_own_frames(tensor, utterance, length) for tensor in (features, gradient))
            mean, deviation = statistics[2 * utterance : 2 * utterance + 2]
            parts = normalise_backward(
                own_gradient, own, mean, deviation, weight, 1, own.shape[1], length, ctx.groups, wanted
            )
            if wanted[0]:
                feature_gradient[utterance, :, :length] = parts[0][0]
            if wanted[1]:
                weight_gradient += parts[1]
            if wanted[2]:
                bias_gradient += parts[2]
        return feature_gradient, weight_gradient, bias_gradient, None, None, None


def normalise_together(
    features: Tensor, weight: Tensor, bias: Tensor, frames: list[int] | Tensor, groups: int, eps: float
) -> Tensor:
    """Return the group norm of each utterance's first frames, for all utterances at once, with zeros after them.

    A GPU needs a dozen kernels for it, whatever the number of utterances; the copies of a batch cost it little.

    Args:
        features: (batch, channels, frames).
        weight, bias: (channels,).
        frames: the number of frames of each utterance.
        groups, eps: as in `nn.GroupNorm`.
    """
    batch, channels, length = features.shape
    counts = torch.as_tensor(frames).to(features.device, non_blocking=True)[:, None, None]
    beyond = torch.arange(length, device=features.device) >= counts  # (batch, 1, frames)
    grouped = (batch, groups, -1)
    own = features.float().masked_fill(beyond, 0.0)
    numbers = counts * (channels // groups)  # that a mean is taken over
    mean = own.view(grouped).sum(dim=2, keepdim=True) / numbers
    centred = (own.view(grouped) - mean).view_as(own).masked_fill(beyond, 0.0)
    variance = centred.square().view(grouped).sum(dim=2, keepdim=True) / numbers
    scaled = (centred.view(grouped) * torch.rsqrt(variance + eps)).view_as(own)
    normalised = scaled * weight.float()[:, None] + bias.float()[:, None]
    return normalised.masked_fill(beyond, 0.0).to(features.dtype)


def _own_frames(features: Tensor, utterance: int, length: int) -> Tensor:
    return features[utterance : utterance + 1, :, :length].float().contiguous()


def mask_if_padded(frame_mask: Tensor) -> Tensor | None:
    """Return None if no frame of (batch, frames) is padded, otherwise the mask.

    Where lengths may not be read (recording.py), always return the mask.
    """
    return None if reads_lengths(frame_mask.device) and bool(frame_mask.all()) else frame_mask


def frames_of_first_convolution(config: PreTrainedConfig, samples: Samples) -> Samples:
    """Return the number of frames that the first convolution makes of this number of samples, or of each of them."""
    return (samples - int(config.conv_kernel[0])) // int(config.conv_stride[0]) + 1


def make_batch_invariant(model: PreTrainedModel) -> BatchPadding:
    """Close the leaks (see above) of a model, in place; return the padding to set for its forward passes."""
    padding = BatchPadding()
    if hasattr(model, "feature_extractor"):
        first_convolution = model.feature_extractor.conv_layers[0]
        if isinstance(getattr(first_convolution, "layer_norm", None), nn.GroupNorm):
            first_convolution.layer_norm = UtteranceGroupNorm(first_convolution.layer_norm, padding)
    positions: Any = getattr(model.encoder, "pos_conv_embed", None)
    for layer in getattr(positions, "layers", []):
        layer.register_forward_pre_hook(padding.zero_input)
    for layer in model.encoder.layers:
        convolution = getattr(getattr(layer, "conv_module", None), "depthwise_conv", None)
        if convolution is not None and convolution.padding[0] > 0:  # those of w2v-BERT look back only
            convolution.register_forward_pre_hook(padding.zero_input)
    for module in (getattr(model, "adapter", None) or nn.Module()).modules():
        if isinstance(module, nn.Conv1d):
            module.register_forward_pre_hook(padding.zero_input)
    if getattr(positions, "batch_norm", None) is not None:
        positions.batch_norm.register_forward_hook(padding.zero_output)
    return padding


def mask_of(counts: Tensor, frames: int, device: torch.device) -> Tensor:
    """Return the frame mask, (batch, frames), true for the first `counts` frames of each utterance, (batch,)."""
    return torch.arange(frames, device=device) < counts.to(device, non_blocking=True)[:, None]
