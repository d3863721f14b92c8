"""Batches of utterances of similar length, so that little of a batch is padding.

    training     pools of 24 batches, at random -> sorted by length, cut into batches -> batches shuffled
    a step       `gradient_accumulation` batches; with `step_seconds` a batch, cut by seconds, not by a number
    micro-batch  the utterances that are computed at once: one of these batches, or, with `batch_seconds`, a part of
                 the step with at most that many seconds of audio, padding included

All processes compute a batch or micro-batch together: each takes its `Shard` of the rows. So the batches do not depend
on the number of processes.
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

# Utterances are sorted by length within random pools of this many batches. On MELT's durations (8 and 32 a batch),
# 7.0 and 8.6 % of the computed audio is then padding, against 53 and 66 % in random batches. Of two utterances in one
# batch, 1.5 and 7.0 % meet again in the next epoch, against 0.1 and 0.5 %. Pools of 16: 10.2 and 12.4 % padding.
POOL_BATCHES = 24


Rows = TypeVar("Rows", list[int], npt.NDArray[np.intp])


@dataclass(frozen=True)
class Shard:
    """The rows of a batch that one of several processes computes: every `processes`-th, from its own number on."""

    process: int = 0
    processes: int = 1

    def of(self, rows: Rows) -> Rows:
        """Return this process's rows of a batch; together the processes have each row once."""
        return rows[self.process :: self.processes]

    def to_compute(self, rows: list[int]) -> list[int]:
        """Return this process's rows of a micro-batch, or the first row of the micro-batch if it has none.

        Every process must compute something; the caller must not count a row of another process.
        """
        return self.of(rows) or rows[:1]


@dataclass(frozen=True)
class MicroBatch:
    """The utterances that all processes compute at once, as a part of a training step.

    step: the number of the step in its epoch, from 1.
    rows: the rows of the table, of all processes together.
    step_rows: the rows of the whole step, (utterances,).
    divisor: the number that the sum of the step's losses is divided by.
    ends_step: whether this is the last micro-batch of its step.
    """

    step: int
    rows: list[int]
    step_rows: npt.NDArray[np.int64]
    divisor: float
    ends_step: bool


class ShuffledBatches:
    """Plan random batches for training: shuffle, sort by length within pools, cut, shuffle the batches.

    An epoch has each utterance once or, with `weights`, as many draws with replacement as there are utterances. The
    order is a function of (seed, epoch).
    """

    def __init__(
        self,
        seconds: npt.ArrayLike,
        batch_size: int,
        seed: int,
        weights: npt.ArrayLike | None = None,
        gradient_accumulation: int = 1,
        batch_seconds: float | None = None,
        step_seconds: float | None = None,
    ) -> None:
        """Plan the batches of some utterances.

        Args:
            seconds: the length of each utterance, (utterances,).
            batch_size: utterances of a batch, on all processes together.
            seed: the seed of the order.
            weights: the weight of each utterance when it is drawn, (utterances,); None: each comes once.
            gradient_accumulation: batches of a step.
            batch_seconds: if given, cut each step again into micro-batches of at most this many seconds, computed as
                number of utterances times the longest. A longer utterance has a micro-batch of its own.
            step_seconds: if given, a batch is a step and has, in place of `batch_size` utterances, as many as fit into
                this many seconds, computed in the same way. A longer utterance has a step of its own.
        """
        self.seconds = np.asarray(seconds)
        self.batch_size = batch_size
        self.seed = seed
        self.weights = None if weights is None else np.asarray(weights) / np.sum(weights)
        self.gradient_accumulation = gradient_accumulation
        self.batch_seconds = batch_seconds
        self.step_seconds = step_seconds
        self._numbers: dict[int, int] = {}  # of batches, by the epoch

    def steps_until(self, epoch: int) -> int:
        """Return the number of optimiser steps from the start of the training to the end of an epoch."""
        if self.step_seconds is not None:
            return sum(map(self._number_of_batches, range(1, epoch + 1)))
        batches = -(-len(self.seconds) // self.batch_size)
        return -(-batches // self.gradient_accumulation) * epoch

    def micro_batches(self, epoch: int) -> Iterator[MicroBatch]:
        """Yield the micro-batches of an epoch, step by step.

        The loss of a step is a mean over its utterances. With `step_seconds`, a step of short utterances has many and
        one of long utterances few; then the divisor is the mean number of utterances in a step of this epoch, so that
        each utterance counts the same.
        """
        same = None if self.step_seconds is None else len(self.seconds) / self._number_of_batches(epoch)
        for number, step in enumerate(self.steps(epoch), start=1):
            step_rows = np.concatenate(step)
            for rows in step:
                yield MicroBatch(number, rows, step_rows, same or len(step_rows), ends_step=rows is step[-1])

    def steps(self, epoch: int) -> Iterator[list[list[int]]]:
        """Yield the steps of an epoch, each as the rows of its micro-batches."""
        batches = self.batches(epoch)
        while step := list(itertools.islice(batches, self.gradient_accumulation)):
            yield step if self.batch_seconds is None else self._cut_anew(np.concatenate(step), self.batch_seconds)

    def _cut_anew(self, rows: np.ndarray, batch_seconds: float) -> list[list[int]]:
        rows = rows[np.argsort(-self.seconds[rows], kind="stable")]
        return list(cut_at(rows, find_cuts(self.seconds[rows], len(rows), batch_seconds)))

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the batches of an epoch, as rows of the table."""
        order, bounds = self._plan(epoch)
        for first, last in bounds:
            yield order[first:last].tolist()

    def _number_of_batches(self, epoch: int) -> int:
        """Return the number of batches of an epoch; it is counted once, since the schedule asks for all epochs."""
        if epoch not in self._numbers:
            self._numbers[epoch] = len(self._plan(epoch)[1])
        return self._numbers[epoch]

    def _plan(self, epoch: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the order of an epoch's rows, and the first and the last place of each batch in it, (batches, 2)."""
        generator = np.random.default_rng([self.seed, epoch])
        number = len(self.seconds)
        order = generator.permutation(number)
        if self.weights is not None:
            order = generator.choice(number, number, p=self.weights)
        most, pool = self.batch_size, POOL_BATCHES * self.batch_size
        if self.step_seconds is not None:
            most = pool = max(1, round(POOL_BATCHES * self.step_seconds / max(self.seconds.mean(), 1e-3)))
        ends: list[int] = []
        for first in range(0, number, pool):
            rows = order[first : first + pool]
            rows = rows[np.argsort(self.seconds[rows], kind="stable")]
            if self.step_seconds is not None:
                rows = rows[::-1]  # longest first, as the cuts by seconds need them
            order[first : first + pool] = rows
            ends += [first + end for end in find_cuts(self.seconds[rows], most, self.step_seconds or math.inf)]
        return order, generator.permutation(np.stack([[0, *ends[:-1]], ends], axis=1))


class SortedBatches(Sampler[list[int]]):
    """Yield one process's batches for evaluation, longest first, so that memory runs out at once or not at all.

    A batch has at most `batch_seconds` seconds of audio with padding, unless it is a single utterance.
    """

    def __init__(
        self,
        seconds: npt.ArrayLike,
        batch_size: int,
        shard: Shard | None = None,
        batch_seconds: float = math.inf,
    ) -> None:
        lengths = np.asarray(seconds)
        self.order = (shard or Shard()).of(np.argsort(-lengths, kind="stable"))
        self.cuts = find_cuts(lengths[self.order], batch_size, batch_seconds)

    def __len__(self) -> int:
        return len(self.cuts)

    def __iter__(self) -> Iterator[list[int]]:
        return cut_at(self.order, self.cuts)


def find_cuts(seconds: np.ndarray, batch_size: int, batch_seconds: float) -> list[int]:
    """Return the end of each batch of utterances, for their lengths in seconds, (utterances,), longest first.

    A batch has at most `batch_size` utterances, and at most `batch_seconds` with padding unless it is a single one.
    """
    cuts: list[int] = []
    first = 0
    while first < len(seconds):
        first += max(1, int(min(batch_size, batch_seconds / max(seconds[first], 1e-3))))
        cuts.append(min(first, len(seconds)))
    return cuts


def cut_at(rows: np.ndarray, cuts: list[int]) -> Iterator[list[int]]:
    """Yield the rows between one cut and the next."""
    for first, last in itertools.pairwise([0, *cuts]):
        yield rows[first:last].tolist()
