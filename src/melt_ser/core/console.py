"""How the package speaks: sentences through `logging`, results on standard output, and the progress of long work.

The logger "melt_ser" has no handler that prints, so a Python program that uses the library hears nothing until it
configures logging. Every verb works within `terminal()`, for a person: sentences go to standard error, results to
standard output, and long work shows its progress. Of several processes only the main one speaks.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from melt_ser.core.errors import one_line
from melt_ser.core.processes import is_main_process

EVERY = 30.0  # seconds between two lines about a work, off a terminal
BRIEF = 2.0  # seconds; shorter work gets no line at its end

Step = TypeVar("Step")

logger = logging.getLogger("melt_ser")


class _StandardError(logging.Handler):
    """Print each message as a line of its own, to the current `sys.stderr`."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


_standard_error = _StandardError()


@contextmanager
def terminal() -> Iterator[None]:
    """Speak to a person while the block runs: sentences, results and progress appear."""
    if speaking():
        yield
        return
    before = logger.level, logger.propagate
    logger.addHandler(_standard_error)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # otherwise a handler of the root logger would print each sentence again
    try:
        yield
    finally:
        logger.removeHandler(_standard_error)
        logger.setLevel(before[0])
        logger.propagate = before[1]


@contextmanager
def silence() -> Iterator[None]:
    """Say nothing while the block runs, for example notes that were printed before."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def speaking() -> bool:
    """Return whether a person is listening (see `terminal`)."""
    return _standard_error in logger.handlers


def say(sentence: str) -> None:
    """Log a sentence: as a warning if it begins with "note:", otherwise as information."""
    if is_main_process():
        logger.log(logging.WARNING if sentence.startswith("note:") else logging.INFO, one_line(sentence))


def say_last(sentence: str) -> None:
    """Print the sentence that ends a verb early, on standard error; first take down the bar of its work."""
    Progress.cut_short()
    print(sentence, file=sys.stderr, flush=True)


def show(renderable: Any) -> None:
    """Print a table on standard output, as wide as the terminal, or 100 columns wide if there is no terminal.

    Text is printed as it is: "[red]" and ":smile:" in the names of a corpus are not markup.
    """
    if not (speaking() and is_main_process()):
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else 100
    Console(width=width, markup=False, emoji=False, highlight=False).print(renderable)


def finish(path: Path) -> None:
    """Print the last line of a verb on standard output: the path of its result."""
    if speaking() and is_main_process():
        print(f"result: {path}", flush=True)


def shows_bars() -> bool:
    """Return whether progress bars appear: standard error is the terminal of a person who is listening."""
    return speaking() and sys.stderr.isatty() and is_main_process()


class Progress:
    """Show how far a long work is, on standard error: as a bar on a terminal, otherwise as a line a while.

    A line comes every `EVERY` seconds, and a last one if the work took longer than `brief`. Within another Progress
    nothing is shown: the outer one is the work that a person waits for.

        with Progress("reading runs", len(folders)) as shown:
            for folder in folders:
                …
                shown.advance()
    """

    _outermost: ClassVar[Progress | None] = None

    def __init__(
        self,
        description: str,
        total: int | None = None,
        done: int = 0,
        text: Callable[[int], str] | None = None,
        brief: float = BRIEF,
    ) -> None:
        """Describe the work.

        Args:
            description: the work in two or three words, such as "reading runs".
            total: the number of its steps; None if it is not known.
            done: steps of an earlier, interrupted work, which do not count for the time left.
            text: returns the text for a number of finished steps (default: "3 of 10").
            brief: seconds; shorter work gets no last line.
        """
        self.description, self.total, self.done, self.brief = description, total, done, brief
        self._text = text or (lambda done: "" if total is None else f"{done:,} of {total:,}")
        self._done_before = done
        self._bar: Any = None
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        if Progress._outermost is not None or not is_main_process():
            return self
        Progress._outermost = self
        if shows_bars():
            self._bar = _bar(self.total is not None)
            self._bar.add_task(self.description, total=self.total, completed=self.done, text=self._text(self.done))
            self._bar.start()
        elif logger.isEnabledFor(logging.INFO):
            threading.Thread(target=self._say_lines, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if Progress._outermost is not self:
            return
        Progress._outermost = None
        self._ended.set()
        took = time.monotonic() - self._begun
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and took >= self.brief:
            say(self._line(f"done in {duration(took)}"))

    @classmethod
    def cut_short(cls) -> None:
        """End the work that is shown, if there is one; the generator of `progress` may not have been closed yet."""
        if cls._outermost is not None:
            cls._outermost.__exit__(KeyboardInterrupt, None, None)

    def advance(self, steps: int = 1) -> None:
        """Count finished steps; with 0 only the text is renewed."""
        self.done += steps
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, text=self._text(self.done))

    def _say_lines(self) -> None:
        while not self._ended.wait(EVERY):
            took, steps = time.monotonic() - self._begun, self.done - self._done_before
            known = self.total is not None and steps > 0
            left = took / steps * max(self.total - self.done, 0) if self.total is not None and known else None
            say(self._line(f"{duration(took)} so far" if left is None else f"{duration(left)} left"))

    def _line(self, end: str) -> str:
        return f"{self.description}: {', '.join(part for part in (self._text(self.done), end) if part)}"


def _bar(has_end: bool) -> Any:
    """Return a bar of rich, with the time left if the work has a known end; it disappears with its end."""
    from rich import progress as rich
    from rich.console import Console

    return rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=20),
        rich.TextColumn("{task.fields[text]}", markup=False),
        rich.TimeRemainingColumn() if has_end else rich.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # otherwise rich sends the results to the terminal, not to their file
    )


def progress(steps: Iterable[Step], total: int, description: str) -> Iterator[Step]:
    """Iterate over the steps of a long work and show its Progress."""
    with Progress(description, total) as shown:
        for step in steps:
            yield step
            shown.advance()


def verification_bar(outcomes: Iterator[object], total: int) -> Iterator[object]:
    """Iterate over verified clips and show the progress."""
    return progress(outcomes, total, "verifying audio")


def transfer_bar(blocks: Iterator[bytes], present: int, total: int | None) -> Iterator[bytes]:
    """Iterate over the blocks of a download and show the progress.

    `present` is the number of bytes that an earlier, interrupted download left; `total` is None if the server does not
    state it.
    """
    of_all = f" of {total / 1e6:,.1f}" if total is not None else ""
    with Progress("download", total, present, lambda done: f"{done / 1e6:,.1f}{of_all} MB") as shown:
        for block in blocks:
            yield block
            shown.advance(len(block))


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(40), duration(3500), duration(86_000)
    ('40 s', '58 min', '23.9 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
