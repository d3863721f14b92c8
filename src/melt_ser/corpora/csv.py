"""A corpus of one's own: a CSV with at least the columns `audio,label`.

Any other column of the corpus table may stand beside them (see `table.COLUMNS`). UTF-8 with or without a
byte-order mark; comma, semicolon or tab; any line ends. Paths are relative to the root, with forward slashes.
"""

from __future__ import annotations

import csv
import io
import math
import os
import posixpath
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.release import not_found
from melt_ser.corpora.table import COLUMNS, Problem, Release, make_table
from melt_ser.errors import InputError, SetupError

GENDERS = {"": "", "female": "female", "f": "female", "male": "male", "m": "male"}
SPLITS = {
    "": "",
    "train": "train",
    "dev": "dev",
    "development": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}


def read(root: Path, config: DatasetConfig) -> Release:
    """Every row that has a label and a file; the others are problems. The duration is measured later."""
    if config.table is None:
        raise SetupError("dataset=csv needs a table: set dataset.table=<a CSV with the columns audio,label>.")
    if not root.is_dir():
        raise not_found(root, config)
    path = root / Path(config.table).expanduser()  # an absolute table stays as it is
    if not os.path.isfile(path):
        raise SetupError(f"There is no table at {path}: set dataset.table=<its path, absolute or within {root}>.")
    columns, records = _read_records(path)
    used = set(COLUMNS) - {"duration"}
    ignored = [column for column in columns if column not in used]
    notes = [f"columns that are not used: {', '.join(ignored)}"] if ignored else []
    rows: dict[str, dict[str, str | float]] = {}
    problems = []
    for number, record in enumerate(records, start=1):
        where = f"{path}, row {number}"
        label = unicodedata.normalize("NFC", record["label"])
        if not record["audio"]:
            problems.append(Problem(record.get("utterance", ""), "", f"row {number} has no audio"))
            continue
        audio = _relative(record["audio"], where)
        name = record.get("utterance") or _unique(posixpath.splitext(audio)[0], rows)
        if name in rows:
            raise InputError(f"{where}: the utterance '{name}' has been used before; utterance names are unique.")
        if not label:
            problems.append(Problem(name, audio, f"row {number} has no label"))
            continue
        if not os.path.isfile(root / audio):  # unlike pathlib's it is false for a name that is too long
            problems.append(Problem(name, audio, f"row {number} has no audio file"))
            continue
        start, end = (_seconds(record.get(column, ""), f"{where}, {column}") for column in ("start", "end"))
        if end <= (0.0 if math.isnan(start) else start):
            raise InputError(f"{where}: the segment ends at {end:g} s, before it starts; correct start and end.")
        segment = "" if math.isnan(start) and math.isnan(end) else f"#{start:g}-{end:g}"
        rows[name] = {
            **{column: value for column, value in record.items() if column in used},
            "utterance": name,
            # Rows of the same file are the same recording, unless they are different parts of it.
            "source": record.get("source") or f"{config.name}/{posixpath.splitext(audio)[0]}{segment}",
            "audio": audio,
            "start": start,
            "end": end,
            "split": _choice(record.get("split", ""), SPLITS, f"{where}: the split", "train, dev, test or empty"),
            "gender": _choice(record.get("gender", ""), GENDERS, f"{where}: the gender", "female, male or empty"),
            "language": record.get("language") or config.language,
            "label": label,
        }
    if not records:
        raise InputError(f"{path} has a header and no rows; give it a row for each utterance.")
    return Release(make_table(rows.values()), problems, notes)


def _read_records(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and the rows of a table; values are stripped of surrounding blanks."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8: save it as 'CSV UTF-8'.") from None
    header = text.lstrip().splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        table = [[value.strip() for value in line] for line in lines if any(value.strip() for value in line)]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: {error}; check the quotes there.") from None
    columns = [column.lower() for column in table[0]] if table else []
    missing = [column for column in ("audio", "label") if column not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; its columns are: {found}.")
    if len(set(columns)) < len(columns):
        raise InputError(f"{path} has a column twice: {', '.join(columns)}.")
    for number, line in enumerate(table[1:], start=1):
        if len(line) != len(columns):
            raise InputError(
                f"{path}, row {number} has {len(line)} values for {len(columns)} columns; check its quotes."
            )
    return columns, [dict(zip(columns, line, strict=True)) for line in table[1:]]


def _relative(audio: str, where: str) -> str:
    """The normal form of a path that stays within the root."""
    if "\\" in audio:
        raise InputError(f"{where}: the audio path '{audio}' has backslashes; write it with forward slashes.")
    path = posixpath.normpath(audio)
    if path.startswith("/") or PureWindowsPath(path).drive:
        raise InputError(f"{where}: the audio path '{audio}' is absolute; write it relative to dataset.root.")
    if path.split("/")[0] == "..":
        raise InputError(f"{where}: the audio path '{audio}' leaves dataset.root; move the file or the root.")
    return path


def _unique(name: str, taken: Mapping[str, object]) -> str:
    """`name`, or `name#2`, `name#3`, ... where it is taken."""
    candidates = (name if count == 1 else f"{name}#{count}" for count in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)


def _seconds(value: str, where: str) -> float:
    """A time in seconds; NaN where the cell is empty."""
    try:
        seconds = float(value or 0.0)
    except ValueError:
        seconds = math.inf
    if not 0.0 <= seconds < math.inf:  # a written NaN is a mistake of whatever made the table
        raise InputError(f"{where}: '{value}' is no time in seconds (such as 1.5, or empty).")
    return seconds if value else math.nan


def _choice(value: str, choices: Mapping[str, str], what: str, allowed: str) -> str:
    if value.lower() not in choices:
        raise InputError(f"{what} is '{value}'; it must be {allowed}.")
    return choices[value.lower()]
