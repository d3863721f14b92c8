"""Read two labels for each utterance: from two columns of one CSV, or from two CSVs that share keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.lines import split_in_name
from melt_ser.corpora.readers.delimited import read_table

MACHINE = "llm_label"  # column of MELT's release and of `annotate`'s labels files
HUMAN = ("label", "emotion")  # a corpus table has both; the first is the release's own label
KEYS = ("dialogue_id", "utterance_id")
NAME = "utterance"  # of a line; in MELD's tables its text
SPLIT = "split"  # a key too if both files have it, since MELD numbers the dialogues of each split anew
SAME_FOR_EQUAL_KEYS = ("season", "episode")
THEIRS = " of the second file"  # suffix of the second file's columns that the first has too


@dataclass(frozen=True)
class LabelPairs:
    """Pairs of labels."""

    table: pd.DataFrame  # `first` and `second`, never empty, and the files' columns in lower case (the first file wins)
    names: tuple[str, str]  # of the label sources
    left_out: dict[str, int]  # rows, by reason


def read_pairs(
    first_path: Path,
    second_path: Path | None = None,
    first_column: str | None = None,
    second_column: str | None = None,
    keys: Sequence[str] | None = None,
) -> LabelPairs:
    """Read the pairs of labels of one file, or of two files' rows with equal keys. Column names may have any case.

    Args:
        first_path: a CSV of labels; without a second file, it has both labels.
        second_path: a CSV with the second source's labels.
        first_column: the first source's labels; None: `label` or `Emotion` (of two files, `llm_label` first).
        second_column: the second source's labels; None: `llm_label` (of two files, also `label` or `Emotion`).
        keys: columns of both files, or `a=b` for one called `a` in the first file and `b` in the second; None: KEYS,
            and the split if both files (or their names) have it, or else `utterance`.

    Raises InputError if a column is missing, a key repeats, no pair is left, or rows with equal keys differ in
    season or episode; SetupError if a file does not exist, or both columns are the same.
    """
    table = read_labels(first_path)
    left_out: dict[str, int] = {}
    if second_path is None:
        columns = (
            label_column(table, first_column, HUMAN, first_path),
            label_column(table, second_column, (MACHINE,), first_path),
        )
        if columns[0] == columns[1]:
            raise SetupError(
                f"Both labels are the column {columns[0]} of {first_path}; set --first-column and --second-column."
            )
        paired = table.assign(first=table[columns[0]], second=table[columns[1]])
        names = columns
    else:
        other = read_labels(second_path)
        columns = (
            label_column(table, first_column, (MACHINE, *HUMAN), first_path),
            label_column(other, second_column, (MACHINE, *HUMAN), second_path),
        )
        first_name, second_name = distinct_names([first_path, second_path])
        names = f"{first_name}, {columns[0]}", f"{second_name}, {columns[1]}"
        paired, left_out = joined(table, other, keys, first_path, second_path)
        theirs = columns[1] + THEIRS if columns[1] + THEIRS in paired else columns[1]
        paired = paired.assign(first=paired[columns[0]], second=paired[theirs])
    for side, name in zip(("first", "second"), names, strict=True):
        empty = paired[side] == ""
        left_out |= {f"no label: {name}": int(empty.sum())} if empty.any() else {}
    paired = paired[(paired["first"] != "") & (paired["second"] != "")].reset_index(drop=True)
    if paired.empty:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "no rows"
        raise InputError(f"There is no utterance with two labels ({reasons}); check the files, --keys and the columns.")
    return LabelPairs(paired, names, left_out)


def read_labels(path: Path) -> pd.DataFrame:
    """Read a CSV of labels as text, with column names in lower case; a split in the file's name becomes a column.

    Raises SetupError if there is no such file.
    """
    if not path.is_file():
        raise SetupError(f"There is no file {path}; give a CSV of labels.")
    table, split = read_table(path, ()), split_in_name(path)
    return table.assign(**{SPLIT: split}) if split and SPLIT not in table else table


def require(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise InputError if the table of a file lacks a column."""
    if column not in table:
        raise InputError(f"{path} has no column '{column}'; {did_you_mean(column, table.columns)}")


def label_column(table: pd.DataFrame, column: str | None, usual: Sequence[str], path: Path) -> str:
    """Return the given column, or the first of the usual ones that the table has. Raises InputError without one."""
    if column is None:
        column = next((name for name in usual if name in table), usual[-1])
    require(table, column.lower(), path)
    return column.lower()


def joined(
    first: pd.DataFrame, second: pd.DataFrame, keys: Sequence[str] | None, first_path: Path, second_path: Path
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the rows of two files joined on `keys`, and the number of rows without a partner, by reason.

    Args:
        first: the table of the first file.
        second: the table of the second file.
        keys: as in `read_pairs`.
        first_path: for error messages.
        second_path: for error messages.

    Raises InputError for a missing column, a repeated key, or rows with equal keys that differ in season or episode.
    """
    own, theirs = key_columns(keys or default_keys(first, second))
    for table, columns, path in ((first, own, first_path), (second, theirs, second_path)):
        for column in columns:
            require(table, column, path)
        _check_unique(table, columns, path)
    both = first.merge(second, how="inner", left_on=own, right_on=theirs, suffixes=("", THEIRS))
    left_out = {
        f"only in {name}": len(table) - len(both)
        for name, table in zip(distinct_names([first_path, second_path]), (first, second), strict=True)
        if len(table) > len(both)
    }
    for column in SAME_FOR_EQUAL_KEYS:
        if column not in first or column not in second or column in own:
            continue
        differ = both[column] != both[column + THEIRS]
        if differ.any():
            row = both[differ].iloc[0]
            raise InputError(
                f"{int(differ.sum())} of {len(both)} utterances with equal keys have another {column} in "
                f"{second_path} than in {first_path} (the first: {_key(row, own)}); compare files of the same split."
            )
    return both, left_out


def key_columns(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns of keys in the first file, and in every other one.

    >>> key_columns(["split", "Utterance=filename"])
    (['split', 'utterance'], ['split', 'filename'])
    """
    named = [key.lower().partition("=") for key in keys]
    return [name for name, _, _ in named], [other or name for name, _, other in named]


def first_spellings(labels: Iterable[str]) -> dict[str, str]:
    """Return each label as it is spelled first, by the label in lower case.

    >>> first_spellings(["Joy", "JOY", "sadness"])
    {'joy': 'Joy', 'sadness': 'sadness'}
    """
    spelled: dict[str, str] = {}
    for label in labels:
        spelled.setdefault(label.casefold(), label)
    return spelled


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the names of files, or their whole paths if a name repeats."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def default_keys(*tables: pd.DataFrame) -> list[str]:
    """Return KEYS, and the split if all tables have it; tables without KEYS share the column `utterance`, a name."""
    if not all(set(KEYS) <= set(table) for table in tables) and all(NAME in table for table in tables):
        return [NAME]
    return [*KEYS, *([SPLIT] if all(SPLIT in table for table in tables) else [])]


def _check_unique(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    repeated = table[table.duplicated(columns)]
    if len(repeated):
        raise InputError(
            f"{path} has {len(repeated)} more rows under keys that it has already (the first: "
            f"{_key(repeated.iloc[0], columns)}); name columns that tell them apart with --keys."
        )


def _key(row: pd.Series, columns: list[str]) -> str:
    return ", ".join(f"{column} {row[column]}" for column in columns)
