"""Compute the windows of all requests together: the ones that wait share a forward pass.

One thread computes. It takes the first waiting window, collects the others that arrive within `WAIT`, and computes them
in batches of similar length. While it computes, more windows collect by themselves.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from melt_ser.audio import SAMPLE_RATE
from melt_ser.audio.sound import Waveform
from melt_ser.data.batches import SortedBatches

WAIT = 0.004  # seconds to collect; a forward pass of one second of audio takes longer
BATCH_SECONDS = 64.0  # of audio in a batch, with padding
Probabilities = list[float]
Compute = Callable[[Sequence[Waveform]], list[Probabilities]]
_Waiting = tuple[Waveform, Future[Probabilities]]


class Batcher:
    """Answer windows with `compute`, at most `size` in a batch; `observe` is told the size of each batch."""

    def __init__(self, compute: Compute, size: int, observe: Callable[[int], None] = lambda size: None) -> None:
        self.compute, self.size, self.observe = compute, size, observe
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether windows are answered."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Return the number of windows that wait."""
        return self._waiting.qsize()

    def submit(self, waveform: Waveform) -> Future[Probabilities]:
        """Return the future probabilities of a window, mono at 16 kHz, (samples,)."""
        future: Future[Probabilities] = Future()
        self._waiting.put((waveform, future))
        return future

    def close(self) -> None:
        """Answer the waiting requests, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            collected, more = self._collect(first)
            for rows in SortedBatches(
                [len(wave) / SAMPLE_RATE for wave, _ in collected], self.size, None, BATCH_SECONDS
            ):
                self._answer([collected[row] for row in rows])
            if not more:
                return

    def _collect(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return the windows of the next batches, and whether more may follow."""
        collected, until = [first], time.monotonic() + WAIT
        while len(collected) < self.size:
            try:
                one = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if one is None:
                return collected, False
            collected.append(one)
        return collected, True

    def _answer(self, batch: list[_Waiting]) -> None:
        wanted = [one for one in batch if one[1].set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            answers = self.compute([np.ascontiguousarray(waveform) for waveform, _ in wanted])
        except Exception as error:  # of the model or of the memory: the requests tell it, and the thread goes on
            for _, future in wanted:
                future.set_exception(error)
            return
        self.observe(len(wanted))
        for (_, future), answer in zip(wanted, answers, strict=True):
            future.set_result(answer)
