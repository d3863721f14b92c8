"""A corpus of one's own: a CSV with at least the columns `audio,label`.

Any other column of the corpus table may stand beside them (see `table.COLUMNS`). UTF-8 with or without a
byte-order mark; comma, semicolon or tab; any line ends. Paths are relative to the root, with forward slashes.
"""

from __future__ import annotations

import math
import os
import posixpath
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath

from melt_ser.config import DatasetConfig
from melt_ser.corpora.annotations import GENDERS, SPLITS, Record, read_records
from melt_ser.corpora.release import not_found
from melt_ser.corpora.table import COLUMNS, Problem, Release, make_table
from melt_ser.errors import InputError, SetupError

USED = frozenset(COLUMNS) - {"duration"}


def read(root: Path, config: DatasetConfig) -> Release:
    """Every row that has a label and a file; the others are problems. The duration is measured later."""
    if config.table is None:
        raise SetupError("dataset=csv needs a table: set dataset.table=<a CSV with the columns audio,label>.")
    if not root.is_dir():
        raise not_found(root, config)
    path = root / Path(config.table).expanduser()  # an absolute table stays as it is
    if not os.path.isfile(path):
        raise SetupError(f"There is no table at {path}: set dataset.table=<its path, absolute or within {root}>.")
    columns, records = read_records(path, ("audio", "label"), strict=True)
    ignored = [column for column in columns if column not in USED]
    if not records:
        raise InputError(f"{path} has a header and no rows; give it a row for each utterance.")
    release = release_of(records, root, path, config)
    release.notes += [f"columns that are not used: {', '.join(ignored)}"] if ignored else []
    return release


def release_of(records: Iterable[Record], root: Path, path: Path, config: DatasetConfig) -> Release:
    """The rows that have a label and a file, from records that name the columns of the corpus table as we do.

    `path` is the table that the records come from, for the sentences of errors.
    """
    rows: dict[str, dict[str, str | float]] = {}
    problems = []
    for number, record in enumerate(records, start=1):
        where = f"{path}, row {number}"
        label = unicodedata.normalize("NFC", record["label"])
        if not record["audio"]:
            problems.append(Problem(record.get("utterance", ""), "", f"no audio: row {number}"))
            continue
        audio = _relative(record["audio"], where)
        name = record.get("utterance") or _unique(posixpath.splitext(audio)[0], rows)
        if name in rows:
            raise InputError(f"{where}: the utterance '{name}' has been used before; utterance names are unique.")
        if not label:
            problems.append(Problem(name, audio, f"no label: row {number}"))
            continue
        if not os.path.isfile(root / audio):  # unlike pathlib's it is false for a name that is too long
            problems.append(Problem(name, audio, f"no audio file: row {number}"))
            continue
        start, end = (_seconds(record.get(column, ""), f"{where}, {column}") for column in ("start", "end"))
        if end <= (0.0 if math.isnan(start) else start):
            raise InputError(f"{where}: the segment ends at {end:g} s, before it starts; correct start and end.")
        segment = "" if math.isnan(start) and math.isnan(end) else f"#{start:g}-{end:g}"
        rows[name] = {
            **{column: value for column, value in record.items() if column in USED},
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
    return Release(make_table(rows.values()), problems)


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
