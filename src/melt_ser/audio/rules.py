"""The rules by which a recording is refused, over its measures: the same for clips of a corpus and for `predict`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from melt_ser.config import DatasetConfig

FULL_SCALE = 0.999  # the largest sample of 16 bits (0.99997) counts as full scale, that of 8 bits (0.992) does not
SILENCE = 1e-4  # of full scale (-80 dBFS): even the noise of a recording is louder
DESTROYED = 0.2  # share of samples at full scale from which most of the loud half of the signal is cut off


@dataclass
class Levels:
    """Measures of a recording, of which `add` takes one block after the other."""

    samples: int = 0
    rate: int = 1  # Hz
    peak: float = 0.0  # the largest magnitude, 1.0 being full scale; compressed formats may exceed it
    loud: int = 0  # samples at full scale

    def add(self, waveform: npt.NDArray[np.float32], rate: int) -> None:
        """Measure a block, (samples,), at its rate in Hz."""
        peak = float(max(waveform.max(), -waveform.min()))
        self.samples, self.rate, self.peak = self.samples + len(waveform), rate, max(self.peak, peak)
        if peak >= FULL_SCALE:
            self.loud += int((abs(waveform) >= FULL_SCALE).sum())

    @property
    def duration(self) -> float:
        """Return the length in seconds."""
        return self.samples / self.rate

    @property
    def clipped(self) -> float:
        """Return the share of the samples at full scale, 0 to 1."""
        return self.loud / max(1, self.samples)


def broken_rules(measures: Any, config: DatasetConfig) -> Iterator[tuple[Any, str]]:
    """Yield, for each rule in the order of use, whether it refuses, and its sentence to fill in by `sentence`.

    `measures` has `duration` (seconds), `peak` and `clipped`, as numbers or as columns; the answer is of the same kind.
    The words before the colon of a sentence name the rule.
    """
    shortest, longest = config.minimum_seconds, config.maximum_seconds
    yield measures.peak < SILENCE, "silent: no sample above -80 dBFS"
    yield measures.clipped >= DESTROYED, "clipped: {percent:.0f} % of the samples are at full scale"
    yield measures.duration < shortest, f"too short: {{seconds:.3f}} s is under dataset.minimum_seconds={shortest}"
    yield measures.duration > longest, f"too long: {{seconds:.1f}} s is over dataset.maximum_seconds={longest}"


def sentence(template: str, duration: float, clipped: float) -> str:
    """Fill in the sentence of a rule."""
    return template.format(seconds=duration, percent=100 * clipped)


def refusal(levels: Levels, config: DatasetConfig) -> str | None:
    """Return the reason why a recording is refused, None if it is not."""
    for refused, template in broken_rules(levels, config):
        if refused:
            return sentence(template, levels.duration, levels.clipped)
    return None
