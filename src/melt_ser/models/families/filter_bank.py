"""w2v-BERT's log-mel filter bank in batches, on the device of the audio.

Equal to transformers' SeamlessM4TFeatureExtractor within 1e-5. The values of a clip do not depend on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from melt_ser.audio import SAMPLE_RATE
from melt_ser.models.families.spectrum import frames_of_audio, power_spectrum
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.kernels.recording import is_recording

WINDOW, HOP, POINTS = 400, 160, 512  # samples, samples, of the Fourier transform
PRE_EMPHASIS = 0.97
FULL_SCALE = 2.0**15  # as if the samples were whole numbers of 16 bits, as in Kaldi
FLOOR = 1.192092955078125e-07  # of the energy of a band
EPSILON = 1e-7  # added to the variance


class FilterBank(nn.Module):
    """Waveforms to normalised log-mel frames, `stride` of them side by side: for w2v-BERT 2.0 a frame every 20 ms.

    Each band of a clip is shifted and scaled to mean 0 and variance 1 over the clip.

    bands: the number of mel bands of one frame, 80.
    stride: the number of frames of 10 ms that are joined, 2.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, bands: int = 80, stride: int = 2) -> None:
        from transformers.audio_utils import mel_filter_bank, window_function

        super().__init__()
        self.stride = stride
        filters = mel_filter_bank(
            num_frequency_bins=POINTS // 2 + 1,
            num_mel_filters=bands,
            min_frequency=20,
            max_frequency=SAMPLE_RATE // 2,
            sampling_rate=SAMPLE_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.register_buffer(
            "window", torch.from_numpy(window_function(WINDOW, "povey", periodic=False)).double(), False
        )
        self.register_buffer("filters", torch.from_numpy(filters).double(), persistent=False)

    @property
    def shortest(self) -> int:
        """The samples of the shortest clip with a frame; a shorter one is padded by zeros to this length."""
        return WINDOW + (self.stride - 1) * HOP

    def frames_of(self, lengths: Tensor) -> Tensor:
        """Return the numbers of joined frames for these lengths in samples."""
        return self._frames_of_10_ms(lengths) // self.stride

    @torch.no_grad()
    def forward(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Return joined frames, (batch, frames, bands * stride) in float32; those after a clip's end are zero.

        Args:
            audio: (batch, samples), zero padded.
            lengths: (batch,) in samples.
        """
        lengths = lengths.to(audio.device)
        audio = nn.functional.pad(audio, (0, max(0, self.shortest - audio.shape[1])))
        counts = self._frames_of_10_ms(lengths)
        with torch.autocast(audio.device.type, enabled=False):
            levels = self._levels(audio)
            inside = mask_of(counts, levels.shape[1], audio.device)[:, :, None]
            number = counts[:, None, None]
            mean = levels.masked_fill(~inside, 0.0).sum(dim=1, keepdim=True, dtype=torch.float64) / number
            centred = (levels - mean.float()).masked_fill(~inside, 0.0)
            variance = centred.square().sum(dim=1, keepdim=True) / (number - 1)
            normalised = centred / torch.sqrt(variance + EPSILON)
        frames = normalised.shape[1] // self.stride  # len() of a tensor would be fixed in a recorded graph
        joined = normalised[:, : frames * self.stride].reshape(audio.shape[0], frames, -1)
        heard = mask_of(self.frames_of(lengths), frames, audio.device)
        return joined.masked_fill(~heard[:, :, None], 0.0)

    def _frames_of_10_ms(self, lengths: Tensor) -> Tensor:
        return (lengths.clamp(min=self.shortest) - WINDOW) // HOP + 1

    def _levels(self, audio: Tensor) -> Tensor:
        """Return the logarithm of the mel bands, (batch, frames of 10 ms, bands).

        In float64, as transformers, because there are quiet bands beside loud ones. It rounds the spectrum, the
        logarithm and its mean to float32, and a band that hardly varies in a clip shows that; so all are rounded here.
        """
        recording = is_recording()
        frames = frames_of_audio(audio, WINDOW, HOP) if recording else audio.unfold(1, WINDOW, HOP)
        frames = frames.double() * FULL_SCALE
        frames = frames - frames.mean(dim=2, keepdim=True)
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        windowed = (frames - PRE_EMPHASIS * previous) * self.window
        if recording:
            power = power_spectrum(windowed, POINTS)
        else:
            power = torch.view_as_real(torch.fft.rfft(windowed, POINTS)).float().double().square().sum(dim=-1)
        return (power @ self.filters).clamp(min=FLOOR).log().float()
