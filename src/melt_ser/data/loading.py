"""Read the micro-batches of each epoch before they are needed, so that a GPU does not wait for them.

Decoding processes live as long as the training. Without them, but for a GPU, a thread reads ahead: cached features are
copied and placed in page-locked memory while the GPU computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch
from torch.utils.data import DataLoader

from melt_ser.core.processes import cores
from melt_ser.data.batches import MicroBatch, Shard, ShuffledBatches
from melt_ser.data.datasets import Batch, ClipDataset

BATCHES_AHEAD = 3  # of the thread
MOST_PROCESSES = 8
CLIPS_OF_A_PROCESS = 32  # fewer are decoded sooner than a process starts

Item = TypeVar("Item")


class AheadLoader:
    """Load the batches of utterances; for a GPU, before they are needed."""

    def __init__(
        self,
        utterances: ClipDataset,
        rows: Iterable[list[int]],
        for_gpu: bool,
        workers: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Prepare to load.

        Args:
            utterances: the utterances to read.
            rows: the rows of each batch; they may differ each time that they are asked for.
            for_gpu: whether the batches go to a GPU.
            workers: the number of decoding processes. None: up to 8 for a GPU; none for cached features, or on a CPU,
                because the model needs its cores.
            generator: the loader draws a random number from it each time; None: from torch's global random state.
        """
        decodes = for_gpu and not utterances.is_cached
        most = min(MOST_PROCESSES, cores(), len(utterances) // CLIPS_OF_A_PROCESS)
        processes = workers if workers is not None else most if decodes else 0
        self.reads_ahead = for_gpu and processes == 0
        self.text = utterances.text
        self.loader: DataLoader[Batch] = DataLoader(
            utterances,
            batch_sampler=rows,
            collate_fn=utterances.collate,
            num_workers=processes,
            persistent_workers=processes > 0,
            pin_memory=for_gpu,
            generator=generator,
        )

    def __iter__(self) -> Iterator[Batch]:
        loaded = map(self._with_text, self.loader)
        return read_ahead(loaded) if self.reads_ahead else loaded

    def _with_text(self, batch: Batch) -> Batch:
        """Return a batch with the vectors of its words, which stay in this process: they are small."""
        return batch if self.text is None else replace(batch, text=self.text[batch.rows])


class EpochLoader:
    """Load the micro-batches of each epoch, each with the rows that this process computes."""

    def __init__(
        self, utterances: ClipDataset, batches: ShuffledBatches, shard: Shard, workers: int | None, for_gpu: bool
    ) -> None:
        """Prepare to load.

        Args:
            utterances: the utterances to read; their `epoch` is set for each epoch.
            batches: the plan of all micro-batches.
            shard: the share of this process.
            workers, for_gpu: as for `AheadLoader`.
        """
        self.utterances, self.batches, self.shard = utterances, batches, shard
        # Its own generator, so that it draws nothing from the random state of the training.
        self.loader = AheadLoader(utterances, _Rows(self), for_gpu, workers, torch.Generator())

    def epoch(self, number: int) -> Iterator[tuple[MicroBatch, Batch]]:
        """Return an iterator over the micro-batches of an epoch."""
        self.utterances.epoch = number
        # The plan is made twice, here and in `_Rows`, which another thread may read: kept lists of rows take memory.
        return zip(self.batches.micro_batches(number), self.loader, strict=True)


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
