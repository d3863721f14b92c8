"""Read the micro-batches of each epoch before they are needed, so that a GPU does not wait for them.

Decoding processes live as long as the training. Without them, but for a GPU, a thread reads ahead: cached features are
copied and placed in page-locked memory while the GPU computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils.data import DataLoader

from melt_ser.data.batches import MicroBatch, Shard, ShuffledBatches
from melt_ser.data.datasets import Batch, ClipDataset

BATCHES_AHEAD = 3  # of the thread

Item = TypeVar("Item")


class EpochLoader:
    """Load the micro-batches of each epoch, each with the rows that this process computes."""

    def __init__(
        self, utterances: ClipDataset, batches: ShuffledBatches, shard: Shard, workers: int, for_gpu: bool
    ) -> None:
        """Prepare to load.

        Args:
            utterances: the utterances to read; their `epoch` is set for each epoch.
            batches: the plan of all micro-batches.
            shard: the share of this process.
            workers: the number of decoding processes.
            for_gpu: whether the batches go to a GPU.
        """
        self.utterances, self.batches, self.shard = utterances, batches, shard
        self.reads_ahead = for_gpu and workers == 0
        self.loader: DataLoader[Batch] = DataLoader(
            utterances,
            batch_sampler=_Rows(self),
            collate_fn=utterances.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=for_gpu,
            generator=torch.Generator(),  # so that it draws nothing from the random state of the training
        )

    def epoch(self, number: int) -> Iterator[tuple[MicroBatch, Batch]]:
        """Return an iterator over the micro-batches of an epoch."""
        self.utterances.epoch = number
        loaded = iter(self.loader)
        return zip(self.batches.micro_batches(number), read_ahead(loaded) if self.reads_ahead else loaded, strict=True)


class _Rows:
    """The rows of each batch of the present epoch, for the loader."""

    def __init__(self, epochs: EpochLoader) -> None:
        self.epochs = epochs

    def __iter__(self) -> Iterator[list[int]]:
        epochs = self.epochs
        for batch in epochs.batches.micro_batches(epochs.utterances.epoch):
            yield epochs.shard.to_compute(batch.rows)


def read_ahead(items: Iterator[Item], ahead: int = BATCHES_AHEAD) -> Iterator[Item]:
    """Yield the items of an iterator in their order; a thread reads up to `ahead` of them before they are asked for."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting: list[Future[Item | object]] = [thread.submit(next, items, end) for _ in range(ahead)]
        while (item := waiting.pop(0).result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # type: ignore[misc]
