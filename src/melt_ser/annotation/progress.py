"""What a person sees of a job of annotation: a bar with the cost so far on a terminal, ten lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from melt_ser.annotation.cost import FREE, Price, money
from melt_ser.annotation.engines import Reply
from melt_ser.core.console import say


class AnnotationProgress:
    """Answers and cost so far, on standard error; what an earlier run answered and paid counts too."""

    def __init__(self, total: int, done: int, price: Price | None, spent: float) -> None:
        self.total = total
        self.done = done
        self.price = price
        self.spent = spent
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[cost]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self.task = self.bar.add_task("annotating", total=total, completed=done, cost=self.cost())

    def __enter__(self) -> AnnotationProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def cost(self) -> str:
        """What has been spent, in words; nothing where that is not known, or nothing is paid."""
        return money(self.spent) if self.price not in (None, FREE) else ""

    def count(self, reply: Reply) -> None:
        """A reply came and was paid."""
        if self.price is not None:
            self.spent += self.price.of(reply.prompt_tokens, reply.completion_tokens)

    def advance(self) -> None:
        """A call is done with."""
        before, self.done = self.done, self.done + 1
        self.bar.update(self.task, completed=self.done, cost=self.cost())
        if self.bar.disable and before * 10 // self.total < self.done * 10 // self.total:
            say(" ".join([f"{self.done:,} of {self.total:,} answered", self.cost()]).strip())
