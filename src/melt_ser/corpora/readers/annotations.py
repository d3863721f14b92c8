"""Releases whose labels stand in a table beside the audio: reading the table, and joining it with the clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from melt_ser.corpora.readers.delimited import read_table
from melt_ser.corpora.readers.release import audio_files, preference
from melt_ser.corpora.table import Release, Skipped, make_table

Record = dict[str, str]


def read_records(
    path: Path, required: Iterable[str], delimiters: str = ",;\t", strict: bool = False
) -> tuple[list[str], list[Record]]:
    """The columns and the rows of `delimited.read_table`, a dictionary a row."""
    table = read_table(path, required, delimiters, strict)
    columns = [str(column) for column in table]
    return columns, [dict(zip(columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def join_clips(
    root: Path,
    records: Iterable[Record],
    file_column: str,
    describe: Callable[[str, Record], Mapping[str, Any] | str],
    rank: Callable[[Path], Any] = preference,
) -> Release:
    """Each record with the clip anywhere under `root` whose name without suffix its `file_column` gives.

    `describe` takes that name and the record to the columns of the corpus table, or to the reason why the record is
    not used; `rank` orders several clips of a name, best first. Records without a clip or a label, and clips that no
    record names or that are not the best, are problems.
    """
    clips: dict[str, str] = {}
    problems = []
    for path in sorted(audio_files(root, nested=True), key=lambda path: (rank(path), path)):
        audio = path.relative_to(root).as_posix()
        if clips.setdefault(path.stem, audio) != audio:
            problems.append(Skipped("", audio, f"a second file of a clip: {clips[path.stem]} is used"))
    unnamed = dict(clips)
    rows: dict[str, Mapping[str, Any]] = {}
    for number, record in enumerate(records, start=1):
        name = PurePosixPath(record[file_column]).stem
        unnamed.pop(name, None)
        audio, described = clips.get(name, ""), describe(name, record)
        reason = described if isinstance(described, str) else _lack(audio, described, name in rows)
        if reason:
            problems.append(Skipped(name, audio, f"{reason}: row {number}"))
        else:
            assert not isinstance(described, str)
            rows[name] = {"utterance": name, "audio": audio, **described}
    problems += [Skipped("", audio, "file without annotation") for audio in unnamed.values()]
    return Release(make_table(rows.values()), problems)


def _lack(audio: str, described: Mapping[str, Any], again: bool) -> str:
    if not audio:
        return "no audio file"
    if again:
        return "a clip that is named again"
    return "" if described["label"] else "no label"
