"""A corpus of one's own: a CSV with at least the columns `audio,label`, or with others that are named in their place.

Any other column of the corpus table may stand beside them (see `table.COLUMNS`). `dataset.columns` maps our columns
to the table's (`label: emotion`; null: not read), `dataset.label_column` does so for the label alone. UTF-8 with or
without a byte-order mark; comma, semicolon or tab; any line ends. Paths are relative to the root, with forward slashes.

Rows of one file are segments (`start`, `end`) of one recording, which is never in two of train, dev and test; where
they are recordings of their own, the `source` column says so with a name for each.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.readers.annotations import Record
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.release import not_found
from melt_ser.corpora.table import COLUMNS, GENDER_WORDS, SPLIT_WORDS, Release, Skipped, make_table

WINDOWS_DRIVE = re.compile("[A-Za-z]:")
USED = frozenset(COLUMNS) - {"duration"}
OTHER_COLUMNS = "name yours with +dataset.columns.audio=<column> and +dataset.columns.label=<column>"


def read(root: Path, config: DatasetConfig) -> Release:
    """Every row that has a label and a file; the others are problems. The duration is measured later."""
    if config.table is None:
        raise SetupError("dataset=csv needs a table: set dataset.table=<a CSV with the columns audio,label>.")
    if not root.is_dir():
        raise not_found(root, config)
    path = root / Path(config.table).expanduser()  # an absolute table stays as it is
    if not os.path.isfile(path):
        raise SetupError(f"There is no table at {path}: set dataset.table=<its path, absolute or within {root}>.")
    given = _given_columns(config)
    table = read_table(path, [given.get(our) or our for our in ("audio", "label")], strict=True, fix=OTHER_COLUMNS)
    table, ignored = _in_our_columns(table, given, path)
    if table.empty:
        raise InputError(f"{path} has a header and no rows; give it a row for each utterance.")
    release = release_of(table, root, path, config)
    release.notes += [f"columns that are not used: {', '.join(ignored)}"] if ignored else []
    return release


def columns_of(config: DatasetConfig) -> dict[str, str | None]:
    """`dataset.columns`; SetupError where it has a column that is none of ours."""
    for our in config.columns:
        if our not in USED:
            raise SetupError(f"dataset.columns has '{our}', which is no column of ours; {did_you_mean(our, USED)}")
    return config.columns


def _given_columns(config: DatasetConfig) -> dict[str, str | None]:
    """The table's column, in lower case as it is read, for each of ours that is given one; None: not read."""
    named = {"label": config.label_column} if config.label_column != DatasetConfig.label_column else {}
    return {our: their and their.lower() for our, their in {**named, **columns_of(config)}.items()}


def _in_our_columns(table: pd.DataFrame, given: Mapping[str, str | None], path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table in our columns, and those of its own that are not used."""
    theirs = {column: column for column in table if column in COLUMNS and column not in given}
    theirs |= {our: their for our, their in given.items() if their is not None}
    for our, their in theirs.items():
        if their not in table:
            columns = ", ".join(map(str, table))
            raise InputError(f"{path} has no column '{their}' (dataset.columns.{our}); its columns are: {columns}.")
    ignored = [str(column) for column in table if column not in theirs.values()]
    return pd.DataFrame({our: table[their] for our, their in theirs.items()}), ignored


def release_of(given: pd.DataFrame | Iterable[Record], root: Path, path: Path, config: DatasetConfig) -> Release:
    """The rows that have a label and a file, from rows that name the columns of the corpus table as we do.

    `path` is the table that the rows come from, for the sentences of errors. A column at a time, not a row, so that a
    million rows take seconds.
    """
    table = given if isinstance(given, pd.DataFrame) else pd.DataFrame(list(given), dtype="str").fillna("")
    table = table[[column for column in table if column in USED]].set_axis(range(1, len(table) + 1))
    for column in USED - set(table.columns):
        table[column] = pd.Series("", table.index, "str")
    table["audio"] = _relative_paths(table["audio"], path)
    table["label"] = _each(table["label"], lambda label, _: unicodedata.normalize("NFC", label))
    there = _each(table["audio"], lambda audio, _: os.path.isfile(f"{root}/{audio}"), "bool")
    absent = [table["audio"] == "", table["label"] == "", ~there]
    lacks = pd.Series(np.select(absent, ["audio", "label", "audio file"], ""), table.index)
    table["utterance"] = _names(table, lacks == "", path)
    rest = table.assign(lacks=lacks)[["utterance", "audio", "lacks"]][lacks != ""]
    problems = [Skipped(name, audio, f"no {lack}: row {row}") for row, name, audio, lack in rest.to_records().tolist()]
    table = table[lacks == ""]
    table["language"] = table["language"].where(table["language"] != "", config.language)
    for column, choices, allowed in (
        ("split", SPLIT_WORDS, "train, dev, test"),
        ("gender", GENDER_WORDS, "female, male"),
    ):
        table[column] = _each(table[column], partial(_choice, choices, f"the {column}", allowed, path))
    for column in ("start", "end"):
        table[column] = _seconds(table[column], path)
    backwards = table.index[table["end"] <= table["start"].fillna(0.0)]
    if len(backwards):
        end = table["end"][backwards[0]]
        raise InputError(
            f"{path}, row {backwards[0]}: the segment ends at {end:g} s, before it starts; correct start and end."
        )
    table["source"] = _sources(table, config.name)
    return Release(make_table(table), problems)


def _each(column: pd.Series, function: Callable[[Any, int], Any], kind: Any = "str") -> pd.Series:
    """`function` of each value and of the row where it occurs first, called once a value."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    first = column.index[~pd.Series(codes).duplicated()]  # in the order of the values
    results = pd.Series([function(value, row) for value, row in zip(values, first, strict=True)], dtype=kind)
    each: pd.Series = results.take(codes).set_axis(column.index)
    return each


def _names(table: pd.DataFrame, used: pd.Series, path: Path) -> pd.Series:
    """The utterance as given, else the file without its suffix, numbered from #2 on where it is taken."""
    stems = _each(table["audio"], lambda audio, _: posixpath.splitext(audio)[0])
    names = table["utterance"].where(table["utterance"] != "", stems)
    if not names.duplicated().any():
        return names
    taken: set[str] = set()
    numbers: defaultdict[str, int] = defaultdict(lambda: 1)  # the last one of each file, so that none is tried twice
    found = []
    for row, given, stem, is_used in zip(table.index, table["utterance"], stems, used, strict=True):
        name, number = given or stem, numbers[stem]
        while not given and name in taken:
            number += 1
            name = f"{stem}#{number}"
        if name in taken and is_used:
            raise InputError(
                f"{path}, row {row}: the utterance '{name}' has been used before; utterance names are unique."
            )
        if is_used:
            taken.add(name)
            numbers[stem] = number
        found.append(name)
    return pd.Series(found, table.index, "str")


def _sources(table: pd.DataFrame, corpus: str) -> pd.Series:
    """The source as given, else the file: its segments may overlap, and share a room and a mood if they do not."""
    recording = _each(table["audio"], lambda audio, _: f"{corpus}/{posixpath.splitext(audio)[0]}")
    return table["source"].where(table["source"] != "", recording)


def _relative_paths(audio: pd.Series, path: Path) -> pd.Series:
    return _each(audio, lambda value, row: _relative(value, f"{path}, row {row}") if value else "")


def _relative(audio: str, where: str) -> str:
    """The normal form of a path that stays within the root."""
    if "\\" in audio:
        raise InputError(f"{where}: the audio path '{audio}' has backslashes; write it with forward slashes.")
    path = posixpath.normpath(audio)
    if path.startswith("/") or WINDOWS_DRIVE.match(path):
        raise InputError(f"{where}: the audio path '{audio}' is absolute; write it relative to dataset.root.")
    if path.split("/")[0] == "..":
        raise InputError(f"{where}: the audio path '{audio}' leaves dataset.root; move the file or the root.")
    return path


def _seconds(column: pd.Series, path: Path) -> pd.Series:
    """Times in seconds; NaN where a cell is empty."""
    filled = column[column != ""]
    try:
        seconds = filled.astype("float64[pyarrow]")
    except ValueError:
        seconds = pd.to_numeric(filled, errors="coerce")  # far slower, and says which
    wrong = filled.index[~((seconds >= 0) & (seconds < math.inf))]
    if len(wrong):
        raise InputError(
            f"{path}, row {wrong[0]}, {column.name}: '{column[wrong[0]]}' is no time in seconds "
            f"(such as 1.5, or empty)."
        )
    return seconds.astype("float64").reindex(column.index)


def _choice(choices: Mapping[str, str], what: str, allowed: str, path: Path, value: str, row: int) -> str:
    if value.lower() not in choices:
        raise InputError(f"{path}, row {row}: {what} is '{value}'; it must be {allowed} or empty.")
    return choices[value.lower()]
