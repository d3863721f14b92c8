"""What verbs tell a person: notes on standard error, results on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from melt_ser.processes import is_main_process


def say(sentence: str) -> None:
    """One line for the person who waits; standard output is kept for results."""
    if is_main_process():
        print(sentence, file=sys.stderr, flush=True)


def show(renderable: Any) -> None:
    """A table on standard output, as wide as the terminal (100 columns elsewhere)."""
    if not is_main_process():
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 100).print(renderable)


def verification_bar(outcomes: Iterator[object], total: int) -> Iterator[object]:
    """A progress bar with the time left over verified clips; nothing where the output is no terminal."""
    from rich.console import Console
    from rich.progress import track

    hidden = not (sys.stderr.isatty() and is_main_process())
    console = Console(stderr=True)
    return iter(track(outcomes, "verifying audio", total=total, console=console, disable=hidden, transient=True))


def finish(path: Path) -> None:
    """The last line of a verb on standard output: where its result is."""
    if is_main_process():
        print(f"result: {path}", flush=True)
