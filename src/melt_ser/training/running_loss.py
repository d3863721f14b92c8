"""The loss of an epoch while it is computed, kept on the device and read seldom.

To read a number from a GPU, the CPU waits until the GPU has computed it, and the GPU then waits for the next kernels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from melt_ser.core.errors import InputError
from melt_ser.data.datasets import ClipDataset

SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class _Unread:
    """A micro-batch whose loss has not been read: its step and its rows, (utterances,) on any device."""

    step: int
    rows: Tensor


class RunningLoss:
    """The sum of the losses of an epoch's micro-batches.

    total: the sum at the last reading.
    """

    def __init__(self, epoch: int, train: ClipDataset, device: torch.device) -> None:
        """Begin with 0.

        Args:
            epoch: the number of the epoch, for errors.
            train: the utterances, for errors.
            device: the device of the losses.
        """
        self.epoch, self.train = epoch, train
        self.total = 0.0
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        # The position in `_unread` of the first loss that is not finite; -1: all are finite. `_sum` alone would tell
        # that there is one, but not which.
        self._bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._unread: list[_Unread] = []
        self._last_reading = time.monotonic()

    def add(self, loss: Tensor, step: int, rows: Tensor) -> None:
        """Add the loss, a scalar tensor, of a micro-batch: its step and its rows; read the sum if the time has come.

        Raises InputError if a loss since the last reading was not finite.
        """
        loss = loss.detach().double()
        is_first_bad = ~loss.isfinite() & (self._bad < 0)
        self._bad = torch.where(is_first_bad, len(self._unread), self._bad)
        self._sum = self._sum + loss
        self._unread.append(_Unread(step, rows))
        if time.monotonic() - self._last_reading >= SECONDS_BETWEEN:
            self.read()

    def read(self) -> float:
        """Return the sum so far. Raises InputError if a loss since the last reading was not finite."""
        self.total, bad = torch.stack([self._sum, self._bad.double()]).tolist()
        if bad >= 0:
            raise self._not_finite(self._unread[int(bad)])
        self._unread.clear()
        self._last_reading = time.monotonic()
        return self.total

    def _not_finite(self, found: _Unread) -> InputError:
        clips = ", ".join(str(self.train.path(row)) for row in found.rows.tolist())
        return InputError(
            f"The loss is not finite at epoch {self.epoch}, step {found.step}; lower trainer.head_learning_rate or "
            f"trainer.backbone_learning_rate, or check the clips of that batch: {clips}"
        )
