"""Let a program that a test starts obey signals that the test itself ignores."""

from __future__ import annotations

import signal


def heeding() -> None:
    """Obey Ctrl-C and a closed terminal, for `preexec_fn`: a background job ignores them and hands that down."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
