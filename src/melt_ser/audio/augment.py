"""Augment training clips: speed, level and white noise, drawn from the caller's generator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.resample import resample
from melt_ser.config import AugmentConfig

Waveform = npt.NDArray[np.float32]


class Augmentation:
    """Augments waveforms, (samples,) at 16 kHz, by the settings of `augment`; their defaults change nothing."""

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config

    @property
    def changes_nothing(self) -> bool:
        """Whether clips are returned unchanged."""
        config = self.config
        return config.speed_factors == [1.0] and config.gain_decibels <= 0 and config.noise_probability <= 0

    def __call__(self, waveform: Waveform, generator: np.random.Generator) -> Waveform:
        """Return the augmented waveform; a speed factor f gives it ceil(samples / f) samples."""
        config = self.config
        if config.speed_factors != [1.0]:
            factor = config.speed_factors[int(generator.integers(len(config.speed_factors)))]
            waveform = resample(waveform, round(SAMPLE_RATE * factor), SAMPLE_RATE)
        if config.gain_decibels > 0:
            decibels = generator.uniform(-config.gain_decibels, config.gain_decibels)
            waveform = waveform * np.float32(10 ** (decibels / 20))
        if config.noise_probability > 0 and generator.random() < config.noise_probability:
            waveform = self._with_noise(waveform, generator)
        return waveform

    def _with_noise(self, waveform: Waveform, generator: np.random.Generator) -> Waveform:
        """Add white noise at a signal-to-noise ratio (decibels) drawn from the configured range."""
        low, high = self.config.noise_snr_decibels
        ratio = 10 ** (generator.uniform(low, high) / 10)
        noise = generator.standard_normal(len(waveform)).astype(np.float32)
        power = float(np.mean(waveform.astype(np.float64) ** 2))
        return waveform + noise * np.float32(np.sqrt(power / ratio))
