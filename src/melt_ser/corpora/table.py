"""The corpus table: one row per utterance, always the same columns.

A reader turns a release into a `Release`; `prepare` verifies its audio; training sees only the table. Your own reader
needs three names from here: `Release`, `make_table` and `Skipped` (`corpora.reader` has an example).
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

from melt_ser.core.errors import InputError, encodable
from melt_ser.core.vocabulary import COLUMNS
from melt_ser.corpora.ratings import Ratings

SECONDS = ("start", "end", "duration")
SPLITS = ("train", "dev", "test", "")  # the values of the column `split`, in the order of every listing
# The words that releases use for splits and genders, in lower case, and our words for them.
SPLIT_WORDS = {
    "": "",
    "train": "train",
    "dev": "dev",
    "development": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}
FOLD = "fold "
"""The beginning of the columns of `Release.annotated` with the part of each row in fold 1, 2, ... of the release."""
GENDER_WORDS = {"": "", "female": "female", "f": "female", "male": "male", "m": "male"}


@dataclass(frozen=True)
class Skipped:
    """A row or file of a release that is not used, and the reason; an unknown `utterance` or `audio` is ""."""

    utterance: str
    audio: str
    reason: str


@dataclass
class Release:
    """A release as its reader sees it, before any audio is decoded.

    Attributes:
        table: the usable rows, as `make_table` builds them; `duration` is measured later.
        skipped: everything that is not used, with its reason; it is counted in the result.
        notes: sentences for the report and the result.
        root: the folder of the audio, if it differs from the folder that was read.
        ratings: attributes and votes of its utterances; None: it has none.
        annotated: every annotated row, from which folds and dev parts are drawn; None: `table`. A reader gives it if
            the rows of `table` depend on a label, to name the dialogues (in a column `dialogue`), or to give the parts
            of the release's own folds (in columns `fold 1`, `fold 2`, ..., for `dataset.folds=release`).
    """

    table: pd.DataFrame
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    root: Path | None = None
    annotated: pd.DataFrame | None = None
    ratings: Ratings | None = None

    @property
    def drawn_from(self) -> pd.DataFrame:
        """The rows from which folds and dev parts are drawn."""
        return self.table if self.annotated is None else self.annotated


def make_table(rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Return a table with all `COLUMNS` from rows that give some of them; a missing value becomes "" (seconds: NaN).

    Other columns are left out. A row needs at least `utterance`, `source`, `audio` and `label`; `validate` checks this.
    """
    given = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), dtype=object)
    given = given.reset_index(drop=True)
    return pd.DataFrame({column: _column(given, column) for column in COLUMNS}, index=given.index)


def _column(given: pd.DataFrame, column: str) -> pd.Series:
    """Return one column in the table's type, filled in if it was not given."""
    if column in SECONDS:
        return given[column].astype("float64") if column in given else pd.Series(math.nan, given.index, "float64")
    if column not in given:
        return pd.Series("", given.index, "str")
    values = given[column].where(given[column].notna(), "")
    return (values if values.dtype == "str" else values.map(str).map(encodable)).astype("str")


def validate(table: pd.DataFrame, corpus: str, is_rated: bool = False) -> None:
    """Raise InputError if a table has no rows, or its columns or values are not as `COLUMNS` describes them.

    is_rated: whether the release has ratings; then rows need no label.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"The table of '{corpus}' lacks the column {', '.join(missing)}; build it with make_table.")
    if table.empty:
        raise InputError(f"The table of '{corpus}' has no rows; check dataset.root.")
    repeated = table["utterance"][table["utterance"].duplicated()]
    if len(repeated):
        raise InputError(
            f"The table of '{corpus}' has the utterance '{repeated.iloc[0]}' more than once "
            f"({len(repeated)} repeated rows); utterance names must be unique."
        )
    for column in ("utterance", "source", "audio", *(() if is_rated else ("label",))):
        empty = table.index[table[column] == ""]
        if len(empty):
            raise InputError(f"The table of '{corpus}' has an empty {column} in row {empty[0] + 1}; fill it in.")
    unknown = sorted(set(table["split"].unique()) - set(SPLITS))
    if unknown:
        raise InputError(f"The table of '{corpus}' has the split '{unknown[0]}'; a split is train, dev, test or empty.")
    backwards = table.index[table["end"] <= table["start"].fillna(0.0)]
    if len(backwards):
        raise InputError(
            f"The table of '{corpus}' has a segment that does not end after its start: "
            f"utterance '{table.loc[backwards[0], 'utterance']}'; correct its start and end."
        )


def digest(table: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's rows, sorted by utterance: for each column its name, then its values.

    The column `content_hash` (of the decoded samples), which every verified corpus has, is included, so that other
    audio under the same names changes the digest. Texts are hashed as their byte counts followed by their UTF-8,
    seconds in tenths of a millisecond (-1: NaN); these counts and times are little-endian integers of eight bytes.
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
    """Return the byte count of each text, and all texts joined in UTF-8, as Arrow stores them."""
    import pyarrow

    array = pyarrow.chunked_array([pyarrow.array(texts, pyarrow.large_string())]).combine_chunks()
    _, offsets, text = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.diff(ends), memoryview(text or b"")[ends[0] : ends[-1]]


def shared_values(first: pd.DataFrame, second: pd.DataFrame, column: str) -> list[str]:
    """Return the values of `column` that two tables share, sorted; an unknown value ("") never counts as shared."""
    shared = first.loc[first[column].isin(second[column].unique()), column]
    return sorted(set(shared.unique()) - {""})
