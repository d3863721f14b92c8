"""The progress of a training on the screen: epoch, loss, dev UA, clips per second and the time left."""

from __future__ import annotations

import math

from melt_ser.core.console import Progress


class TrainingProgress(Progress):
    """Show the progress of a fit; the last line appears even if the training is short."""

    def __init__(self, title: str, steps: int, epochs: int, done: int) -> None:
        """Describe a fit: the `steps` of an epoch, all `epochs`, and those `done` by an interrupted run."""
        super().__init__(f"training {title}".strip(), steps * epochs, steps * done, self._status, brief=0.0)
        self.epochs, self.epoch = epochs, done
        self.now: dict[str, str] = {}  # the latest figures by their names

    def step(self, epoch: int, loss: float, clips_per_second: float) -> None:
        """Count a finished step."""
        self.epoch = epoch
        self.now |= {"loss": f"loss {loss:.3f}", "speed": f"{clips_per_second:.1f} clips/s"}
        self.advance()

    def scored(self, dev_ua: float) -> None:
        """Show the dev UA of a finished epoch; NaN: without a dev part."""
        if not math.isnan(dev_ua):
            self.now["dev UA"] = f"dev UA {dev_ua:.3f}"
        self.advance(0)

    def _status(self, done: int) -> str:
        return ", ".join([f"epoch {self.epoch}/{self.epochs}", *self.now.values()])
