"""How the package speaks: sentences through `logging`, results on standard output, bars on a terminal.

The logger "melt_ser" has no handler that prints, so a Python program that uses the library hears nothing until it
configures logging. Every verb runs within `terminal()`: sentences go to standard error, results to standard output, and
long work shows a progress bar. Of several processes only the main one speaks.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from melt_ser.core.errors import one_line
from melt_ser.core.processes import is_main_process

Step = TypeVar("Step")

logger = logging.getLogger("melt_ser")


class _StandardError(logging.Handler):
    """Print each message as a line of its own, to the current `sys.stderr`."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


_standard_error = _StandardError()


@contextmanager
def terminal() -> Iterator[None]:
    """Show sentences, results and progress bars to a person while the block runs."""
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


def speaking() -> bool:
    """Return whether a person is listening (see `terminal`)."""
    return _standard_error in logger.handlers


def say(sentence: str) -> None:
    """Log a sentence: as a warning if it begins with "note:", otherwise as information."""
    if is_main_process():
        logger.log(logging.WARNING if sentence.startswith("note:") else logging.INFO, one_line(sentence))


def print_anything() -> None:
    """Make standard output escape the characters that it cannot encode, instead of raising UnicodeEncodeError."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook's own stream takes every character
        sys.stdout.reconfigure(errors="backslashreplace")


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


def progress(steps: Iterable[Step], total: int, description: str) -> Iterator[Step]:
    """Iterate over the steps of a long work with a progress bar and the time left."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(track(steps, description, total=total, console=console, disable=not shows_bars(), transient=True))


def verification_bar(outcomes: Iterator[object], total: int) -> Iterator[object]:
    """Iterate over verified clips with a progress bar."""
    return progress(outcomes, total, "verifying audio")


def transfer_bar(blocks: Iterator[bytes], present: int, total: int | None) -> Iterator[bytes]:
    """Iterate over the blocks of a download with a progress bar and the time left.

    `present` is the number of bytes that an earlier, interrupted download left; `total` is None if the server does not
    state it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shows_bars(), transient=True) as bar:
        task = bar.add_task("download", total=total, completed=present)
        for block in blocks:
            yield block
            bar.advance(task, len(block))
