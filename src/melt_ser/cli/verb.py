"""The frame of every verb: it speaks to a terminal, and each failure ends as one sentence and an exit code.

The functions at the end are for `type=` of argparse: a wrong value ends in a sentence before any work begins. This
module imports nothing heavy, for a fast `--help`.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from melt_ser.core.console import print_anything, terminal
from melt_ser.core.errors import MeltSerError, SetupError, one_line

INTERRUPTED = 130  # the exit code of a program that Ctrl-C has stopped
BROKEN_PIPE = 141  # the exit code of a program that wrote to a closed pipe, such as `| head`


def run(work: Callable[[], int], stopped: str = "stopped.") -> int:
    """Do a verb's work and return its exit code.

    Print the sentence of a `MeltSerError`, and `stopped` after Ctrl-C. A standard output that cannot be written, such
    as a file on a full disk, is a `MeltSerError` too.
    """
    print_anything()
    with terminal(), redirect_stdout(cast(TextIO, _Output(sys.stdout))):
        try:
            code = work()
            sys.stdout.flush()  # otherwise Python flushes at exit, with a traceback if that fails
            return code
        except MeltSerError as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr, flush=True)
            return error.exit_code
        except KeyboardInterrupt:
            print(stopped, file=sys.stderr, flush=True)
            return INTERRUPTED


class _Output:
    """Standard output that raises SetupError if it cannot be written, and ends the program if its reader has left."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self._telling_failures():
            return self.stream.write(text)

    def flush(self) -> None:
        with self._telling_failures():
            self.stream.flush()

    @contextmanager
    def _telling_failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # Python flushes it again at the end
            if isinstance(error, BrokenPipeError):
                raise SystemExit(BROKEN_PIPE) from None
            raise SetupError(
                f"cannot write to standard output: {error.strerror}; free space there, or send it elsewhere."
            ) from None


def names(text: str) -> list[str]:
    """Parse a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def whole_number(least: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from `least` up."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"is a whole number from {least} up, not {text!r}")
        return int(text)

    return parse


def number(text: str) -> float:
    """Parse a finite number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"is a number from 0 up, not {text!r}")
    return value
