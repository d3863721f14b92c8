"""Batches of utterances of like length, so that little of a batch is padding, and pieces of a bounded size.

    pool of 24 batches, at random -> sorted by length, cut into batches -> shuffled -> a step has `gradient_accumulation`
    a step, sorted by length -> pieces of at most `batch_seconds` with padding, computed one after the other

A batch or piece is what all processes compute together; each takes its `Shard` of the rows. What is trained and what
is scored is therefore the same on one process and on several.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

# Utterances are sorted by length within random pools of this many batches. On MELT's durations (8 and 32 a batch) 7.0
# and 8.6 % of what is computed is then padding, against 53 and 66 % in random batches, and of two utterances in one
# batch 1.5 and 7.0 % meet again in the next epoch, against 0.1 and 0.5 %. Pools of 16: 10.2 and 12.4 % padding.
POOL_BATCHES = 24


Rows = TypeVar("Rows", list[int], npt.NDArray[np.intp])


@dataclass(frozen=True)
class Shard:
    """The rows of a batch that one of several processes computes: every `processes`-th, from its own number on."""

    process: int = 0
    processes: int = 1

    def of(self, rows: Rows) -> Rows:
        """Own rows of a batch; together the processes have each row once."""
        return rows[self.process :: self.processes]


class ShuffledBatches(Sampler[list[int]]):
    """Random batches for training: shuffle, sort by length within pools, cut, shuffle the batches.

    Each utterance once an epoch (with `weights`: as many draws as utterances, with replacement). The order is a
    function of (seed, epoch). `gradient_accumulation` batches make a step; with `batch_seconds` a step is cut anew into
    pieces whose number of utterances times their longest is at most that, an utterance that is longer alone in its piece.
    Iterating gives this process's share of every piece, never empty: a process that has no row of a piece gets its
    first row, to be counted as nothing.
    """

    def __init__(
        self,
        seconds: npt.ArrayLike,
        batch_size: int,
        seed: int,
        weights: npt.ArrayLike | None = None,
        share: Shard | None = None,
        gradient_accumulation: int = 1,
        batch_seconds: float | None = None,
    ) -> None:
        self.seconds = np.asarray(seconds)
        self.batch_size = batch_size
        self.seed = seed
        self.weights = None if weights is None else np.asarray(weights) / np.sum(weights)
        self.share = share or Shard()
        self.gradient_accumulation = gradient_accumulation
        self.batch_seconds = batch_seconds
        self.epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        batches = -(-len(self.seconds) // self.batch_size)
        return -(-batches // self.gradient_accumulation)

    def __iter__(self) -> Iterator[list[int]]:
        for pieces in self.steps():
            for rows in pieces:
                yield self.share.of(rows) or rows[:1]

    def steps(self) -> Iterator[list[list[int]]]:
        """The steps of this epoch, each as the rows that are computed at once by all processes together."""
        batches = self.batches()
        while step := list(itertools.islice(batches, self.gradient_accumulation)):
            yield step if self.batch_seconds is None else self._pieces(np.concatenate(step), self.batch_seconds)

    def _pieces(self, rows: np.ndarray, batch_seconds: float) -> list[list[int]]:
        rows = rows[np.argsort(-self.seconds[rows], kind="stable")]
        return list(pieces_of(rows, ends_of_pieces(self.seconds[rows], len(rows), batch_seconds)))

    def batches(self) -> Iterator[list[int]]:
        """The batches of this epoch, of all processes together."""
        generator = np.random.default_rng([self.seed, self.epoch])
        number = len(self.seconds)
        order = generator.permutation(number)
        if self.weights is not None:
            order = generator.choice(number, number, p=self.weights)
        pool = POOL_BATCHES * self.batch_size
        for first in range(0, number, pool):
            rows = order[first : first + pool]
            order[first : first + pool] = rows[np.argsort(self.seconds[rows], kind="stable")]
        for first in generator.permutation(np.arange(0, number, self.batch_size)):
            yield order[first : first + self.batch_size].tolist()


class SortedBatches(Sampler[list[int]]):
    """Batches for evaluation, longest first (so that memory runs out at once or not at all); own shares only.

    With `batch_seconds` a batch has at most so much audio with padding, unless it is a single utterance.
    """

    def __init__(
        self,
        seconds: npt.ArrayLike,
        batch_size: int,
        share: Shard | None = None,
        batch_seconds: float = math.inf,
    ) -> None:
        lengths = np.asarray(seconds)
        self.order = (share or Shard()).of(np.argsort(-lengths, kind="stable"))
        self.ends = ends_of_pieces(lengths[self.order], batch_size, batch_seconds)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        return pieces_of(self.order, self.ends)


def ends_of_pieces(seconds: np.ndarray, most: int, batch_seconds: float) -> list[int]:
    """Where to cut utterances of these lengths, longest first, so that a piece has at most `most`, and at most
    `batch_seconds` with padding unless it is a single utterance."""
    ends: list[int] = []
    first = 0
    while first < len(seconds):
        first += max(1, int(min(most, batch_seconds / max(seconds[first], 1e-3))))
        ends.append(min(first, len(seconds)))
    return ends


def pieces_of(rows: np.ndarray, ends: list[int]) -> Iterator[list[int]]:
    """Rows cut at `ends`."""
    for first, last in itertools.pairwise([0, *ends]):
        yield rows[first:last].tolist()
