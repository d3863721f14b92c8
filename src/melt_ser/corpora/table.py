"""The corpus table: one row an utterance, always the same columns.

A reader turns a release into a `Release`; `prepare` verifies its audio; training sees only the table.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melt_ser.core.errors import InputError

COLUMNS = (
    "utterance",  # unique within the corpus
    "source",  # identity of the recording, the same in every corpus that reuses it
    "audio",  # path relative to the corpus root, with forward slashes
    "start",  # seconds; NaN: from the beginning
    "end",  # seconds; NaN: to the end
    "duration",  # seconds, measured
    "split",  # train, dev, test, or "" where the release has none
    "speaker",
    "session",  # recording session or dialogue
    "gender",  # female, male or ""
    "language",  # ISO 639-1
    "text",
    "intensity",  # as the release writes it: normal, strong, ... or ""
    "label",  # raw, as the release writes it
)
SECONDS = ("start", "end", "duration")


@dataclass(frozen=True)
class Skipped:
    """Something of a release that is not used, and why."""

    utterance: str
    audio: str
    reason: str


@dataclass
class Release:
    """What a reader found: every usable row (durations not yet measured) and every problem."""

    table: pd.DataFrame
    problems: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    root: Path | None = None  # of the audio, where it is not the folder that was read


def make_table(rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """A table of the given rows; what a row does not say is "" (seconds: NaN)."""
    given = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), dtype=object)
    given = given.reset_index(drop=True)
    return pd.DataFrame({column: _column(given, column) for column in COLUMNS}, index=given.index)


def _column(given: pd.DataFrame, column: str) -> pd.Series:
    """A column as the table has it, whatever was given of it."""
    if column in SECONDS:
        return given[column].astype("float64") if column in given else pd.Series(math.nan, given.index, "float64")
    if column not in given:
        return pd.Series("", given.index, "str")
    values = given[column].where(given[column].notna(), "")
    return (values if values.dtype == "str" else values.map(str).map(encodable)).astype("str")


def encodable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a file name that are not UTF-8 as escapes (so that its file is not found)."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def validate(table: pd.DataFrame, corpus: str) -> None:
    """Raise InputError where a table breaks its contract (see `COLUMNS`)."""
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"The table of '{corpus}' lacks the column {', '.join(missing)}.")
    if table.empty:
        raise InputError(f"The table of '{corpus}' has no rows; check dataset.root.")
    repeated = table["utterance"][table["utterance"].duplicated()]
    if len(repeated):
        raise InputError(
            f"The table of '{corpus}' has the utterance '{repeated.iloc[0]}' more than once "
            f"({len(repeated)} repeated rows); utterance names must be unique."
        )
    for column in ("utterance", "source", "audio", "label"):
        empty = table.index[table[column] == ""]
        if len(empty):
            raise InputError(f"The table of '{corpus}' has an empty {column} in row {empty[0] + 1}.")
    unknown = sorted(set(table["split"].unique()) - {"train", "dev", "test", ""})
    if unknown:
        raise InputError(f"The table of '{corpus}' has the split '{unknown[0]}'; a split is train, dev, test or empty.")
    backwards = table.index[table["end"] <= table["start"].fillna(0.0)]
    if len(backwards):
        raise InputError(
            f"The table of '{corpus}' has a segment that ends before it starts: "
            f"utterance '{table.loc[backwards[0], 'utterance']}'."
        )


def digest(table: pd.DataFrame) -> str:
    """The SHA-256 of a table's rows in the order of their utterances: column by column, its name, then its values.

    `content_hash`, of the decoded samples, is among the columns where the table has it (that of a corpus does), so that
    other audio under the same names is another corpus. Texts are hashed as their numbers of bytes and their UTF-8,
    seconds in tenths of a millisecond (-1: NaN), integers as eight bytes, little end first.
    """
    order = table["utterance"].argsort().to_numpy()
    total = hashlib.sha256()
    for column in (*COLUMNS, *table.columns.intersection(["content_hash"])):
        total.update(column.encode())
        values = table[column].iloc[order]
        if column in SECONDS:
            total.update((values * 10_000).round().fillna(-1).to_numpy().astype("<i8").tobytes())
        else:
            lengths, text = _bytes(values)
            total.update(lengths.astype("<i8").tobytes())
            total.update(text)
    return total.hexdigest()


def _bytes(texts: pd.Series) -> tuple[np.ndarray, memoryview]:
    """The number of bytes of each text, and all texts together in UTF-8, as Arrow holds them."""
    import pyarrow

    array = pyarrow.chunked_array([pyarrow.array(texts, pyarrow.large_string())]).combine_chunks()
    _, offsets, text = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.diff(ends), memoryview(text or b"")[ends[0] : ends[-1]]


def shared_values(first: pd.DataFrame, second: pd.DataFrame, column: str) -> list[str]:
    """The values of `column` that two tables share, sorted; an unknown value ("") is never shared."""
    shared = first.loc[first[column].isin(second[column].unique()), column]
    return sorted(set(shared.unique()) - {""})


def check_disjoint(parts: Mapping[str, pd.DataFrame], column: str, corpus: str) -> None:
    """Raise InputError where two parts share a value of `column` (a source, a speaker, a session)."""
    names = list(parts)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            shared = shared_values(parts[first], parts[second], column)
            if shared:
                fix = "dataset.group=source" if column == "source" else "dataset.group or dataset.folds"
                raise InputError(
                    f"The {first} and {second} parts of '{corpus}' share {len(shared)} "
                    f"{column}{'s' if len(shared) > 1 else ''} (such as '{shared[0]}'); "
                    f"fix the split column, or set {fix}."
                )
