"""A user's own corpus: a CSV with at least the columns `audio,label`, or with others that are mapped to them.

The other columns of the corpus table (`table.COLUMNS`) are read too, except `duration`. `dataset.columns` maps our
columns to the columns of the CSV (`label: emotion`; null: not read), and `dataset.label_column` does so for the label
alone. The CSV is UTF-8 with or without a byte-order mark, with commas, semicolons or tabs, and with any line endings.
Paths are relative to the root, with forward slashes.

Rows with the same file are segments (`start`, `end`) of one recording, and a recording is never in two of train, dev
and test. If a file holds several recordings, name each in the `source` column.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.core.places import from_home
from melt_ser.corpora.readers.annotations import Record
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.release import not_found
from melt_ser.corpora.table import COLUMNS, GENDER_WORDS, SPLIT_WORDS, Release, Skipped, make_table

WINDOWS_DRIVE = re.compile("[A-Za-z]:")
USED = frozenset(COLUMNS) - {"duration"}
OTHER_COLUMNS = "name yours with +dataset.columns.audio=<column> and +dataset.columns.label=<column>"


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every row that has a label and a file; list the others as skipped. The duration is measured later.

    Raises SetupError if there is no table, InputError if the table is malformed or a value is wrong.
    """
    if config.table is None:
        raise SetupError("dataset=csv needs a table: set dataset.table=<a CSV with the columns audio,label>.")
    if not root.is_dir():
        raise not_found(root, config)
    path = root / from_home(config.table)  # an absolute table stays as it is
    if not os.path.isfile(path):
        raise SetupError(f"There is no table at {path}: set dataset.table=<its path, absolute or within {root}>.")
    mapping = _column_mapping(config)
    table = read_table(path, [mapping.get(our) or our for our in ("audio", "label")], strict=True, fix=OTHER_COLUMNS)
    table, ignored = _with_our_columns(table, mapping, path)
    if table.empty:
        raise InputError(f"{path} has a header and no rows; give it a row for each utterance.")
    release = release_of(table, root, path, config)
    release.notes += [f"columns that are not used: {', '.join(ignored)}"] if ignored else []
    return release


def columns_of(config: DatasetConfig) -> dict[str, str | None]:
    """Return `dataset.columns`; raise SetupError if it has a column that the corpus table does not have."""
    for our in config.columns:
        if our not in USED:
            raise SetupError(f"dataset.columns has '{our}', which is no column of ours; {did_you_mean(our, USED)}")
    return config.columns


def _column_mapping(config: DatasetConfig) -> dict[str, str | None]:
    """Return the CSV's column, in lower case, for each of our columns that the settings map; None: not read."""
    label = {"label": config.label_column} if config.label_column != DatasetConfig.label_column else {}
    return {our: their and their.lower() for our, their in {**label, **columns_of(config)}.items()}


def _with_our_columns(
    table: pd.DataFrame, mapping: Mapping[str, str | None], path: Path
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with our column names, and its columns that are not used."""
    theirs = {column: column for column in table if column in COLUMNS and column not in mapping}
    theirs |= {our: their for our, their in mapping.items() if their is not None}
    for our, their in theirs.items():
        if their not in table:
            columns = ", ".join(map(str, table))
            raise InputError(f"{path} has no column '{their}' (dataset.columns.{our}); its columns are: {columns}.")
    ignored = [str(column) for column in table if column not in theirs.values()]
    return pd.DataFrame({our: table[their] for our, their in theirs.items()}), ignored


def release_of(given: pd.DataFrame | Iterable[Record], root: Path, path: Path, config: DatasetConfig) -> Release:
    """Return the rows that have a label and a file; list the others as skipped.

    Whole columns are processed at once, so that a million rows take seconds. Raises InputError if a value is wrong.

    Args:
        given: rows with (some of) the columns of the corpus table.
        root: the folder that the paths in `audio` are relative to.
        path: the table that the rows come from, for error messages.
        config: the settings of the corpus.
    """
    table = given if isinstance(given, pd.DataFrame) else pd.DataFrame(list(given), dtype="str").fillna("")
    table = table[[column for column in table if column in USED]].set_axis(range(1, len(table) + 1))
    for column in USED - set(table.columns):
        table[column] = pd.Series("", table.index, "str")
    table["audio"] = _relative_paths(table["audio"], path)
    table["label"] = _map_values(table["label"], lambda label, _: unicodedata.normalize("NFC", label))
    missing = _missing(table, root)
    table["utterance"] = _utterance_names(table, missing == "", path)
    rest = table.assign(missing=missing)[["utterance", "audio", "missing"]][missing != ""]
    skipped = [Skipped(name, audio, f"no {what}: row {row}") for row, name, audio, what in rest.to_records().tolist()]
    table = table[missing == ""]
    table["language"] = table["language"].where(table["language"] != "", config.language)
    table["split"] = _known_words(table["split"], SPLIT_WORDS, "train, dev, test", path)
    table["gender"] = _known_words(table["gender"], GENDER_WORDS, "female, male", path)
    for column in ("start", "end"):
        table[column] = _seconds(table[column], path)
    _check_order(table, path)
    table["source"] = _sources(table, config.name)
    return Release(make_table(table), skipped)


def _missing(table: pd.DataFrame, root: Path) -> pd.Series:
    """Return what each row lacks: "audio", "label", "audio file", or "" if it is complete."""
    is_file = _map_values(table["audio"], lambda audio, _: os.path.isfile(f"{root}/{audio}"), "bool")
    lacks = [table["audio"] == "", table["label"] == "", ~is_file]
    return pd.Series(np.select(lacks, ["audio", "label", "audio file"], ""), table.index)


def _map_values(column: pd.Series, function: Callable[[Any, int], Any], kind: Any = "str") -> pd.Series:
    """Return `function(value, row)` for each value; it is called once per distinct value, with its first row."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    first = column.index[~pd.Series(codes).duplicated()]  # in the order of the values
    results = pd.Series([function(value, row) for value, row in zip(values, first, strict=True)], dtype=kind)
    mapped: pd.Series = results.take(codes).set_axis(column.index)
    return mapped


def _utterance_names(table: pd.DataFrame, used: pd.Series, path: Path) -> pd.Series:
    """Return the given utterance names; for the others the file without its suffix, and `#2`, `#3` if that is taken.

    Only rows that are used (`used`) take a name. Raises InputError if two of them are given the same name.
    """
    stems = _map_values(table["audio"], lambda audio, _: posixpath.splitext(audio)[0])
    names = table["utterance"].where(table["utterance"] != "", stems)
    if not names.duplicated().any():
        return names
    taken: set[str] = set()
    numbers: defaultdict[str, int] = defaultdict(lambda: 1)  # the last number of each file, so that none is tried twice
    result = []
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
        result.append(name)
    return pd.Series(result, table.index, "str")


def _sources(table: pd.DataFrame, corpus: str) -> pd.Series:
    """Return the given source; for other rows the file, because segments of a file may overlap or sound alike."""
    recording = _map_values(table["audio"], lambda audio, _: f"{corpus}/{posixpath.splitext(audio)[0]}")
    return table["source"].where(table["source"] != "", recording)


def _relative_paths(audio: pd.Series, path: Path) -> pd.Series:
    return _map_values(audio, lambda value, row: _relative(value, f"{path}, row {row}") if value else "")


def _relative(audio: str, place: str) -> str:
    """Return the normal form of a path; raise InputError, beginning with `place`, if it may leave the root."""
    if "\\" in audio:
        raise InputError(f"{place}: the audio path '{audio}' has backslashes; write it with forward slashes.")
    path = posixpath.normpath(audio)
    if path.startswith("/") or WINDOWS_DRIVE.match(path):
        raise InputError(f"{place}: the audio path '{audio}' is absolute; write it relative to dataset.root.")
    if path.split("/")[0] == "..":
        raise InputError(f"{place}: the audio path '{audio}' leaves dataset.root; move the file or the root.")
    return path


def _seconds(column: pd.Series, path: Path) -> pd.Series:
    """Return times in seconds; an empty cell becomes NaN."""
    filled = column[column != ""]
    try:
        seconds = filled.astype("float64[pyarrow]")
    except ValueError:
        seconds = pd.to_numeric(filled, errors="coerce")  # far slower, but marks the wrong values
    wrong = filled.index[~((seconds >= 0) & (seconds < math.inf))]
    if len(wrong):
        raise InputError(
            f"{path}, row {wrong[0]}, {column.name}: '{column[wrong[0]]}' is no time in seconds "
            f"(such as 1.5, or empty)."
        )
    return seconds.astype("float64").reindex(column.index)


def _check_order(table: pd.DataFrame, path: Path) -> None:
    """Raise InputError if a segment ends before it starts; an empty start is the start of the file."""
    backwards = table.index[table["end"] <= table["start"].fillna(0.0)]
    if len(backwards):
        end = table["end"][backwards[0]]
        raise InputError(
            f"{path}, row {backwards[0]}: the segment ends at {end:g} s, before it starts; correct start and end."
        )


def _known_words(column: pd.Series, choices: Mapping[str, str], allowed: str, path: Path) -> pd.Series:
    """Return our word for each value; raise InputError with the row if a value is not among the choices."""

    def word(value: str, row: int) -> str:
        if value.lower() not in choices:
            raise InputError(f"{path}, row {row}: the {column.name} is '{value}'; it must be {allowed} or empty.")
        return choices[value.lower()]

    return _map_values(column, word)
