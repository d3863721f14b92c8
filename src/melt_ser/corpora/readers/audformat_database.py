"""A database in audformat, such as those that audb publishes: `db.yaml`, its tables, and the audio files.

`dataset.columns` maps our columns to the database's schemes (or columns, or labels of a scheme, such as the gender of
a speaker); `dataset.parts` names the tables with the labels (default: all), with `*` for any letters. Tables with a
split of their own define train, dev and test. The language is that of the speaker or the recording if a scheme states
it, and otherwise the only one of the header. Only tables stored as CSV or parquet are read: audformat prefers a pickle
if the database has one, and a pickle can run any code.
Source: audeering.github.io/audformat; `download.audb` gets a database by its name.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError, did_you_mean, first_line
from melt_ser.corpora.ratings import ATTRIBUTE
from melt_ser.corpora.readers.annotations import Record
from melt_ser.corpora.readers.audformat_ratings import (
    Segment,
    combining,
    rated_columns,
    segment_of,
    with_ratings,
)
from melt_ser.corpora.readers.columns import columns_of, needs_label, with_our_genders
from melt_ser.corpora.readers.csv import release_of
from melt_ser.corpora.readers.release import not_found
from melt_ser.corpora.table import SPLIT_WORDS, Release

HEADER = "db.yaml"
AGAIN = "get the database again, or correct that file"
# Names that databases commonly use; each is read if the database has it.
COMMON = {"label": "emotion", **{name: name for name in ("speaker", "gender", "language")}, "text": "transcription"}


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every file or segment that has a label; list those without a label or a file as skipped.

    Raises InputError if the tables disagree, SetupError if audformat is not installed.
    """
    if not (root / HEADER).is_file():
        raise not_found(root / HEADER, config)
    database = _load(root)
    config = replace(config, parts=_tables_of_parts(database, config, root), language=_language(database, config))
    columns = _columns(database, config, root)
    try:
        label, *others = sorted(columns.values(), key=lambda name: name != columns.get("label"))
        frame = database.get(label, others, tables=config.parts, aggregate_function=combining(config))
        splits, notes = _splits(database, label, config, root)
    except (ValueError, KeyError) as error:
        reason = first_line(error).rstrip(".: ")
        tables = ", ".join(name for name, table in database.tables.items() if columns.get("label") in table.columns)
        raise InputError(
            f"The tables of {root / HEADER} do not go together ({reason}); name those to read with dataset.parts, of "
            f"{tables}."
        ) from None
    records, other_genders = with_our_genders(
        _record(index, row, columns, splits) for index, row in zip(frame.index, frame.to_dict("records"), strict=True)
    )
    release = release_of(records, root, root / HEADER, config)
    if config.target is not None or "label" not in columns:
        release = with_ratings(release, database, columns)
    licence = [f"licence of the database: {database.license}"] if database.license else []
    release.notes += other_genders + notes + licence
    return release


def _splits(database: Any, label: str, config: DatasetConfig, root: Path) -> tuple[dict[Segment, str], list[str]]:
    """Return the split of each segment, from the tables with a split, and a note on splits with other names than ours.

    Raises InputError if a segment is in two splits.
    """
    splits: dict[Segment, str] = {}
    conflicts: dict[Segment, str] = {}
    unknown: Counter[str] = Counter()
    for name, description in database.splits.items():
        split = SPLIT_WORDS.get(name.lower()) or SPLIT_WORDS.get(description.type, "")
        for index in database.get(label, tables=config.parts, splits=name, aggregate_function=combining(config)).index:
            segment = segment_of(index)
            unknown[name] += not split
            if splits.setdefault(segment, split) != split:
                conflicts[segment] = f"{segment[0]} in '{splits[segment]}' and '{split}'"
    if conflicts:
        raise InputError(
            f"The tables of {root / HEADER} have {len(conflicts)} files or segments in two splits (such as "
            f"{next(iter(conflicts.values()))}); name the tables to read with dataset.parts, or correct them."
        )
    named = ", ".join(f"{name} ({number})" for name, number in unknown.items() if number)
    return splits, [f"rows of splits other than train, dev and test have none: {named}"] if named else []


def _load(root: Path) -> Any:
    """Return the database, read without its pickles."""
    try:
        import audformat
    except ImportError:
        raise SetupError(
            "Reading audformat databases needs the package audformat: pip install 'melt-ser[audformat]'."
        ) from None
    with tempfile.TemporaryDirectory() as name:  # a copy of the tables without the pickles
        for path in root.glob("db.*"):
            if path.suffix in (".yaml", ".csv", ".parquet"):
                shutil.copyfile(path, Path(name) / path.name)
        try:
            # audformat's loader would run Python tags in the header; safe_load fails on them.
            yaml.safe_load((root / HEADER).read_text(encoding="utf-8"))
            database = audformat.Database.load(name)
        except Exception as error:  # a header that is not audformat's fails in many ways
            raise InputError(f"{root / HEADER} is not a header of audformat ({_reason(error)}); {AGAIN}.") from None
        for table_id in (*database.misc_tables, *database.tables):  # labels of tables may come from the misc tables
            _load_table(database[table_id], Path(name) / f"db.{table_id}", root)
    return database


def _load_table(table: Any, copied: Path, root: Path) -> None:
    """Load the data of one table from its copy, whose path has no suffix; InputError with its file if that fails."""
    name = copied.name
    file = next((f"{name}.{kind}" for kind in ("parquet", "csv") if Path(f"{copied}.{kind}").is_file()), None)
    if file is None:
        found = "which is there only as a pickle, and pickles are not read" if (root / f"{name}.pkl").is_file() else ""
        raise InputError(
            f"{root / HEADER} names a table whose file {name}.csv or {name}.parquet is missing{found and ', '}{found}; "
            f"store the database again with audformat's Database.save(…, storage_format='parquet')."
        )
    try:
        table.load(str(copied))
    except Exception as error:  # a damaged table fails in many ways
        raise InputError(f"{root / file} is not a table of audformat ({_reason(error)}); {AGAIN}.") from None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _tables_of_parts(database: Any, config: DatasetConfig, root: Path) -> list[str] | None:
    """Return the tables that `dataset.parts` names (None: all); raise SetupError if one of its names fits no table."""
    if config.parts is None:
        return None
    for part in config.parts:
        if not any(fnmatchcase(table, part) for table in database.tables):
            raise SetupError(
                f"{root / HEADER} has no table '{part}' (dataset.parts); {did_you_mean(part, database.tables)}"
            )
    return [table for table in database.tables if any(fnmatchcase(table, part) for part in config.parts)]


def _language(database: Any, config: DatasetConfig) -> str:
    """Return `dataset.language`, or the language of the header if it states a single one."""
    languages = database.languages or []
    return config.language or (_two_letters(languages[0]) if len(languages) == 1 else "")


def _two_letters(language: str) -> str:
    """Return the code of ISO 639-1 for a language that audformat names by ISO 639-3; the name itself if it has none."""
    import iso639  # comes with audformat

    try:
        return iso639.Lang(language).pt1 or language
    except iso639.exceptions.InvalidLanguageValue:
        return language


def _columns(database: Any, config: DatasetConfig, root: Path) -> dict[str, str]:
    """Return the database's name for each of our columns: the configured names, and common names that it has.

    Raises InputError if a configured name or the label is missing.
    """
    names = set(database.schemes) | {column for table in _tables(database) for column in table.columns}
    for scheme in database.schemes.values():
        if isinstance(scheme.labels, dict):
            names |= {key for values in scheme.labels.values() if isinstance(values, dict) for key in values}
    for our, name in columns_of(config).items():
        if name is not None and name not in names:
            raise InputError(f"{root / HEADER} has no '{name}' (dataset.columns.{our}); {did_you_mean(name, names)}")
    wanted = {our: name for our, name in {**COMMON, **columns_of(config)}.items() if name is not None}
    columns = {our: name for our, name in wanted.items() if name in names}
    rated: dict[str, str] = {}
    if config.target is not None or config.attributes or "label" not in columns:
        rated = rated_columns(names, config)
    for our, name in rated.items():
        if name not in names:
            raise InputError(
                f"{root / HEADER} has no '{name}' for {our.removeprefix(ATTRIBUTE)}; {did_you_mean(name, names)}"
            )
    columns |= rated
    if "label" not in columns and (not columns or (needs_label(config) and not rated)):
        raise InputError(
            f"{root / HEADER} has no 'emotion': set +dataset.columns.label to one of {', '.join(sorted(names))}."
        )
    return columns


def _tables(database: Any) -> list[Any]:
    return [*database.tables.values(), *database.misc_tables.values()]


def _record(index: Any, row: dict[str, Any], columns: dict[str, str], splits: dict[Segment, str]) -> Record:
    """Return a row under our column names, with its file, times and split."""
    record = {our: "" if pd.isna(row[name]) else str(row[name]) for our, name in columns.items()}
    file, start, end = segment = segment_of(index)
    if start or end is not None:
        record["start"] = str(start)
        record["end"] = "" if end is None else str(end)
    language = _two_letters(record["language"]) if record.get("language") else ""
    return {**record, "audio": file, "split": splits.get(segment, ""), "language": language}
