"""A data set of the Hugging Face hub, or a local folder in the same format, with its columns named in the YAML.

There are two formats: the audiofolder layout (clips, and `metadata.csv` or `metadata.jsonl` with paths relative to it
in `file_name`), and parquet with the audio inside, as the datasets library stores it and the hub shows it. Parquet is
unpacked once into the audiofolder layout, in a folder of the cache that is named by a digest of the data set, so that
both formats are read in the same way; so are clips without a table, whose folders are their labels. The datasets
library never decodes audio here: its decoder needs torchcodec and a shared FFmpeg. Its own audiofolder loader decodes
too, so this module reads that layout itself.

`dataset.columns` maps our columns to those of the data set (`label: emotion`). Without an entry, `label`, `speaker`,
`gender` and `text` are read from columns with the same name (`text: null` prevents it). Other columns are not read,
because their meaning may differ. Splits with the usual names (train, validation, test, …) become ours; a single split
counts as no split. Notes say which columns were read, and how many rows are in a split of another name.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.download.hub import unpack_hub
from melt_ser.corpora.ratings import ATTRIBUTE
from melt_ser.corpora.readers.annotations import Record, read_records
from melt_ser.corpora.readers.columns import attribute_columns, columns_of, needs_label, with_our_genders
from melt_ser.corpora.readers.csv import release_of
from melt_ser.corpora.readers.release import not_found, visible_files
from melt_ser.corpora.table import SPLIT_WORDS, Release

FILE_NAME = "file_name"  # the column of the audiofolder layout
SAME = ("label", "speaker", "gender", "text")  # columns that have this meaning in every data set


def read(root: Path, config: DatasetConfig) -> Release:
    """Return every row that has a label and a clip; list the others as skipped.

    Raises SetupError if `dataset.parts` names a part that the data set does not have.
    """
    if not root.is_dir():
        raise not_found(root, config)
    folder = root if _metadata_files(root) else unpack_hub(root, config)
    notes: dict[str, None] = {}  # a set that keeps its order
    records = [record for path in _metadata_files(folder) for record in _records(folder, path, config, notes)]
    parts = {record["part"] for record in records}
    for part in sorted(set(config.parts or ()) - parts):
        raise SetupError(f"The data set in {root} has no split '{part}' (dataset.parts); {did_you_mean(part, parts)}")
    used, other_genders = with_our_genders(
        record for record in records if config.parts is None or record["part"] in config.parts
    )
    unknown = Counter(record["part"] for record in used if not record["split"])
    if len({record["split"] for record in used}) == 1:
        used = [{**record, "split": ""} for record in used]
    release = release_of(used, folder, folder, config)
    release.root = folder
    release.notes += [*notes, *other_genders, *_note_on_parts(unknown)]
    return release


def _note_on_parts(parts: Counter[str]) -> list[str]:
    """Return a note if the data set has parts that are not called train, dev or test."""
    named = [f"{part} ({number})" for part, number in sorted(parts.items()) if part]
    if not named:
        return []
    return [
        f"{sum(parts.values())} rows are in parts that are not called train, dev or test and so have no split: "
        f"{', '.join(named)}; dataset.parts chooses among them"
    ]


def _metadata_files(folder: Path) -> list[Path]:
    return [path for path in visible_files(folder) if path.name in ("metadata.csv", "metadata.jsonl")]


def _records(folder: Path, path: Path, config: DatasetConfig, notes: dict[str, None]) -> Iterator[Record]:
    """Return the rows of one metadata file in our columns, with the `part` of the data set that each belongs to."""
    columns, rows = _read_csv(path) if path.suffix == ".csv" else _read_json_lines(path)
    ours = _our_columns(path, columns, config)
    notes[_note_on_columns(columns, ours)] = None
    base = path.parent.relative_to(folder).as_posix()
    for row in rows:
        record = {our: row[their] for our, their in ours.items()}
        audio = record["audio"].replace("\\", "/")  # as Windows writes it; its folders name the part
        path_in_folder = posixpath.normpath(posixpath.join(base, audio or "no audio"))
        record["audio"] = path_in_folder if record["audio"] else ""
        folders = path_in_folder.split("/")[:-1]
        record["part"] = next((name for name in folders if name.lower() in SPLIT_WORDS), folders[0] if folders else "")
        # The words of a split column are checked in `release_of`.
        record["split"] = record.get("split") or SPLIT_WORDS.get(record["part"].lower(), "")
        yield record


def _our_columns(path: Path, columns: list[str], config: DatasetConfig) -> dict[str, str]:
    """Return the data set's column for each of ours that is read; raise InputError if one is missing."""
    same = {column: column for column in SAME if column in columns}
    rated = {ATTRIBUTE + name: their for name, their in attribute_columns(config).items() if their in columns}
    ours = {**same, **columns_of(config), "audio": FILE_NAME, **rated}
    for our, their in ours.items():
        if their is not None and their.lower() not in columns:
            raise InputError(f"{path} has no column '{their}' (dataset.columns.{our}): {did_you_mean(their, columns)}")
    if ours.get("label") is None and needs_label(config) and not rated and config.raters is None:
        raise InputError(f"{path} has no column 'label': set +dataset.columns.label to one of {', '.join(columns)}.")
    return {our: their.lower() for our, their in ours.items() if their is not None}


def _note_on_columns(columns: list[str], ours: dict[str, str]) -> str:
    """Return a note on the columns that are read and those that are not."""
    read = ", ".join(f"{our} from {their}" for our, their in sorted(ours.items()))
    rest = [column for column in columns if column not in ours.values()]
    return f"columns: {read}" + (f"; not read: {', '.join(rest)} (dataset.columns)" if rest else "")


def _read_csv(path: Path) -> tuple[list[str], list[Record]]:
    return read_records(path, (FILE_NAME,))


def _read_json_lines(path: Path) -> tuple[list[str], list[Record]]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # splitlines would cut at characters that JSON allows in a text
        parsed: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
        rows = [{key.lower(): "" if value is None else str(value) for key, value in row.items()} for row in parsed]
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} does not have a JSON object in each line ({error}); write the file again.") from None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if FILE_NAME not in columns:
        raise InputError(f"{path} lacks the column {FILE_NAME}; its columns are: {', '.join(columns) or 'none'}.")
    return columns, [{column: row.get(column, "") for column in columns} for row in rows]
