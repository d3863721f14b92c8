"""`annotate`, started on a table as a user does."""

from __future__ import annotations

import sys
from pathlib import Path

from annotation_server import Behaviour, annotating
from melt_ser.annotate import main


def arguments(address: str, table: Path, *more: str, out: str = "labels.csv") -> list[str]:
    """Return the arguments of `annotate` that ask the test server about a table by the paper's prompt."""
    given = [str(table), "--out", str(table.with_name(out)), "--base-url", address]
    return [*given, "--model", "test", "--prompt", "melt", *more]


def start(server: Behaviour, table: Path, *more: str, out: str = "labels.csv") -> int:
    with annotating(server) as address:
        return main(arguments(address, table, *more, out=out))


def command(address: str, table: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "melt_ser.annotate", *arguments(address, table, *more)]
