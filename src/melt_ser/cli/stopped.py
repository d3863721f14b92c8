"""The exception that a signal raises, and a second try if Python drops it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN = 0.05  # seconds until a dropped exception is raised again, outside the place that dropped it


class Stopped(KeyboardInterrupt):
    """A signal has arrived. A KeyboardInterrupt, so that libraries treat every signal like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.exit_code = 128 + number  # as a shell counts
        self.dropped = False


@contextmanager
def never_dropped() -> Iterator[None]:
    """Send the signal again if Python drops a `Stopped` of this block.

    Python reports and drops every exception of `__del__` and of a weak reference's callback, and a signal may arrive
    just there. The exception that was dropped is marked, so that the signal's handler does not ignore the next one.
    """
    before, main = sys.unraisablehook, threading.main_thread().ident

    def report(unraisable: Any) -> None:
        stop = unraisable.exc_value
        if isinstance(stop, Stopped) and main is not None:
            stop.dropped = True
            threading.Timer(AGAIN, signal.pthread_kill, (main, stop.number)).start()
        else:
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
