"""Read a delimited table: CSV as spreadsheets, programs and releases write it.

Arrow's reader parses a million rows in half a second; Python's takes several seconds, but its errors name the place.
So Arrow reads a table if all its quotes are regular, in which case both readers give the same rows. Python reads any
other table, and every table that Arrow refuses.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.spreadsheet import unguarded_table

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
END = "end"  # a row added after the last: if a quote is not closed, its value swallows this row
WRITTEN_BY_US = {"content_hash", "prompt_version"}  # columns of the tables that `prepare` and `annotate` write
HEADER = re.compile(rb"\s*([^\r\n]*)")


def read_table(
    path: Path, required: Iterable[str], delimiters: str = ",;\t", strict: bool = False, fix: str = ""
) -> pd.DataFrame:
    """Return a table of text with lower-case columns, without blank rows and without blanks around values.

    The table is UTF-8 with or without a byte-order mark, with any line ends. Raises InputError if it is not, or if a
    required column is missing, a column is repeated, or a row has another number of values. The texts that
    `prepare` and `annotate` guard from spreadsheets are as they were before.

    Args:
        path: the table.
        required: columns that it must have, in lower case.
        delimiters: the possible delimiters; the one that is most frequent in the header is used.
        strict: also refuse quotes inside a value. Releases have them, but a user's own CSV should not.
        fix: the advice at the end of the error if a column is missing.
    """
    table = _parse(path, delimiters, strict).apply(lambda column: column.str.strip())
    table = table[(table != "").any(axis=1)]
    columns: list[str] = [column.lower() for column in table.iloc[0]] if len(table) else []
    if not columns and not required:
        raise InputError(f"{path} is empty; give a table with a row of column names.")
    missing = [column for column in required if column not in columns]
    if missing:
        present = ", ".join(columns) or "none"
        raise InputError(
            f"{path} lacks the column {' and '.join(missing)}; its columns are: {present}{fix and '; '}{fix}."
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"{path} has a column twice: {', '.join(columns)}.")
    rows: pd.DataFrame = table.iloc[1:].set_axis(columns, axis=1).reset_index(drop=True)
    return unguarded_table(rows) if WRITTEN_BY_US & set(columns) else rows


def _parse(path: Path, delimiters: str, strict: bool) -> pd.DataFrame:
    """Return all rows, with the header as the first."""
    content = path.read_bytes().removeprefix(BYTE_ORDER_MARK)
    header = HEADER.match(content)
    first_line = header[1].decode("utf-8", errors="replace") if header else ""
    delimiter = max(delimiters, key=first_line.count)
    table = _read_with_arrow(content, delimiter) if _has_regular_quotes(content, delimiter) else None
    return _read_with_python(path, content, delimiter, strict) if table is None else table


def _has_regular_quotes(content: bytes, delimiter: str) -> bool:
    """Return whether every quote opens or closes a whole value, or is half of a doubled quote within such a value.

    The table is cut at its quotes; every second piece, from the first on, is then outside of quotes. If a piece outside
    follows a quote, it must begin with the end of a value; if it precedes a quote, it must end with one. An empty piece
    between two quotes is a doubled quote.
    """
    ends = (delimiter.encode(), b"\r", b"\n")
    pieces = content.split(b'"')
    outside = pieces[::2]
    return (
        len(pieces) % 2 == 1  # every quote is closed
        and all(piece.endswith(ends) for piece in outside[:-1] if piece)
        and all(piece.startswith(ends) for piece in outside[1:] if piece)
    )


def _read_with_arrow(content: bytes, delimiter: str) -> pd.DataFrame | None:
    """Return the rows, or None if Arrow refuses the table: Python's reader then names the reason."""
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


def _read_with_python(path: Path, content: bytes, delimiter: str, strict: bool) -> pd.DataFrame:
    """Return the rows that are not blank; raise InputError with the place if the table is malformed."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: save it as 'CSV UTF-8'.") from None
    text += "" if strict else f"\n{END}"  # the strict reader itself reports a quote that is not closed
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
