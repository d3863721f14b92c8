"""The convolutional waveform encoder on a CPU, if it needs no gradient: in evaluation, or frozen in training.

Its features are the largest tensors of a model (512 channels at 3,200 frames/s), so most of the time goes into
moving them through memory. Each utterance is computed alone, as (frames, channels), without padding; this layout suits
both kinds of norm. A convolution of stride s is a sum of matrix products over at most s taps each. These windows do not
overlap, so they are rows of the features in memory, and nothing is copied. On a GPU, or if the encoder needs a
gradient, transformers' own forward pass runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from melt_ser.models.kernels.recording import reads_lengths


def is_frozen_on_cpu(encoder: nn.Module, audio: Tensor) -> bool:
    """Say whether `encode_frozen` can do the work: on a CPU, without a gradient for the waveform encoder."""
    learning = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in encoder.parameters())
    return reads_lengths(audio.device) and not learning


def encode_frozen(encoder: Any, audio: Tensor, samples: list[int]) -> Tensor:
    """Encode audio, (batch, samples), by transformers' waveform encoder: return (batch, channels, frames).

    samples: the number of samples of each utterance; the features beyond its end are zero.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else audio.dtype
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        frames = [
            _encode_one(encoder, own[:length, None].to(dtype)) for own, length in zip(audio, samples, strict=True)
        ]
    longest = audio.shape[1]
    for layer in encoder.conv_layers:
        longest = (longest - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
    padded = [nn.functional.pad(own, (0, 0, 0, longest - len(own))) for own in frames]
    return torch.stack(padded).transpose(1, 2)


def _encode_one(encoder: Any, frames: Tensor) -> Tensor:
    """Encode one utterance, (samples, 1), as (frames, channels)."""
    from transformers.activations import GELUActivation

    for layer in encoder.conv_layers:
        norm = getattr(layer, "layer_norm", None)
        weight, bias = layer.conv.weight, layer.conv.bias
        if isinstance(norm, nn.GroupNorm):
            weight, bias = _with_group_norm(frames, layer.conv, norm)
        frames = _convolve(frames, weight, bias, layer.conv.stride[0])
        if isinstance(norm, nn.LayerNorm):
            scale, shift = norm.weight.to(frames.dtype), norm.bias.to(frames.dtype)
            frames = nn.functional.layer_norm(frames, norm.normalized_shape, scale, shift, norm.eps)
        exact_gelu = isinstance(layer.activation, GELUActivation)
        frames = torch.ops.aten.gelu_(frames) if exact_gelu else layer.activation(frames)
    return frames


def _with_group_norm(samples: Tensor, convolution: nn.Conv1d, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of the first convolution, with its group norm over this utterance folded in.

    The norm has one group per channel. A channel is a product of its weights w with windows of samples, so its mean and
    variance over time are w m and w C w, with the mean m and the covariance C of the windows. No pass over the channels
    is needed. Subtracting the mean removes the bias of the convolution.
    """
    windows = samples.double().flatten().unfold(0, convolution.kernel_size[0], convolution.stride[0])
    weight = convolution.weight[:, 0].double()
    variance = ((weight @ torch.cov(windows.t(), correction=0)) * weight).sum(dim=1)
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    shift = norm.bias.double() - scale * (weight @ windows.mean(dim=0))
    return (weight * scale[:, None]).unsqueeze(1), shift


def _convolve(frames: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve (frames, channels in) to (fewer frames, channels out); weight: (channels out, channels in, kernel)."""
    channels, kernel = weight.shape[1:]
    length = (len(frames) - kernel) // stride + 1
    numbers = frames.flatten()
    weight = weight.to(frames.dtype).permute(2, 1, 0)  # (kernel, channels in, channels out)
    output: Tensor | None = None
    for tap in range(0, kernel, stride):
        part = weight[tap : tap + stride].flatten(0, 1)
        rows = numbers[tap * channels :].unfold(0, len(part), stride * channels)[:length]
        output = rows @ part if output is None else output.addmm_(rows, part)
    assert output is not None
    return output if bias is None else output.add_(bias.to(frames.dtype))
