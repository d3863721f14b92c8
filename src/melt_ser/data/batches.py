"""Batches of utterances of like length, so that little of a batch is padding.

A batch is what all processes compute together; each takes its `Share` of the rows. What is trained and what is
scored is therefore the same on one process and on several.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

POOL_BATCHES = 16  # utterances are sorted by length within random pools of this many batches


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one of several processes computes: every `processes`-th, from its own number on."""

    process: int = 0
    processes: int = 1

    def of(self, rows: list[int]) -> list[int]:
        """Own rows of a batch; together the processes have each row once."""
        return rows[self.process :: self.processes]


class ShuffledBatches(Sampler[list[int]]):
    """Random batches for training: shuffle, sort by length within pools, cut, shuffle the batches.

    Each utterance once an epoch (with `weights`: as many draws as utterances, with replacement). The order is a
    function of (seed, epoch). Iterating gives this process's share of every batch, never empty: a process that has
    no row of a batch gets its first row, to be counted as nothing.
    """

    def __init__(
        self,
        seconds: npt.ArrayLike,
        batch_size: int,
        seed: int,
        weights: npt.ArrayLike | None = None,
        share: Share | None = None,
    ) -> None:
        self.seconds = np.asarray(seconds)
        self.batch_size = batch_size
        self.seed = seed
        self.weights = None if weights is None else np.asarray(weights) / np.sum(weights)
        self.share = share or Share()
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.seconds) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.batches():
            yield self.share.of(rows) or rows[:1]

    def batches(self) -> list[list[int]]:
        """The batches of this epoch, of all processes together."""
        generator = np.random.default_rng([self.seed, self.epoch])
        number = len(self.seconds)
        order = generator.permutation(number)
        if self.weights is not None:
            order = generator.choice(number, number, p=self.weights)
        pool = POOL_BATCHES * self.batch_size
        batches: list[list[int]] = []
        for first in range(0, number, pool):
            rows = order[first : first + pool]
            rows = rows[np.argsort(self.seconds[rows], kind="stable")]
            batches += [rows[cut : cut + self.batch_size].tolist() for cut in range(0, len(rows), self.batch_size)]
        generator.shuffle(batches)
        return batches


class SortedBatches(Sampler[list[int]]):
    """Batches for evaluation, longest first (so that memory runs out at once or not at all); own shares only."""

    def __init__(self, seconds: npt.ArrayLike, batch_size: int, share: Share | None = None) -> None:
        order = np.argsort(-np.asarray(seconds), kind="stable").tolist()
        self.order = (share or Share()).of(order)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for first in range(0, len(self.order), self.batch_size):
            yield self.order[first : first + self.batch_size]
