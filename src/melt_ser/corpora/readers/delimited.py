"""Read a delimited table: CSV as spreadsheets, programs and releases write it.

Arrow's reader parses a million rows in half a second; Python's takes several seconds, but its errors name the place.
So Arrow reads a table if all its quotes are regular, in which case both readers give the same rows. Python reads any
other table, and every table that Arrow refuses.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError
from melt_ser.core.spreadsheet import unguarded_table

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
END = "end"  # a row added after the last: if a quote is not closed, its value swallows this row
WRITTEN_BY_US = {"content_hash", "prompt_version"}  # columns of the tables that `prepare` and `annotate` write
HEADER = re.compile(rb"\s*([^\r\n]*)")
STATED_DELIMITER = re.compile(rb'\s*"?sep=([^\r\n"])"?[\r\n]+', re.IGNORECASE)  # a first line of Excel's own


def read_table(path: Path, required: Iterable[str], delimiters: str = ",;\t", strict: bool = False) -> pd.DataFrame:
    """Return a table of text with lower-case columns, without blank rows and without blanks around values.

    The table is UTF-8 with or without a byte-order mark, or UTF-16 with one, with any line ends. Raises InputError if
    it is not, or if a required column is missing, two columns of a name differ, or a row has another number of values.
    Blank cells beyond the header, columns without name and values, and copies of a column are left out; another column
    without a name is called "column 3" by its place. Texts that `prepare` and `annotate` guard from spreadsheets are
    as they were before.

    Args:
        path: the table.
        required: columns that it must have, in lower case.
        delimiters: the possible delimiters; the one that is most frequent in the header is used.
        strict: also refuse quotes inside a value. Releases have them, but a user's own CSV should not.
    """
    table = _parse(path, delimiters, strict).apply(lambda column: column.str.strip())
    table = table[(table != "").any(axis=1)]
    columns: list[str] = [column.lower() for column in table.iloc[0]] if len(table) else []
    if not columns and not required:
        raise InputError(f"{path} is empty; give a table with a row of column names.")
    missing = [column for column in required if column not in columns]
    if missing:
        present = ", ".join(columns) or "none"
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; its columns are: {present}.")
    names = [column or f"column {number}" for number, column in enumerate(columns, start=1)]
    rows: pd.DataFrame = table.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)
    kept: dict[str, int] = {}  # the position of each column
    for number, (column, name) in enumerate(zip(columns, names, strict=True)):
        if name in kept and not rows.iloc[:, number].equals(rows.iloc[:, kept[name]]):
            raise InputError(f"{path} has two different columns '{name}'; rename or delete one of them.")
        if column or (rows.iloc[:, number] != "").any():
            kept.setdefault(name, number)
    rows = rows.iloc[:, list(kept.values())]
    return unguarded_table(rows) if WRITTEN_BY_US & set(columns) else rows


def _parse(path: Path, delimiters: str, strict: bool) -> pd.DataFrame:
    """Return all rows, with the header as the first."""
    content = in_utf8(path)
    stated = STATED_DELIMITER.match(content)
    if stated and stated[1].decode("latin-1") in delimiters:
        delimiters, content = stated[1].decode("latin-1"), content[stated.end() :]
    header = HEADER.match(content)
    first_line = header[1].decode("utf-8", errors="replace") if header else ""
    delimiter = max(delimiters, key=first_line.count)
    table = _read_with_arrow(content, delimiter) if _has_regular_quotes(content, delimiter) else None
    return _read_with_python(path, content, delimiter, strict) if table is None else table


def in_utf8(path: Path) -> bytes:
    """Return the bytes of a file without byte-order marks; UTF-16 that has one becomes UTF-8."""
    content = path.read_bytes()
    if content.startswith(UTF16_MARKS):
        try:
            content = content.decode("utf-16").encode("utf-8")
        except UnicodeDecodeError:
            raise _not_utf8(path) from None
    return content.removeprefix(codecs.BOM_UTF8)


def _not_utf8(path: Path) -> InputError:
    return InputError(f"{path} is not UTF-8: save it as 'CSV UTF-8'.")


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
        raise _not_utf8(path) from None
    text += "" if strict else f"\n{END}"  # the strict reader itself reports a quote that is not closed
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    try:
        rows = [line for line in lines if any(value.strip() for value in line)]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: {error}; check the quotes there.") from None
    if not strict and rows.pop() != [END]:
        raise InputError(f"{path}: a quote opens in row {len(rows)} and is not closed; check the quotes there.")
    header = rows[0] if rows else []
    for number, row in enumerate(rows):
        if any(cell.strip() for cell in row[len(header) :] + header[len(row) :]):
            more = len(row) > len(header)
            raise InputError(
                f"{path}, row {number} has {len(row)} values for {len(header)} columns; check its quotes, or "
                f"{'name every column in the first row' if more else 'write a comma for each empty cell'}."
            )
        row[len(header) :] = [""] * (len(header) - len(row))
    return pd.DataFrame(rows, dtype="str")


def numbers(column: pd.Series, path: Path) -> pd.Series:
    """Return a column of text as numbers; an empty cell becomes NaN. Raises InputError with the row of a wrong one."""
    values = pd.to_numeric(column.where(column != ""), errors="coerce").astype("float64")
    wrong = column.index[(column != "") & ~values.abs().lt(float("inf"))]
    if len(wrong):
        raise InputError(f"{path}, row {wrong[0]}: the {column.name} '{column[wrong[0]]}' is no number.")
    return values
