"""Augment training clips: each change with its probability, drawn from the caller's generator; crop long ones.

The order is that of the world: the speaker (speed, pitch), the room, the level, the noise, the line (band, codec).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.effects import (
    band_limited,
    check_encoders,
    in_room,
    pitch_shifted,
    power,
    through_codec,
    with_noise,
)
from melt_ser.audio.resample import resample
from melt_ser.audio.sound import Waveform
from melt_ser.audio.sounds import Sounds
from melt_ser.config import AugmentConfig


class Augmentation:
    """Augments waveforms, (samples,) at 16 kHz, by the settings of `augment`; their defaults change nothing."""

    def __init__(self, config: AugmentConfig, noise: Sounds | None = None, rooms: Sounds | None = None) -> None:
        """Prepare to augment.

        Args:
            config: the settings of `augment`.
            noise: the recordings of `config.noise_folder`; None: white noise.
            rooms: the impulse responses of `config.room_folder`; they may be None if no clip is placed in a room.

        Raises SetupError if a codec of the settings cannot be encoded here.
        """
        if config.codec_probability > 0:
            check_encoders(config.codecs)
        self.config, self.noise, self.rooms = config, noise, rooms

    @property
    def changes_nothing(self) -> bool:
        """Whether clips are returned unchanged, and not mixed with others."""
        config = self.config
        probabilities = (
            *(config.noise_probability, config.pitch_probability, config.room_probability),
            *(config.band_limit_probability, config.codec_probability, config.mixup_probability),
        )
        return config.speed_factors == [1.0] and config.gain_decibels <= 0 and max(probabilities) <= 0

    @property
    def digest(self) -> str | None:
        """Identifier of the recordings that it draws from; None if there are none."""
        digests = [sounds.digest for sounds in (self.noise, self.rooms) if sounds is not None]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest() if digests else None

    def __call__(self, waveform: Waveform, generator: np.random.Generator) -> Waveform:
        """Return the augmented waveform; a speed factor f gives it ceil(samples / f) samples."""
        config = self.config
        if config.speed_factors != [1.0]:
            factor = config.speed_factors[int(generator.integers(len(config.speed_factors)))]
            waveform = resample(waveform, round(SAMPLE_RATE * factor), SAMPLE_RATE)
        if happens(config.pitch_probability, generator):
            largest = config.pitch_semitones
            waveform = pitch_shifted(waveform, generator.uniform(-largest, largest))
        if happens(config.room_probability, generator):
            assert self.rooms is not None
            waveform = in_room(waveform, self.rooms.draw(generator))
        if config.gain_decibels > 0:
            decibels = generator.uniform(-config.gain_decibels, config.gain_decibels)
            waveform = waveform * np.float32(10 ** (decibels / 20))
        if happens(config.noise_probability, generator):
            lowest, highest = config.noise_snr_decibels
            decibels = generator.uniform(lowest, highest)
            waveform = with_noise(waveform, *self._noise(len(waveform), generator), decibels)
        if happens(config.band_limit_probability, generator):
            lowest, highest = config.band_limit_hertz
            waveform = band_limited(waveform, lowest, highest)
        if happens(config.codec_probability, generator):
            codec = config.codecs[int(generator.integers(len(config.codecs)))]
            lowest, highest = config.codec_kilobits
            waveform = through_codec(waveform, codec, generator.uniform(lowest, highest))
        return waveform

    def _noise(self, samples: int, generator: np.random.Generator) -> tuple[Waveform, float]:
        """Return noise, (samples,), and its power; that of white noise is its expected one."""
        if self.noise is None:
            return generator.standard_normal(samples).astype(np.float32), 1.0
        noise = self.noise.draw_part(generator, samples)
        return noise, power(noise)


def happens(probability: float, generator: np.random.Generator) -> bool:
    """Return whether an event of this probability happens; nothing is drawn if it cannot."""
    return probability > 0 and generator.random() < probability


def mix(
    waveform: Waveform, other: Waveform, alpha: float, generator: np.random.Generator
) -> tuple[Waveform, np.float32]:
    """Return a mix of two waveforms, with the length of the first, and the first one's share in it (mixup).

    The share is drawn from the beta distribution (alpha, alpha). A longer other waveform is cut at a random place, a
    shorter one ends earlier. Zhang et al., 2018: https://arxiv.org/abs/1710.09412
    """
    share = np.float32(generator.beta(alpha, alpha))
    first = int(generator.integers(max(0, len(other) - len(waveform)) + 1))
    mixed = share * waveform
    heard = other[first : first + len(mixed)]
    mixed[: len(heard)] += (1 - share) * heard
    return mixed, share


@dataclass(frozen=True)
class Crop:
    """The cut of longer training clips to one length.

    seconds: the length.
    places: the number of places to choose from, evenly spaced from the first samples of a clip to its last ones. None:
        every sample may be the first.
    """

    seconds: float
    places: int | None = None

    @property
    def samples(self) -> int:
        """Return the length in samples."""
        return round(self.seconds * SAMPLE_RATE)

    def places_of(self, seconds: np.ndarray) -> np.ndarray:
        """Return the number of different crops of clips of these lengths, (clips,): 1 if a clip is not cut."""
        assert self.places is not None
        return np.where(seconds > self.seconds, self.places, 1)

    def draw(self, generator: np.random.Generator, spare: int) -> int:
        """Draw the first sample of a crop of a clip that has `spare` samples more than the crop."""
        if spare <= 0:
            return 0
        if self.places is None:
            return int(generator.integers(spare + 1))
        return self.first_sample(int(generator.integers(self.places)), spare)

    def first_sample(self, place: int, spare: int) -> int:
        """Return the first sample of the crop at a place, counted from 0."""
        assert self.places is not None
        return round(max(spare, 0) * place / (self.places - 1))
