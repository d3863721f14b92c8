"""Prepare waveforms as model input, in the same way for training and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from melt_ser.audio import RECEPTIVE_FIELD


def prepare_waveform(waveform: Tensor, do_normalize: bool) -> Tensor:
    """Turn a mono waveform at 16 kHz, (samples,), into the float32 input of a backbone, (max(samples, 400),).

    A clip shorter than the receptive field would have no frame, so zeros are appended up to 400 samples; they then
    count as audio in the normalisation, the length and the frame mask. If the checkpoint asks for normalisation
    (`Backbone.do_normalize`), each clip is normalised by itself. Raises ValueError if the waveform is not (samples,).

    >>> prepare_waveform(torch.ones(100), do_normalize=False).shape
    torch.Size([400])
    """
    if waveform.ndim != 1:
        raise ValueError(f"A waveform has one dimension, (samples,), not the shape {tuple(waveform.shape)}.")
    waveform = waveform.float()
    if len(waveform) < RECEPTIVE_FIELD:
        waveform = torch.nn.functional.pad(waveform, (0, RECEPTIVE_FIELD - len(waveform)))
    return normalise(waveform) if do_normalize else waveform


def normalise(waveform: Tensor) -> Tensor:
    """Scale to zero mean and unit variance as transformers' Wav2Vec2FeatureExtractor does; silence becomes zeros."""
    variance, mean = torch.var_mean(waveform, correction=0)
    return (waveform - mean) / torch.sqrt(variance + 1e-7)


def pad_together(waveforms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return prepared waveforms as audio, (batch, samples), zero padded at the end, and lengths, (batch,)."""
    audio = torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
    return audio, torch.tensor([len(waveform) for waveform in waveforms])
