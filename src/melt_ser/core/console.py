"""What verbs tell a person: notes on standard error, results on standard output."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from melt_ser.core.errors import one_line
from melt_ser.core.processes import is_main_process

Step = TypeVar("Step")


def say(sentence: str) -> None:
    """One line for the person who waits; standard output is kept for results."""
    if is_main_process():
        print(one_line(sentence), file=sys.stderr, flush=True)


def print_anything() -> None:
    """Let standard output escape what it cannot encode: file names that are not UTF-8, terminals that are ASCII."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook has its own stream, which takes everything
        sys.stdout.reconfigure(errors="backslashreplace")


def show(renderable: Any) -> None:
    """A table on standard output, as wide as the terminal (100 columns elsewhere).

    Its text is shown as it is: "[red]" and ":smile:" in the names of a corpus are no markup.
    """
    if not is_main_process():
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else 100
    Console(width=width, markup=False, emoji=False, highlight=False).print(renderable)


def progress(steps: Iterable[Step], total: int, what: str) -> Iterator[Step]:
    """A progress bar with the time left over the steps of a long work; nothing where the output is no terminal."""
    from rich.console import Console
    from rich.progress import track

    hidden = not (sys.stderr.isatty() and is_main_process())
    return iter(track(steps, what, total=total, console=Console(stderr=True), disable=hidden, transient=True))


def verification_bar(outcomes: Iterator[object], total: int) -> Iterator[object]:
    """The bar over verified clips."""
    return progress(outcomes, total, "verifying audio")


def finish(path: Path) -> None:
    """The last line of a verb on standard output: where its result is."""
    if is_main_process():
        print(f"result: {path}", flush=True)


def transfer_bar(blocks: Iterator[bytes], there: int, total: int | None) -> Iterator[bytes]:
    """A progress bar with the time left over the blocks of a download; nothing where the output is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as progress:
        task = progress.add_task("download", total=total, completed=there)
        for block in blocks:
            yield block
            progress.advance(task, len(block))
