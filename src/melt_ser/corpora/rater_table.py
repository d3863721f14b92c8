"""Read a table of single ratings (`dataset.raters`): a row is one rater's answer for one utterance."""

from __future__ import annotations

import posixpath
import unicodedata
from functools import partial
from pathlib import Path

import pandas as pd

from melt_ser.config import DatasetConfig
from melt_ser.core.errors import InputError, SetupError
from melt_ser.core.package import expanded
from melt_ser.corpora.ratings import Ratings
from melt_ser.corpora.readers.audio_paths import RootFolder, spelled_as_in
from melt_ser.corpora.readers.columns import attribute_columns, letters, listed
from melt_ser.corpora.readers.delimited import numbers, read_table
from melt_ser.corpora.table import Release

NAMES = {
    "utterance": ("utterance", "utteranceid", "id", "clip", "stimulus", "item"),
    "audio": ("audio", "file", "filename", "path", "wav"),
    "rater": ("rater", "raterid", "annotator", "annotatorid", "worker", "workerid", "listener", "evaluator"),
    "label": ("label", "emotion", "answer", "category"),
}
"""The names that a column may have, in lower-case letters and digits; the first one that a table has counts."""


def read_raters(release: Release, root: Path, config: DatasetConfig) -> tuple[Ratings, list[str]]:
    """Return the ratings of a corpus' utterances, and notes.

    Args:
        release: its table has the `utterance` or `audio` that the ratings name.
        root: the folder of the corpus, which the path of the table may be relative to.
        config: the settings of the corpus.

    Raises SetupError if there is no such table, InputError if it lacks a column, has a number that is none, or names no
    utterance of the corpus.
    """
    assert config.raters is not None
    path = root / expanded(config.raters)
    path = path if path.is_file() else expanded(config.raters)
    if not path.is_file():
        raise SetupError(f"There is no table of ratings at {path}; set dataset.raters to its path.")
    given = read_table(path, (), strict=True)
    columns = _columns(list(map(str, given)), path, config)
    single = pd.DataFrame({our: given[their] for our, their in columns.items()})
    single = single.set_axis(range(1, len(single) + 1))
    for name in single.columns.difference(["utterance", "audio", "rater", "label"]):
        single[name] = numbers(single[name], path)
    if "label" in single:
        single["label"] = single["label"].map(partial(unicodedata.normalize, "NFC"))  # as those of the corpus
    single, notes = _of_utterances(single, release, path)
    repeated = single.duplicated(["utterance", "rater"])
    if repeated.any():
        row = single.index[repeated][0]
        raise InputError(
            f"{path}, row {row}: rater '{single.loc[row, 'rater']}' has rated '{single.loc[row, 'utterance']}' before; "
            f"keep one row for each."
        )
    return Ratings(single=single.reset_index(drop=True)), notes


def _columns(present: list[str], path: Path, config: DatasetConfig) -> dict[str, str]:
    """Return the table's column for each of ours; InputError if one is missing."""
    by_letters = {letters(column): column for column in reversed(present)}
    fitting = {our: [by_letters[name] for name in names if name in by_letters] for our, names in NAMES.items()}
    found = {our: columns[0] for our, columns in fitting.items() if columns}
    in_lower_case = {column.lower(): column for column in present}
    for name, column in attribute_columns(config).items():
        found |= {name: in_lower_case[column]} if column in in_lower_case else {}
    if not {"utterance", "audio"} & found.keys() or "rater" not in found:
        raise InputError(
            f"{path} needs the columns utterance (or audio) and rater, and label or attributes; its columns are: "
            f"{listed(present)}."
        )
    if "label" not in found and not set(found) - {*NAMES}:
        raise InputError(f"{path} has no ratings: add a column label, or one for each attribute, such as arousal.")
    return found


def _of_utterances(single: pd.DataFrame, release: Release, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the ratings with the corpus' names of utterances; ratings of other clips are counted in a note.

    The ratings name utterances, or the paths of their audio with or without suffix, as a corpus table may write them.
    """
    table = release.table
    as_written = single["utterance"] if "utterance" in single else single["audio"]
    tidied = as_written if release.root is None else as_written.map(RootFolder(release.root).tidied)
    stems = table["audio"].map(lambda audio: posixpath.splitext(audio)[0])
    known = pd.Series(False, single.index)
    ways = [(as_written, table["utterance"]), (tidied, table["audio"]), (tidied, stems)]
    for given, theirs in ways:
        given = given.map(spelled_as_in(theirs))
        names = given.map(dict(zip(theirs, table["utterance"], strict=True)))
        known = names.notna()
        if known.any():
            repeated = theirs[theirs.duplicated() & theirs.isin(given)]
            if len(repeated):
                raise InputError(
                    f"{path} rates '{repeated.iloc[0]}', but '{repeated.iloc[0]}' has several utterances; give the "
                    f"names of the utterances in the column utterance."
                )
            break
    else:
        first = "" if single.empty else f" (its first row is of '{single.iloc[0].drop('rater').iloc[0]!s}')"
        raise InputError(f"{path} rates no utterance of the corpus{first}; check dataset.raters.")
    single = single.assign(utterance=names)[known].drop(columns="audio", errors="ignore")
    notes = [f"{int((~known).sum())} of {len(known)} ratings are of clips that are not used"] if not known.all() else []
    raters = single["rater"].nunique()
    return single, [f"{len(single)} ratings by {raters} raters of {single['utterance'].nunique()} utterances", *notes]
