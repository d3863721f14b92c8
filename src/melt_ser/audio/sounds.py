"""Recordings of a folder to draw from: noise, or impulse responses of rooms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.decode import read_audio
from melt_ser.audio.sound import Waveform


@dataclass(frozen=True)
class Sounds:
    """Recordings of a folder.

    root: the folder.
    names: the files, relative to the folder.
    seconds: the length of each.
    digest: identifies names and samples.
    """

    root: Path
    names: tuple[str, ...]
    seconds: tuple[float, ...]
    digest: str

    def draw(self, generator: np.random.Generator) -> Waveform:
        """Return a random recording at 16 kHz, (samples,)."""
        return _read_whole(self.root / self.names[int(generator.integers(len(self.names)))])

    def draw_part(self, generator: np.random.Generator, samples: int) -> Waveform:
        """Return a random part of a random recording at 16 kHz, (samples,); a shorter recording is repeated."""
        number = int(generator.integers(len(self.names)))
        share = float(generator.random())  # of the places where the part may begin
        path, wanted = self.root / self.names[number], samples / SAMPLE_RATE
        spare = self.seconds[number] - wanted
        if spare <= 0:
            whole = _read_whole(path)
            return np.resize(np.roll(whole, -int(share * len(whole))), samples)
        start = share * spare
        return np.resize(read_audio(path, start, start + wanted), samples)  # rounding may lack a sample


@lru_cache(maxsize=256)
def _read_whole(path: Path) -> Waveform:
    return read_audio(path)
