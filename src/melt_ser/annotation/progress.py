"""The progress of a job of annotation: on a terminal a bar with the cost so far, elsewhere ten lines."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from melt_ser.annotation.engines import Reply
from melt_ser.annotation.prices import FREE, Price, money
from melt_ser.core.console import say


class AnnotationProgress:
    """Show answers and cost so far, those of earlier runs included, on standard error."""

    def __init__(self, total: int, done: int, price: Price | None, spent: float) -> None:
        """Begin with `done` of `total` calls answered and `spent` US dollars; a price of None is not known."""
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
        """Return the cost so far as text; "" if it is not known or nothing is paid."""
        return money(self.spent) if self.price not in (None, FREE) else ""

    def count(self, reply: Reply) -> None:
        """Add the cost of a reply."""
        if self.price is not None:
            self.spent += self.price.of(reply.prompt_tokens, reply.completion_tokens)

    def advance(self) -> None:
        """Count a call that needs no further round."""
        before, self.done = self.done, self.done + 1
        self.bar.update(self.task, completed=self.done, cost=self.cost())
        if self.bar.disable and before * 10 // self.total < self.done * 10 // self.total:
            say(" ".join([f"{self.done:,} of {self.total:,} answered", self.cost()]).strip())
