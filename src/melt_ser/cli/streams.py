"""The standard streams of a verb: closed ones are opened again, and no output is lost without a word.

A verb ends at once if its results cannot be printed: with a sentence, or in silence if the reader has left. A message
that cannot be printed stops no work; the exit code then tells of it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from melt_ser.core.errors import SetupError

BROKEN_PIPE = 141  # the exit code of a program that wrote to a closed pipe, such as `| head`


class Messages:
    """Whether every message could be printed on standard error."""

    lost = False


@contextmanager
def standard_streams() -> Iterator[Messages]:
    """Watch standard output and standard error while the block runs.

    Raises SystemExit if standard output cannot be written. Yields whether messages on standard error were lost.
    """
    messages = Messages()
    _open_closed()
    _print_anything()

    def lost(error: OSError) -> None:
        messages.lost = True

    output, told = _Watched(sys.stdout, _end), _Watched(sys.stderr, lost)
    with redirect_stderr(cast(TextIO, told)), redirect_stdout(cast(TextIO, output)):
        try:
            yield messages
        finally:
            output.flush()  # Python would do it after the end, with a traceback if it fails


def _open_closed() -> None:
    """Replace streams that the shell has closed: Python has None for them, and the next file would get their number.

    Nothing can be written to the new standard output, as to the closed one; a closed standard error is silence.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _print_anything() -> None:
    """Let standard output escape characters that it cannot encode, in names beyond UTF-8 or on an ASCII terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a notebook has its own stream, and that takes every character
        sys.stdout.reconfigure(errors="backslashreplace")


def _end(error: OSError) -> None:
    """End the program, whose standard output has failed. SystemExit, because no work has: no run is noted as failed."""
    if isinstance(error, BrokenPipeError):
        raise SystemExit(BROKEN_PIPE) from None
    closed = error.errno == errno.EBADF
    reason = "it is closed; send" if closed else f"{error.strerror}; free space there, or send"
    print(f"error: cannot write to standard output: {reason} it elsewhere.", file=sys.stderr, flush=True)
    raise SystemExit(SetupError.exit_code) from None


class _Watched:
    """A stream that calls `failed` if it cannot be written, and from then on takes everything and keeps nothing."""

    def __init__(self, stream: TextIO, failed: Callable[[OSError], None]) -> None:
        self.stream, self.failed = stream, failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self._watching():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._watching():
            self.stream.flush()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # Python flushes it again at the end
            self.failed(error)
