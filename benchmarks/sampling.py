"""Estimate the cost of an epoch from a few of its batches.

A step's time is nearly proportional to the padded seconds of its batch (number of utterances times the longest). So
the batches of a whole epoch are sorted by padded seconds, and every n-th is taken from a random start: a systematic
sample with short and long batches. The estimate for the epoch is the time of the sample, times the padded seconds of
all batches, divided by the padded seconds of the sample (a ratio estimate). Each round draws its own epoch and start,
so the spread over rounds includes both the sampling error and the noise of the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Batches = list[list[int]]  # rows of the table


@dataclass
class EpochSample:
    """Choose the batches that a system computes, and remember their share of the epoch.

    seconds: length of each clip, (clips,); count: number of batches, None for all; seed: for the start and the order.
    """

    seconds: np.ndarray
    count: int | None
    seed: int
    of_epoch: float = field(default=0.0, init=False)  # padded seconds
    of_sample: float = field(default=0.0, init=False)
    chosen: Batches = field(default_factory=list, init=False)

    def padded(self, rows: list[int]) -> float:
        """Return the seconds that a batch computes, padding included."""
        return len(rows) * float(self.seconds[rows].max())

    def __call__(self, batches: Batches) -> Batches:
        """Return the sample of an epoch's batches in random order; the same epoch gives the same sample."""
        chosen = batches
        if self.count is not None and self.count < len(batches):
            generator = np.random.default_rng(self.seed)
            ordered = sorted(batches, key=self.padded)
            positions = (generator.random() + np.arange(self.count)) * len(ordered) / self.count
            chosen = [ordered[int(position)] for position in positions]
            generator.shuffle(chosen)
        self.chosen = chosen
        self.of_epoch, self.of_sample = (sum(map(self.padded, part)) for part in (batches, chosen))
        return chosen

    @property
    def chosen_seconds(self) -> np.ndarray:
        """Return the seconds of the sample's clips."""
        return self.seconds[[row for batch in self.chosen for row in batch]]

    def warm_up(self, batches: Batches) -> Batches:
        """Return the sample's largest batch; computing it before the clock starts reserves the memory."""
        return [max(self(batches), key=self.padded)]

    def largest(self, batches: Batches) -> Batches:
        """Return the largest batch of an epoch, as it decides the peak memory."""
        return [max(batches, key=self.padded)]

    def epoch_seconds(self, sample_seconds: float) -> float:
        """Return the estimated seconds of the whole epoch."""
        return sample_seconds * self.of_epoch / self.of_sample


Choice = Callable[[Batches], Batches]
