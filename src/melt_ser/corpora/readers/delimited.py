"""Reading a delimited table: CSV as spreadsheets, programs and releases write it.

Arrow's reader parses a million rows in half a second; Python's takes several, and says what is wrong. The first reads
what is well formed, by a check of the quotes within which both agree, and the second everything else.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
END = "end"  # a row behind the last, which a quote that is not closed takes into its value with all before it
HEADER = re.compile(rb"\s*([^\r\n]*)")


def read_table(
    path: Path, required: Iterable[str], delimiters: str = ",;\t", strict: bool = False, fix: str = ""
) -> pd.DataFrame:
    """The table as text, its columns in lower case, its values stripped of surrounding blanks, without blank rows.

    UTF-8 with or without a byte-order mark, any line ends; of `delimiters` the one that the header has most of.
    Raises InputError where it is none of that, lacks a required column, or a row has another number of values;
    `strict` also refuses quotes that are out of place, which releases have and a CSV of one's own should not.
    fix: what to do where a column is missing, for the sentence.
    """
    table = _parse(path, delimiters, strict).apply(lambda column: column.str.strip())
    table = table[(table != "").any(axis=1)]
    columns: list[str] = [column.lower() for column in table.iloc[0]] if len(table) else []
    if not columns and not required:
        raise InputError(f"{path} is empty; give a table with a row of column names.")
    missing = [column for column in required if column not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise InputError(
            f"{path} lacks the column {' and '.join(missing)}; its columns are: {found}{fix and '; '}{fix}."
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"{path} has a column twice: {', '.join(columns)}.")
    rows: pd.DataFrame = table.iloc[1:].set_axis(columns, axis=1).reset_index(drop=True)
    return rows


def _parse(path: Path, delimiters: str, strict: bool) -> pd.DataFrame:
    """All rows, the header among them."""
    content = path.read_bytes().removeprefix(BYTE_ORDER_MARK)
    header = HEADER.match(content)
    first_line = header[1].decode("utf-8", errors="replace") if header else ""
    delimiter = max(delimiters, key=first_line.count)
    table = _read_well_formed(content, delimiter) if _is_well_formed(content, delimiter) else None
    return _read_any(path, content, delimiter, strict) if table is None else table


def _is_well_formed(content: bytes, delimiter: str) -> bool:
    """Whether every quote opens or closes a value, or is half of a doubled one within a quoted value.

    Then quotes open and close in turn: one that opens follows a delimiter, a line end or (doubled) a quote; one that
    closes goes before one of these.
    """
    characters = np.frombuffer(content, np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    opening, closing = quotes[::2], quotes[1::2]
    edges = np.zeros(256, dtype=bool)
    edges[list(f'{delimiter}\r\n"'.encode())] = True
    before = edges[characters[opening - 1]] | (opening == 0)
    after = edges[characters[(closing + 1) % max(len(characters), 1)]] | (closing == len(characters) - 1)
    return len(quotes) % 2 == 0 and bool(before.all() and after.all())


def _read_well_formed(content: bytes, delimiter: str) -> pd.DataFrame | None:
    """The rows by Arrow; None where it finds fault, which Python's reader is to name."""
    import pyarrow
    from pyarrow import csv as arrow

    text = {f"f{number}": pyarrow.large_string() for number in range(content[:100_000].count(delimiter.encode()) + 1)}
    try:
        table = arrow.read_csv(
            io.BytesIO(content),
            arrow.ReadOptions(autogenerate_column_names=True),
            arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow.ConvertOptions(column_types=text, strings_can_be_null=False, quoted_strings_can_be_null=False),
        )
    except pyarrow.ArrowInvalid:
        return None
    frame: pd.DataFrame = table.to_pandas()
    return frame.astype("str")


def _read_any(path: Path, content: bytes, delimiter: str, strict: bool) -> pd.DataFrame:
    """The rows that are not blank, by Python's reader; InputError names what is wrong."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: save it as 'CSV UTF-8'.") from None
    text += "" if strict else f"\n{END}"  # the strict reader tells an open quote itself
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    try:
        rows = [line for line in lines if any(value.strip() for value in line)]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: {error}; check the quotes there.") from None
    if not strict and rows.pop() != [END]:
        raise InputError(f"{path}: a quote opens in row {len(rows)} and is not closed; check the quotes there.")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}, row {number} has {len(row)} values for {len(rows[0])} columns; check its quotes."
            )
    return pd.DataFrame(rows, dtype="str")
