"""Texts in a CSV that people open in a spreadsheet: none of them becomes a formula there.

A spreadsheet computes a cell that begins with one of SIGNS, and a formula can call programs and send cells to an
address. `guarded` puts an apostrophe, the spreadsheet's own sign for text, in front of such a text, and in front of one
that looks guarded already; so `unguarded` gives back every text exactly. Plain numbers stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

SIGNS = "=+-@\t\r\n＝＋－＠"  # the last four are the wide signs of East Asian keyboards
FORMULA = re.compile(f"'*[{re.escape(SIGNS)}]")
GUARDED = re.compile(f"'+[{re.escape(SIGNS)}]")
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
FIRST = frozenset(SIGNS + "'")


def guarded(text: str) -> str:
    """Return a text for a cell that stays text.

    >>> [guarded(text) for text in ("=1+1", "'=1+1", "-0.5", "it's")]
    ["'=1+1", "''=1+1", '-0.5', "it's"]
    """
    return f"'{text}" if text[:1] in FIRST and FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given.

    >>> [unguarded(guarded(text)) for text in ("=1+1", "'=1+1", "-0.5", "'tis")]
    ['=1+1', "'=1+1", '-0.5', "'tis"]
    """
    return text[1:] if text[:1] == "'" and GUARDED.match(text) else text


def guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with guarded column names and texts; its other cells stay."""
    return _map_texts(table, guarded)


def unguarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its texts and column names as they were before `guarded_table`."""
    return _map_texts(table, unguarded)


def _map_texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    changed = table.rename(columns=lambda name: change(name) if isinstance(name, str) else name)
    for number in range(len(table.columns)):
        column = table.iloc[:, number]
        if pd.api.types.is_numeric_dtype(column):
            continue
        before = column.tolist()
        cells = [change(cell) if isinstance(cell, str) else cell for cell in before]
        if cells != before:
            changed.isetitem(number, pd.Series(cells, dtype=column.dtype).array)
    return changed
