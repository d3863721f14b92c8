"""Whisper's log-mel spectrogram in batches, on the device of the audio.

Equal to transformers' WhisperFeatureExtractor within 1e-5. The values of a clip do not depend on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from melt_ser.audio import SAMPLE_RATE
from melt_ser.models.families.spectrum import frames_of_audio, power_spectrum
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.kernels.recording import is_recording

WINDOW, HOP = 400, 160  # samples
DYNAMIC_RANGE = 8.0  # in log10 of power: values further below the clip's loudest one are raised
FLOOR = 1e-10  # of the power


class LogMel(nn.Module):
    """Waveforms to log-mel frames, one every 10 ms.

    bins: the number of mel bands, 80 (128 in large-v3).
    """

    window: Tensor
    filters: Tensor

    def __init__(self, bins: int) -> None:
        from transformers.audio_utils import mel_filter_bank

        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=1 + WINDOW // 2,
            num_mel_filters=bins,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).float().T.contiguous(), persistent=False)

    @torch.no_grad()
    def forward(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Return log-mel frames, (batch, bins, samples // 160) in float32; the frames after a clip's end are zero.

        Args:
            audio: (batch, samples), zero padded.
            lengths: (batch,) in samples, each at least 201.
        """
        lengths = lengths.to(audio.device)
        with torch.autocast(audio.device.type, enabled=False):
            mirrored = _mirror_ends(audio.float(), lengths, WINDOW // 2)
            power = self._power(mirrored)[..., :-1]  # Whisper leaves out the last frame
            levels = (self.filters @ power).clamp(min=FLOOR).log10()
        outside = ~mask_of(lengths // HOP, levels.shape[-1], audio.device)
        loudest = levels.masked_fill(outside[:, None], -torch.inf).amax(dim=(1, 2), keepdim=True)
        levels = torch.maximum(levels, loudest - DYNAMIC_RANGE)
        return ((levels + 4.0) / 4.0).masked_fill(outside[:, None], 0.0)

    def _power(self, audio: Tensor) -> Tensor:
        """Return the power of each frequency and frame, (batch, frequencies, frames)."""
        if is_recording():
            frames = frames_of_audio(audio, WINDOW, HOP).double() * self.window
            return power_spectrum(frames, WINDOW).transpose(1, 2).float()
        spectrum = torch.stft(audio, WINDOW, HOP, window=self.window, center=False, return_complex=True)
        return spectrum.abs().square()


def _mirror_ends(audio: Tensor, lengths: Tensor, width: int) -> Tensor:
    """Return audio with `width` mirrored samples before the start and after the end of each clip."""
    positions = torch.arange(-width, audio.shape[1] + width, device=audio.device).abs()
    last = lengths[:, None] - 1
    mirrored = torch.where(positions > last, 2 * last - positions, positions)
    return audio.gather(1, mirrored.clamp(min=0))
