"""The frame of every verb: it speaks to a terminal, and each failure ends as one sentence and an exit code.

The functions at the end are for `type=` of argparse: a wrong value ends in a sentence before any work begins. This
module imports nothing heavy, for a fast `--help`.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from melt_ser.cli.signals import stopping_in_order
from melt_ser.cli.stopped import Stopped
from melt_ser.cli.streams import standard_streams
from melt_ser.core.console import say_last, terminal
from melt_ser.core.errors import MeltSerError, SetupError, one_line
from melt_ser.core.package import expanded


def run(work: Callable[[], int], stopped: str = "stopped.") -> int:
    """Do a verb's work and return its exit code; its options are parsed within the work, since `--help` prints too.

    A `MeltSerError` is printed as its sentence, and a signal, such as Ctrl-C, as `stopped`. Raises SystemExit if
    standard output cannot be written. If messages on standard error were lost, the exit code is not 0.
    """
    with stopping_in_order(), standard_streams() as messages, terminal():
        try:
            _check_folder()
            code = work()
        except MeltSerError as error:
            say_last(f"error: {one_line(str(error))}")
            code = error.exit_code
        except KeyboardInterrupt as error:
            say_last(stopped)
            code = exit_code_of(error)
    return code or (SetupError.exit_code if messages.lost else 0)


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a verb that was stopped."""
    return stop.exit_code if isinstance(stop, Stopped) else 130  # Ctrl-C outside the main thread


def _check_folder() -> None:
    """Raise SetupError if the current folder was deleted: no path can be found from there, and MKL would abort."""
    try:
        os.getcwd()
    except OSError:
        raise SetupError("The current folder was deleted; change to another (cd) and start again.") from None


def given_path(text: str) -> Path:
    """Parse a path, with `~` as the home folder also where no shell expands it (`--out=~/labels.csv`)."""
    if not text:  # as an unset variable of the shell leaves it; it would be the current folder
        raise argparse.ArgumentTypeError("is the path of a file or folder, not ''")
    return expanded(text)


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


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    if value := number(text):
        return value
    raise argparse.ArgumentTypeError(f"is a number above 0, not {text!r}")
