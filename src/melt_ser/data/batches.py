"""Batches of utterances of like length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

POOL_BATCHES = 16  # utterances are sorted by length within random pools of this many batches


class ShuffledBatches(Sampler[list[int]]):
    """Random batches for training: shuffle, sort by length within pools, cut, shuffle the batches.

    Each utterance once an epoch (with `weights`: as many draws as utterances, with replacement). The order is a
    function of (seed, epoch).
    """

    def __init__(
        self, seconds: npt.ArrayLike, batch_size: int, seed: int, weights: npt.ArrayLike | None = None
    ) -> None:
        self.seconds = np.asarray(seconds)
        self.batch_size = batch_size
        self.seed = seed
        self.weights = None if weights is None else np.asarray(weights) / np.sum(weights)
        self.epoch = 0
        self.drop_last = False

    def __len__(self) -> int:
        return -(-len(self.seconds) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        number = len(self.seconds)
        order = generator.permutation(number)
        if self.weights is not None:
            order = generator.choice(number, number, p=self.weights)
        pool = POOL_BATCHES * self.batch_size
        batches = []
        for first in range(0, number, pool):
            rows = order[first : first + pool]
            rows = rows[np.argsort(self.seconds[rows], kind="stable")]
            batches += [rows[cut : cut + self.batch_size].tolist() for cut in range(0, len(rows), self.batch_size)]
        generator.shuffle(batches)
        yield from batches


class SortedBatches(Sampler[list[int]]):
    """Batches for evaluation, longest first (so that memory runs out at once or not at all)."""

    def __init__(self, seconds: npt.ArrayLike, batch_size: int) -> None:
        self.order = np.argsort(-np.asarray(seconds), kind="stable").tolist()
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for first in range(0, len(self.order), self.batch_size):
            yield self.order[first : first + self.batch_size]
