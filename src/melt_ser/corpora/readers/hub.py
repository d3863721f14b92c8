"""A data set of the Hugging Face hub, or a local folder in the same format, with its columns named in the YAML.

Two formats: the audiofolder layout (clips, and `metadata.csv` or `metadata.jsonl` whose `file_name` is relative to
it), and what the datasets library stores and the hub shows: parquet with the audio's bytes within. The latter is
unpacked once into the audiofolder layout, in the cache folder under a digest of its files, so that both are read
alike. Audio is never decoded by the datasets library, whose decoder needs torchcodec and a shared FFmpeg; even its
own audiofolder loader does, hence the reader of that layout here.

`dataset.columns` maps our columns to theirs (`label: emotion`). Without an entry, `label`, `speaker`, `gender` and
`text` are read from columns of the same names (an entry `text: null` prevents it); any other column may mean something
else there and is not read. Splits of the usual names (train, validation, test, …) become ours; a data set with a single
split has none. Notes say which columns were read, and how many rows have a split of another name.
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
from melt_ser.corpora.readers.annotations import GENDERS, SPLITS, Record, read_records
from melt_ser.corpora.readers.csv import columns_of, release_of
from melt_ser.corpora.readers.release import not_found, visible_files
from melt_ser.corpora.table import Release

FILE_NAME = "file_name"  # the audiofolder layout's column
SAME = ("label", "speaker", "gender", "text")  # mean the same wherever they are called so


def read(root: Path, config: DatasetConfig) -> Release:
    """Every row that has a label and a clip; the others are problems."""
    if not root.is_dir():
        raise not_found(root, config)
    folder = root if _metadata_files(root) else unpack_hub(root, config)
    notes: dict[str, None] = {}  # each once, in order
    records = [record for path in _metadata_files(folder) for record in _records(folder, path, config, notes)]
    wanted = None if config.parts is None else set(config.parts)
    found = {record["part"] for record in records}
    for part in sorted((wanted or set()) - found):
        raise SetupError(f"The data set in {root} has no split '{part}' (dataset.parts); {did_you_mean(part, found)}")
    used = [record for record in records if wanted is None or record["part"] in wanted]
    unknown = Counter(record["part"] for record in used if not record["split"])
    if len({record["split"] for record in used}) == 1:
        used = [{**record, "split": ""} for record in used]
    release = release_of(used, folder, folder, config)
    release.root = folder
    release.notes += [*notes, *_without_split(unknown)]
    return release


def _without_split(parts: Counter[str]) -> list[str]:
    """A note where the data set has parts that are not called train, dev or test."""
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
    """The rows of one metadata file in our columns, and the `part` of the data set that each is in."""
    columns, rows = _read_csv(path) if path.suffix == ".csv" else _read_json_lines(path)
    ours = _our_columns(path, columns, config)
    notes[_says_columns(columns, ours)] = None
    base = path.parent.relative_to(folder).as_posix()
    for row in rows:
        record = {our: row[their] for our, their in ours.items()}
        place = posixpath.normpath(posixpath.join(base, record["audio"] or "no audio"))
        record["audio"] = place if record["audio"] else ""
        folders = place.split("/")[:-1]
        record["part"] = next((name for name in folders if name.lower() in SPLITS), folders[0] if folders else "")
        record["split"] = record.get("split") or SPLITS.get(record["part"].lower(), "")  # a column's words are checked
        record["gender"] = GENDERS.get(record.get("gender", "").lower(), "")
        yield record


def _our_columns(path: Path, columns: list[str], config: DatasetConfig) -> dict[str, str]:
    """Which of their columns each of ours is read from."""
    same = {column: column for column in SAME if column in columns}
    ours = {**same, **columns_of(config), "audio": FILE_NAME}
    for our, their in ours.items():
        if their is not None and their.lower() not in columns:
            raise InputError(f"{path} has no column '{their}' (dataset.columns.{our}): {did_you_mean(their, columns)}")
    if ours.get("label") is None:
        raise InputError(f"{path} has no column 'label': set +dataset.columns.label to one of {', '.join(columns)}.")
    return {our: their.lower() for our, their in ours.items() if their is not None}


def _says_columns(columns: list[str], ours: dict[str, str]) -> str:
    """What was read from which column, and which columns were not read, as a note."""
    read = ", ".join(f"{our} from {their}" for our, their in sorted(ours.items()))
    rest = [column for column in columns if column not in ours.values()]
    return f"columns: {read}" + (f"; not read: {', '.join(rest)} (dataset.columns)" if rest else "")


def _read_csv(path: Path) -> tuple[list[str], list[Record]]:
    return read_records(path, (FILE_NAME,))


def _read_json_lines(path: Path) -> tuple[list[str], list[Record]]:
    try:
        parsed: list[dict[str, Any]] = [json.loads(line) for line in path.read_text("utf-8-sig").splitlines() if line]
        rows = [{key.lower(): "" if value is None else str(value) for key, value in row.items()} for row in parsed]
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a JSON object a line ({error}).") from None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if FILE_NAME not in columns:
        raise InputError(f"{path} lacks the column {FILE_NAME}; its columns are: {', '.join(columns) or 'none'}.")
    return columns, [{column: row.get(column, "") for column in columns} for row in rows]
