"""Markdown with text from corpora and settings, which is escaped, so that it shows unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from melt_ser.core.errors import one_line

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def escaped(text: object) -> str:
    """Return text on one line, escaped for Markdown.

    >>> escaped("a|b_c")
    'a\\\\|b\\\\_c'
    """
    return SPECIAL.sub(r"\\\1", one_line(str(text)))


def code(text: str) -> str:
    """Return text as code, between more backticks than it has in a row."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{one_line(text)}{space}{fence}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table with escaped cells."""
    return raw_table([escaped(name) for name in columns], ([escaped(value) for value in row] for row in rows))


def raw_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table whose cells are Markdown already."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
