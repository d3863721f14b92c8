"""The progress of a training as a person sees it: a live bar on a terminal, otherwise a line an epoch."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from melt_ser.core.console import say, shows_bars


class TrainingProgress:
    """Show loss, dev UA, clips a second and time left, on standard error."""

    def __init__(self, title: str, steps: int, epochs: int, shown: bool = True) -> None:
        self.title = f"{title} " if title else ""
        self.steps = steps  # per epoch
        self.epochs = epochs
        self.shown = shown
        self.dev = "–"
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and shows_bars()),
            transient=True,
        )
        self.task = self.bar.add_task(title, total=steps * epochs, status="")

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def skip(self, epochs: int) -> None:
        """Count the epochs of an earlier, interrupted run."""
        self.bar.update(self.task, completed=epochs * self.steps)

    def step(self, epoch: int, loss: float, clips_per_second: float) -> None:
        """Count a finished step."""
        status = f"loss {loss:.3f}  dev UA {self.dev}  {clips_per_second:.1f} clips/s"
        self.bar.update(self.task, advance=1, description=f"{self.title}epoch {epoch}/{self.epochs}", status=status)

    def epoch(self, row: dict[str, Any]) -> None:
        """Count a finished epoch; `row` is its row of metrics.csv."""
        self.dev = f"{row['dev_ua']:.3f}"
        if self.shown and self.bar.disable:
            say(
                f"{self.title}epoch {row['epoch']}/{self.epochs}  loss {row['train_loss']:.3f}  "
                f"dev UA {self.dev}  {row['clips_per_second']:.1f} clips/s"
            )
