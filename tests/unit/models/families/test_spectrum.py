"""Frames and spectra without Fourier transforms equal those of torch."""

from __future__ import annotations

import pytest
import torch

from melt_ser.models.families.spectrum import frames_of_audio, power_spectrum


@pytest.mark.parametrize("samples", [400, 559, 560, 16000, 16079])
def test_frames_are_those_of_unfold(samples: int) -> None:
    audio = torch.randn(2, samples)
    assert torch.equal(frames_of_audio(audio, 400, 160), audio.unfold(1, 400, 160))


@pytest.mark.parametrize("points", [400, 512])
def test_the_power_is_that_of_the_fourier_transform(points: int) -> None:
    frames = torch.randn(2, 5, 400, dtype=torch.float64)
    expected = torch.fft.rfft(frames, points).abs().square()
    torch.testing.assert_close(power_spectrum(frames, points), expected, rtol=1e-9, atol=1e-9)
