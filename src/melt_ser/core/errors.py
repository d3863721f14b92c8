"""Errors that a user reads: one sentence that names the file or key and the fix.

Exit codes of every verb: 0 done, 1 some input failed, 2 wrong usage or set-up.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path


class MeltSerError(Exception):
    """A failure with a sentence for the user; the verbs print it without a traceback."""

    exit_code = 1


class InputError(MeltSerError):
    """An input (a file, a row, a label) is bad."""

    exit_code = 1


class SetupError(MeltSerError):
    """The command or a setting is wrong, or something has to be installed or downloaded first."""

    exit_code = 2


class OutputError(SetupError):
    """A file or folder cannot be written: the disk is full, permission is missing, a file has the folder's name."""

    def __init__(self, path: Path, reason: str, fix: str) -> None:
        super().__init__(f"cannot write {path}: {reason}; {fix}.")
        self.path, self.reason, self.fix = path, reason, fix

    def __reduce__(self) -> tuple[type[OutputError], tuple[Path, str, str]]:
        """Pickle the arguments, so that the error passes between processes."""
        return OutputError, (self.path, self.reason, self.fix)


def one_line(text: str) -> str:
    """Return text of a corpus (a label, a file name) ready to print: control characters and line ends escaped.

    >>> one_line("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    """
    unprintable = {"Cc", "Cs", "Zl", "Zp"}  # controls, undecodable bytes of file names, line and paragraph separators
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in unprintable else character
        for character in text
    )


def encodable(text: str) -> str:
    """Return text that UTF-8 can encode: undecodable bytes of a file name, or half an emoji, become escapes.

    >>> encodable("caf\\udce9")
    'caf\\\\udce9'
    """
    return text.encode("utf-8", errors="backslashreplace").decode()


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the end of an error sentence: the nearest valid choice, or all choices if none is near.

    >>> did_you_mean("wavlmm", ["hubert", "wavlm"])
    "did you mean 'wavlm'?"
    >>> did_you_mean("zzz", ["hubert", "wavlm"])
    'choose from: hubert, wavlm.'
    """
    names = sorted(choices)
    nearest = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{nearest[0]}'?" if nearest else f"choose from: {', '.join(names)}."


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, without the full stop or colon at its end.

    If the error has no text, return the name of its type.

    >>> first_line(ValueError("no such table.\\nTraceback ..."))
    'no such table'
    >>> first_line(EOFError())
    'EOFError'
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(":. ") if lines else type(error).__name__
