"""Ctrl-C while a verb is still being imported ends it with one line, and not with a traceback.

The package imports this module first; importing it is enough. It does nothing in a program that uses the library.
`stopping_in_order` (signals) takes over as soon as the verb runs.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def _watch() -> None:
    """End the program at Ctrl-C from now on, if it is a verb and does not ignore Ctrl-C."""
    if _is_verb() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def release() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_verb() -> bool:
    """Return whether Python is about to run `python -m melt_ser…` or runs `melt-ser`."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # Python writes this while it looks for the module
        module = sys.orig_argv[-len(sys.argv)]  # in the place of "-m" among the words of the command
        return module.removeprefix("-m").partition(".")[0] == "melt_ser"
    return os.path.basename(program) == "melt-ser"


def _stop(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"stopped.\n")
    finally:
        os._exit(128 + number)  # nothing has begun that would have to be tidied up


_watch()
