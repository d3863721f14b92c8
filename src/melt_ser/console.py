"""What verbs tell a person: notes on standard error, results on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any


def say(sentence: str) -> None:
    """One line for the person who waits; standard output is kept for results."""
    print(sentence, file=sys.stderr, flush=True)


def show(renderable: Any) -> None:
    """A table on standard output, as wide as the terminal (100 columns elsewhere)."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 100).print(renderable)


def verification_bar(outcomes: Iterator[object], total: int) -> Iterator[object]:
    """A progress bar with the time left over verified clips; nothing where the output is no terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(
        track(
            outcomes, "verifying audio", total=total, console=console, disable=not sys.stderr.isatty(), transient=True
        )
    )
