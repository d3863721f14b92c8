"""The options of `annotate` that name the columns of a user's table."""

from __future__ import annotations

import argparse

ROLES = {
    "text": "the words of a line",
    "utterance": "its name",
    "speaker": "who says it",
    "dialogue": "the dialogue that it is part of",
    "audio": "the path of its audio",
    "start": "when it begins, in seconds, which orders the lines of a dialogue",
}


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each column."""
    columns = parser.add_argument_group("the columns of your table, if their names do not tell")
    for role, holds in ROLES.items():
        columns.add_argument(f"--{role}", metavar="COLUMN", help=holds)


def chosen_columns(options: argparse.Namespace) -> dict[str, str]:
    """Return the columns that a command names, by role."""
    return {role: column for role in ROLES if (column := getattr(options, role)) is not None}
