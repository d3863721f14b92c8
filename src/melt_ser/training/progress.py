"""The loss of an epoch while it is computed, and what the screen shows of a training.

The loss is kept on the device and read once a second: to read a number of a GPU, the CPU waits until the GPU has
computed it, and then the GPU waits for its next kernels.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from melt_ser.core.console import Progress
from melt_ser.core.errors import InputError
from melt_ser.data.datasets import ClipDataset
from melt_ser.evaluation.dev_metric import METRIC_LABELS, score_text

SECONDS_BETWEEN = 1.0


class RunningLoss:
    """The sum of the losses of an epoch's micro-batches, on this process.

    mean: the loss of an utterance at the last reading.
    """

    def __init__(self, epoch: int, train: ClipDataset, device: torch.device) -> None:
        """Begin an epoch.

        Args:
            epoch: its number, for errors.
            train: its utterances, for errors.
            device: the device of the losses.
        """
        self.epoch, self.train = epoch, train
        self.mean = math.nan
        self._utterances = 0
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        # The place in `_unread` of the first loss that is not finite; -1: all are finite.
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._unread: list[tuple[int, Tensor]] = []  # step and rows of each micro-batch since the last reading
        self._last_reading = -math.inf

    def add(self, loss: Tensor, step: int, rows: Tensor, utterances: int) -> None:
        """Add the loss of a micro-batch, and read the sum if the time has come.

        Args:
            loss: the sum over its utterances, a number on the device.
            step: the number of its step in the epoch, for errors.
            rows: its rows of the table, on the CPU, for errors.
            utterances: the number of utterances that the loss sums.

        Raises InputError if a loss since the last reading is not finite.
        """
        loss = loss.detach().double()
        is_bad = ~loss.isfinite() & (self._first_bad < 0)
        self._first_bad = torch.where(is_bad, len(self._unread), self._first_bad)
        self._sum = self._sum + loss
        self._unread.append((step, rows))
        self._utterances += utterances
        if time.monotonic() - self._last_reading >= SECONDS_BETWEEN:
            self.read()

    def read(self) -> float:
        """Return the sum so far. Raises InputError if a loss since the last reading is not finite."""
        total, first_bad = torch.stack([self._sum, self._first_bad.double()]).tolist()
        if first_bad >= 0:
            step, rows = self._unread[int(first_bad)]
            clips = ", ".join(str(self.train.path(row)) for row in rows.tolist())
            raise InputError(
                f"The loss is not finite at epoch {self.epoch}, step {step}; lower trainer.head_learning_rate or "
                f"trainer.backbone_learning_rate, or check the clips of that batch: {clips}"
            )
        self._unread.clear()
        self._last_reading = time.monotonic()
        self.mean = total / max(self._utterances, 1)
        return float(total)


class TrainingProgress(Progress):
    """Show epoch, loss, clips per second, the dev score of the last epoch, the best one, and the time left.

    The last line appears even if the training was short.
    """

    def __init__(self, title: str, steps: int, epochs: int, steps_done: int, epochs_done: int) -> None:
        """Describe a fit: all its steps and epochs, and those that an interrupted run has done."""
        super().__init__(f"training {title}".strip(), steps, steps_done, self._status, brief=0.0)
        self.epochs, self.epoch = epochs, epochs_done
        self.now: dict[str, str] = {}  # the latest figures by their names; that of dev is the last one
        self.scored_epoch, self.best = 0, ""

    def step(self, epoch: int, loss: float, clips_per_second: float) -> None:
        """Count a finished step."""
        self.epoch = epoch
        self.now |= {"loss": f"loss {loss:.3f}", "speed": f"{clips_per_second:.1f} clips/s"}
        self.advance()

    def scored(self, metric: str, value: float, best: float, best_epoch: int) -> None:
        """Show the dev score of a finished epoch, and the best one.

        metric: a name of METRIC_LABELS. value: the score; NaN: without a dev part. best, best_epoch: of all so far.
        """
        if not math.isnan(value):
            self.scored_epoch = self.epoch
            self.now["dev"] = f"dev {METRIC_LABELS[metric]} {score_text(metric, value)}"
            self.best = f", best {score_text(metric, best)} (epoch {best_epoch})" if best_epoch < self.epoch else ""
        self.advance(0)

    def _status(self, done: int) -> str:
        of_epoch = f" (epoch {self.scored_epoch})" if self.scored_epoch not in (0, self.epoch) else ""
        return ", ".join([f"epoch {self.epoch}/{self.epochs}", *self.now.values()]) + of_epoch + self.best
