"""Bad corpora, settings, checkpoints and run folders by name: what each is, and what has to become of it.

audio.py        clips of a corpus
tables.py       rows of a corpus of one's own
table_files.py  its table as a file: paths, columns, delimiters, encodings
settings.py     YAMLs and overrides
checkpoints.py  folders of weights
folders.py      output folders, disks, results and caches

A kind is a function that makes the bad thing in an empty folder and says what is expected of which command.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def nothing_more() -> None:
    """For a kind that has no more to check than its output."""


@dataclass(frozen=True)
class Expected:
    """What a command has to do with a bad input."""

    command: list[str]  # verb and arguments
    code: int  # 0 done, 1 some input failed, 2 usage or set-up
    says: list[str] = field(default_factory=list)  # fragments of the error's sentence; of all output where it is done
    afterwards: Callable[[], None] = nothing_more  # asserts what has to be true when the command has ended


KINDS: dict[str, Callable[[Path], Expected]] = {}


def kept_folder() -> Path:
    """An empty folder until the tests end, for what is slow to make and copied by many kinds."""
    folder = Path(tempfile.mkdtemp(prefix="melt_ser_test"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def kind(make: Callable[[Path], Expected]) -> Callable[[Path], Expected]:
    """Register a kind under its function's name."""
    assert make.__name__ not in KINDS, f"two kinds are called {make.__name__}"
    KINDS[make.__name__] = make
    return make
