"""The cost of an epoch from a few of its batches.

A step's time is close to proportional to the padded seconds of its batch (utterances times the longest). So the batches
of a whole epoch are put in order of them, every n-th is taken from a random start (a systematic sample, which spans
short and long alike), and the epoch is estimated as the time of these, times the padded seconds of all batches over
those of the sample (a ratio estimate). Each round draws its own epoch and start, hence the spread over rounds holds the
error of the sampling as well as the noise of the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Batches = list[list[int]]  # rows of the table


@dataclass
class EpochSample:
    """Chooses the batches that a system computes, and remembers what part of its epoch they are.

    seconds: of each clip, (clips,); count: of batches, None for all; seed: of start and order.
    """

    seconds: np.ndarray
    count: int | None
    seed: int
    of_epoch: float = field(default=0.0, init=False)  # padded seconds
    of_sample: float = field(default=0.0, init=False)
    chosen: Batches = field(default_factory=list, init=False)

    def padded(self, rows: list[int]) -> float:
        """Seconds that are computed for a batch."""
        return len(rows) * float(self.seconds[rows].max())

    def __call__(self, batches: Batches) -> Batches:
        """The sample of an epoch's batches, in random order; the same for the same epoch."""
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
        """Of the clips of the sample."""
        return self.seconds[[row for batch in self.chosen for row in batch]]

    def warm_up(self, batches: Batches) -> Batches:
        """What is computed once before the clock starts: the sample's largest batch, so that its memory is at hand."""
        return [max(self(batches), key=self.padded)]

    def largest(self, batches: Batches) -> Batches:
        """The batch that decides the peak memory of an epoch."""
        return [max(batches, key=self.padded)]

    def epoch_seconds(self, sample_seconds: float) -> float:
        """The estimate for the whole epoch."""
        return sample_seconds * self.of_epoch / self.of_sample


Choice = Callable[[Batches], Batches]
