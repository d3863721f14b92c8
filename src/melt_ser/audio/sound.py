"""Whether decoded samples are a recording as it should be: finite, on the scale of floats, with channels that agree."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from melt_ser.core.errors import InputError

Waveform = npt.NDArray[np.float32]
LOUDEST = 2.0**32  # full scale is 1; unscaled 32-bit integers are the loudest samples that are not damaged
HOT = 16.0  # decoders and mixes may exceed full scale by some decibels, not by 24
SCALES = (2**7, 2**15, 2**23, 2**31)  # full scale of integers

INAUDIBLE = 1e-8  # power of a sample, full scale being 1 (-80 dBFS)
LARGEST_LOSS = 17.0  # decibels by which the mean may be quieter than that of channels with nothing in common


class WrongSound(InputError):
    """A recording can be decoded, but not used as it is. `rule` names what is wrong, `reason` says it with the cure."""

    def __init__(self, name: str, rule: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}.")
        self.name, self.rule, self.reason = name, rule, reason

    def __reduce__(self) -> tuple[type[WrongSound], tuple[str, str, str]]:
        """Pickle the arguments, so that the error passes between processes."""
        return WrongSound, (self.name, self.rule, self.reason)


def check_sound(name: str, waveform: Waveform) -> None:
    """Raise InputError if some samples are no sound, WrongSound if they are on the scale of integers."""
    peak = max(float(waveform.max()), -float(waveform.min()))
    if not peak < LOUDEST:  # also for NaN
        raise InputError(f"{name}: some samples are NaN or infinite or beyond any sound; replace or remove it.")
    if peak >= HOT:
        scale = next((scale for scale in SCALES if peak <= scale), SCALES[-1])
        reason = f"the samples reach {peak:,.0f}, but full scale is 1; divide them by {scale}"
        raise WrongSound(name, "integer scale", reason)


class Mixer:
    """Average channels, and see whether they cancel each other: then almost nothing of the sound is left."""

    def __init__(self) -> None:
        self.frames = self.channels = 0
        self.separate = self.together = 0.0  # energy of all channels, and of their mean

    def __call__(self, channels: Waveform) -> Waveform:
        """Average (frames, channels) to (frames,); a single channel is returned unchanged.

        Overflow gives infinity without a warning; `check_sound` refuses it later.
        """
        if channels.shape[1] == 1:
            return channels[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            mono: Waveform = channels.mean(axis=1, dtype=np.float32)
            flat = channels.reshape(-1)
            self.separate += float(np.dot(flat, flat))
            self.together += float(np.dot(mono, mono))
        self.frames, self.channels = self.frames + len(mono), channels.shape[1]
        return mono

    def check(self, name: str) -> None:
        """Raise WrongSound if the channels that were averaged cancel each other; `name` is that of the recording."""
        lost = self.lost()
        if lost > LARGEST_LOSS:
            reason = f"the channels cancel each other (their mean loses {lost:.0f} dB); keep one of them, or invert one"
            raise WrongSound(name, "channels cancel", reason)

    def lost(self) -> float:
        """Return the decibels that are lost because the channels cancel; 0 if they do not, at most 99."""
        together = self.together * self.channels**2  # as large as `separate` if the channels have nothing in common
        if not math.isfinite(self.separate) or self.separate <= INAUDIBLE * self.frames * self.channels:
            return 0.0  # refused for its samples, or silent
        return max(0.0, min(99.0, 10 * math.log10(self.separate / max(together, 1e-10 * self.separate))))
