"""A user's own corpus: a CSV with at least the columns `audio,label`, or with others that are mapped to them.

The other columns of the corpus table (`table.COLUMNS`) are read too, except `duration`. `dataset.columns` maps our
columns to the columns of the CSV (`label: emotion`; null: not read), and `dataset.label_column` does so for the label
alone. Common names, such as path, emotion and speaker_id, need no entry (`columns.COMMON_NAMES`). `delimited` says how
the CSV may be written, and `audio_paths` how its paths may be.

Rows with the same file are segments (`start`, `end`) of one recording, and a recording is never in two of train, dev
and test. If a file holds several recordings, name each in the `source` column. Several rows of the same segment are
refused, or are the votes of raters (`raters`).
"""

from __future__ import annotations

import math
import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from melt_ser.audio.shards import is_recording
from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.package import expanded
from melt_ser.core.vocabulary import USED_COLUMNS
from melt_ser.corpora.ratings import ATTRIBUTE, VOTES
from melt_ser.corpora.readers.annotations import Record
from melt_ser.corpora.readers.audio_paths import RootFolder
from melt_ser.corpora.readers.columns import columns_of, find_columns, listed, needs_label
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.placeholders import without_placeholders
from melt_ser.corpora.readers.rated import has_ratings, rating_columns, ratings_of
from melt_ser.corpora.readers.raters import one_row_each
from melt_ser.corpora.readers.release import not_found
from melt_ser.corpora.table import GENDER_WORDS, SPLIT_WORDS, Release, Skipped, make_table


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every row that has a label and a file; list the others as skipped. The duration is measured later.

    Raises SetupError if there is no table, InputError if the table is malformed or a value is wrong.
    """
    if config.table is None:
        raise SetupError("dataset=csv needs a table: set dataset.table=<a CSV with the columns audio,label>.")
    if not root.is_dir():
        raise not_found(root, config)
    path = root / expanded(config.table)  # an absolute table stays as it is
    if config.root is None and not os.path.isfile(path):
        path = root / expanded(config.table).name  # the root is the folder of the table
    if not os.path.isfile(path):
        raise SetupError(f"There is no table at {path}: set dataset.table=<its path, absolute or within {root}>.")
    table = read_table(path, (), strict=True)
    present = [str(column) for column in table]
    columns, notes = find_columns(present, _column_mapping(config), path)
    rated = rating_columns(table, path, config, has_label="label" in columns)
    require_columns(columns, present, path, config, is_rated=not rated.empty or config.raters is not None)
    if table.empty:
        raise InputError(f"{path} has a header and no rows; give it a row for each utterance.")
    used = {*columns.values(), *rated.attrs["columns"], "duration"}  # the duration is measured
    ignored = [column for column in present if column not in used]
    notes += [f"columns that are not used: {', '.join(ignored)}"] if ignored else []
    ours = pd.DataFrame({our: table[their] for our, their in columns.items()})
    release = release_of(ours.join(rated), root, path, config)
    release.notes = notes + release.notes
    return release


def _column_mapping(config: DatasetConfig) -> dict[str, str | None]:
    """Return the CSV's column for each of our columns that the settings map; None: not read."""
    label = {"label": config.label_column} if config.label_column != DatasetConfig.label_column else {}
    return {**label, **columns_of(config)}


def require_columns(
    found: Mapping[str, str], present: Sequence[str], path: Path, config: DatasetConfig, is_rated: bool = False
) -> None:
    """Raise InputError if the table lacks the audio, or anything to learn.

    A label may be in another file (`dataset.label_file`), and a corpus with ratings needs none.
    """
    label = needs_label(config) and not is_rated
    missing = [our for our in ("audio", "label") if our not in found and (our != "label" or label)]
    if not missing:
        return
    fix = "name yours with " + " and ".join(f"+dataset.columns.{our}=<column>" for our in missing)
    if "label" in missing and config.rater_vote is None:
        fix += ", or give labels with dataset.label_file=<table>"
    if len(present) == 1:
        fix = f"separate its columns with commas, semicolons or tabs, or {fix}"
    raise InputError(f"{path} lacks the column {' and '.join(missing)}; its columns are: {listed(present)}; {fix}.")


def release_of(
    given: pd.DataFrame | Iterable[Record], root: Path, path: Path, config: DatasetConfig, is_found: bool = False
) -> Release:
    """Return the rows that have a label and a file, one for each recording or segment; list the others as skipped.

    A row needs no label if `dataset.label_file` gives it. Whole columns are processed at once, so that a million rows
    take seconds. Raises InputError if a value is wrong.

    Args:
        given: rows with (some of) the columns of the corpus table.
        root: the folder that the paths in `audio` are relative to.
        path: the table that the rows come from, for error messages.
        config: the settings of the corpus.
        is_found: whether the paths are known to be of recordings below the root, and need no look at each.
    """
    table = given if isinstance(given, pd.DataFrame) else pd.DataFrame(list(given), dtype="str").fillna("")
    table = table.set_axis(range(1, len(table) + 1))
    rated = table[[column for column in table if str(column).startswith((ATTRIBUTE, VOTES))]]
    needs = needs_label(config) and not has_ratings(rated, table, config)
    table = table[[column for column in table if column in USED_COLUMNS]]
    for column in USED_COLUMNS - set(table.columns):
        table[column] = pd.Series("", table.index, "str")
    folder = RootFolder(root)
    if not is_found:
        table["audio"] = _map_values(
            table["audio"],
            lambda audio, row: _as_stored(root, folder.relative(audio, f"{path}, row {row}")) if audio else "",
        )
    table["label"] = _map_values(table["label"], lambda label, _: unicodedata.normalize("NFC", label))
    reasons = _missing(table, None if is_found else root, needs)
    complete, unknown = without_placeholders(table[reasons == ""])
    used, left_out, notes = one_row_each(_with_values(complete, path, config), config, path)
    reasons.update(pd.Series(left_out, dtype="str"))
    names = _utterance_names(table, table.index.isin(used.index), path)
    rest = pd.DataFrame({"name": names, "audio": table["audio"], "reason": reasons})[reasons != ""]
    skipped = [Skipped(name, audio, f"{reason}: row {row}") for row, name, audio, reason in rest.to_records().tolist()]
    used = used.assign(utterance=names[used.index], source=_sources(used, config.name))
    ratings = ratings_of(rated.loc[used.index], used["utterance"], path)
    return Release(make_table(used), skipped, unknown + notes, ratings=ratings)


def _as_stored(root: Path, audio: str) -> str:
    """Return a path in the form that its file has on the disk: macOS writes a letter and its accent apart."""
    if audio.isascii():
        return audio
    forms = (audio, *(unicodedata.normalize(form, audio) for form in ("NFC", "NFD")))
    return next((form for form in forms if is_recording(f"{root}/{form}")), audio)


def _missing(table: pd.DataFrame, root: Path | None, needs_label: bool) -> pd.Series:
    """Return what each row lacks: "no audio", "no label" (if it needs one), "no audio file", or "" if complete.

    root: the folder of the files; None: all are there.
    """
    lacks = {"no audio": table["audio"] == "", "no label": (table["label"] == "") & needs_label}
    if root is not None:
        is_file = _map_values(table["audio"], lambda audio, _: is_recording(f"{root}/{audio}"), "bool")
        lacks["no audio file"] = ~is_file
    return pd.Series(np.select(list(lacks.values()), list(lacks), ""), table.index, "str")


def _with_values(table: pd.DataFrame, path: Path, config: DatasetConfig) -> pd.DataFrame:
    """Return complete rows with our words for splits and genders, and with times in seconds."""
    table = table.assign(
        language=table["language"].where(table["language"] != "", config.language),
        split=_known_words(table["split"], SPLIT_WORDS, "train, dev, test", path),
        gender=_known_words(table["gender"], GENDER_WORDS, "female, male", path),
        start=_seconds(table["start"], path),
        end=_seconds(table["end"], path),
    )
    _check_order(table, path)
    return table


def _map_values(column: pd.Series, function: Callable[[Any, int], Any], kind: Any = "str") -> pd.Series:
    """Return `function(value, row)` for each value; it is called once per distinct value, with its first row."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    first = column.index[~pd.Series(codes).duplicated()]  # in the order of the values
    results = pd.Series([function(value, row) for value, row in zip(values, first, strict=True)], dtype=kind)
    mapped: pd.Series = results.take(codes).set_axis(column.index)
    return mapped


def _utterance_names(table: pd.DataFrame, used: npt.NDArray[np.bool_], path: Path) -> pd.Series:
    """Return the given utterance names; for the others the file without its suffix, and `#2`, `#3` if that is taken.

    Only rows that are used (`used`) take a name. Raises InputError if two of them are given the same name.
    """
    stems = _map_values(table["audio"], lambda audio, _: posixpath.splitext(audio)[0])
    names = table["utterance"].where(table["utterance"] != "", stems)
    if not names.duplicated().any():
        return names
    given_names = set(table.loc[used, "utterance"])  # also those of later rows: no file takes one
    taken: set[str] = set()
    numbers: defaultdict[str, int] = defaultdict(lambda: 1)  # the last number of each file, so that none is tried twice
    result = []
    for row, given, stem, is_used in zip(table.index, table["utterance"], stems, used, strict=True):
        name, number = given or stem, numbers[stem]
        while not given and (name in taken or name in given_names):
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
    """Raise InputError if a segment does not end after its start; an empty start is the start of the file."""
    backwards = table.index[table["end"] <= table["start"].fillna(0.0)]
    if len(backwards):
        end = table["end"][backwards[0]]
        raise InputError(
            f"{path}, row {backwards[0]}: the segment ends at {end:g} s, and starts then or later; correct start and "
            "end."
        )


def _known_words(column: pd.Series, choices: Mapping[str, str], allowed: str, path: Path) -> pd.Series:
    """Return our word for each value; raise InputError with the row if a value is not among the choices."""

    def word(value: str, row: int) -> str:
        if value.lower() not in choices:
            raise InputError(
                f"{path}, row {row}: the {column.name} is '{value}'; it must be {allowed} or empty "
                f"(+dataset.columns.{column.name}=null leaves the column out)."
            )
        return choices[value.lower()]

    return _map_values(column, word)
