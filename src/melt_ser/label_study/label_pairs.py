"""Two labels for each utterance: two columns of one CSV, or a column of each of two CSVs that share keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melt_ser.core.errors import InputError, SetupError, did_you_mean
from melt_ser.corpora.lines import split_in_name
from melt_ser.corpora.readers.delimited import read_table

MACHINE = "llm_label"  # of MELT's release, and of what `annotate` writes
HUMAN = ("label", "emotion")  # of a corpus table, which has both, the first is as the release writes it
KEYS = ("dialogue_id", "utterance_id")
# MELD numbers dialogues anew in each split, so that rows of different splits would meet under one key.
SPLIT = "split"
SAME_WHERE_KEYS_ARE = ("season", "episode")
THEIRS = " of the second file"  # what is added to the name of a column that both files have


@dataclass(frozen=True)
class LabelPairs:
    """Pairs of labels.

    `table` has the columns `first` and `second`, none of them empty, and all columns of the files, in lower case; of a
    column that both files have it is the first file's. `names` are those of the label sources, `left_out` counts rows.
    """

    table: pd.DataFrame
    names: tuple[str, str]
    left_out: dict[str, int]


def read_pairs(
    first_path: Path,
    second_path: Path | None = None,
    first_column: str | None = None,
    second_column: str | None = None,
    keys: Sequence[str] | None = None,
) -> LabelPairs:
    """The pairs of one file's two columns, or of two files' rows with equal `keys`.

    A key is a column of both files, or `a=b` where it is called `a` in the first and `b` in the second; None stands for
    KEYS, and the split where both files (or their names) say it. Columns are named in any case. Raises InputError where
    a column is missing, a key repeats or no pair is left, or where rows of equal keys are of different episodes;
    SetupError where there is no such file.
    """
    table = read_labels(first_path)
    left_out: dict[str, int] = {}
    if second_path is None:
        columns = (
            _label_column(table, first_column, HUMAN, first_path),
            _label_column(table, second_column, (MACHINE,), first_path),
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
            _label_column(table, first_column, (MACHINE, *HUMAN), first_path),
            _label_column(other, second_column, (MACHINE, *HUMAN), second_path),
        )
        names = f"{first_path.name}, {columns[0]}", f"{second_path.name}, {columns[1]}"
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
    """A CSV of labels as text, its columns in lower case, and the split that the file's name says; else SetupError."""
    if not path.is_file():
        raise SetupError(f"There is no file {path}; give a CSV of labels.")
    table, split = read_table(path, ()), split_in_name(path)
    return table.assign(**{SPLIT: split}) if split and SPLIT not in table else table


def require(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise InputError where the table of a file lacks a column."""
    if column not in table:
        raise InputError(f"{path} has no column '{column}'; {did_you_mean(column, table.columns)}")


def _label_column(table: pd.DataFrame, column: str | None, usual: Sequence[str], path: Path) -> str:
    """The column that is asked for, else the first of the usual ones that there is."""
    if column is None:
        column = next((name for name in usual if name in table), usual[-1])
    require(table, column.lower(), path)
    return column.lower()


def joined(
    first: pd.DataFrame, second: pd.DataFrame, keys: Sequence[str] | None, first_path: Path, second_path: Path
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows of both files under one key, and how many have no partner; see `read_pairs`."""
    keys = keys or [*KEYS, *([SPLIT] if SPLIT in first and SPLIT in second else [])]
    named = [key.lower().partition("=") for key in keys]
    own, theirs = [name for name, _, _ in named], [other or name for name, _, other in named]
    for table, columns, path in ((first, own, first_path), (second, theirs, second_path)):
        for column in columns:
            require(table, column, path)
        _check_unique(table, columns, path)
    both = first.merge(second, how="inner", left_on=own, right_on=theirs, suffixes=("", THEIRS))
    left_out = {
        f"only in {path.name}": len(table) - len(both)
        for path, table in ((first_path, first), (second_path, second))
        if len(table) > len(both)
    }
    for column in SAME_WHERE_KEYS_ARE:
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


def _check_unique(table: pd.DataFrame, columns: list[str], path: Path) -> None:
    repeated = table[table.duplicated(columns)]
    if len(repeated):
        raise InputError(
            f"{path} has {len(repeated)} more rows under keys that it has already (the first: "
            f"{_key(repeated.iloc[0], columns)}); name columns that tell them apart with --keys."
        )


def _key(row: pd.Series, columns: list[str]) -> str:
    return ", ".join(f"{column} {row[column]}" for column in columns)
