"""Frames of a waveform and their spectra by slices and a matrix product, for recorded graphs (kernels/recording.py).

ONNX has no complex numbers, and the Fourier transforms of its runtimes are less exact than torch's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from melt_ser.models.kernels.positions import transforms


def frames_of_audio(audio: Tensor, window: int, hop: int) -> Tensor:
    """Return the frames of audio, (batch, samples), as `audio.unfold(1, window, hop)` does: (batch, frames, window)."""
    block = math.gcd(window, hop)
    blocks = audio[:, : audio.shape[1] // block * block].reshape(audio.shape[0], -1, block)
    step, parts = hop // block, window // block
    last = blocks.shape[1] - parts + 1
    return torch.cat([blocks[:, first : first + last : step] for first in range(parts)], dim=2)


def power_spectrum(frames: Tensor, points: int) -> Tensor:
    """Return the power, (..., points // 2 + 1), of frames, (..., at most `points`), of float64."""
    forward, _ = transforms(points, frames.dtype, frames.device)
    real, imaginary = (frames @ forward[:, : frames.shape[-1]].t()).chunk(2, dim=-1)
    return real.square() + imaginary.square()
