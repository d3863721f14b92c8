"""Releases with labels in a table next to the audio: read the table, and join it with the clips.

A reader of such a release has the names of the required columns, and a function that makes a row of the corpus table
from a record, that is from a row of the release's table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from melt_ser.config import DatasetConfig
from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.release import Row, Unused, audio_files, preference
from melt_ser.corpora.table import Release, Skipped, make_table

Record = dict[str, str]  # by column, in lower case


def read_records(
    path: Path, required: Iterable[str], delimiters: str = ",;\t", strict: bool = False
) -> tuple[list[str], list[Record]]:
    """Return the columns and the rows of a table (see `delimited.read_table`)."""
    table = read_table(path, required, delimiters, strict)
    columns = [str(column) for column in table]
    return columns, [dict(zip(columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def join_clips(
    root: Path,
    config: DatasetConfig,
    records: Iterable[Record],
    file_column: str,
    row: Callable[[str, Record], Row],
    rank: Callable[[Path], Any] = preference,
    needs_label: bool = True,
) -> Release:
    """Return a row for each record that has a label and a clip; list all other records and clips as skipped.

    The source of a row is `<reader>/<utterance>`, its language is the configured one.

    Args:
        root: the folder of the release; the clips may be anywhere below it.
        config: the settings of the corpus.
        records: the rows of the release's table.
        file_column: the column with the file name of the clip; its folder and suffix are ignored.
        row: returns columns of the corpus table from the clip's name and the record; raises `Unused` for a record to
            skip.
        rank: returns the rank of a file; of several files of one clip, the one with the lowest rank is used.
        needs_label: whether a record without a label is skipped.
    """
    clips: dict[str, str] = {}
    skipped = []
    for path in sorted(audio_files(root, nested=True), key=lambda path: (rank(path), path)):
        audio = path.relative_to(root).as_posix()
        if clips.setdefault(path.stem, audio) != audio:
            skipped.append(Skipped("", audio, f"a second file of a clip: {clips[path.stem]} is used"))
    rows: dict[str, Row] = {}
    unnamed = dict(clips)
    for number, record in enumerate(records, start=1):
        name = PurePosixPath(record[file_column]).stem
        unnamed.pop(name, None)
        audio = clips.get(name, "")
        try:
            columns = row(name, record)
            _check_usable(audio, needs_label and not columns["label"], name in rows)
        except Unused as reason:
            skipped.append(Skipped(name, audio, f"{reason}: row {number}"))
        else:
            source = f"{config.reader}/{name}"
            rows[name] = {"utterance": name, "source": source, "audio": audio, "language": config.language, **columns}
    skipped += [Skipped("", audio, "file without annotation") for audio in unnamed.values()]
    return Release(make_table(rows.values()), skipped)


def _check_usable(audio: str, unlabelled: bool, repeated: bool) -> None:
    if not audio:
        raise Unused("no audio file")
    if repeated:
        raise Unused("a clip that is named again")
    if unlabelled:
        raise Unused("no label")
