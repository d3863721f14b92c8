"""The convolutional waveform encoder on a CPU, where it does not learn: in evaluation, or frozen in training.

Its features are the largest tensors of a model (512 channels at 3,200 frames a second), so what counts is how often
they pass through memory. Each utterance is computed by itself as (frames, channels), which needs no padding and suits
both kinds of norm. A convolution of stride s is a sum of matrix products: taken s taps at a time, the windows do not
overlap, so they are rows of the features as these lie in memory, and nothing is copied. Where the encoder learns, and
on a GPU, transformers' own forward pass runs.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from melt_ser.models.kernels.masking import Padding

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def use_fast_convolutions(model: PreTrainedModel, padding: Padding) -> None:
    """Replace the forward pass of the waveform encoder in place; `padding` knows the samples of each utterance."""
    encoder = model.feature_extractor
    encoder.batch_padding = padding
    encoder.forward = MethodType(_encode, encoder)


def _encode(encoder: Any, audio: Tensor) -> Tensor:
    """Audio, (batch, samples), to features, (batch, channels, frames), zero behind each utterance."""
    learning = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in encoder.parameters())
    if learning or audio.device.type != "cpu":
        features: Tensor = type(encoder).forward(encoder, audio)
        return features
    samples = encoder.batch_padding.samples or [audio.shape[1]] * len(audio)
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
    """One utterance, (samples, 1), to (frames, channels)."""
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
    """Weight and bias of the first convolution, whose group norm (a channel a group) over this utterance is in them.

    A channel is a product of its weights w with windows of samples, so its mean and variance over time are w m and
    w C w, with the mean m and the covariance C of the windows: no pass over the channels. The convolution's own bias
    falls out with the mean.
    """
    windows = samples.double().flatten().unfold(0, convolution.kernel_size[0], convolution.stride[0])
    weight = convolution.weight[:, 0].double()
    variance = ((weight @ torch.cov(windows.t(), correction=0)) * weight).sum(dim=1)
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    shift = norm.bias.double() - scale * (weight @ windows.mean(dim=0))
    return (weight * scale[:, None]).unsqueeze(1), shift


def _convolve(frames: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """(frames, channels in) to (fewer frames, channels out) with weight, (channels out, channels in, kernel)."""
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
